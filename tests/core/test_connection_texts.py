"""What gRPC says where it cannot connect, and what is made of it: reason, remedy, and for how long to wait."""

from __future__ import annotations

import math

import pytest

from yagrpc._core.failure.connection import CERTAIN, NO_ANSWER, ROWS, TLS_ONLY, no_connection, obstacle

LAST = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "

SAMPLES = [
    (f"{TLS_ONLY}: {LAST}Socket closed", "the endpoint takes TLS only", 0.0),
    (f"{LAST}CERTIFICATE_VERIFY_FAILED: certificate has expired", "is not valid now", 0.0),
    (f"{LAST}CERTIFICATE_VERIFY_FAILED: certificate is not yet valid", "is not valid now", 0.0),
    (f"{LAST}CERTIFICATE_VERIFY_FAILED: self signed certificate", "is not trusted", 0.0),
    (f"{LAST}Hostname Verification Check failed", "is that of another host", 0.0),
    (f"{LAST}WRONG_VERSION_NUMBER", "the endpoint speaks plaintext, and the client TLS", 0.0),
    (f"{LAST}Cannot check peer: missing selected ALPN property", "TLS without HTTP/2", 0.0),
    (f"{LAST}Failed parsing HTTP/2", "is no gRPC server", 0.0),
    (f"{LAST}HTTP proxy returned response code 407", "wants a user and a password", 0.0),
    (f"{LAST}HTTP proxy returned response code 403", "refuses to connect to the endpoint", 0.0),
    (f"{LAST}HTTP proxy returned response code 502", "can't connect to the endpoint", math.inf),
    (f"{LAST}Expected 'H'", "is no HTTP proxy", 0.0),
    (f"{LAST}Failed to connect to remote host: Connection refused", "refuses the connection", math.inf),
    ("DNS resolution failed for nowhere:443: Domain name not found", "there is no host of the name", 5.0),
    ("errors resolving nowhere:443: timeout", "can't be resolved now", math.inf),
    (f"{LAST}Network is unreachable", "there is no route", math.inf),
    (f"{LAST}connect: timed out", "does not answer", math.inf),
    ("connections to all backends failing; last error: UNAVAILABLE: Socket closed", "closes each connection", math.inf),
]


@pytest.mark.parametrize(("text", "reason", "patience"), SAMPLES)
@pytest.mark.parametrize("proxy", ["", "squid:3128 (https_proxy)"])
def test_a_text_of_grpcs_names_the_obstacle(text: str, reason: str, patience: float, proxy: str) -> None:
    found = obstacle(text, proxy)
    assert found is not None
    assert reason in found.reason
    assert found.patience == patience
    assert found.remedy
    assert "{peer}" not in found.reason


def test_every_row_has_a_sample() -> None:
    found = [obstacle(text) for text, _, _ in SAMPLES]
    assert {each.remedy for each in found if each is not None} == {row.remedy for row in ROWS}


def test_the_peer_is_the_endpoint_or_the_proxy_before_it() -> None:
    text = f"{LAST}Connection refused"
    direct, proxied = obstacle(text), obstacle(text, "squid:3128")
    assert direct is not None
    assert proxied is not None
    assert direct.reason == "the endpoint refuses the connection"
    assert proxied.reason == "the proxy squid:3128 refuses the connection"


@pytest.mark.parametrize(
    "text", ["", "Connection refused", "upstream connect error: Connection refused", f" {LAST}Connection refused"]
)
def test_a_text_that_is_not_about_connecting_is_the_other_sides(text: str) -> None:
    assert obstacle(text) is None


def test_an_unknown_reason_is_no_obstacle_but_is_passed_on() -> None:
    text = f"{LAST}something\nnew"
    assert obstacle(text) is None
    found = no_connection(text)
    assert (found.reason, found.remedy, found.patience) == (f"{LAST}something new", "", math.inf)


def test_a_known_reason_is_named() -> None:
    found = no_connection(f"{LAST}Connection refused", "squid:3128")
    assert found.reason == "the proxy squid:3128 refuses the connection"


def test_without_an_outcome_the_reason_is_guessed_in_the_remedy() -> None:
    found = no_connection(None, "squid:3128")
    assert found.reason == ""
    assert found.remedy == f"the proxy squid:3128 does not answer: {NO_ANSWER.remedy}"
    assert found.patience == math.inf


def test_what_waiting_does_not_help_is_certain() -> None:
    certain = {row.remedy for row in ROWS if row.patience != math.inf}
    assert certain == CERTAIN
    assert NO_ANSWER.remedy not in CERTAIN

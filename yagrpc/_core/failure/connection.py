"""Why there is no connection, and what to do about it: one table over what gRPC itself says.

gRPC has a status for it only where an rpc does not wait for the connection (see `yagrpc._grpc.probing`); its texts are
those of grpcio 1.68.1 to 1.85.3, measured on real sockets.

Rules: the texts are gRPC's to change, so they decide what a person reads, and for how long it is worth waiting for a
connection, while nothing was sent. They prove nothing: whether something may have run is not decided here. As in
`hints.py`, no NamedTuple is here.
"""

from __future__ import annotations

import math
import re
from typing import Final

from yagrpc.foreign import cleaned

TLS_ONLY: Final = "the server takes TLS only"
"""What `yagrpc._grpc.probing` puts before gRPC's text where it has found that out."""

NAME_PATIENCE: Final = 5.0
"""Seconds for which a name that does not exist is resolved again: it may just have been created."""

_OURS: Final = (
    f"{TLS_ONLY}|failed to connect to all addresses|connections to all backends failing|empty address list|"
    "errors resolving |DNS resolution failed"
)
"""How the texts begin that gRPC makes while it connects; a gateway may say the same of its own connections."""


class Obstacle:
    """Why there is no connection.

    Args:
        reason: The reason, as a part of a line.
        remedy: What to do.
        patience: Seconds for which waiting may help; 0 where it cannot change by itself.
    """

    __slots__ = ("patience", "reason", "remedy")

    def __init__(self, reason: str, remedy: str, patience: float = math.inf) -> None:
        self.reason = reason
        self.remedy = remedy
        self.patience = patience


class Row:
    """One obstacle, and how gRPC's text shows it.

    Args:
        pattern: Found in gRPC's text.
        reason: As of an `Obstacle`; `{peer}` is the endpoint, or the proxy that stands before it.
        remedy: As of an `Obstacle`.
        patience: As of an `Obstacle`.
    """

    __slots__ = ("patience", "pattern", "reason", "remedy")

    def __init__(self, pattern: str, reason: str, remedy: str, patience: float = math.inf) -> None:
        self.pattern = pattern
        self.reason = reason
        self.remedy = remedy
        self.patience = patience


NO_ANSWER: Final = Row(
    r"timed out|tcp handshaker shutdown|Endpoint closing|FD Shutdown",
    "{peer} does not answer",
    "a firewall may drop what is sent, or the address is wrong: check host, port and network",
)

ROWS: Final = (
    Row(
        TLS_ONLY,
        "the endpoint takes TLS only, and the client speaks plaintext",
        "leave plaintext out, and give root_certificates= where its authority is not a public one",
        0.0,
    ),
    Row(
        "CERTIFICATE_VERIFY_FAILED: certificate (has expired|is not yet valid)",
        "the certificate of the endpoint is not valid now",
        "renew the certificate, or set the clock of this machine",
        0.0,
    ),
    Row(
        "CERTIFICATE_VERIFY_FAILED",
        "the certificate of the endpoint is not trusted",
        "give its authority as root_certificates= (a proxy that inspects TLS has one of its own), or name a file that "
        "has it in GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        0.0,
    ),
    Row(
        "Hostname Verification Check failed|is not in peer certificate",
        "the certificate is that of another host",
        "give the endpoint by the name that its certificate has",
        0.0,
    ),
    Row(
        "WRONG_VERSION_NUMBER|SSL routines:OPENSSL_internal:HTTP",
        "the endpoint speaks plaintext, and the client TLS",
        "check the port; an emulator without TLS takes plaintext=True, or YAGRPC_EMULATOR_HOST",
        0.0,
    ),
    Row("ALPN", "the endpoint has TLS without HTTP/2: it is no gRPC server", "check host and port", 0.0),
    Row(
        "Failed parsing HTTP/2|Expected SETTINGS|http1",
        "the endpoint is no gRPC server",
        "check host and port",
        0.0,
    ),
    Row(
        "HTTP proxy returned response code 407",
        "{peer} wants a user and a password",
        "put them into the variable that names the proxy: http://USER:PASSWORD@HOST:PORT",
        0.0,
    ),
    Row(
        r"HTTP proxy returned response code 4\d\d",
        "{peer} refuses to connect to the endpoint",
        "have the proxy allow it, or list the endpoint's host in no_grpc_proxy",
        0.0,
    ),
    Row(
        "HTTP proxy returned response code",
        "{peer} can't connect to the endpoint",
        "check the endpoint and the proxy, or list the endpoint's host in no_grpc_proxy",
    ),
    Row("Expected 'H'", "{peer} is no HTTP proxy", "check the address of the proxy", 0.0),
    Row(
        "Connection refused",
        "{peer} refuses the connection",
        "nothing listens there, or a firewall refuses it: check host and port, and whether the server runs",
    ),
    Row(
        "Domain name not found|Name or service not known|nodename nor servname",
        "there is no host of the name of {peer}",
        "check the name, and the DNS of this network",
        NAME_PATIENCE,
    ),
    Row(
        "errors resolving|DNS resolution failed",
        "the name of {peer} can't be resolved now",
        "check the network and its DNS",
    ),
    Row("unreachable|No route to host", "there is no route to {peer}", "check the network, VPN and firewall"),
    NO_ANSWER,
    Row(
        "Socket closed|reset by peer|Broken pipe|Handshake read failed",
        "{peer} closes each connection before it is used",
        "it may be starting or overloaded, or take other clients only: check host and port, and the server's log",
    ),
)
"""The obstacles that are known; the first row that fits counts."""

CERTAIN: Final = frozenset(row.remedy for row in ROWS if row.patience < math.inf)
"""What to do where the reason is plain, and waiting does not help."""


def obstacle(message: str, proxy: str = "") -> Obstacle | None:
    """Why there is no connection; `None` where a text is not about connecting, or is the other side's.

    Args:
        message: The text of a status UNAVAILABLE that came without metadata.
        proxy: The proxy that the connection goes through, and what names it; empty without one.
    """
    if not re.match(_OURS, message):
        return None
    row = next((row for row in ROWS if re.search(row.pattern, message)), None)
    return None if row is None else _of(row, proxy)


def no_connection(message: str | None, proxy: str = "") -> Obstacle:
    """Why there was no connection while it was waited for.

    Args:
        message: gRPC's text; `None` where connecting had no outcome until the time was over.
        proxy: As of `obstacle`.
    """
    if message is None:  # a guess: it belongs to the remedy
        found = _of(NO_ANSWER, proxy)
        return Obstacle("", f"{found.reason}: {found.remedy}")
    return obstacle(message, proxy) or Obstacle(cleaned(message), "")


def _of(row: Row, proxy: str) -> Obstacle:
    peer = f"the proxy {proxy}" if proxy else "the endpoint"
    return Obstacle(row.reason.format(peer=peer), row.remedy, row.patience)

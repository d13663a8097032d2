"""`yagrpc doctor`: what it finds, what it says to do, and its exit codes."""

from __future__ import annotations

import email.utils
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc import _pb
from yagrpc.emulator import Emulator

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Programs


@pytest.fixture
def check(command: Command) -> Callable[..., tuple[int, dict[str, dict[str, str]]]]:
    """Runs it; gives its exit code, and its findings by what they are about."""

    def run(*arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
        ran = command("doctor", "--json", *arguments)
        assert ran.err == ""
        report = json.loads(ran.out)
        assert report["ok"] is (ran.code == 0)
        assert report["versions"]["grpcio"] == grpc.__version__
        return ran.code, {found["about"]: found for found in report["findings"]}

    return run


def at(emulator: Emulator) -> tuple[str, ...]:
    """The options that lead there, with credentials."""
    return ("--endpoint", emulator.address, "--plaintext", "--folder-id", "b1g")


def test_an_emulator_in_the_environment_passes_all_checks(check: Any, emulator: Emulator) -> None:
    code, found = check()
    assert code == 0
    assert found["credentials"]["text"] == "none: YAGRPC_EMULATOR_HOST is set"
    for name in ("discovery", "iam", "model", "operation"):
        assert found[name]["state"] == "ok"
        assert found[name]["text"].startswith(f"{emulator.address} answers (plaintext, ")
    assert found["clock"]["text"] == "not checked: the answer has no date"
    assert "/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion" not in emulator.calls


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"YC_API_KEY": "AQVNx"}, "ApiKey(...) from YC_API_KEY; it is valid until it expires or is revoked"),
        (
            {"YC_IAM_TOKEN": "t1.x"},
            "IamToken(...) from YC_IAM_TOKEN; it is valid for at most 12 hours, and not renewed",
        ),
        ({"YC_OAUTH_TOKEN": "y0_x"}, "OAuthToken(...) from YC_OAUTH_TOKEN; its token is valid until "),
        ({"PATH": "yc"}, "YcCli(profile=None) from this machine; its token is valid for at most 12 hours, and renewed"),
        ({"YC_TOKEN": "t1.x"}, "IamToken(...) from this machine; its token is read for every call"),
    ],
)
def test_credentials_are_reported_with_source_and_validity(
    check: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    command = tmp_path / "yc"
    command.write_text("#!/bin/sh\necho t1.x\n")
    command.chmod(0o755)
    if "PATH" in environment:
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        monkeypatch.setattr("yagrpc.credentials.choice._is_terminal", lambda: True)
    with Emulator(auth="present") as emulator:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code, found = check(*at(emulator))
    assert code == 0
    assert found["credentials"]["text"].startswith(expected)
    assert found["model"]["state"] == "ok"
    if "YC_OAUTH_TOKEN" in environment:
        assert "(12.0 h), and renewed before that" in found["credentials"]["text"]


def test_a_legacy_credential_is_noted(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YC_OAUTH_TOKEN", "y0_x")
    with Emulator(auth="present") as emulator:
        text = command.done("doctor", *at(emulator))
    assert "credentials  note     OAuthToken(...) from YC_OAUTH_TOKEN\n" in text
    assert "-> OAuth tokens are being retired" in text


def test_a_refused_credential_is_reported_with_its_likely_cause(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YC_API_KEY", "AQVNx")
    with Emulator(auth={"Api-Key other"}) as emulator:
        code, found = check(*at(emulator))
    assert code == 1
    assert found["model"]["state"] == found["operation"]["state"] == "failed"
    assert "its scope is too narrow" in found["model"]["text"]
    assert found["iam"]["state"] == "ok"


def test_what_is_not_set_up_is_reported(check: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YAGRPC_EMULATOR_HOST")
    code, found = check("--endpoint", emulator.address, "--plaintext")
    assert code == 2
    assert found["folder"]["state"] == found["credentials"]["state"] == "not set"
    assert "set YC_FOLDER_ID" in found["folder"]["remedy"]
    assert found["credentials"]["text"].startswith("no credentials: ")
    assert found["model"]["text"] == "not checked, nor is the operation service"
    assert found["discovery"]["state"] == "ok"


def test_wrong_settings_are_reported(check: Any) -> None:
    code, found = check("--endpoint", "nonsense")
    assert code == 2
    assert found["settings"]["text"].startswith("endpoint is 'nonsense'")


def test_a_source_of_tokens_that_fails_is_reported(check: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("YC_SERVICE_ACCOUNT_KEY_FILE", str(tmp_path / "none.json"))
    with Emulator() as emulator:
        code, found = check(*at(emulator))
        assert code == 2
        assert "none.json' can't be read: No such file" in found["credentials"]["text"]
        monkeypatch.delenv("YC_SERVICE_ACCOUNT_KEY_FILE")
        monkeypatch.setenv("YC_OAUTH_TOKEN", "y0_" + "x" * 5000)
        code, found = check(*at(emulator))
        assert code == 1
        assert found["credentials"]["text"].startswith("OAuthToken(...) from YC_OAUTH_TOKEN: INVALID_ARGUMENT")


def test_an_endpoint_that_does_not_answer_is_reported_within_the_timeout(programs: Programs, nowhere: str) -> None:
    start = time.monotonic()
    connection = ("--endpoint", nowhere, "--plaintext", "--folder-id", "b1g", "--timeout", "1")
    ran = programs("doctor", "--json", *connection, YC_API_KEY="AQVNx")
    assert ran.code == 1
    assert time.monotonic() - start < 50
    found = {each["about"]: each for each in json.loads(ran.out)["findings"]}
    for name in ("discovery", "iam", "model", "operation"):
        assert found[name]["state"] == "failed"
        assert found[name]["remedy"].startswith("check the network")
    assert found["clock"]["text"] == "not checked: discovery does not answer"


def test_an_emulator_that_does_not_run_is_reported(programs: Programs, nowhere: str) -> None:
    ran = programs("doctor", "--json", "--timeout", "1", YAGRPC_EMULATOR_HOST=nowhere)
    assert ran.code == 1
    remedies = {each["about"]: each["remedy"] for each in json.loads(ran.out)["findings"] if each["state"] == "failed"}
    assert set(remedies) == {"discovery", "iam", "model", "operation"}
    assert {remedy.partition(":")[0] for remedy in remedies.values()} == {"start the emulator at that address"}


@pytest.fixture
def dated() -> Iterator[Callable[[float | str], str]]:
    """Starts a service whose answers have a date so many seconds from now, or a text in its place."""
    servers: list[grpc.Server] = []

    def start(offset: float | str) -> str:
        endpoints: Any = _pb.api_endpoint_service_pb2_grpc
        servicer = endpoints.ApiEndpointServiceServicer()

        def listed(request: Any, context: grpc.ServicerContext) -> Any:
            date = offset if isinstance(offset, str) else email.utils.formatdate(time.time() + offset, usegmt=True)
            context.send_initial_metadata((("date", date),))
            return _pb.api_endpoint_service_pb2.ListApiEndpointsResponse()

        servicer.List = listed
        server = grpc.server(futures.ThreadPoolExecutor(2))
        endpoints.add_ApiEndpointServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("offset", "state", "expected"),
    [
        (0.0, "ok", "within 60 s of the service's clock"),
        (3600.0, "failed", "s behind the service's clock"),
        (-3600.0, "failed", "s ahead of the service's clock"),
        ("yesterday", "note", "the answer has no date"),
    ],
)
def test_a_clock_is_compared_with_the_services(
    check: Any, dated: Any, monkeypatch: pytest.MonkeyPatch, offset: float | str, state: str, expected: str
) -> None:
    monkeypatch.setenv("YC_API_KEY", "AQVNx")
    _, found = check("--endpoint", dated(offset), "--plaintext", "--folder-id", "b1g", "--timeout", "5")
    assert found["clock"]["state"] == state
    assert expected in found["clock"]["text"]

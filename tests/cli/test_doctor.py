"""`yagrpc doctor`: what it finds, what it says to do, and its exit codes."""

from __future__ import annotations

import email.utils
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb
from yagrpc._core.failure.hints import HINTS
from yagrpc.emulator import Emulator, Failure, Fault, paths

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Programs, Terminal

List = _pb.api_endpoint_service_pb2.ListApiEndpointsRequest


IN_TIME = "within 60 s of the service's clock"


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
        assert found[name]["text"].endswith("the address is from YAGRPC_EMULATOR_HOST")
    assert found["folder"]["text"] == "emulator from YAGRPC_EMULATOR_HOST"
    assert found["clock"] == {"about": "clock", "state": "ok", "text": IN_TIME, "remedy": ""}
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
        ({"YC_TOKEN": "t1.x"}, "IamToken(...) from YC_TOKEN; its token is read for every call"),
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
    assert found["credentials"]["state"] == "ok"
    assert found["credentials"]["text"].startswith(expected)
    assert found["credentials"]["text"].endswith("; the service accepts it")
    assert found["folder"]["text"] == "b1g from --folder-id"
    assert found["model"]["text"].endswith("; the address is from --endpoint")
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
    assert found["credentials"]["state"] == "failed"
    assert found["credentials"]["text"].startswith("ApiKey(...) from YC_API_KEY; ")
    assert found["credentials"]["text"].endswith("; refused by: model and operation")
    assert "its scope is too narrow" in found["credentials"]["remedy"]
    assert found["iam"]["state"] == "ok"


def test_what_is_not_set_up_is_reported(check: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YAGRPC_EMULATOR_HOST")
    code, found = check("--endpoint", emulator.address, "--plaintext")
    assert code == 2
    assert found["folder"]["state"] == found["credentials"]["state"] == "not set"
    assert found["folder"]["remedy"].startswith("set YC_FOLDER_ID, or give --folder-id:")
    assert found["credentials"]["text"].startswith("no credentials: ")
    assert found["credentials"]["text"].endswith(". Set YC_API_KEY")
    assert found["model"]["text"] == found["operation"]["text"] == "not checked"
    assert found["discovery"]["state"] == "ok"


def test_wrong_settings_are_reported(check: Any) -> None:
    code, found = check("--endpoint", "nonsense")
    assert code == 2
    assert found["settings"]["text"].startswith("--endpoint is 'nonsense'")


def test_a_source_of_tokens_that_fails_is_reported(check: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("YC_SERVICE_ACCOUNT_KEY_FILE", str(tmp_path / "none.json"))
    with Emulator() as emulator:
        code, found = check(*at(emulator))
        assert code == 2
        assert "none.json' can't be read: No such file" in found["credentials"]["text"]
        assert found["credentials"]["text"].endswith("; the credentials are from YC_SERVICE_ACCOUNT_KEY_FILE")
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
        assert found[name]["remedy"].startswith("check the network: the address from --endpoint, DNS")
    assert found["credentials"]["state"] == "note"
    assert found["credentials"]["text"].endswith("whether the service accepts it is not known: it has not said")
    assert found["clock"]["text"] == "not checked: discovery does not answer"


def test_an_emulator_that_does_not_run_is_reported(programs: Programs, nowhere: str) -> None:
    ran = programs("doctor", "--json", "--timeout", "1", YAGRPC_EMULATOR_HOST=nowhere)
    assert ran.code == 1
    remedies = {each["about"]: each["remedy"] for each in json.loads(ran.out)["findings"] if each["state"] == "failed"}
    assert set(remedies) == {"discovery", "iam", "model", "operation"}
    assert {remedy.partition(":")[0] for remedy in remedies.values()} == {"start the emulator at that address"}


def test_a_certificate_that_is_not_trusted_is_reported_as_such(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YC_API_KEY", "AQVNx")
    with Emulator(tls=True) as emulator:
        endpoints = ("--endpoint", emulator.address, "--operation-endpoint", emulator.address)
        code, found = check(*endpoints, "--folder-id", "b1g", "--timeout", "60")
    assert code == 1
    for name in ("model", "operation"):
        assert "no connection: the certificate of the endpoint is not trusted" in found[name]["text"]
        assert found[name]["remedy"].startswith("give its authority as --ca (a proxy that inspects TLS")


def test_plaintext_to_a_server_with_tls_is_reported_as_such(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YC_API_KEY", "AQVNx")
    with Emulator(tls=True) as emulator:
        code, found = check(*at(emulator), "--timeout", "60")
    assert code == 1
    for name in ("discovery", "iam", "model", "operation"):
        assert "the endpoint takes TLS only, and the client speaks plaintext" in found[name]["text"]
        assert found[name]["remedy"].startswith("leave --plaintext out, and give --ca where")


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


def test_a_clock_that_a_test_moved_is_a_note(check: Any, emulator: Emulator) -> None:
    emulator.advance(3600)
    code, found = check()
    assert code == 0
    assert found["clock"]["state"] == "note"
    assert found["clock"]["text"].endswith("s behind the emulator's clock, which a test can move")


def test_without_a_folder_the_credential_is_proved_all_the_same(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YC_API_KEY", "AQVNx")
    with Emulator(auth={"Api-Key AQVNx"}) as emulator:
        code, found = check("--endpoint", emulator.address, "--plaintext")
        assert (code, found["credentials"]["state"]) == (2, "ok")
        monkeypatch.setenv("YC_API_KEY", "AQVNy")
        code, found = check("--endpoint", emulator.address, "--plaintext")
        assert (code, found["credentials"]["state"]) == (2, "failed")
    assert found["folder"]["state"] == "not set"
    assert found["model"]["state"] == "note"


def test_a_credential_without_a_role_is_accepted(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service knows who calls; that the account may not is the finding about the model."""
    monkeypatch.setenv("YC_API_KEY", "AQVNx")
    denied = Fault(Failure(grpc.StatusCode.PERMISSION_DENIED, "Permission denied"), method=paths.TOKENIZE)
    gone = Fault(Failure(grpc.StatusCode.INVALID_ARGUMENT, "no"), method=paths.OPERATION_GET)
    with Emulator(faults=[denied, gone]) as emulator:
        code, found = check(*at(emulator))
    assert code == 1
    assert found["credentials"]["state"] == "ok"
    assert found["model"]["state"] == "failed"


def test_an_answer_about_something_else_proves_no_credential(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YC_API_KEY", "AQVNx")
    with Emulator(faults=[Fault(Failure(grpc.StatusCode.INVALID_ARGUMENT, "no"))]) as emulator:
        _, found = check(*at(emulator))
    assert found["credentials"]["state"] == "note"


@pytest.mark.parametrize(
    ("environment", "arguments", "about", "expected"),
    [
        (
            {"YC_API_KEY": "AQVNx"},
            [],
            "credentials",
            "YC_API_KEY is set, and not used: YAGRPC_EMULATOR_HOST is set too",
        ),
        (
            {"YC_API_KEY": "AQVNx", "YC_IAM_TOKEN": "t1.x"},
            ["--endpoint", "{}", "--plaintext"],
            "credentials",
            "YC_IAM_TOKEN is set, and not used: YC_API_KEY is",
        ),
        (
            {"YC_API_KEY": "AQVNx", "YC_TOKEN": "t1.x"},
            ["--endpoint", "{}", "--plaintext"],
            "credentials",
            "YC_TOKEN is set, and not used: YC_API_KEY is",
        ),
        (
            {"YC_API_KEY": "AQVNx"},
            ["--operation-endpoint", "{}", "--plaintext"],
            "settings",
            "YAGRPC_EMULATOR_HOST is set, and not used: --operation-endpoint is given",
        ),
    ],
)
def test_a_setting_that_another_one_replaces_is_noted(
    command: Command,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    arguments: list[str],
    about: str,
    expected: str,
) -> None:
    for name, value in {"YC_FOLDER_ID": "b1g", **environment}.items():
        monkeypatch.setenv(name, value)
    lines = command.done("doctor", *(word.format(emulator.address) for word in arguments)).splitlines()
    assert f"{about:<12} note     {expected}" in lines
    assert f"{'folder':<12} ok       b1g from YC_FOLDER_ID" in lines


def test_a_tls_endpoint_of_ones_own_is_checked_without_the_public_services(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YC_API_KEY", "AQVNx")
    with Emulator(tls=True, auth={"Api-Key AQVNx"}) as emulator:
        options = ("--endpoint", emulator.address, "--operation-endpoint", emulator.address, "--folder-id", "b1g")
        code, found = check(*options, "--ca", str(emulator.ca_file))
        assert set(emulator.calls) == {paths.TOKENIZE, paths.OPERATION_GET}
    assert code == 0
    for name in ("discovery", "iam"):
        expected = f"not asked: the endpoint is from --endpoint, and {name} is Yandex Cloud's own"
        assert (found[name]["state"], found[name]["text"]) == ("note", expected)
    assert found["model"]["text"].startswith(f"{emulator.address} answers (TLS, ")
    assert found["operation"]["text"].endswith("; the address is from --operation-endpoint")
    assert found["clock"]["text"] == IN_TIME


def test_what_it_says_is_in_the_terms_of_the_command(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every refusal that has a hint: neither arguments nor classes of Python are named."""
    monkeypatch.setenv("YC_IAM_TOKEN", "t1.x")
    for row in HINTS:
        message = re.sub(r"\|.*|\W", " ", row.pattern)
        with Emulator(faults=[Fault(Failure(grpc.StatusCode[row.code.name], message))]) as emulator:
            out = command("doctor", *at(emulator)).out
            line = command("tokenize", "hi", *at(emulator)).err
        for text in (out.replace("IamToken(...) from YC_IAM_TOKEN", ""), line):
            assert not re.findall(r"\b\w+=|[A-Z]\w+\(", text), text


def test_states_are_coloured_on_a_terminal_only(
    programs: Programs, emulator: Emulator, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = programs("doctor", FORCE_COLOR="1").out
    assert "credentials  ok       none: YAGRPC_EMULATOR_HOST is set\n" in plain
    assert "\x1b" not in plain
    monkeypatch.delenv("NO_COLOR", raising=False)
    process = programs.start("doctor", stdout=terminal.device)
    assert process.wait(60) == 0
    seen = terminal.until("clock.*\n")
    assert "credentials  \x1b[32mok      \x1b[0m none: YAGRPC_EMULATOR_HOST is set\r\n" in seen
    monkeypatch.setenv("NO_COLOR", "1")
    process = programs.start("doctor", stdout=terminal.device)
    assert process.wait(60) == 0
    assert "\x1b" not in terminal.rest().removeprefix(seen)


# In Python


def test_doctor_checks_the_environment(emulator: Emulator) -> None:
    found = yagrpc.doctor()
    assert found.ok
    assert isinstance(found, yagrpc.Diagnosis)
    assert [each.about for each in found.findings] == [
        "folder", "credentials", "discovery", "iam", "model", "operation", "clock",
    ]  # fmt: skip
    assert found.versions["yagrpc"] == yagrpc.__version__
    lines = str(found).splitlines()
    assert lines[0].startswith(f"yagrpc {yagrpc.__version__}; Python ")
    assert "credentials  ok       none: YAGRPC_EMULATOR_HOST is set" in lines
    assert emulator.calls[paths.COMPLETION] == 0


def test_doctor_reports_settings_that_can_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YC_API_KEY", "t1.x")
    found = yagrpc.doctor()
    assert not found.ok
    expected = "YC_API_KEY: the API key has the form of an IAM token: use IamToken(...)"
    assert found.findings == (yagrpc.Finding("settings", "not set", expected),)
    assert str(found).endswith(f"\nsettings     not set  {expected}")


def test_doctor_checks_a_client_and_names_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YC_API_KEY", "AQVNx")
    with Emulator(auth={"Api-Key AQVNy"}) as emulator:
        key = yagrpc.ApiKey("AQVNy")
        with yagrpc.Client(endpoint=emulator.address, plaintext=True, credentials=key) as client:
            found = yagrpc.doctor(client, timeout=20)
            texts = {f"{each.about} {each.state}": each for each in found.findings}
            assert texts["folder not set"].remedy == "set YC_FOLDER_ID, or give folder_id=: models belong to folders"
            assert texts["credentials ok"].text.startswith("ApiKey(...) from credentials=; ")
            assert texts["credentials note"].text == "YC_API_KEY is set, and not used: credentials= is given"
            assert texts["operation ok"].text.endswith("; the address is from endpoint=")
            assert len(client.call(yagrpc.methods.ApiEndpointService.List, List()).endpoints) > 1, "it is not closed"
        found = yagrpc.doctor(client)
        assert {each.state for each in found.findings if each.about in ("model", "operation")} == {"note", "failed"}


@pytest.mark.parametrize(("client", "timeout"), [("x", 5), (None, 0), (None, float("nan")), (None, "5")])
def test_doctor_refuses_wrong_arguments(client: Any, timeout: Any) -> None:
    with pytest.raises(yagrpc.ConfigError, match="client is a str|timeout is"):
        yagrpc.doctor(client, timeout=timeout)

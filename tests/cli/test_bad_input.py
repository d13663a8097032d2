"""Bad input: the documented exit code, one line that says what is wrong, and nothing is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc.emulator import Emulator, EmulatorQuota, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Command

ASKING = ("completion", "stream", "submit")


@pytest.mark.parametrize("name", [*ASKING, "tokenize", "embed"])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "The prompt is missing: give TEXT, '-' for standard input, or --file PATH (see 'yagrpc {} --help')"),
        ([""], "The prompt is empty (see 'yagrpc {} --help')"),
        ([" ", "\n"], "The prompt is empty (see 'yagrpc {} --help')"),
        (["-"], "The prompt is empty (see 'yagrpc {} --help')"),
        (["hi", "--file", "-"], "Give the prompt as TEXT or with --file, not both (see 'yagrpc {} --help')"),
        (["--file", "/nonexistent/prompt"], "/nonexistent/prompt: No such file or directory"),
        (["--file", "/"], "/: Is a directory"),
        (["hi", "--model", "a/b/c"], "--model is 'a/b/c': it takes NAME, NAME/BRANCH, or a whole URI with '://'"),
        (["hi", "--bogus"], "No such option"),
        (["hi", "--timeout", "soon"], "Invalid value for '--timeout': 'soon' is not a valid float (see"),
        (["hi", "--timeout", "nan"], "Invalid value for '--timeout': nan is not a number of seconds from 0"),
        (["hi", "--timeout", "-1"], "Invalid value for '--timeout': -1.0 is not a number of seconds from 0"),
        (["hi", "--timeout", "1e30"], "Invalid value for '--timeout': 1e+30 is not a number of seconds from 0"),
        (["hi", "--folder-id", "a/b"], "--folder-id is 'a/b': a folder id has"),
        (["hi", "--endpoint", "https://x"], "--endpoint is 'https://x': an endpoint is host:port"),
        (["hi", "--endpoint", "192.0.2.1:50051", "--plaintext"], "--endpoint is '192.0.2.1:50051': plaintext goes to"),
        (["hi", "--request-id", "a\nb"], "--request-id is 'a\\nb': it takes printable ASCII text"),
    ],
)
def test_a_wrong_argument_is_reported(
    command: Command, emulator: Emulator, name: str, arguments: list[str], expected: str
) -> None:
    assert command.fails(2, name, *arguments, stdin="").startswith(expected.format(name))
    assert not emulator.calls


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--temperature", "2"], "--temperature is 2.0: it takes a number from 0 to 1"),
        (["--temperature", "nan"], "--temperature is nan: it takes a number from 0 to 1"),
        (["--temperature", "warm"], "Invalid value for '--temperature': 'warm' is not a valid float"),
        (["--max-tokens", "0"], "--max-tokens is 0: it takes a whole number above 0"),
        (["--max-tokens", "1.5"], "Invalid value for '--max-tokens': '1.5' is not a valid integer"),
        (["--reasoning-mode", "loud"], "Invalid value for '--reasoning-mode': 'loud' is not one of"),
        (["--system", ""], "--system is '': it takes a text that is not empty"),
        (["--json-schema", "/nonexistent/schema"], "/nonexistent/schema: No such file or directory"),
        (["--json-schema", "-"], "standard input: not JSON: "),
    ],
)
def test_a_wrong_option_of_the_generation_is_reported(
    command: Command, emulator: Emulator, name: str, arguments: list[str], expected: str
) -> None:
    assert command.fails(2, name, "hi", *arguments, stdin="").startswith(expected)
    assert not emulator.calls


def test_a_schema_and_an_object_exclude_each_other(command: Command, emulator: Emulator) -> None:
    line = command.fails(2, "completion", "hi", "--json-object", "--json-schema", "-", stdin="{}")
    assert "give --json-object or --json-schema, not both" in line
    assert not emulator.calls


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["hi", "--id", "--wait"], "--id prints only the id: remove --wait and --json"),
        (["hi", "--id", "--json"], "--id prints only the id: remove --wait and --json"),
        (["hi", "--request", "-"], "--request is the whole request"),
        (["--request", "-", "--file", "-"], "--request is the whole request"),
        (["--request", "-", "--model", "yandexgpt"], "--request is the whole request"),
        (["--request", "-", "--temperature", "0.5"], "--request is the whole request"),
    ],
)
def test_options_that_exclude_each_other_are_reported(
    command: Command, emulator: Emulator, arguments: list[str], expected: str
) -> None:
    assert command.fails(2, "submit", *arguments, stdin="{}").startswith(expected)
    assert not emulator.calls


def test_a_system_message_needs_a_whole_request(command: Command, emulator: Emulator) -> None:
    assert command.fails(2, "tokenize", "hi", "--system", "x").startswith("--system needs --completion")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "not JSON: Expecting value"),
        ("modelUri: x", "not JSON: Expecting value"),
        ("[]", "a JSON object is needed, not []"),
        ("[" * 100_000, "nested too deeply"),
        ('{"modelUri": "a", "modelUri": "b"}', "not JSON: the key 'modelUri' is given twice"),
        ('{"model": "a"}', 'Message type "yandex.cloud.ai.foundation_models.v1.CompletionRequest" has no field named '),
        ('{"messages": [{"role": "user", "content": "hi"}]}', "messages: Message type"),
        ('{"messages": [5]}', "messages: "),
        ('{"modelUri": 5}', "modelUri: "),
        ('{"modelUri": "\\ud800"}', "modelUri: "),
        ('{"\\ud800": 5}', "it holds half of a surrogate pair"),
        ('{"completionOptions": {"maxTokens": "many"}}', "completionOptions.maxTokens: "),
        ('{"completionOptions": {"temperature": NaN}}', "completionOptions.temperature: "),
        ('{"completionOptions": {"stream": "yes"}}', "completionOptions.stream: "),
    ],
)
def test_a_wrong_request_is_reported_with_file_and_field(
    command: Command, emulator: Emulator, tmp_path: Path, content: str, expected: str
) -> None:
    path = tmp_path / "body.json"
    path.write_text(content)
    assert command.fails(2, "submit", "--request", str(path)).startswith(f"{path}: {expected}")
    assert command.fails(2, "submit", "--request", "-", stdin=content).startswith(f"standard input: {expected}")
    assert not emulator.calls


def test_a_request_that_is_not_utf_8_is_reported(command: Command, emulator: Emulator) -> None:
    line = command.fails(2, "submit", "--request", "-", stdin='{"modelUri": "привет"}'.encode("koi8-r"))
    assert line == "standard input: not UTF-8 at byte 14"
    assert not emulator.calls


@pytest.mark.parametrize("levels", [45, 90, 500])
def test_a_request_that_is_nested_too_deeply_is_reported(command: Command, emulator: Emulator, levels: int) -> None:
    deep = '{"a":' * levels + "1" + "}" * levels
    content = f'{{"jsonSchema": {{"schema": {deep}}}}}'
    line = command.fails(2, "submit", "--request", "-", stdin=content)
    assert line.startswith("standard input: ")
    assert " deep" in line
    assert not emulator.calls


def test_a_schema_that_is_nested_too_deeply_is_reported(command: Command, emulator: Emulator) -> None:
    deep = '{"a":' * 500 + "1" + "}" * 500
    line = command.fails(2, "completion", "hi", "--json-schema", "-", stdin=deep)
    assert line == "standard input: nested too deeply"
    assert not emulator.calls


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"messages": []}, "messages is []: at least one message is needed"),
        ({"messages": [{"role": "boss", "text": "hi"}]}, "messages[0].role is 'boss': it takes one of system, user"),
        ({"messages": [{"role": "user"}]}, "messages[0].text is ''"),
        ({"completionOptions": {"temperature": 2}}, "completion_options.temperature is 2.0: it takes a number from 0"),
        ({"completionOptions": {"maxTokens": "0"}}, "completion_options.max_tokens is 0: it takes a whole number"),
        ({"modelUri": ""}, "model_uri is ''"),
    ],
)
def test_a_request_that_the_service_would_refuse_is_not_sent(
    command: Command, emulator: Emulator, body: Path, changed: dict[str, Any], expected: str
) -> None:
    request = {**json.loads(body.read_text(encoding="utf-8")), **changed}
    assert command.fails(2, "submit", "--request", "-", stdin=json.dumps(request)).startswith(expected)
    assert not emulator.calls


def test_asynchronous_mode_has_no_stream(command: Command, emulator: Emulator, body: Path) -> None:
    request = json.loads(body.read_text(encoding="utf-8"))
    request["completionOptions"]["stream"] = True
    line = command.fails(2, "submit", "--request", "-", stdin=json.dumps(request))
    assert line.startswith("completion_options.stream is True: asynchronous mode has no stream")
    assert not emulator.calls


@pytest.mark.parametrize("name", ["get", "wait", "cancel"])
def test_an_operation_needs_an_id_that_is_known(command: Command, emulator: Emulator, name: str) -> None:
    assert command.fails(2, "operation", name, "").startswith("operation_id is ''")
    assert command.fails(2, "operation", name).startswith(f"Missing argument '{'ID...' if name == 'wait' else 'ID'}'")
    assert not emulator.calls
    assert "d7qnone" in command.fails(1, "operation", name, "d7qnone")


def test_no_credentials_are_reported(command: Command) -> None:
    line = command.fails(2, "completion", "hi", "--folder-id", "b1g")
    assert line.startswith("no credentials: ")
    assert "YC_API_KEY" in line


def test_a_credential_with_a_newline_is_reported_but_not_shown(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YC_API_KEY", "AQVNsecret\n")
    line = command.fails(2, "completion", "hi", "--folder-id", "b1g")
    assert "white space" in line
    assert "secret" not in line


def test_a_short_model_needs_a_folder(command: Command, nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YC_API_KEY", "AQVNsecret")
    line = command.fails(2, "completion", "hi", "--endpoint", nowhere, "--plaintext")
    assert line.startswith("model 'yandexgpt' needs a folder")


def test_plaintext_needs_an_endpoint(command: Command) -> None:
    assert command.fails(2, "tokenize", "hi", "--plaintext").startswith("--plaintext needs --endpoint")


@pytest.mark.parametrize("name", [*ASKING, "tokenize", "embed"])
def test_an_endpoint_that_does_not_answer_is_reported(
    command: Command, nowhere: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("YAGRPC_EMULATOR_HOST", nowhere)
    line = command.fails(1, name, "hi", "--timeout", "1")
    assert line.startswith("UNAVAILABLE: ")
    assert nowhere in line


def test_a_wait_without_an_answer_reports_the_last_failure(
    command: Command, nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YAGRPC_EMULATOR_HOST", nowhere)
    assert command.fails(1, "operation", "get", "d7q", "--timeout", "10").startswith("UNAVAILABLE: ")
    line = command.fails(3, "operation", "wait", "d7q", "--timeout", "0.05")
    assert line.startswith("operation d7q: not done within 0.05 s")
    assert "the last poll failed: UNAVAILABLE" in line


def test_a_call_that_takes_too_long_is_a_timeout(command: Command, slow: Emulator) -> None:
    assert "DEADLINE_EXCEEDED: " in command.fails(3, "completion", "hi", "--timeout", "0.3")


def test_a_quota_that_is_used_up_is_a_timeout(command: Command, emulate: Callable[..., Emulator]) -> None:
    emulate(quota=EmulatorQuota(concurrent_completions=0))
    line = command.fails(3, "completion", "hi", "--timeout", "2")  # connecting is a part of it
    assert line.startswith("no slot under quota.concurrent_completions in 2 s")


def test_a_refusal_is_a_failure(command: Command, emulate: Callable[..., Emulator]) -> None:
    emulate(replies={"hi": Failure(grpc.StatusCode.INVALID_ARGUMENT, "not that")})
    assert command.fails(1, "completion", "hi").startswith("INVALID_ARGUMENT: not that")
    emulate(auth="present")
    assert command.fails(1, "completion", "hi").startswith("UNAUTHENTICATED: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--host", "192.0.2.1"], "the emulator listens on loopback only, not on '192.0.2.1'"),
        (["--port", "70000"], "Invalid value for '--port': 70000 is not in the range"),
        (["--duration", "-1"], "a duration is a number of seconds, 0 or more; got -1.0"),
        (["--duration", "nan"], "a duration is a number of seconds, 0 or more; got nan"),
        (["--auth", "secret"], "Invalid value for '--auth': 'secret' is not one of"),
        (["--quota-model", "leaky"], "Invalid value for '--quota-model': 'leaky' is not one of"),
        (["--recording", "nowhere.json"], "nowhere.json: No such file or directory"),
        (["--replies", "json"], "a reply function is written module:function, not 'json'"),
        (["--replies", "json:"], "a reply function is written module:function, not 'json:'"),
        (["--replies", "nowhere_at_all:f"], "'nowhere_at_all:f' can't be imported: ModuleNotFoundError: No module"),
        (["--replies", "json:nothing"], "'json:nothing': the module json has no function nothing"),
        (["--replies", "json:__doc__"], "'json:__doc__': the module json has no function __doc__"),
    ],
)
def test_a_wrong_option_of_the_emulator_is_reported(command: Command, arguments: list[str], expected: str) -> None:
    assert command.fails(2, "emulator", *arguments).startswith(expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[", "not JSON: Expecting value"),
        ('[{"method": "/a.B/C", "request": {}, "responses": []}]', "entry 1: method: there is no '/a.B/C'"),
        (
            '[{"method": "/yandex.cloud.operation.OperationService/Get", "request": {"id": ""}, "responses": [{}]}]',
            'entry 1: request: Message type "yandex.cloud.operation.GetOperationRequest" has no field named "id"',
        ),
    ],
)
def test_a_file_that_is_not_a_recording_is_reported(
    command: Command, tmp_path: Path, content: str, expected: str
) -> None:
    file = tmp_path / "calls.json"
    file.write_text(content)
    assert command.fails(2, "emulator", "--recording", str(file)).startswith(f"{file}: {expected}")


def test_replies_come_from_one_place(command: Command, tmp_path: Path) -> None:
    (tmp_path / "script.yaml").write_text("replies: {ping: pong}")
    line = command.fails(2, "emulator", "--script", str(tmp_path / "script.yaml"), "--replies", "json:dumps")
    assert line.startswith("replies come from --script or from --replies, not from both")


def test_a_module_of_replies_that_breaks_is_reported(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "breaking_replies.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    line = command.fails(2, "emulator", "--replies", "breaking_replies:answer")
    assert line.startswith("'breaking_replies:answer' can't be imported: ZeroDivisionError: division by zero")


def test_a_wrong_credential_to_accept_is_reported_but_not_shown(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YAGRPC_EMULATOR_ACCEPT", "hush")
    line = command.fails(2, "emulator")
    assert line.startswith("an accepted credential is written as it is sent")
    assert "hush" not in line


def test_an_unknown_command_is_reported(command: Command) -> None:
    assert command.fails(2, "bogus") == "No such command 'bogus' (see 'yagrpc --help')"
    assert command.fails(2, "operation", "bogus") == "No such command 'bogus' (see 'yagrpc operation --help')"

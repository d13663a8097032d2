"""`completion`, `stream`, `submit` and `tokenize`: what they send, and what they print."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc import _pb
from yagrpc.emulator import Emulator, paths

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Responses

Response = _pb.text_generation_service_pb2.CompletionResponse
Alternative = _pb.text_common_pb2.Alternative


def sent(emulator: Emulator) -> Any:
    return emulator.requests[-1].request


def saying(text: str, status: int = Alternative.ALTERNATIVE_STATUS_PARTIAL) -> Any:
    message = _pb.text_common_pb2.Message(role="assistant", text=text)
    return Response(alternatives=[Alternative(message=message, status=status)])  # type: ignore[arg-type]


def test_completion_prints_the_text(command: Command, emulator: Emulator) -> None:
    out = command.done("completion", "To be,", "or not", "--system", "Translate")
    assert out.startswith('You wrote: "To be, or not".')
    assert out.endswith("\n")
    assert [message.text for message in sent(emulator).messages] == ["Translate", "To be, or not"]


def test_what_is_not_given_is_not_sent(command: Command, emulator: Emulator) -> None:
    command.done("completion", "hi")
    options = sent(emulator).completion_options
    assert options == _pb.text_common_pb2.CompletionOptions()


def test_options_of_the_generation_are_sent(command: Command, emulator: Emulator, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    options = ["--model", "yandexgpt/rc", "--temperature", "0.5", "--max-tokens", "7", "--json-schema", str(schema)]
    command("completion", "hi", "--folder-id", "b1g", "--reasoning-mode", "enabled_hidden", *options)
    request = sent(emulator)
    assert request.model_uri == "gpt://b1g/yandexgpt/rc"
    assert request.completion_options.temperature.value == 0.5
    assert request.completion_options.max_tokens.value == 7
    hidden = _pb.text_common_pb2.ReasoningOptions.ENABLED_HIDDEN
    assert request.completion_options.reasoning_options.mode == hidden
    assert request.json_schema.schema.fields["type"].string_value == "object"
    command.done("completion", "hi", "--json-object")
    assert sent(emulator).json_object is True


def test_options_of_the_call_are_sent(command: Command, emulator: Emulator) -> None:
    command.done("completion", "hi", "--request-id", "mine", "--no-data-logging", "--timeout", "20")
    metadata = dict(emulator.requests[-1].metadata)
    assert metadata["x-client-request-id"] == "mine"
    assert metadata["x-data-logging-enabled"] == "false"


def test_endpoints_are_used(command: Command, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YAGRPC_EMULATOR_HOST")
    monkeypatch.setenv("YC_API_KEY", "AQVNsecret")
    where = ["--endpoint", emulator.address, "--operation-endpoint", emulator.address, "--plaintext"]
    command.done("completion", "hi", "--folder-id", "b1g", *where)
    assert dict(emulator.requests[-1].metadata)["authorization"] == "Api-Key AQVNsecret"


@pytest.mark.parametrize("text", ["из файла\n", "из файла\r\n", "из файла", "\N{BYTE ORDER MARK}из файла"])
def test_a_prompt_comes_from_a_file_or_from_standard_input(
    command: Command, emulator: Emulator, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "prompt.txt"
    path.write_bytes(text.encode())
    for source in (["--file", str(path)], ["-"], ["--file", "-"]):
        command.done("completion", *source, stdin=text.encode())
        assert [message.text for message in sent(emulator).messages] == ["из файла"]


def test_completion_prints_the_response_as_json(command: Command, emulator: Emulator) -> None:
    out = json.loads(command.done("completion", "привет", "--json"))
    (alternative,) = out["alternatives"]
    assert alternative["status"] == "ALTERNATIVE_STATUS_FINAL"
    assert "привет" in alternative["message"]["text"]
    assert int(out["usage"]["totalTokens"]) > 0


UNFINISHED = {
    Alternative.ALTERNATIVE_STATUS_TRUNCATED_FINAL: "the answer was cut off at its limit of tokens; tokens used: 0",
    Alternative.ALTERNATIVE_STATUS_CONTENT_FILTER: "the service's content filter stopped the answer; tokens used: 0",
    Alternative.ALTERNATIVE_STATUS_PARTIAL: "the service's stream ended before the answer was finished",
}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "command_line", [("completion", "hi"), ("stream", "hi"), ("submit", "hi", "--wait"), ("wait",)]
)
@pytest.mark.parametrize("status", UNFINISHED)
def test_an_answer_that_is_not_finished_is_printed_and_fails(
    command: Command, emulate: Callable[..., Emulator], status: Any, command_line: tuple[str, ...], as_json: bool
) -> None:
    emulate(duration=0, replies={"hi": saying("To be", status)})
    accepted = ""
    if command_line == ("wait",):
        command_line = ("operation", "wait", command.done("submit", "hi", "--id").strip())
    elif command_line[0] == "submit":
        accepted = r"yagrpc: operation \w+ accepted\n"
    ran = command(*command_line, *(["--json"] if as_json else []))
    assert ran.code == 1
    assert ('"text": "To be"' in ran.out) if as_json else (ran.out == "To be\n")
    assert re.fullmatch(rf"{accepted}yagrpc: {re.escape(UNFINISHED[status])}.*\n", ran.err)


def test_stream_gives_a_pipe_the_text_as_it_grows(command: Command, emulator: Emulator) -> None:
    streamed = command.done("stream", "hi there")
    assert streamed == command.done("completion", "hi there")
    assert emulator.calls[paths.COMPLETION] == 2


def test_stream_prints_every_message_as_json(command: Command, emulator: Emulator) -> None:
    lines = [json.loads(line) for line in command.done("stream", "hi there", "--json").splitlines()]
    texts = [line["alternatives"][0]["message"]["text"] for line in lines]
    assert len(texts) > 2
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert lines[-1]["alternatives"][0]["status"] == "ALTERNATIVE_STATUS_FINAL"


def test_stream_gives_a_pipe_a_revised_text_again(command: Command, scripted: Callable[[Responses], None]) -> None:
    def revised(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield saying("To be")
        yield saying("To be, or")
        yield saying("To sleep")
        yield saying("To sleep.", Alternative.ALTERNATIVE_STATUS_FINAL)

    scripted(revised)
    ran = command("stream", "hi")
    assert (ran.code, ran.out) == (0, "To be, or\nTo sleep.\n")


def test_a_stream_that_breaks_keeps_what_came(command: Command, scripted: Callable[[Responses], None]) -> None:
    def broken(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield saying("To be")
        context.abort(grpc.StatusCode.INTERNAL, "out of\nluck")

    scripted(broken)
    ran = command("stream", "hi")
    assert (ran.code, ran.out) == (1, "To be\n")
    assert ran.err.startswith("yagrpc: INTERNAL: out of luck")
    assert ran.err.count("\n") == 1


def test_a_stream_without_a_message_is_a_failure(command: Command, scripted: Callable[[Responses], None]) -> None:
    scripted(lambda request, context: iter(()))
    assert "without a completion" in command.fails(1, "stream", "hi")
    assert "without a completion" in command.fails(1, "completion", "hi")


def test_submit_prints_the_operation_as_the_rest_guide_does(command: Command, slow: Emulator) -> None:
    operation = json.loads(command.done("submit", "hi"))
    assert list(operation) == ["id", "description", "createdAt", "createdBy", "modifiedAt", "done"]
    assert operation["description"] == "Async GPT Completion"
    assert operation["done"] is False
    assert slow.calls == {paths.COMPLETION_ASYNC: 1}


def test_submit_prints_only_the_id(command: Command, slow: Emulator) -> None:
    operation_id = command.done("submit", "hi", "--id").removesuffix("\n")
    assert json.loads(command.done("operation", "get", operation_id, "--json"))["id"] == operation_id


def test_submit_takes_the_body_of_the_rest_guide(command: Command, emulator: Emulator, body: Path) -> None:
    for source, stdin in ((str(body), None), ("-", body.read_text(encoding="utf-8"))):
        command.done("submit", "--request", source, stdin=stdin)
        request = sent(emulator)
        assert request.model_uri == "gpt://b1g/yandexgpt/latest"
        assert request.completion_options.max_tokens.value == 2000
        assert request.completion_options.temperature.value == 0.1
        assert [message.role for message in request.messages] == ["system", "user"]


@pytest.mark.parametrize("by_request", [False, True])
def test_submit_waits_for_the_text(command: Command, emulator: Emulator, body: Path, by_request: bool) -> None:
    source = ["--request", str(body)] if by_request else ["To be, or not to be"]
    ran = command("submit", *source, "--wait", "--timeout", "30")
    assert ran.code == 0
    assert ran.out.startswith('You wrote: "To be, or not to be".')
    operation_id = ran.err.removeprefix("yagrpc: operation ").removesuffix(" accepted\n")
    assert command.done("operation", "wait", operation_id) == ran.out


def test_submit_waits_for_the_whole_operation(command: Command, emulator: Emulator) -> None:
    ran = command("submit", "hi", "--wait", "--json")
    operation = json.loads(ran.out)
    assert operation["done"] is True
    assert operation["response"]["@type"].endswith("CompletionResponse")
    assert operation["response"]["alternatives"][0]["message"]["text"].startswith('You wrote: "hi"')


def test_tokenize_counts(command: Command, emulator: Emulator) -> None:
    alone = int(command.done("tokenize", "hello", "world"))
    whole = int(command.done("tokenize", "hello world", "--completion"))
    with_system = int(command.done("tokenize", "hello world", "--completion", "--system", "Translate"))
    assert 0 < alone < whole < with_system
    assert len(json.loads(command.done("tokenize", "hello world", "--json"))["tokens"]) == alone

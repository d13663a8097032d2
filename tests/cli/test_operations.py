"""`operation get`, `wait` and `cancel`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc
import pytest

import yagrpc
from yagrpc import _pb
from yagrpc.cli.io.render import operation_json, to_json
from yagrpc.emulator import Emulator, Failure, paths

if TYPE_CHECKING:
    from tests.cli.conftest import Command

Operation = _pb.operation_pb2.Operation

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def submitted(command: Command, text: str = "hi") -> str:
    return command.done("submit", text, "--id").rstrip("\n")


def test_get_prints_the_state_of_an_operation_in_one_line(command: Command, slow: Emulator) -> None:
    operation_id = submitted(command)
    line = command.done("operation", "get", operation_id, "--timeout", "20")
    expected = rf"{operation_id}  running  created {TIME}  modified {TIME}  Async GPT Completion\n"
    assert re.fullmatch(expected, line)
    slow.advance(3600)
    assert f"{operation_id}  succeeded  " in command.done("operation", "get", operation_id)
    assert slow.calls[paths.OPERATION_GET] == 2


def test_get_prints_what_the_rest_api_answers(command: Command, slow: Emulator) -> None:
    operation_id = submitted(command)
    before = json.loads(command.done("operation", "get", operation_id, "--json"))
    assert before["done"] is False
    slow.advance(3600)
    after = json.loads(command.done("operation", "get", operation_id, "--json"))
    assert after["done"] is True
    assert after["response"]["@type"] == ("type.googleapis.com/yandex.cloud.ai.foundation_models.v1.CompletionResponse")
    assert after["response"]["usage"]["inputTextTokens"].isdigit()


def test_wait_prints_the_text(command: Command, emulator: Emulator) -> None:
    assert command.done("operation", "wait", submitted(command)).startswith('You wrote: "hi".')


def test_wait_ends_with_its_timeout(command: Command, slow: Emulator) -> None:
    operation_id = submitted(command)
    line = command.fails(3, "operation", "wait", operation_id, "--timeout", "0")
    assert line.startswith(f"operation {operation_id}: not done within 0 s")


def test_cancel_ends_an_operation(command: Command, slow: Emulator) -> None:
    operation_id = submitted(command)
    line = command.done("operation", "cancel", operation_id)
    assert line.startswith(f"{operation_id}  cancelled  ")
    assert line.endswith("CANCELLED: The operation was cancelled\n")
    assert json.loads(command.done("operation", "cancel", operation_id, "--json"))["error"]["code"] == 1
    assert "cancelled" in command.fails(1, "operation", "wait", operation_id)


def test_a_failed_operation_is_shown_and_fails_the_wait(command: Command, emulate: Callable[..., Emulator]) -> None:
    detail = _pb.error_details_pb2.RequestInfo(request_id="abc")
    failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "no such\nmodel", (detail,))
    emulate(duration=0, replies={"hi": failure})
    operation_id = submitted(command)
    assert command.done("operation", "get", operation_id).endswith("  INVALID_ARGUMENT: no such model\n")
    expected = f"operation {operation_id} failed: INVALID_ARGUMENT: no such model"
    assert command.fails(1, "operation", "wait", operation_id) == expected
    ran = command("operation", "wait", operation_id, "--json")
    assert (ran.code, ran.err) == (1, f"yagrpc: {expected}\n")
    error = json.loads(ran.out)["error"]
    info = {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "abc"}
    assert error == {"code": 3, "message": "no such\nmodel", "details": [info]}


def test_a_status_without_a_name_is_shown_as_its_number(command: Command, emulate: Callable[..., Emulator]) -> None:
    emulate(duration=0, replies={"hi": _pb.status_pb2.Status(code=99, message="new")})
    assert command.done("operation", "get", submitted(command)).endswith("  99: new\n")


def test_an_answer_of_tool_calls_is_noted(command: Command, emulate: Callable[..., Emulator]) -> None:
    common = _pb.text_common_pb2
    calls = common.ToolCallList(tool_calls=[common.ToolCall(function_call=common.FunctionCall(name="f"))])
    message = common.Message(role="assistant", tool_call_list=calls)
    alternative = common.Alternative(message=message, status=common.Alternative.ALTERNATIVE_STATUS_TOOL_CALLS)
    reply = _pb.text_generation_service_pb2.CompletionResponse(alternatives=[alternative])
    emulate(duration=0, replies={"hi": reply})
    ran = command("operation", "wait", submitted(command))
    assert (ran.code, ran.out) == (0, "\n")
    assert ran.err == "yagrpc: note: the answer is tool calls, not text; --json prints them\n"


def test_an_answer_without_a_result_is_a_failure(command: Command, emulate: Callable[..., Emulator]) -> None:
    emulate(duration=0, replies={"hi": _pb.text_generation_service_pb2.CompletionResponse()})
    operation_id = submitted(command)
    assert "has no alternatives" in command.fails(1, "operation", "wait", operation_id)
    out = json.loads(command.done("operation", "wait", operation_id, "--json"))
    assert list(out["response"]) == ["@type"]


def test_an_operation_of_a_known_type_is_unpacked() -> None:
    operation = Operation(id="fbv1", done=True)
    operation.response.Pack(_pb.image_generation_service_pb2.ImageGenerationResponse(image=b"png"))
    operation.metadata.Pack(_pb.duration_pb2.Duration(seconds=5))
    assert to_json(operation) == {
        "id": "fbv1",
        "done": True,
        "metadata": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "5s"},
        "response": {
            "@type": "type.googleapis.com/yandex.cloud.ai.foundation_models.v1.image_generation."
            "ImageGenerationResponse",
            "image": "cG5n",
        },
    }


def test_a_value_that_json_can_not_express_is_reported() -> None:
    operation = Operation(id="d7q")
    operation.created_at.seconds = 2**60
    with pytest.raises(yagrpc.OperationResultError, match="d7q: the service's answer can't be written as JSON"):
        operation_json(operation)
    struct = _pb.struct_pb2.Struct()
    struct.fields["x"].number_value = math.inf
    with pytest.raises(yagrpc.ResultError, match="the answer can't be written as JSON"):
        to_json(struct)


@pytest.mark.parametrize("value", [b"\x0a\x01x", b"\xff"])
def test_an_operation_of_an_unknown_type_keeps_its_bytes(value: bytes) -> None:
    operation = Operation(id="x", done=True)
    operation.response.type_url = "type.googleapis.com/yandex.cloud.New"
    operation.response.value = value
    assert operation_json(operation)["response"]["@type"] == "type.googleapis.com/yandex.cloud.New"
    assert isinstance(operation_json(operation)["response"]["value"], str)

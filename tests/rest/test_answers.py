"""Messages and statuses as JSON, in the service's form."""

from __future__ import annotations

import json

import grpc
import pytest

from yagrpc import _pb
from yagrpc.rest import HTTP_STATUS, error_object, status_object, to_json

OPERATION = {
    "id": "d7qo21o5fj1u3a0123ab",
    "description": "Async GPT Completion",
    "created_at": _pb.timestamp_pb2.Timestamp(seconds=1701369092),
    "created_by": "ajeb9l33h6mu9l13abcd",
    "modified_at": _pb.timestamp_pb2.Timestamp(seconds=1701369092),
}


def completion() -> _pb.text_generation_service_pb2.CompletionResponse:
    """The answer that the guide prints, but for its words."""
    response = _pb.text_generation_service_pb2.CompletionResponse(model_version="18.01.2024")
    response.alternatives.add(message={"role": "assistant", "text": "To be"}, status=3)
    response.usage.input_text_tokens, response.usage.completion_tokens, response.usage.total_tokens = 31, 10, 41
    return response


def test_an_operation_that_runs_has_all_its_fields_in_the_guides_order() -> None:
    assert json.dumps(to_json(_pb.operation_pb2.Operation(**OPERATION)), separators=(",", ":")) == (  # type: ignore[arg-type]
        '{"id":"d7qo21o5fj1u3a0123ab","description":"Async GPT Completion","createdAt":"2023-11-30T18:31:32Z",'
        '"createdBy":"ajeb9l33h6mu9l13abcd","modifiedAt":"2023-11-30T18:31:32Z","done":false,"metadata":null}'
    )


def test_an_operation_that_is_done_begins_with_its_result() -> None:
    operation = _pb.operation_pb2.Operation(**OPERATION, done=True)  # type: ignore[arg-type]
    operation.response.Pack(completion())
    assert json.dumps(to_json(operation), separators=(",", ":")) == (
        '{"done":true,"response":{"@type":"type.googleapis.com/yandex.cloud.ai.foundation_models.v1.CompletionResponse",'
        '"alternatives":[{"message":{"role":"assistant","text":"To be"},"status":"ALTERNATIVE_STATUS_FINAL"}],'
        '"usage":{"inputTextTokens":"31","completionTokens":"10","totalTokens":"41"},"modelVersion":"18.01.2024"},'
        '"id":"d7qo21o5fj1u3a0123ab","description":"Async GPT Completion","createdAt":"2023-11-30T18:31:32Z",'
        '"createdBy":"ajeb9l33h6mu9l13abcd","modifiedAt":"2023-11-30T18:31:32Z"}'
    )


def test_an_operation_that_failed_has_its_error_as_a_status() -> None:
    operation = _pb.operation_pb2.Operation(id="d7q", done=True)
    operation.error.code, operation.error.message = 3, "too long"
    shown = to_json(operation)
    assert list(shown)[:2] == ["done", "error"]
    assert shown["error"] == {"code": 3, "message": "too long", "details": []}
    assert "response" not in shown
    assert "metadata" not in shown


def test_the_metadata_of_an_operation_are_shown_where_they_are_set() -> None:
    operation = _pb.operation_pb2.Operation(id="d7q", done=True)
    operation.metadata.Pack(_pb.timestamp_pb2.Timestamp(seconds=5))
    shown = to_json(operation)["metadata"]
    assert shown == {"@type": "type.googleapis.com/google.protobuf.Timestamp", "value": "1970-01-01T00:00:05Z"}


@pytest.mark.parametrize("value", [b"\x0a\x01a", b"\xff"])
def test_a_result_of_an_unknown_type_is_its_bytes(value: bytes) -> None:
    operation = _pb.operation_pb2.Operation(id="d7q", done=True)
    operation.response.type_url, operation.response.value = "type.googleapis.com/a.B", value
    assert to_json(operation)["response"]["@type"] == "type.googleapis.com/a.B"


def test_a_result_that_is_garbage_is_its_bytes() -> None:
    operation = _pb.operation_pb2.Operation(id="d7q", done=True)
    operation.response.Pack(completion())
    operation.response.value = b"\xff\xff"
    assert to_json(operation)["response"]["value"] == "//8="


def test_a_field_with_its_default_is_written() -> None:
    response = _pb.text_generation_service_pb2.CompletionResponse()
    response.usage.input_text_tokens = 3
    assert to_json(response) == {
        "alternatives": [],
        "usage": {"inputTextTokens": "3", "completionTokens": "0", "totalTokens": "0"},
        "modelVersion": "",
    }


def test_errors_of_the_models_have_another_form_than_those_of_operations() -> None:
    status = _pb.status_pb2.Status(code=3, message="bad")
    status.details.add().Pack(_pb.error_details_pb2.RequestInfo(request_id="r"))
    detail = {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r", "servingData": ""}
    assert error_object(status, grpc.StatusCode.INVALID_ARGUMENT) == {
        "error": {
            "grpcCode": 3,
            "httpCode": 400,
            "message": "bad",
            "httpStatus": "Bad Request",
            "details": [detail],
        }
    }
    assert status_object(status) == {"code": 3, "message": "bad", "details": [detail]}


def test_every_code_has_an_http_status_and_a_reason() -> None:
    assert set(HTTP_STATUS) == set(grpc.StatusCode)
    for code in grpc.StatusCode:
        shown = error_object(_pb.status_pb2.Status(code=code.value[0]), code)["error"]
        assert shown["httpStatus"]
        assert shown["httpCode"] == HTTP_STATUS[code]

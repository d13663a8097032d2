"""Messages and statuses as JSON, in the form in which the service gives them.

What is known of that form is in the guide's printed answers: an operation that runs has all its fields, in the order of
the proto, with `"done": false` and `"metadata": null`; one that is done begins with `done` and its result, and has no
`metadata`. 64-bit integers are texts. Chosen: every other field without presence is written, also where it has its
default, since the guide's `"done": false` is written.
"""

from __future__ import annotations

import base64
import functools
import http
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from yagrpc import _pb

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["HTTP_STATUS", "error_object", "status_object", "to_json"]

HTTP_STATUS: Final = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""The HTTP status of each gRPC status. Source: the error table of the cloud's documentation; for the codes that it does
not list, the table of google.rpc.Code."""

_REASONS: Final = {499: "Client Closed Request"}
"""Of statuses that HTTP does not define."""


_load_messages: Final = functools.cache(_pb.load_messages)
"""Once: it goes through all modules."""


def to_json(message: Message) -> dict[str, Any]:
    """A message as a JSON object, in the service's form.

    Args:
        message: A message of ours.
    """
    return _operation(message) if isinstance(message, _pb.operation_pb2.Operation) else _dict(message)


def status_object(status: _pb.status_pb2.Status) -> dict[str, Any]:
    """A status as the operation service, IAM and discovery give it: `google.rpc.Status` as JSON."""
    return {"code": status.code, "message": status.message, "details": [_any(detail) for detail in status.details]}


def error_object(status: _pb.status_pb2.Status, code: grpc.StatusCode, number: int | None = None) -> dict[str, Any]:
    """A status as the models give it: `{"error": {"grpcCode": 3, "httpCode": 400, ...}}`.

    Args:
        status: The status.
        code: Its code.
        number: The HTTP status, where it is not that of the code.
    """
    number = HTTP_STATUS[code] if number is None else number
    return {
        "error": {
            "grpcCode": status.code,
            "httpCode": number,
            "message": status.message,
            "httpStatus": _REASONS.get(number) or http.HTTPStatus(number).phrase,
            "details": [_any(detail) for detail in status.details],
        }
    }


def _operation(operation: _pb.operation_pb2.Operation) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if operation.HasField("response"):
        fields["response"] = _any(operation.response)
    elif operation.HasField("error"):
        fields["error"] = status_object(operation.error)
    metadata = _any(operation.metadata) if operation.HasField("metadata") else None
    rest = _pb.operation_pb2.Operation()
    rest.CopyFrom(operation)
    for name in ("response", "error", "metadata", "done"):
        rest.ClearField(name)
    described = _dict(rest)
    del described["done"]
    if not operation.done:
        return {**described, "done": False, **fields, "metadata": metadata}
    return {"done": True, **fields, **described, **({} if metadata is None else {"metadata": metadata})}


def _any(value: Any) -> dict[str, Any]:
    """What an `Any` contains; of a type that is not ours, its bytes."""
    _load_messages()
    try:
        return _dict(value)
    except (TypeError, DecodeError):
        return {"@type": value.type_url, "value": base64.b64encode(value.value).decode()}


def _dict(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = json_format.MessageToDict(
        message, always_print_fields_with_no_presence=True, descriptor_pool=_pb.POOL
    )
    return found

"""Messages of the service as JSON, and an operation as one line for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from yagrpc.errors import Code, OperationResultError, ResultError
from yagrpc.foreign import cleaned

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc import Operation, _pb

__all__ = ["operation_json", "summary", "to_json"]

_LONGEST: Final = 1000
"""Characters of a description, or of a message, in the one line of an operation."""


def to_json(message: Message) -> dict[str, Any]:
    """A message as proto JSON: the body that the service's REST API would answer with.

    Raises:
        ResultError: The message has a value that JSON can't express, such as an infinite number.
    """
    from google.protobuf import json_format

    from yagrpc import _pb

    if isinstance(message, _pb.operation_pb2.Operation):
        return operation_json(message)
    try:
        plain: dict[str, Any] = json_format.MessageToDict(message, descriptor_pool=_pb.POOL)
    except (json_format.Error, TypeError, ValueError, RecursionError) as error:
        raise ResultError(f"the answer can't be written as JSON: {error}") from error
    return plain


def operation_json(proto: _pb.operation_pb2.Operation) -> dict[str, Any]:
    """An operation as the service's REST API shows it: proto JSON, with `done` even if it is false.

    A response of an unknown type, or one that JSON can't express, is shown as its bytes in base64.

    Raises:
        OperationResultError: A time of the operation is out of range.
    """
    from google.protobuf import json_format

    from yagrpc import _pb
    from yagrpc._core.failure.details import any_json, status_details

    head = _pb.operation_pb2.Operation()
    head.CopyFrom(proto)
    for field in ("metadata", "error", "response"):
        head.ClearField(field)
    try:
        plain: dict[str, Any] = {**json_format.MessageToDict(head), "done": proto.done}
    except (json_format.Error, ValueError) as error:
        raise OperationResultError(proto.id, f"the service's answer can't be written as JSON: {error}") from error
    if proto.HasField("metadata"):
        plain["metadata"] = any_json(proto.metadata)
    if proto.HasField("error"):
        details = list(status_details(proto.error.details))
        plain["error"] = {"code": proto.error.code, "message": proto.error.message, "details": details}
    if proto.HasField("response"):
        plain["response"] = any_json(proto.response)
    return plain


def summary(operation: Operation[Any]) -> str:
    """An operation in one line: id, status, times (UTC), and its description or its error."""
    parts = [operation.id, operation.status.value]
    for name, moment in (("created", operation.created_at), ("modified", operation.modified_at)):
        if moment is not None:
            parts.append(f"{name} {moment:%Y-%m-%dT%H:%M:%SZ}")
    if operation.proto.HasField("error"):
        code = Code.of(operation.proto.error.code)
        name = code.name if isinstance(code, Code) else str(code)
        parts.append(f"{name}: {cleaned(operation.proto.error.message[:_LONGEST])}")
    elif operation.description:
        parts.append(cleaned(operation.description[:_LONGEST]))
    return "  ".join(parts)

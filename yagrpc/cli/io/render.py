"""What the service says, as JSON and as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yagrpc.errors import Code, OperationResultError, ResultError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc import Operation, _pb

__all__ = ["operation_json", "summary", "to_json"]


def to_json(message: Message) -> dict[str, Any]:
    """A message as proto JSON: the body that the service's REST API would answer with.

    Raises:
        ResultError: It holds what JSON has no form for, e.g. a number that is infinite.
    """
    from google.protobuf import json_format

    from yagrpc import _pb

    if isinstance(message, _pb.operation_pb2.Operation):
        return operation_json(message)
    try:
        plain: dict[str, Any] = json_format.MessageToDict(message, descriptor_pool=_pb.POOL)
    except (json_format.Error, TypeError, ValueError) as error:
        raise ResultError(f"the answer has no form in JSON: {error}") from error
    return plain


def operation_json(proto: _pb.operation_pb2.Operation) -> dict[str, Any]:
    """An operation as the service's REST API shows it: proto JSON, with `done` also where it is false.

    A response that is of no known type, or has no form in JSON, keeps its bytes, in base64.

    Raises:
        OperationResultError: A time of it is none.
    """
    from google.protobuf import json_format

    from yagrpc import _pb
    from yagrpc._core.rpc_errors import status_details

    head = _pb.operation_pb2.Operation()
    head.CopyFrom(proto)
    for field in ("metadata", "error", "response"):
        head.ClearField(field)
    try:
        plain: dict[str, Any] = {**json_format.MessageToDict(head), "done": proto.done}
    except (json_format.Error, ValueError) as error:
        raise OperationResultError(proto.id, f"it has no form in JSON: {error}") from error
    if proto.HasField("metadata"):
        (plain["metadata"],) = status_details([proto.metadata])
    if proto.HasField("error"):
        details = list(status_details(proto.error.details))
        plain["error"] = {"code": proto.error.code, "message": proto.error.message, "details": details}
    if proto.HasField("response"):
        (plain["response"],) = status_details([proto.response])
    return plain


def summary(operation: Operation[Any]) -> str:
    """An operation in one line: id, status, times (UTC), what it is or how it failed."""
    told = [operation.id, operation.status.value]
    for name, moment in (("created", operation.created_at), ("modified", operation.modified_at)):
        if moment is not None:
            told.append(f"{name} {moment:%Y-%m-%dT%H:%M:%SZ}")
    if operation.proto.HasField("error"):
        code = Code.of(operation.proto.error.code)
        name = code.name if isinstance(code, Code) else str(code)
        told.append(f"{name}: {' '.join(operation.proto.error.message.split())}")
    elif operation.description:
        told.append(operation.description)
    return "  ".join(told)

"""What operations resolve to, by the method that makes them or by what their caller says.

Rules: protos are imported at the first use, not with the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from yagrpc.errors import RequestError
from yagrpc.method import OperationMethod

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc._core.operation.view import ResultType

MessageT = TypeVar("MessageT", bound="Message")


def result_type_of(method: OperationMethod[Any, MessageT, Any]) -> ResultType[MessageT]:
    """What a method's operations resolve to: its response message itself."""
    from yagrpc._core.operation.view import ResultType  # with the protos, at the first use

    return ResultType(method.response_type, itself, method.metadata_type)


def attached_type(target: type[Message] | OperationMethod[Any, Any, Any]) -> ResultType[Any]:
    """What an operation that is attached by its id is declared to resolve to.

    Raises:
        RequestError: It is neither a message class nor a long-running method.
    """
    from yagrpc._core.operation.view import ResultType

    if isinstance(target, OperationMethod):
        return result_type_of(target)
    if hasattr(target, "DESCRIPTOR") and isinstance(target, type):
        return ResultType(target, itself)
    raise RequestError("result", target, "it takes a message class, or a long-running method of yagrpc.methods")


def itself(message: Any) -> Any:
    """What is made of a message where the message is what the caller gets."""
    return message

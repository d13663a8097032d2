"""What operations resolve to, by the method that makes them or by what their caller says, and with which error.

Rules: a result's type is checked by its full name, so that a message generated into any package is unpacked alike.
Protos are imported at the first use, not with the client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from yagrpc.errors import (
    Code,
    OperationCancelledError,
    OperationFailedError,
    OperationResultError,
    RequestError,
    ResultError,
    YagrpcError,
)
from yagrpc.foreign import cleaned, identifier
from yagrpc.hiding import without_secrets
from yagrpc.method import OperationMethod

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc import _pb

ResultT = TypeVar("ResultT")
MessageT = TypeVar("MessageT", bound="Message")


class ResultType(Generic[ResultT]):
    """What an operation resolves to.

    Args:
        message: The class of the message in the operation's `response`.
        wrap: Makes the result of such a message.
        metadata: The class of the operation's metadata, where that is declared.
        check: Raises a `ResultError` for a result that is refused under `strict`.
        strict: Whether results are checked where a wait does not say.
    """

    __slots__ = ("_check", "message", "metadata", "strict", "wrap")

    def __init__(
        self,
        message: type[Message],
        wrap: Callable[[Any], ResultT],
        metadata: type[Message] | None = None,
        *,
        check: Callable[[ResultT], None] | None = None,
        strict: bool = False,
    ) -> None:
        self.message = message
        self.wrap = wrap
        self.metadata = metadata
        self._check = check
        self.strict = strict

    def check_strict(self, strict: object) -> None:
        """Check what a wait was given as `strict`.

        Raises:
            RequestError: It is neither `True`, `False` nor `None`, or nothing can be checked in these results.
        """
        if strict is not None and not isinstance(strict, bool):
            raise RequestError("strict", strict, "it takes True or False, or None for what the submit was given")
        if strict and self._check is None:
            raise RequestError("strict", strict, "it takes True for the completions of completion_async() only")

    def check(self, result: ResultT, operation_id: str, strict: bool | None) -> None:
        """Check a result, if it is to be checked.

        Args:
            result: The result.
            operation_id: The operation that it is of.
            strict: What the wait was given; `None` for nothing.

        Raises:
            ResultError: It is not finished.
        """
        if self._check is None or not (self.strict if strict is None else strict):
            return
        try:
            self._check(result)
        except ResultError as error:
            error.with_context(operation_id=operation_id)
            raise

    def unpack(self, operation: _pb.operation_pb2.Operation) -> ResultT:
        """The result of an operation that is done.

        Raises:
            OperationFailedError: It ended with an error.
            OperationCancelledError: It was cancelled.
            OperationResultError: It has no result, or one of another type.
        """
        outcome = operation.WhichOneof("result")
        if outcome == "error":
            raise _failure(operation)
        if outcome is None:
            raise OperationResultError(operation.id, "it is done, with neither a result nor an error")
        wanted = self.message.DESCRIPTOR.full_name
        given = identifier(operation.response.type_url.rpartition("/")[2])
        if given != wanted:
            raise OperationResultError(operation.id, f"its result is a {given or 'message of no type'}, not a {wanted}")
        try:
            message = self.message.FromString(operation.response.value)
        except Exception as error:  # protobuf's DecodeError; where protobuf is pure Python, others as well
            raise OperationResultError(operation.id, f"its {wanted} does not parse: {error}") from error
        try:
            return self.wrap(message)
        except ResultError as error:
            raise OperationResultError(operation.id, str(error)) from error


def result_type_of(method: OperationMethod[Any, MessageT, Any]) -> ResultType[MessageT]:
    """What a method's operations resolve to: its response message itself."""
    return ResultType(method.response_type, itself, method.metadata_type)


def attached_type(target: type[Message] | OperationMethod[Any, Any, Any]) -> ResultType[Any]:
    """What an operation that is attached by its id is declared to resolve to.

    Raises:
        RequestError: It is neither a message class nor a long-running method.
    """
    if isinstance(target, OperationMethod):
        return result_type_of(target)
    if hasattr(target, "DESCRIPTOR") and isinstance(target, type):
        return ResultType(target, itself)
    raise RequestError("result", target, "it takes a message class, or a long-running method of yagrpc.methods")


def itself(message: Any) -> Any:
    """The message itself, where that is what the caller gets."""
    return message


def _failure(operation: _pb.operation_pb2.Operation) -> YagrpcError:
    error = operation.error
    message = without_secrets(cleaned(error.message)) or "no message"
    if error.code == Code.CANCELLED:
        return OperationCancelledError(operation.id, f"cancelled: {message}")
    from yagrpc._core.failure.details import status_details  # most operations succeed

    details = status_details(error.details)
    return OperationFailedError(operation.id, message, code=Code.of(error.code), details=details)

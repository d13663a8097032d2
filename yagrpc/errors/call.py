"""The errors of one call: a class for each status of gRPC, and one for a message that is too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from yagrpc.errors.base import Detail, YagrpcError, code_name
from yagrpc.errors.code import Code

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc.errors.base import Context

__all__ = [
    "CALL_ERRORS",
    "AbortedError",
    "AlreadyExistsError",
    "CallCancelledError",
    "CallError",
    "DataLossError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "MessageTooLargeError",
    "NotFoundError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
]


class CallError(YagrpcError):
    """The service refused one call, or the call did not reach it.

    Args:
        message: The message of the status.
        details: The status's details as proto JSON, each with its `@type`.
        retry_after: Seconds after which the service asks for the next attempt; below 0 for never, `None` where the
            service did not say.
        **context: As for any `YagrpcError`; the number of attempts is 1 where it is left out.
    """

    code: Code = Code.UNKNOWN  # pyright: ignore[reportIncompatibleVariableOverride]
    attempts: int = 1

    _summarized: ClassVar[tuple[str, ...]] = ("code",)

    def __init__(
        self,
        message: str,
        *,
        details: tuple[Detail, ...] = (),
        retry_after: float | None = None,
        **context: Unpack[Context],
    ) -> None:
        self.details = details
        self.retry_after = retry_after
        super().__init__(message, **context)

    def detail(self, kind: str) -> Detail | None:
        """The first of the status's details of a kind of `google.rpc`: `BadRequest`, `QuotaFailure`, ..."""
        name = f"type.googleapis.com/google.rpc.{kind}"
        return next((detail for detail in self.details if detail.get("@type") == name), None)

    def _summary(self) -> str:
        return f"{code_name(self.code)}: {self.message}"


class CallCancelledError(CallError):
    """CANCELLED: the call was cancelled, by the service or by a proxy between."""

    code = Code.CANCELLED


class UnknownError(CallError):
    """UNKNOWN: a failure without a better status."""

    code = Code.UNKNOWN


class InvalidArgumentError(CallError):
    """INVALID_ARGUMENT: a model URI, a text or an option that the service does not accept."""

    code = Code.INVALID_ARGUMENT


class DeadlineExceededError(CallError, TimeoutError):
    """DEADLINE_EXCEEDED: no answer within the call's timeout."""

    code = Code.DEADLINE_EXCEEDED


class NotFoundError(CallError):
    """NOT_FOUND: there is no such resource."""

    code = Code.NOT_FOUND


class AlreadyExistsError(CallError):
    """ALREADY_EXISTS: there is such a resource already."""

    code = Code.ALREADY_EXISTS


class PermissionDeniedError(CallError):
    """PERMISSION_DENIED: the account lacks a role on the folder, or billing is not set up."""

    code = Code.PERMISSION_DENIED


class ResourceExhaustedError(CallError):
    """RESOURCE_EXHAUSTED: a quota is used up."""

    code = Code.RESOURCE_EXHAUSTED


class FailedPreconditionError(CallError):
    """FAILED_PRECONDITION: the system is not in the state that the call needs."""

    code = Code.FAILED_PRECONDITION


class AbortedError(CallError):
    """ABORTED: the call collided with another."""

    code = Code.ABORTED


class OutOfRangeError(CallError):
    """OUT_OF_RANGE: past the valid range."""

    code = Code.OUT_OF_RANGE


class UnimplementedError(CallError):
    """UNIMPLEMENTED: the endpoint does not serve the method."""

    code = Code.UNIMPLEMENTED


class InternalError(CallError):
    """INTERNAL: a failure of the service's own."""

    code = Code.INTERNAL


class UnavailableError(CallError):
    """UNAVAILABLE: the endpoint could not be reached, or is overloaded."""

    code = Code.UNAVAILABLE


class DataLossError(CallError):
    """DATA_LOSS: data was lost or damaged."""

    code = Code.DATA_LOSS


class UnauthenticatedError(CallError):
    """UNAUTHENTICATED: the credential is missing, wrong or expired."""

    code = Code.UNAUTHENTICATED


class MessageTooLargeError(CallError):
    """A message is over the limit of the client's own channel; `channel_options` raises the limit.

    A request over the limit was not sent. An answer over the limit was: if it is a generation's, the generation ran,
    and sending the request again is billed again.

    Args:
        size: The message's size in bytes; `None` where gRPC does not say, or an answer was not unpacked to its end.
        limit: The size in bytes that is allowed; `None` where gRPC does not say.
        option: The channel option that raises the limit.
        details: As for any `CallError`.
        retry_after: As for any `CallError`.
        **context: As for any `YagrpcError`.
    """

    code = Code.RESOURCE_EXHAUSTED

    def __init__(
        self,
        size: int | None,
        limit: int | None,
        option: str,
        *,
        details: tuple[Detail, ...] = (),
        retry_after: float | None = None,
        **context: Unpack[Context],
    ) -> None:
        self.size = size
        self.limit = limit
        self.option = option
        sent = option == "grpc.max_send_message_length"
        which = "the request" if sent else "the answer"
        if limit is None:
            sizes = "is too large"
        else:
            sizes = f"of {size} bytes is over the limit of {limit}" if size else f"is over the limit of {limit} bytes"
        text = f"{which} {sizes}, which channel_options=[({option!r}, BYTES)] raises"
        message = f"{text}; nothing was sent" if sent else text
        super().__init__(message, details=details, retry_after=retry_after, **context)


CALL_ERRORS: Final[dict[Code, type[CallError]]] = {
    error.code: error
    for error in (
        CallCancelledError,
        UnknownError,
        InvalidArgumentError,
        DeadlineExceededError,
        NotFoundError,
        AlreadyExistsError,
        PermissionDeniedError,
        ResourceExhaustedError,
        FailedPreconditionError,
        AbortedError,
        OutOfRangeError,
        UnimplementedError,
        InternalError,
        UnavailableError,
        DataLossError,
        UnauthenticatedError,
    )
}
"""The class of each status."""

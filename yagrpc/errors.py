"""Every exception that yagrpc raises.

    YagrpcError
    |- ConfigError (also ValueError)        settings that cannot work: credentials, folder, endpoint
    |- RequestError (also ValueError)       an argument of a request; nothing was sent
    |- ClientClosedError                    the client was closed
    |- QuotaWaitError (also TimeoutError)   no slot under a quota in time; nothing was sent
    |- CallError                            the service, or the way to it, refused one call
    |  |- one class per status, e.g. NotFoundError, UnavailableError
    |  `- DeadlineExceededError (also TimeoutError)
    |- AmbiguousSubmitError                 a submit that may or may not have started something billed
    |- ResultError                          an answer that holds no usable result
    `- OperationError                       has operation_id
       |- OperationFailedError              the operation ended with an error
       |- OperationCancelledError           the operation was cancelled
       |- OperationTimeoutError (also TimeoutError)   waiting ended, the operation did not
       |- OperationResultError (also ResultError)     done, but without the result that it should have
       `- OperationNotFoundError
          `- OperationExpiredError          probably deleted: results are kept for three days

Rules: attributes are plain data, so every error can be pickled; a message is one line; a credential is in none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from yagrpc.code import Code

__all__ = [
    "AbortedError", "AlreadyExistsError", "AmbiguousSubmitError", "CallCancelledError", "CallError",
    "ClientClosedError", "Code", "ConfigError", "DataLossError", "DeadlineExceededError",
    "FailedPreconditionError", "InternalError", "InvalidArgumentError", "NotFoundError",
    "OperationCancelledError", "OperationError", "OperationExpiredError", "OperationFailedError",
    "OperationNotFoundError", "OperationResultError", "OperationTimeoutError", "OutOfRangeError",
    "PermissionDeniedError", "QuotaWaitError", "RequestError", "ResourceExhaustedError", "ResultError",
    "UnauthenticatedError", "UnavailableError", "UnimplementedError", "UnknownError", "YagrpcError",
]  # fmt: skip

ErrorT = TypeVar("ErrorT", bound="YagrpcError")

Detail = Mapping[str, Any]
"""One entry of a status's details, as proto JSON with `@type`."""


class YagrpcError(Exception):
    """Base of everything that yagrpc raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[ErrorT], args: tuple[Any, ...], state: dict[str, Any]) -> ErrorT:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigError(YagrpcError, ValueError):
    """Settings that cannot work, e.g. no credentials, no folder, a plaintext endpoint that is not loopback."""


class RequestError(YagrpcError, ValueError):
    """An argument of a request that the service would refuse; nothing was sent.

    Args:
        field: The argument, e.g. `temperature` or `messages[2].role`.
        value: What was given.
        allowed: What would do.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = _shortened(value)
        self.allowed = allowed
        super().__init__(f"{field} is {self.value}: {allowed}")


class ClientClosedError(YagrpcError):
    """The client was closed, before the call or while it was waited for.

    Args:
        operation_id: The operation that was waited for, if any; it goes on.
    """

    def __init__(self, operation_id: str = "") -> None:
        self.operation_id = operation_id
        waited = f" while operation {operation_id} was waited for; it goes on" if operation_id else ""
        super().__init__(f"the client is closed{waited}")


class QuotaWaitError(YagrpcError, TimeoutError):
    """A call found no slot under a quota within its timeout; nothing was sent, or only refused (then by `__cause__`).

    Args:
        quota: The quota, as `Quota` names it.
        seconds: Until there is a slot at the earliest; `None` where nobody knows, as calls have to end first.
        timeout: The call's timeout, in seconds.
        method: Full gRPC path.
        client_request_id: The call's `x-client-request-id`.
    """

    def __init__(
        self, quota: str, seconds: float | None, *, timeout: float, method: str = "", client_request_id: str = ""
    ) -> None:
        self.quota = quota
        self.seconds = seconds
        self.timeout = timeout
        self.method = method
        self.client_request_id = client_request_id
        super().__init__(quota, seconds)

    def __str__(self) -> str:
        when = "when a running call ends" if self.seconds is None else f"in {self.seconds:.3g} s"
        told = f"no slot under quota.{self.quota} in {self.timeout:g} s, there is one {when}; nothing was sent"
        return f"{told} (method {self.method}, client request id {self.client_request_id})"


class ResultError(YagrpcError):
    """The service answered, but without a result: no alternative, or one of another type."""


class CallError(YagrpcError):
    """One call was refused, by the service or on the way to it.

    Args:
        message: What the service said.
        code: The status.
        details: The status's details as proto JSON, each with its `@type`.
        method: Full gRPC path.
        endpoint: Where it was sent, `host:port`.
        request_id: The service's id of the request, where it gave one: quote it to support.
        client_request_id: The id that was sent along as `x-client-request-id`.
        attempts: How often it was sent; 0 where nothing was sent at all.
        operation_id: The operation that the call was about, if any.
        hint: What is likely behind it, and what to do; empty where nothing is known.
    """

    code: Code = Code.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        code: Code | None = None,
        details: tuple[Detail, ...] = (),
        method: str = "",
        endpoint: str = "",
        request_id: str = "",
        client_request_id: str = "",
        attempts: int = 1,
        operation_id: str = "",
        hint: str = "",
    ) -> None:
        self.code = type(self).code if code is None else code
        self.message = message
        self.details = details
        self.method = method
        self.endpoint = endpoint
        self.request_id = request_id
        self.client_request_id = client_request_id
        self.attempts = attempts
        self.operation_id = operation_id
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        known = {
            "operation": self.operation_id,
            "method": self.method,
            "endpoint": self.endpoint,
            "request id": self.request_id,
            "client request id": self.client_request_id,
            "attempts": self.attempts if self.attempts != 1 else "",
        }
        told = ", ".join(f"{name} {value}" for name, value in known.items() if value != "")
        return f"{self.code.name}: {self.message}{self.hint and f'; {self.hint}'}{told and f' ({told})'}"


class CallCancelledError(CallError):
    """CANCELLED: the call was cancelled, by the other side or on the way."""

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


class AmbiguousSubmitError(YagrpcError):
    """A submit that failed after it may have reached the service.

    The service may have started an operation that is billed and whose id cannot be learnt. It ignores
    idempotency keys, so sending the request again may pay twice; whether to do so is the caller's choice.
    The call's own error is `__cause__`.

    Args:
        message: What is known.
        code: The status that the call ended with.
        method: Full gRPC path.
        endpoint: Where it was sent, `host:port`.
        client_request_id: The id that was sent along: what support can look for.
    """

    def __init__(self, message: str, *, code: Code, method: str, endpoint: str, client_request_id: str) -> None:
        self.message = message
        self.code = code
        self.method = method
        self.endpoint = endpoint
        self.client_request_id = client_request_id
        super().__init__(message)

    def __str__(self) -> str:
        return (
            f"the submit may or may not have been accepted ({self.code.name}: {self.message}); sending it again "
            f"may be billed twice (method {self.method}, endpoint {self.endpoint}, client request id "
            f"{self.client_request_id})"
        )


class OperationError(YagrpcError):
    """Something about one operation.

    Args:
        operation_id: Its id: keep it, there is no way to find it again.
        message: What happened.
    """

    def __init__(self, operation_id: str, message: str) -> None:
        self.operation_id = operation_id
        self.message = message
        super().__init__(operation_id, message)

    def __str__(self) -> str:
        return f"operation {self.operation_id}: {self.message}"


class OperationFailedError(OperationError):
    """The operation ended with an error of the service.

    Args:
        operation_id: Its id.
        message: What the service said.
        code: The status; a number that no code has is kept as a number.
        details: The status's details as proto JSON, each with its `@type`.
    """

    def __init__(self, operation_id: str, message: str, *, code: Code | int, details: tuple[Detail, ...] = ()) -> None:
        super().__init__(operation_id, message)
        self.code = code
        self.details = details

    def __str__(self) -> str:
        name = self.code.name if isinstance(self.code, Code) else f"status {self.code}"
        return f"operation {self.operation_id} failed: {name}: {self.message}"


class OperationCancelledError(OperationError):
    """The operation was cancelled before it had a result."""


class OperationTimeoutError(OperationError, TimeoutError):
    """The wait ended, the operation did not: it goes on, and can be waited for again by its id."""


class OperationResultError(OperationError, ResultError):
    """The operation is done but holds no result, or one of another type (both names are in the message)."""


class OperationNotFoundError(OperationError):
    """The service knows no operation of this id."""


class OperationExpiredError(OperationNotFoundError):
    """The service no longer knows the operation, and it was created over three days ago.

    The service keeps results for three days (its documented hard limit), so it is probably deleted.
    """


CALL_ERRORS: dict[Code, type[CallError]] = {
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


def _shortened(value: object) -> str:
    """A value as it is told in one line, cut where it is long."""
    try:
        text = " ".join(repr(value).splitlines())
    except Exception:  # a repr is anybody's code; even an int has none where its digits are too many
        text = f"a {type(value).__name__} that can't be shown"
    return text if len(text) <= 80 else f"{text[:77]}..."

"""Every exception that yagrpc raises.

    YagrpcError
    |- ConfigError (also ValueError)        settings that cannot work: credentials, folder, endpoint
    |- RequestError (also ValueError)       an argument of a request; nothing was sent
    |- ClientClosedError                    the client was closed
    |- QuotaWaitError (also TimeoutError)   no slot under a quota in time; nothing was sent
    |- CallError                            the service, or the way to it, refused one call
    |  |- one class per status, e.g. NotFoundError, UnavailableError
    |  |- DeadlineExceededError (also TimeoutError)
    |  `- MessageTooLargeError              a message over this side's own limit: no quota, though gRPC names it so
    |- AmbiguousSubmitError                 a generation that may or may not have started, and be billed
    |  `- SubmitTimeoutError (also TimeoutError)      no answer in time
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

from typing import Any

from yagrpc.errors.base import Detail, ResultError, YagrpcError
from yagrpc.errors.code import Code
from yagrpc.errors.operation import (
    OperationCancelledError,
    OperationError,
    OperationExpiredError,
    OperationFailedError,
    OperationNotFoundError,
    OperationResultError,
    OperationTimeoutError,
)
from yagrpc.errors.wording import shortened, with_context

__all__ = [
    "AbortedError", "AlreadyExistsError", "AmbiguousSubmitError", "CallCancelledError", "CallError",
    "ClientClosedError", "Code", "ConfigError", "DataLossError", "DeadlineExceededError",
    "FailedPreconditionError", "InternalError", "InvalidArgumentError", "MessageTooLargeError", "NotFoundError",
    "OperationCancelledError", "OperationError", "OperationExpiredError", "OperationFailedError",
    "OperationNotFoundError", "OperationResultError", "OperationTimeoutError", "OutOfRangeError",
    "PermissionDeniedError", "QuotaWaitError", "RequestError", "ResourceExhaustedError", "ResultError",
    "SubmitTimeoutError", "UnauthenticatedError", "UnavailableError", "UnimplementedError", "UnknownError",
    "YagrpcError",
]  # fmt: skip


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
        self.value = shortened(value)
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


class CallError(YagrpcError):
    """One call was refused, by the service or on the way to it.

    Args:
        message: What the service said.
        code: The status.
        details: The status's details as proto JSON, each with its `@type`.
        method: Full gRPC path.
        endpoint: Where it was sent, `host:port`.
        request_id: The service's id of the request, where it gave one: quote it to support.
        server_trace_id: The id of its trace (`x-server-trace-id`), likewise.
        client_request_id: The id that was sent along as `x-client-request-id`.
        attempts: How often it was sent; 0 where nothing was sent at all.
        operation_id: The operation that the call was about, if any.
        retry_after: Seconds after which the service asks to be tried again; below 0 for never, `None` for no word.
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
        server_trace_id: str = "",
        client_request_id: str = "",
        attempts: int = 1,
        operation_id: str = "",
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        self.code = type(self).code if code is None else code
        self.message = message
        self.details = details
        self.method = method
        self.endpoint = endpoint
        self.request_id = request_id
        self.server_trace_id = server_trace_id
        self.client_request_id = client_request_id
        self.attempts = attempts
        self.operation_id = operation_id
        self.retry_after = retry_after
        self.hint = hint
        super().__init__(message)

    def detail(self, kind: str) -> Detail | None:
        """The first of the status's details of a kind of `google.rpc`: `BadRequest`, `QuotaFailure`, ..."""
        name = f"type.googleapis.com/google.rpc.{kind}"
        return next((detail for detail in self.details if detail.get("@type") == name), None)

    def __str__(self) -> str:
        known = {
            "operation": self.operation_id,
            "method": self.method,
            "endpoint": self.endpoint,
            "request id": self.request_id,
            "server trace id": self.server_trace_id,
            "client request id": self.client_request_id,
            "attempts": self.attempts if self.attempts != 1 else "",
        }
        return with_context(f"{self.code.name}: {self.message}{self.hint and f'; {self.hint}'}", known)


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


class MessageTooLargeError(CallError):
    """A message is over the limit of this side's own channel: raise that with `channel_options`.

    A request was not sent. An answer was: where it is a generation's, that ran, and sending it again pays again.

    Args:
        size: The message's, in bytes; `None` where gRPC does not tell.
        limit: The most that is taken, in bytes; `None` where gRPC does not tell.
        option: The channel option that raises the limit.
        **context: As for any `CallError`.
    """

    code = Code.RESOURCE_EXHAUSTED

    def __init__(self, size: int | None, limit: int | None, option: str, **context: Any) -> None:
        self.size = size
        self.limit = limit
        self.option = option
        sent = option == "grpc.max_send_message_length"
        which = "the request" if sent else "the answer"
        sizes = "" if size is None or limit is None else f" of {size} bytes is over the limit of {limit}"
        text = f"{which}{sizes or ' is too large'}, which channel_options=[({option!r}, BYTES)] raises"
        super().__init__(f"{text}; nothing was sent" if sent else text, **context)


class AmbiguousSubmitError(YagrpcError):
    """A generation that failed after its request may have reached the service.

    The service may have started one that is billed and whose answer, or operation id, cannot be learnt. It ignores
    idempotency keys, so sending the request again may pay twice; whether to do so is the caller's choice
    (`resubmit=True`). The call's own error is `__cause__`.

    Args:
        message: What is known.
        code: The status that the call ended with.
        method: Full gRPC path.
        endpoint: Where it was sent, `host:port`.
        client_request_id: The id that was sent along: what support can look for.
        attempts: How often it was sent.
    """

    def __init__(
        self, message: str, *, code: Code, method: str, endpoint: str, client_request_id: str, attempts: int = 1
    ) -> None:
        self.message = message
        self.code = code
        self.method = method
        self.endpoint = endpoint
        self.client_request_id = client_request_id
        self.attempts = attempts
        super().__init__(message)

    def __str__(self) -> str:
        known = {
            "method": self.method,
            "endpoint": self.endpoint,
            "client request id": self.client_request_id,
            "attempts": self.attempts if self.attempts != 1 else "",
        }
        text = f"the submit may or may not have been accepted ({self.code.name}: {self.message})"
        return with_context(f"{text}; sending it again may be billed twice", known)


class SubmitTimeoutError(AmbiguousSubmitError, TimeoutError):
    """A generation that did not answer within the call's timeout, and may be under way all the same."""


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

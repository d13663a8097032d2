"""What a failed attempt means: its cause, and the error that says so. The only classifier of failures.

A status proves that nothing was started only where the other side itself sent it, before it did anything. gRPC makes
statuses of its own, with the same codes: for answer metadata over its limit, for a stream that was reset, for what a
gateway answers in HTTP. `RpcStatus.from_peer` tells the two apart (see `yagrpc._grpc.status`); without it no status
is a proof, whatever its code and its text.

Rules: no I/O. A text of the other side is read to say more, and to know which queue to wait in, never as a proof.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yagrpc._core.call.metadata import pairs_of, request_ids
from yagrpc._core.call.policy import Kind
from yagrpc._core.failure.details import parsed_details, request_info, retry_after
from yagrpc._core.failure.hints import hint
from yagrpc.errors import CALL_ERRORS, CallError, Code, MessageTooLargeError, ResultError, YagrpcError

if TYPE_CHECKING:
    from yagrpc._core.call.call import Call

RECEIVE_OPTION: Final = "grpc.max_receive_message_length"
SEND_OPTION: Final = "grpc.max_send_message_length"

REFUSING: Final = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.PERMISSION_DENIED,
        Code.RESOURCE_EXHAUSTED,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
        Code.UNIMPLEMENTED,
        Code.UNAUTHENTICATED,
    }
)
"""Statuses by which the service refuses a request before it does anything, where it is the service that sent them."""

_SIZES: Final = re.compile(r"(?P<sent>Sent)? message larger than max \((?P<size>\d+) vs\. (?P<limit>\d+)\)")
"""How gRPC words a message over a limit of a channel that the host opened."""

_QUOTA: Final = re.compile(r"(?P<id>[\w.-]*) ?\b(rate|gauge) quota limit exceed")
"""How the service names the quota that refuses; such a refusal has no details."""


class Cause(enum.Enum):
    """Why an attempt failed."""

    QUOTA = "a quota of the service is used up"
    TOO_LARGE = "a message is over this side's limit"
    UNAUTHENTICATED = "the service refuses the credential"
    NO_CONNECTION = "there is no connection, and nothing was sent"
    HUNG = "there is no answer in time"
    REFUSED = "the service refuses the request"
    MAY_HAVE_RUN = "it failed, and may have run"
    UNREADABLE = "the answer cannot be read"
    CLOSED = "the client was closed"


class RpcStatus(NamedTuple):
    """How an attempt ended without an answer, as a plain value.

    Args:
        code: The status.
        message: Its text.
        initial: The initial metadata that came.
        trailing: The trailing metadata that came.
        from_peer: Whether it is proved that the other side sent this status, and gRPC did not make it.
        error: What gRPC raised, if anything; it becomes the cause of the error.
        closed: Whether it ended since the client was closed.
    """

    code: Code
    message: str = ""
    initial: Any = ()
    trailing: Any = ()
    from_peer: bool = False
    error: BaseException | None = None
    closed: bool = False


class Unreadable:
    """An answer that cannot be read, in the place of a message.

    Args:
        size: Its size in bytes.
        limit: The limit that it is over, in bytes; `None` where it does not parse.
        reason: Why it does not parse.
    """

    __slots__ = ("limit", "reason", "size")

    def __init__(self, size: int, limit: int | None, reason: str = "") -> None:
        self.size = size
        self.limit = limit
        self.reason = reason


class Failure(NamedTuple):
    """A failed attempt.

    Args:
        cause: Why it failed.
        error: What the caller gets, if the attempt was the last one.
        quota: The service's id of the quota that refused, where its text names one.
    """

    cause: Cause
    error: YagrpcError
    quota: str = ""

    @property
    def code(self) -> Code:
        """The status."""
        code = self.error.code
        return code if isinstance(code, Code) else Code.UNKNOWN


def classify(status: RpcStatus, call: Call[Any, Any], *, endpoint: str, send_limit: int, attempts: int) -> Failure:
    """What the status of an attempt means.

    Args:
        status: How the attempt ended.
        call: Which call it was of; the ids that came with the status are kept there.
        endpoint: Where it was sent, `host:port`.
        send_limit: The largest request that its channel sends, in bytes; -1 for any.
        attempts: How often the call was sent by now.
    """
    error = call_error(status, call, endpoint=endpoint, attempts=attempts)
    error.__cause__ = status.error
    if status.closed:
        return Failure(Cause.CLOSED, error)
    if status.code is Code.RESOURCE_EXHAUSTED and (larger := _too_large(error, call, send_limit)) is not None:
        larger.__cause__ = status.error
        return Failure(Cause.TOO_LARGE, larger)
    proved = status.from_peer or call.policy.kind is Kind.READ  # what starts nothing needs no proof
    if status.code in REFUSING and proved:
        if status.code is Code.RESOURCE_EXHAUSTED:
            named = _QUOTA.search(status.message)
            return Failure(Cause.QUOTA, error, named["id"] or "unnamed" if named else "")
        return Failure(Cause.UNAUTHENTICATED if status.code is Code.UNAUTHENTICATED else Cause.REFUSED, error)
    return Failure(Cause.HUNG if status.code is Code.DEADLINE_EXCEEDED else Cause.MAY_HAVE_RUN, error)


def call_error(status: RpcStatus, call: Call[Any, Any], *, endpoint: str, attempts: int) -> CallError:
    """The error of a status; the ids that came with it are kept in the call."""
    trailing = pairs_of(status.trailing)
    call.ids = request_ids(call.client_request_id, status.initial, status.trailing)
    details = parsed_details(trailing.get("grpc-status-details-bin"))
    message = " ".join(status.message.split()) or "no message"
    return CALL_ERRORS[status.code](
        message,
        details=details,
        retry_after=retry_after(trailing.get("grpc-retry-pushback-ms"), details),
        hint=hint(status.code, message, call.request),
        **{**_context(call, endpoint, attempts), "request_id": call.ids.request_id or request_info(details)},
    )


def unreadable(answer: Unreadable, call: Call[Any, Any], *, endpoint: str, attempts: int) -> Failure:
    """What an answer that cannot be read means: the service answered, so that it has run."""
    context = _context(call, endpoint, attempts)
    if answer.limit is not None:
        return Failure(Cause.UNREADABLE, MessageTooLargeError(answer.size, answer.limit, RECEIVE_OPTION, **context))
    text = f"the answer to {call.method.path} does not parse ({answer.size} bytes: {answer.reason})"
    return Failure(Cause.UNREADABLE, ResultError(text, **context))


def _too_large(error: CallError, call: Call[Any, Any], send_limit: int) -> MessageTooLargeError | None:
    """The error that RESOURCE_EXHAUSTED stands for where a size is meant; `None` where a quota is.

    A request over the limit of a channel of our own is known by its size. With a channel of the host's only gRPC's
    wording tells.
    """
    context: Any = {**error.context}
    context.pop("code", None)
    context.pop("hint", None)
    size = call.request.ByteSize() if hasattr(call.request, "ByteSize") else 0
    if -1 < send_limit < size:
        return MessageTooLargeError(size, send_limit, SEND_OPTION, **context)
    if (found := _SIZES.search(error.message)) and not error.message.startswith("SERVER"):
        option = SEND_OPTION if found["sent"] else RECEIVE_OPTION
        return MessageTooLargeError(int(found["size"]), int(found["limit"]), option, **context)
    return None


def _context(call: Call[Any, Any], endpoint: str, attempts: int) -> dict[str, Any]:
    """What the errors of a call have in common."""
    return {
        "method": call.method.path,
        "endpoint": endpoint,
        "request_id": call.ids.request_id,
        "server_trace_id": call.ids.server_trace_id,
        "client_request_id": call.client_request_id,
        "attempts": attempts,
        "operation_id": call.operation_id,
    }

"""What a failed attempt means: its cause, and the error that says so. The only classifier of failures.

A status proves that nothing was started only where the other side itself sent it, before it did anything. gRPC makes
statuses of its own, with the same codes: for answer metadata over its limit, for a stream that was reset, for what a
gateway answers in HTTP. `RpcStatus.from_peer` distinguishes the two (see `yagrpc._grpc.status`); without it no status
is a proof, whatever its code and its text.

Rules: no I/O. A text of the other side is read to say more, and to know which queue to wait in, never as a proof.
What words a failure is imported where one is classified: most programs never see one.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any, Final

from yagrpc._core.call.metadata import pairs_of, request_ids
from yagrpc._core.call.policy import Kind
from yagrpc._core.failure.sizes import too_large
from yagrpc.errors import CALL_ERRORS, CallError, Code, YagrpcError
from yagrpc.foreign import cleaned
from yagrpc.hiding import without_secrets

if TYPE_CHECKING:
    from yagrpc._core.call.call import Call
    from yagrpc._core.failure.connection import Obstacle

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
"""Statuses that refuse a request before the service does anything, where the service itself sent them."""

_QUOTA: Final = r"(?P<id>[\w.-]*) ?\b(rate|gauge) quota limit exceed"
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


class RpcStatus:
    """How an attempt ended without an answer, as a plain value.

    Args:
        code: The status.
        message: Its text.
        initial: The initial metadata that came.
        trailing: The trailing metadata that came.
        from_peer: Whether it is proved that the other side sent this status, and gRPC did not make it.
        error: What gRPC raised, if anything, without secrets; it becomes the cause of the error.
        closed: Whether it ended since the client was closed.
    """

    __slots__ = ("closed", "code", "error", "from_peer", "initial", "message", "trailing")

    def __init__(
        self,
        code: Code,
        message: str = "",
        initial: Any = (),
        trailing: Any = (),
        from_peer: bool = False,
        error: BaseException | None = None,
        closed: bool = False,
    ) -> None:
        self.code = code
        self.message = message
        self.initial = initial
        self.trailing = trailing
        self.from_peer = from_peer
        self.error = error
        self.closed = closed

    def __repr__(self) -> str:
        # It is among the variables of frames, which crash reporters show; the text may hold a credential that was sent.
        return f"RpcStatus({self.code.name}, {without_secrets(cleaned(self.message))!r})"


def unanswered(call: Call[Any, Any], error: BaseException | None = None) -> RpcStatus:
    """The status of an attempt whose caller no longer waits for its answer.

    Args:
        call: The call.
        error: What gRPC raised, if anything, without secrets.
    """
    if call.caller is not None and call.caller.gone:
        return RpcStatus(Code.CANCELLED, "the caller has left", error=error)
    return RpcStatus(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")


def raised(error: BaseException) -> RpcStatus:
    """The status of an attempt that raised another exception than gRPC's, as interceptors may: it may have run."""
    return RpcStatus(Code.UNKNOWN, f"the attempt ended with {type(error).__name__}", error=error)


class Failure:
    """A failed attempt.

    Args:
        cause: Why it failed.
        error: What the caller gets, if the attempt was the last one.
        quota: The service's id of the quota that refused, where its text names one.
    """

    __slots__ = ("cause", "error", "quota")

    def __init__(self, cause: Cause, error: YagrpcError, quota: str = "") -> None:
        self.cause = cause
        self.error = error
        self.quota = quota

    @property
    def code(self) -> Code:
        """The status."""
        code = self.error.code
        return code if isinstance(code, Code) else Code.UNKNOWN


def classify(status: RpcStatus, call: Call[Any, Any], *, endpoint: str, send_limit: int, proxy: str = "") -> Failure:
    """What the status of an attempt means.

    Args:
        status: How the attempt ended.
        call: Which call it was of; the ids that came with the status are kept there.
        endpoint: Where it was sent, `host:port`.
        send_limit: The largest request that its channel sends, in bytes; -1 for any.
        proxy: The proxy that its channel connects through; empty without one.
    """
    found = None
    if status.code is Code.CANCELLED and call.caller is not None and call.caller.gone:
        status = unanswered(call, status.error)
    if status.code is Code.UNAVAILABLE and call.policy.kind is Kind.READ and not status.trailing:
        from yagrpc._core.failure.connection import obstacle

        found = obstacle(status.message, proxy)
    error = call_error(status, call, endpoint, found)
    error.__cause__ = status.error
    if status.closed:
        return Failure(Cause.CLOSED, error)
    if status.code is Code.RESOURCE_EXHAUSTED and (larger := too_large(error, call, send_limit)) is not None:
        larger.__cause__ = status.error
        return Failure(Cause.TOO_LARGE, larger)
    if found is not None and found.patience == 0.0:
        return Failure(Cause.NO_CONNECTION, error)
    proved = status.from_peer or call.policy.kind is Kind.READ  # what starts nothing needs no proof
    if status.code in REFUSING and proved:
        if status.code is Code.RESOURCE_EXHAUSTED:
            named = re.search(_QUOTA, error.message)
            return Failure(Cause.QUOTA, error, named["id"] or "unnamed" if named else "")
        return Failure(Cause.UNAUTHENTICATED if status.code is Code.UNAUTHENTICATED else Cause.REFUSED, error)
    return Failure(Cause.HUNG if status.code is Code.DEADLINE_EXCEEDED else Cause.MAY_HAVE_RUN, error)


def call_error(status: RpcStatus, call: Call[Any, Any], endpoint: str, found: Obstacle | None = None) -> CallError:
    """The error of a status; the ids that came with it are kept in the call.

    Args:
        status: How the attempt ended.
        call: Which call it was of.
        endpoint: Where it was sent, `host:port`.
        found: Why there was no connection, where that is why it failed.
    """
    from yagrpc._core.failure.details import parsed_details, request_info, retry_after
    from yagrpc._core.failure.hints import hint

    trailing = pairs_of(status.trailing)
    call.ids = request_ids(call.client_request_id, status.initial, status.trailing)
    details = parsed_details(trailing.get("grpc-status-details-bin"))
    # A gateway may repeat what it was sent. An error keeps a limited part of its text.
    message = without_secrets(cleaned(status.message)) or "no message"
    remedy = hint(status.code, message, call.request)
    if found is not None:
        message, remedy = f"no connection: {found.reason}", found.remedy
    context = call.context(endpoint)
    context["request_id"] = call.ids.request_id or request_info(details)
    return CALL_ERRORS[status.code](
        message,
        details=details,
        retry_after=retry_after(trailing.get("grpc-retry-pushback-ms"), details),
        hint=remedy,
        **context,
    )

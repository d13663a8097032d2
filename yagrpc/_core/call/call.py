"""One call: what is sent, with which facts about its rpc, and what is known of it so far.

Rules: what the caller gave never changes, the timeout least of all; what changes is at the end of the list.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from yagrpc.errors import ClientClosedError
from yagrpc.ids import RequestIds

if TYPE_CHECKING:
    from contextvars import Context

    from yagrpc._core.call.policy import Policy
    from yagrpc._core.call.recorder import Recorder
    from yagrpc._core.deadline import Deadline
    from yagrpc.context import Caller
    from yagrpc.hiding import SecretBytes, SecretText
    from yagrpc.method import AnyMethod

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

Metadata: TypeAlias = "tuple[tuple[str, str | SecretText | SecretBytes], ...]"
"""What is sent with a call; `hiding.revealed` gives it to gRPC."""


class Call(Generic[RequestT, ResponseT]):
    """One logical call, however often it is sent.

    Args:
        method: Which rpc.
        policy: The facts about the rpc.
        request: Its request message, or the stream of them.
        timeout: Seconds over everything: quota, connecting and all attempts; `None` for no limit.
        metadata: What goes with every attempt.
        client_request_id: The `x-client-request-id` among the metadata.
        operation_id: The operation that the call is about, for its errors.
        needs_token: Whether the client obtains what authorizes the call before it is sent.
        resubmit: Whether it may be sent again although the attempt before may be billed.
        wants_ids: Whether the ids of its answer are read; reading them takes a twentieth of a call's CPU.
        watched: Whether its attempts are reported where they do not fail, too.

    Attributes:
        attempts: How often it was sent.
        cancelled: Whether nothing may be sent any more.
        caller: The caller of the handler that makes the call, where there is one: the call ends when the caller leaves.
        deadline: A deadline that it shares with other calls, or with the caller, instead of its own.
        queues: Whether it waits for its first slot under a quota as long as that takes. Its timeout, which its caller
            did not give, starts after that.
        held: What releases its slot under a quota, where it has one.
        within: The context (`contextvars`) that gRPC is called in; `None` for that of now. A subscriber may set it.
        recorder: What records each attempt before it is sent, and the operation; `None` for most calls.
    """

    __slots__ = (
        "__weakref__", "_end", "_ids", "attempts", "caller", "cancelled", "client_request_id", "deadline", "held",
        "metadata", "method", "needs_token", "operation_id", "policy", "queues", "recorder", "request", "resubmit",
        "timeout", "wants_ids", "watched", "within",
    )  # fmt: skip

    def __init__(
        self,
        method: AnyMethod,
        policy: Policy,
        request: RequestT,
        timeout: float | None,
        metadata: Metadata,
        client_request_id: str,
        operation_id: str = "",
        needs_token: bool = False,
        resubmit: bool = False,
        wants_ids: bool = True,
        watched: bool = False,
    ) -> None:
        self.method = method
        self.policy = policy
        self.request = request
        self.timeout = timeout
        self.metadata = metadata
        self.client_request_id = client_request_id
        self.operation_id = operation_id
        self.needs_token = needs_token
        self.resubmit = resubmit
        self.wants_ids = wants_ids
        self.watched = watched
        self.attempts = 0
        self.cancelled = False
        self.caller: Caller | None = None
        self.deadline: Deadline | None = None
        self.queues = False
        self.held: Callable[[], object] | None = None
        self.within: Context | None = None
        self.recorder: Recorder | None = None
        self._end: Callable[[], object] | None = None
        self._ids: RequestIds | None = None

    @property
    def ids(self) -> RequestIds:
        """The ids of the call; the service's part is there once it has answered."""
        if self._ids is None:  # most calls have an answer whose ids nobody reads
            self._ids = RequestIds(self.client_request_id)
        return self._ids

    @ids.setter
    def ids(self, ids: RequestIds) -> None:
        self._ids = ids

    def started(self, end: Callable[[], object] | None, *, outlives: bool = False) -> None:
        """Keep what ends the attempt that gRPC works on, where anything does; it raises nothing of an interceptor's.

        The call may have been cancelled by another thread meanwhile.

        Args:
            end: Ends the attempt.
            outlives: Whether it is completed although the handler's caller has left, as a submit is.
        """
        self._end = end
        if self.caller is not None and not outlives:
            cancel = weakref.WeakMethod(self.cancel)  # a stream that is no longer read is collected
            self.caller.add(id(self), lambda: (found := cancel()) and found())
        if self.cancelled:
            self.cancel()

    def cancel(self) -> None:
        """End the attempt that is under way, and those that would follow."""
        self.cancelled = True
        if self._end is not None:
            self._end()
        self.release()

    def release(self) -> None:
        """Give what the call holds to the next; a call that was cancelled may have taken it again."""
        if self.held is not None:
            self.held()
        if self.caller is not None:
            self.caller.forget(id(self))

    def check(self, endpoint: str = "") -> None:
        """Check that it may be sent, or wait to be sent.

        Raises:
            CallCancelledError: The caller of the handler that makes the call has left.
            DeadlineExceededError: That caller's deadline has passed.
            ClientClosedError: The client was closed, or the stream.
        """
        if self.caller is not None and self.caller.ended:
            raise self.caller.error(**self.context(endpoint))
        if self.cancelled:
            raise ClientClosedError(self.operation_id)

    def context(self, endpoint: str) -> dict[str, Any]:
        """What all errors of the call say of it.

        Args:
            endpoint: Where it was sent, `host:port`.
        """
        return {
            "method": self.method.path,
            "endpoint": endpoint,
            "attempts": self.attempts,
            "operation_id": self.operation_id,
            **self.ids._asdict(),
        }

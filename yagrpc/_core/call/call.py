"""One call: what is sent, with which facts about its rpc, and what is known of it so far.

Rules: what the caller gave never changes, the timeout least of all; what changes is at the end of the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from yagrpc.ids import RequestIds
from yagrpc.method import BidiStreamMethod, ClientStreamMethod, OperationMethod, StreamMethod, UnaryMethod

if TYPE_CHECKING:
    from yagrpc._core.call.policy import Policy
    from yagrpc._core.deadline import Deadline

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

AnyMethod: TypeAlias = (
    UnaryMethod[Any, Any]
    | StreamMethod[Any, Any]
    | ClientStreamMethod[Any, Any]
    | BidiStreamMethod[Any, Any]
    | OperationMethod[Any, Any, Any]
)
Metadata: TypeAlias = "tuple[tuple[str, str | bytes], ...]"


class Cancellable(Protocol):
    """What gRPC gives for an attempt that is under way."""

    def cancel(self) -> object:
        """End it."""


class Releasable(Protocol):
    """What a call holds while it runs: its slot under a quota."""

    def release(self) -> None:
        """Give it to the next; a second time does nothing."""


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
        wants_ids: Whether anybody reads the ids of its answer; reading them takes a twentieth of a call's CPU.

    Attributes:
        ids: The ids of the call; the service's part is there once it has answered.
        cancelled: Whether nothing may be sent any more.
        deadline: A deadline that it shares with other calls, in place of its own.
        queues: Whether it waits for its first slot under a quota as long as that takes: its timeout starts after that.
        held: Its slot under a quota, while it has one.
    """

    __slots__ = (
        "_rpc",
        "cancelled",
        "client_request_id",
        "deadline",
        "held",
        "ids",
        "metadata",
        "method",
        "needs_token",
        "operation_id",
        "policy",
        "queues",
        "request",
        "resubmit",
        "timeout",
        "wants_ids",
    )

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
        self.ids = RequestIds(client_request_id)
        self.cancelled = False
        self.deadline: Deadline | None = None
        self.queues = False
        self.held: Releasable | None = None
        self._rpc: Cancellable | None = None

    def started(self, rpc: Cancellable) -> None:
        """Keep the attempt that gRPC works on; `cancel` may have been called meanwhile, by another thread."""
        self._rpc = rpc
        if self.cancelled:
            rpc.cancel()

    def cancel(self) -> None:
        """End the attempt that is under way, and those that would follow."""
        self.cancelled = True
        if self._rpc is not None:
            self._rpc.cancel()
        self.release()

    def release(self) -> None:
        """Give what the call holds to the next: nothing more comes of it."""
        held, self.held = self.held, None
        if held is not None:
            held.release()

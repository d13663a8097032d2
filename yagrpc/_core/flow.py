"""Flows: generators that yield what they need done and are sent the outcome.

A flow holds every decision about one call (attempts, deadline, what a failure means); a shell's driver performs
the effects, with blocking calls or with awaits.

Rules: only the helpers below contain a bare `yield`; every other generator uses `yield from` on them, so that the
type of what comes back is known. An effect that fails raises inside the flow.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from yagrpc.ids import RequestIds
from yagrpc.method import (
    BidiStreamMethod,
    ClientStreamMethod,
    OperationMethod,
    StreamMethod,
    UnaryMethod,
)

if TYPE_CHECKING:
    from yagrpc._core.quota.admission import Admission
    from yagrpc._core.quota.windows import Slot

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
ResultT = TypeVar("ResultT")

AnyMethod: TypeAlias = (
    UnaryMethod[Any, Any]
    | StreamMethod[Any, Any]
    | ClientStreamMethod[Any, Any]
    | BidiStreamMethod[Any, Any]
    | OperationMethod[Any, Any, Any]
)
Metadata: TypeAlias = "tuple[tuple[str, str | bytes], ...]"


MULTICALLABLES: Final[dict[type, str]] = {
    UnaryMethod: "unary_unary",
    OperationMethod: "unary_unary",
    StreamMethod: "unary_stream",
    ClientStreamMethod: "stream_unary",
    BidiStreamMethod: "stream_stream",
}
"""What a channel's factory of callables is named, by the kind of method; both of gRPC's APIs agree on it."""


class Call(Generic[RequestT, ResponseT]):
    """One logical call, however often it is sent.

    Args:
        method: Which rpc.
        request: Its request message.
        timeout: Seconds over all attempts, connecting included; `None` for no limit.
        metadata: What goes with every attempt.
        client_request_id: The `x-client-request-id` among the metadata.
        operation_id: The operation that the call is about, for its errors.
        authorization: What is put into its metadata before it is sent, where the client obtains that first: empty
            until then; `None` where nothing is put there.
        resubmit: Whether it may be sent again although the one before may be billed.
        named: Whether anybody will read the ids of its answer; learning them takes a twentieth of a call.

    Attributes:
        ended: Whether nothing is to be sent any more.
        ids: What names the call; the service's part is there once it has answered.
        held: Its place under a quota, while it has one that outlasts its flow: that of a stream.
    """

    __slots__ = (
        "_rpc",
        "authorization",
        "client_request_id",
        "ended",
        "held",
        "ids",
        "metadata",
        "method",
        "named",
        "operation_id",
        "request",
        "resubmit",
        "timeout",
    )

    def __init__(
        self,
        method: AnyMethod,
        request: RequestT,
        timeout: float | None,
        metadata: Metadata,
        client_request_id: str,
        operation_id: str = "",
        authorization: str | None = None,
        resubmit: bool = False,
        named: bool = True,
    ) -> None:
        self.method = method
        self.request = request
        self.timeout = timeout
        self.metadata = metadata
        self.client_request_id = client_request_id
        self.operation_id = operation_id
        self.authorization = authorization
        self.resubmit = resubmit
        self.named = named
        self.ids = RequestIds(client_request_id)
        self.held: Admission | None = None
        self._rpc: Any = None
        self.ended = False

    def begun(self, rpc: Any) -> None:
        """An attempt is under way, in gRPC's hands; `end` may have been called meanwhile, by another thread."""
        self._rpc = rpc
        if self.ended:
            rpc.cancel()

    def end(self) -> None:
        """Have the attempt that is under way cancelled, and those that would come."""
        self.ended = True
        if self._rpc is not None:
            self._rpc.cancel()
        self.over()

    def over(self) -> None:
        """Nothing more comes of it: what it holds goes to the next."""
        held, self.held = self.held, None
        if held is not None:
            held.give_back()


class Opened(NamedTuple):
    """A stream that has begun: its messages, and the first of them, which may be gRPC's or our end mark."""

    responses: Any
    first: Any


END: Final = object()
"""Stands for the first message of a stream that ended without any."""


class Send:
    """Effect: send the request once and give the response; raises what gRPC raises.

    Of a method that streams responses it gives an `Opened`: a failure before the first message is the call's, to be
    tried again or not; one after it is the stream's.
    """

    __slots__ = ("attempt", "call", "timeout")

    def __init__(self, call: Call[Any, Any], timeout: float | None, attempt: int = 1) -> None:
        self.call = call
        self.timeout = timeout
        self.attempt = attempt

    @property
    def metadata(self) -> Metadata:
        """What goes with this attempt: the service is told of a repetition, as by its official clients."""
        if self.attempt == 1:
            return self.call.metadata
        return (*self.call.metadata, ("x-retry-attempt", str(self.attempt - 1)))


class Ready:
    """Effect: wait until the channel of the call's method is connected; gives whether it is."""

    __slots__ = ("call", "timeout")

    def __init__(self, call: Call[Any, Any], timeout: float | None) -> None:
        self.call = call
        self.timeout = timeout


class Sleep:
    """Effect: let some seconds pass."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Wait:
    """Effect: wait until somebody rouses a slot, or until some seconds have passed (`None`: however long it takes)."""

    __slots__ = ("seconds", "slot")

    def __init__(self, slot: Slot, seconds: float | None) -> None:
        self.slot = slot
        self.seconds = seconds


class Block:
    """Effect: call a function that blocks, where nobody else is kept waiting; gives what it returns."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function


class Share:
    """Effect: have a flow carried out, once for all who ask for it meanwhile, and give what it returns.

    It goes on whatever becomes of those who wait; a timeout that is over raises `TimeoutError`.
    """

    __slots__ = ("key", "make", "timeout", "wait")

    def __init__(self, key: str, make: Callable[[], Flow[Any]], timeout: float | None, wait: bool) -> None:
        self.key = key
        self.make = make
        self.timeout = timeout
        self.wait = wait


Effect: TypeAlias = "Send | Ready | Sleep | Wait | Block | Share"
Flow: TypeAlias = Generator[Effect, Any, ResultT]


def send(call: Call[Any, ResponseT], timeout: float | None, attempt: int = 1) -> Flow[ResponseT]:
    """Send the request once; `attempt` says how often it has been sent by then."""
    response: ResponseT = yield Send(call, timeout, attempt)
    return response


def ready(call: Call[Any, Any], timeout: float | None) -> Flow[bool]:
    """Wait for the connection."""
    connected: bool = yield Ready(call, timeout)
    return connected


def sleep(seconds: float) -> Flow[None]:
    """Let some seconds pass."""
    yield Sleep(seconds)


def wait(slot: Slot, seconds: float | None) -> Flow[None]:
    """Wait until somebody rouses a slot, or until some seconds have passed."""
    yield Wait(slot, seconds)


def perform(effect: Effect) -> Flow[Any]:
    """Do what another flow asked for; for a flow that is put around it."""
    return (yield effect)


def block(function: Callable[[], ResultT]) -> Flow[ResultT]:
    """Call a function that blocks."""
    returned: ResultT = yield Block(function)
    return returned


def share(
    key: str, make: Callable[[], Flow[ResultT]], timeout: float | None = None, *, wait: bool = True
) -> Flow[ResultT]:
    """Have a flow carried out once for all who ask for it, and wait for it; or only see to it that it is begun."""
    returned: ResultT = yield Share(key, make, timeout, wait)
    return returned

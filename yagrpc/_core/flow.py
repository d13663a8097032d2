"""Flows: generators that yield what they need done and are sent the outcome.

A flow holds every decision about one call (attempts, deadline, what a failure means); a shell's driver performs
the effects, with blocking calls or with awaits.

Rules: only the helpers below contain a bare `yield`; every other generator uses `yield from` on them, so that the
type of what comes back is known. An effect that fails raises inside the flow.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from yagrpc.method import (
    BidiStreamMethod,
    ClientStreamMethod,
    OperationMethod,
    StreamMethod,
    UnaryMethod,
)

if TYPE_CHECKING:
    from yagrpc._core.slots import Slot

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

    Attributes:
        deadline: When its time is over by the client's clock, once it was begun, where it may be begun again.
    """

    __slots__ = (
        "authorization",
        "client_request_id",
        "deadline",
        "metadata",
        "method",
        "operation_id",
        "request",
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
    ) -> None:
        self.method = method
        self.request = request
        self.timeout = timeout
        self.metadata = metadata
        self.client_request_id = client_request_id
        self.operation_id = operation_id
        self.authorization = authorization
        self.deadline: float | None = None


class Send:
    """Effect: send the request once and give the response; raises what gRPC raises."""

    __slots__ = ("call", "timeout")

    def __init__(self, call: Call[Any, Any], timeout: float | None) -> None:
        self.call = call
        self.timeout = timeout


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


def send(call: Call[Any, ResponseT], timeout: float | None) -> Flow[ResponseT]:
    """Send the request once."""
    response: ResponseT = yield Send(call, timeout)
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

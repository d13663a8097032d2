"""Flows: generators that yield effects and receive their outcomes.

A flow holds every decision about one call (attempts, deadline, what a failure means); the driver of a shell performs
the effects, with blocking calls or with awaits. Every effect works in every flow, whatever drives it.

Rules: only the helpers below contain a bare `yield`; every other generator uses `yield from` on them, so that the
type of the outcome is known. A failed send is a value, an `RpcStatus`; any other failure is raised inside the flow.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from yagrpc._core.call.call import Call, Metadata
    from yagrpc._core.failure.status import RpcStatus

ResultT = TypeVar("ResultT")


class Opened(NamedTuple):
    """A stream whose first message has arrived.

    Args:
        responses: Gives the messages after the first; of the shell's own kind.
        first: The first message, or `END` where there is none.
    """

    responses: Any
    first: Any


class End:
    """Stands for the message after the last one of a stream."""


END = End()


class Send:
    """Effect: send the request once; the outcome is the response, an `Opened` or an `RpcStatus`.

    A stream is opened by its first message: a failure before that message is the outcome, one after it the stream's.

    Args:
        call: What is sent.
        timeout: Seconds for this attempt; `None` for no limit.
        metadata: What goes along.
        late: Where it is given, an answer matters even when the caller no longer waits (it was cancelled, or the time
            is over): the attempt is then completed in the background, and its outcome given to this function.
    """

    __slots__ = ("call", "late", "metadata", "timeout")

    def __init__(
        self,
        call: Call[Any, Any],
        timeout: float | None,
        metadata: Metadata,
        late: Callable[[Any], object] | None = None,
    ) -> None:
        self.call = call
        self.timeout = timeout
        self.metadata = metadata
        self.late = late


class Connect:
    """Effect: wait until the channel of the call's method is connected; the outcome is whether it is."""

    __slots__ = ("call", "timeout")

    def __init__(self, call: Call[Any, Any], timeout: float | None) -> None:
        self.call = call
        self.timeout = timeout


class Sleep:
    """Effect: let some seconds pass."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Wakeable(Protocol):
    """What a flow can wait for: something that another thread or task wakes."""

    woken: bool
    wake: Callable[[], object] | None


class Wait:
    """Effect: wait until something is woken, or until some seconds have passed (`None` for no limit)."""

    __slots__ = ("seconds", "waiter")

    def __init__(self, waiter: Wakeable, seconds: float | None) -> None:
        self.waiter = waiter
        self.seconds = seconds


class Block:
    """Effect: call a function that blocks, without keeping an event loop waiting; the outcome is what it returns."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function


class Share:
    """Effect: run a flow once for all who ask for the same key meanwhile; the outcome is what it returns.

    The flow runs to its end whatever becomes of those who wait; `TimeoutError` is raised in a flow whose timeout is
    over.
    """

    __slots__ = ("key", "make", "timeout", "wait")

    def __init__(self, key: str, make: Callable[[], Flow[Any]], timeout: float | None, wait: bool) -> None:
        self.key = key
        self.make = make
        self.timeout = timeout
        self.wait = wait


Effect: TypeAlias = "Send | Connect | Sleep | Wait | Block | Share"
Flow: TypeAlias = Generator[Effect, Any, ResultT]
Jobs: TypeAlias = "Iterable[tuple[Call[Any, Any], Flow[ResultT]]]"
"""Flows to run, each with its call; each is made when it is asked for."""


class InContext(Generator[Effect, Any, ResultT]):
    """A flow that sees the context variables of the thread which made this, whatever thread runs it.

    Args:
        flow: The flow; nothing else runs it.
    """

    __slots__ = ("_flow", "_run")

    def __init__(self, flow: Flow[ResultT]) -> None:
        self._flow = flow
        self._run = contextvars.copy_context().run

    def send(self, value: Any, /) -> Effect:
        """Give the outcome of the effect before, and get the next effect."""
        return self._run(self._flow.send, value)

    def throw(self, error: Any, value: Any = None, traceback: Any = None, /) -> Effect:
        """Raise an exception in the flow, and get the next effect."""
        return self._run(self._flow.throw, error)


def send(
    call: Call[Any, ResultT],
    timeout: float | None,
    metadata: Metadata,
    late: Callable[[Any], object] | None = None,
) -> Flow[ResultT | RpcStatus]:
    """Send the request once."""
    outcome: ResultT | RpcStatus = yield Send(call, timeout, metadata, late)
    return outcome


def connect(call: Call[Any, Any], timeout: float | None) -> Flow[bool]:
    """Wait until the channel is connected, for some seconds at most."""
    connected: bool = yield Connect(call, timeout)
    return connected


def sleep(seconds: float) -> Flow[None]:
    """Let some seconds pass."""
    yield Sleep(seconds)


def wait(waiter: Wakeable, seconds: float | None) -> Flow[None]:
    """Wait until something is woken, or until some seconds have passed."""
    yield Wait(waiter, seconds)


def block(function: Callable[[], ResultT]) -> Flow[ResultT]:
    """Call a function that blocks."""
    returned: ResultT = yield Block(function)
    return returned


def share(
    key: str, make: Callable[[], Flow[ResultT]], timeout: float | None = None, *, wait: bool = True
) -> Flow[ResultT]:
    """Run a flow once for all who ask for it, and wait for it; or, without `wait`, only see to it that it runs."""
    returned: ResultT = yield Share(key, make, timeout, wait)
    return returned

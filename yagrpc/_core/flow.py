"""Flows: generators that yield effects and receive their outcomes.

A flow holds every decision about one call (attempts, deadline, what a failure means); the driver of a shell performs
the effects, with blocking calls or with awaits. Every effect works in every flow, with every driver.

Rules: only the helpers below contain a bare `yield`; every other generator uses `yield from` on them, so that the
type of the outcome is known. A failed send is a value, an `RpcStatus`; any other failure is raised inside the flow.
The effects that most calls have are plain classes with slots: Python takes ten times as long to define a NamedTuple,
and three times as long to create one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from yagrpc._core.call.call import Call, Metadata
    from yagrpc._core.call.recorder import Wakeable
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


class Reporter(Protocol):
    """Reports how a submit ended, even when its caller has left. Neither method raises."""

    def ended(self, outcome: Any) -> None:
        """The attempt has ended; called once, before the caller gets the outcome."""

    def left(self, outcome: Any) -> None:
        """The attempt has ended, and its caller had left, so that no caller gets the outcome; called after `ended`."""


class Send:
    """Effect: send the request once; the outcome is the response, an `Opened` or an `RpcStatus`.

    A stream is opened by its first message: a failure before that message is the outcome, one after it the stream's.

    Args:
        call: What is sent.
        timeout: Seconds for this attempt; `None` for no limit.
        metadata: What goes along.
        reporter: Where it is given, the answer matters even when the caller no longer waits (it was cancelled, or
            the time is over): the attempt is then completed in the background.
    """

    __slots__ = ("call", "metadata", "reporter", "timeout")

    def __init__(
        self, call: Call[Any, Any], timeout: float | None, metadata: Metadata, reporter: Reporter | None = None
    ) -> None:
        self.call = call
        self.timeout = timeout
        self.metadata = metadata
        self.reporter = reporter


class Connect:
    """Effect: wait until the channel of the call's method is connected.

    The outcome is True once it is; otherwise the `RpcStatus` that gRPC has for the failure, or False if it has none.
    """

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


class Share(NamedTuple):
    """Effect: run a flow once for all callers that ask for the same key meanwhile; the outcome is what it returns.

    The flow runs to its end even when the waiters leave; `TimeoutError` is raised in a flow whose timeout is over.
    """

    key: str
    make: Callable[[], Flow[Any]]
    timeout: float | None
    wait: bool


Effect: TypeAlias = "Send | Connect | Sleep | Wait | Block | Share"
Flow: TypeAlias = Generator[Effect, Any, ResultT]
Jobs: TypeAlias = "Iterable[tuple[Call[Any, Any], Flow[ResultT]]]"
"""Flows to run, each with its call; each is created when it is asked for."""


def send(
    call: Call[Any, ResultT],
    timeout: float | None,
    metadata: Metadata,
    reporter: Reporter | None = None,
) -> Flow[ResultT | RpcStatus]:
    """Send the request once."""
    outcome: ResultT | RpcStatus = yield Send(call, timeout, metadata, reporter)
    return outcome


def connect(call: Call[Any, Any], timeout: float | None) -> Flow[RpcStatus | bool]:
    """Wait until the channel is connected, for some seconds at most."""
    outcome: RpcStatus | bool = yield Connect(call, timeout)
    return outcome


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
    """Run a flow once for all callers that ask for it, and wait for it; without `wait`, only start it."""
    returned: ResultT = yield Share(key, make, timeout, wait)
    return returned

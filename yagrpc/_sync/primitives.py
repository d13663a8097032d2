"""What the blocking client's public classes need of threads; `_aio/primitives.py` has the same names for asyncio."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future as Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from yagrpc._grpc import fork as forking
from yagrpc._grpc.waits.signals import next_item
from yagrpc._sync.poller import Poller
from yagrpc.errors import ClientClosedError

if TYPE_CHECKING:
    from yagrpc._core.call.call import Call
    from yagrpc._core.client import ClientCore
    from yagrpc._core.flow import Jobs
    from yagrpc._sync.transport import Transport

ResultT = TypeVar("ResultT")


class Pollers:
    """The poller of a client: one for each process that the client is used in.

    Args:
        core: The client's settings.
        transport: Its channels.
    """

    def __init__(self, core: ClientCore, transport: Transport) -> None:
        self._core = core
        self._transport = transport
        self._poller = Poller(core, transport)

    def current(self) -> Poller:
        """The poller of this process."""
        return self._poller

    def gets(self) -> tuple[float | None, int, int | None, int]:
        """The quota of Gets: its limit, what is used and left, and how many wait."""
        return self._poller.gets()

    def forked(self) -> None:
        """In a forked child: the waiters are the parent's threads."""
        self._poller.forked()  # what listens to it may still be closed
        forking.keep(self._poller)
        self._poller = Poller(self._core, self._transport)


def run_each(transport: Transport, jobs: Jobs[ResultT], most: int) -> list[ResultT]:
    """Run flows and give what they return, in order; the first failure ends the others.

    They wait for their slots here, one after the other; gRPC's thread takes the answers.

    Args:
        transport: Runs them.
        jobs: The flows; the next is asked for when it can start.
        most: How many run at once.
    """
    import queue  # only several requests at once need it

    outcomes: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    running: dict[int, Call[Any, Any]] = {}
    results: dict[int, ResultT] = {}

    def done(index: int, outcome: Any) -> None:
        outcomes.put((index, outcome))
        if isinstance(outcome, BaseException):
            cancel()  # the one that waits for its slot, above all

    def cancel() -> None:
        for call in list(running.values()):
            call.cancel()

    def take() -> None:
        index, outcome = next_item(outcomes, None)
        del running[index]
        if isinstance(outcome, BaseException):
            raise outcome
        results[index] = outcome

    try:
        for index, (call, flow) in enumerate(jobs):
            running[index] = call  # first, so that a failure from here on cancels it
            while len(running) > most or not outcomes.empty():
                take()
            transport.launch(flow, functools.partial(done, index))
        while running:
            take()
    except ClientClosedError:
        while not outcomes.empty():  # it may have been cancelled for the failure of another
            take()
        raise
    finally:
        cancel()
    return [results[index] for index in range(len(results))]


def new_future() -> Future[Any]:
    """A future."""
    return Future()


def claimed(future: Future[Any]) -> bool:
    """Whether a future can be given an outcome; it can't after its user has cancelled it."""
    return future.set_running_or_notify_cancel()


def call_back(poller: Poller, callback: Callable[[], object]) -> None:
    """Call what a user gave: in a thread of the client's, after the callbacks before it."""
    poller.call_back(callback)


class named_interrupt:
    """A block in which Ctrl-C says which operation was waited for.

    Args:
        operation_id: The operation's id.
    """

    __slots__ = ("_operation_id",)

    def __init__(self, operation_id: str) -> None:
        self._operation_id = operation_id

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            error.args = (f"while waiting for operation {self._operation_id}, which is still running",)

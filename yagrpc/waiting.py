"""Waiting for many operations at once: `as_completed`, `wait` and `gather`, over operations of any clients.

Rules: nothing here asks the service; each operation has a listener, and the scheduler of its client polls it with
all others, at one pace. No thread and no task stands behind an operation. A timeout, a cancelled waiter and an
iteration that is left early affect neither the operations nor other waiters.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar, overload

from yagrpc._core.call.parameters import checked_timeout
from yagrpc._core.operation.listening import Listening, distinct
from yagrpc._core.operation.view import OperationView
from yagrpc._core.polling.watch import check_wait
from yagrpc._core.reporting.operations import Waiting
from yagrpc._grpc.loops import running_loop
from yagrpc._grpc.waits.signals import SignalsHeld, next_item
from yagrpc.context import CURRENT, inherited, on_leaving
from yagrpc.errors import OperationTimeoutError, RequestError, YagrpcError

if TYPE_CHECKING:
    from yagrpc._aio.operation import AsyncOperation
    from yagrpc._sync.operation import Operation
    from yagrpc.quantities import Seconds

OperationT = TypeVar("OperationT", bound="OperationView[Any, Any]")
ResultT = TypeVar("ResultT")

ReturnWhen: TypeAlias = Literal["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"]

RETURN_WHEN: Final = ("ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION")
"""The values of `concurrent.futures` and of `asyncio`."""


class Waited(tuple[set[OperationT], set[OperationT]], Generic[OperationT]):
    """What `wait` gives: the operations whose outcome is known, and the others."""

    __slots__ = ()

    def __new__(cls, done: set[OperationT], not_done: set[OperationT]) -> Waited[OperationT]:  # noqa: D102 (its class's)
        return super().__new__(cls, (done, not_done))

    @property
    def done(self) -> set[OperationT]:
        """Those whose outcome is known."""
        return self[0]

    @property
    def not_done(self) -> set[OperationT]:
        """Those that still run."""
        return self[1]

    def __await__(self) -> Generator[Any, None, Waited[OperationT]]:
        """Itself, at once: without any operations nothing shows which kind of wait was meant."""
        yield from ()
        return self


class Results(list[ResultT]):
    """What `gather` gives of blocking operations: their results, as a list."""

    def __await__(self) -> Generator[Any, None, list[ResultT]]:
        """Itself, at once: without any operations nothing shows which kind of wait was meant."""
        yield from ()
        return self


class Completions(Generic[OperationT]):
    """Operations in the order in which their outcomes become known; iterate it with `for` or `async for`.

    Args:
        operations: Which; each is given once.
        timeout: Seconds from now for all of them, or a `timedelta`; `None` for ever.
    """

    def __init__(self, operations: Iterable[OperationT], timeout: Seconds | None) -> None:
        self.operations = distinct(operations)
        self.caller = CURRENT.get()
        self._timeout = inherited(checked_timeout(timeout))
        self._deadline = None if self._timeout is None else time.monotonic() + self._timeout

    def __iter__(self) -> Iterator[OperationT]:
        return self.blocking()

    def __aiter__(self) -> AsyncIterator[OperationT]:
        return self.asynchronous()

    def blocking(self) -> Generator[OperationT, None, None]:
        """The operations, in a thread."""
        if not all(operation.blocking for operation in self.operations):
            raise TypeError("these are operations of an AsyncClient: iterate with 'async for', or await them")
        ended: queue.SimpleQueue[OperationT | None] = queue.SimpleQueue()
        waiting = self.waiting()
        listening: Listening[OperationT] | None = None
        with self.reported() as reported:
            try:
                with SignalsHeld():  # what an exception of a signal interrupts would be polled on and on
                    listening = reported.run(Listening, self.operations, ended.put)
                while waiting:
                    try:
                        with on_leaving(lambda: ended.put(None)):
                            operation = next_item(ended, self.left())
                    except queue.Empty:
                        operation = None
                    if operation is None:
                        error = self.late(waiting)
                        raise error from error.__cause__
                    del waiting[operation]
                    yield operation
            finally:
                if listening is not None:
                    with SignalsHeld():
                        listening.close()

    async def asynchronous(self) -> AsyncGenerator[OperationT, None]:
        """The operations, in an event loop."""
        ended = _Inbox[OperationT]()
        waiting = self.waiting()
        with (
            self.reported() as reported,
            contextlib.closing(reported.run(Listening, self.operations, ended.put)),
        ):
            while waiting:
                if not await ended.filled(self.left()):
                    raise self.late(waiting)
                operation = ended.get()
                del waiting[operation]
                yield operation

    def waiting(self) -> dict[OperationT, None]:
        """The operations, as they are before any is given.

        Raises:
            CallCancelledError: The caller of the handler has left.
            OperationTimeoutError: Its deadline has passed, and not all are done.
        """
        running = [operation for operation in self.operations if not operation._over]
        if running:
            check_wait(running[0].id)
        return dict.fromkeys(self.operations)

    def reported(self) -> Waiting:
        """The wait for those that are not done, as the subscribers of their clients hear of it."""
        running = [operation for operation in self.operations if not operation._over]
        return Waiting((operation._client._core.events for operation in running), [each.id for each in running])

    def left(self) -> float | None:
        """Seconds until the timeout is over."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def late(self, waiting: Iterable[OperationT]) -> YagrpcError:
        """The error that says which are not done in time, or when the caller of the handler has left."""
        late = [operation.id for operation in waiting]
        if self.caller is not None and self.caller.gone:
            return self.caller.wait_error(late[0])
        which = "it is" if len(late) == 1 else f"it and {len(late) - 1} more of {len(self.operations)} are"
        them, ids = ("it is", "its id") if len(late) == 1 else ("they are", "their ids")
        failures = (operation.last_error for operation in waiting)
        cause = next((failure for failure in failures if failure is not None), None)
        seen = cause is None and all(operation.watch is not None and operation.watch.polls for operation in waiting)
        known = "" if seen else " as far as is known"
        why = "" if cause is None else f"; the last poll failed: {cause._summary()}"
        text = (
            f"{which} not done within {self._timeout:g} s; {them} still running{known}, and can be waited for again by "
            f"{ids}{why}"
        )
        error = OperationTimeoutError(late[0], text, operation_ids=tuple(late))
        error.__cause__ = cause
        return error


def as_completed(operations: Iterable[OperationT], timeout: Seconds | None = None) -> Completions[OperationT]:
    """Operations, each as soon as its outcome is known: `for operation in yagrpc.as_completed(operations)`.

    Iterate with `async for` where they are an `AsyncClient`'s. `operation.result()` then gives the outcome at once.

    Args:
        operations: Operations of one client or of several; each is given once.
        timeout: Seconds from now for all of them, or a `timedelta`; 0 gives those whose end is known, `None` waits for
            ever.

    Raises:
        OperationTimeoutError: While iterating: not all are done in time. `operation_ids` has those that still run.
        RequestError: Something else than an operation is among them.
    """
    return Completions(operations, timeout)


@overload
def wait(
    operations: Iterable[Operation[ResultT, Any]], timeout: Seconds | None = None, return_when: ReturnWhen = ...
) -> Waited[Operation[ResultT, Any]]: ...
@overload
def wait(
    operations: Iterable[AsyncOperation[ResultT, Any]], timeout: Seconds | None = None, return_when: ReturnWhen = ...
) -> Coroutine[Any, Any, Waited[AsyncOperation[ResultT, Any]]]: ...
def wait(
    operations: Iterable[Any], timeout: Seconds | None = None, return_when: ReturnWhen = "ALL_COMPLETED"
) -> Waited[Any] | Coroutine[Any, Any, Waited[Any]]:
    """Wait until all operations are done, or the first; await it where they are an `AsyncClient`'s.

    Args:
        operations: Operations of one client or of several.
        timeout: Seconds, or a `timedelta`; `None` for ever. It raises nothing: what is not done is in `not_done`.
        return_when: `ALL_COMPLETED`, `FIRST_COMPLETED`, or `FIRST_EXCEPTION` for the first that failed.

    Returns:
        The sets `done` and `not_done`. `operation.result()` of what is done gives the outcome at once.

    Raises:
        RequestError: Something else than an operation is among them, or `return_when` is none of the three.
    """
    if not isinstance(return_when, str) or return_when not in RETURN_WHEN:
        raise RequestError("return_when", return_when, f"it takes {', '.join(RETURN_WHEN)}")
    checked = distinct(operations)
    completions = Completions(checked, timeout)
    enough: dict[str, Callable[[OperationView[Any, Any]], bool]] = {
        "ALL_COMPLETED": lambda operation: False,
        "FIRST_COMPLETED": lambda operation: True,
        "FIRST_EXCEPTION": _failed,
    }
    if all(operation.blocking for operation in checked):
        return _wait(completions, checked, enough[return_when])
    return _wait_async(completions, checked, enough[return_when])


@overload
def gather(
    *operations: Operation[ResultT, Any], timeout: Seconds | None = None, return_exceptions: Literal[False] = False
) -> list[ResultT]: ...
@overload
def gather(
    *operations: Operation[ResultT, Any], timeout: Seconds | None = None, return_exceptions: bool
) -> list[ResultT | BaseException]: ...
@overload
def gather(
    *operations: AsyncOperation[ResultT, Any], timeout: Seconds | None = None, return_exceptions: Literal[False] = False
) -> asyncio.Future[list[ResultT]]: ...
@overload
def gather(
    *operations: AsyncOperation[ResultT, Any], timeout: Seconds | None = None, return_exceptions: bool
) -> asyncio.Future[list[ResultT | BaseException]]: ...
def gather(*operations: Any, timeout: Seconds | None = None, return_exceptions: bool = False) -> Any:
    """The results of several operations, in the order of the arguments; await it where they are an `AsyncClient`'s.

    Args:
        *operations: Operations of one client or of several.
        timeout: Seconds for all of them, or a `timedelta`; `None` for ever.
        return_exceptions: Give failures instead of results, instead of raising the first.

    Raises:
        OperationTimeoutError: Not all are done in time. `operation_ids` has those that still run.
        RequestError: Something else than an operation is among them.
        YagrpcError: The first failure of an operation; the others still run.
    """
    outcomes = _Outcomes(operations, return_exceptions)
    completions = Completions(operations, timeout)
    if not all(operation.blocking for operation in operations):
        return _gathered(completions, outcomes)
    with contextlib.closing(completions.blocking()) as ended:
        for operation in ended:
            outcomes.add(operation)
    return Results(outcomes.results())


class _Outcomes:
    """The outcomes of operations, each unpacked once.

    Args:
        operations: Which, in their order.
        with_exceptions: Whether failures are taken in, or raised.
    """

    def __init__(self, operations: Iterable[OperationView[Any, Any]], with_exceptions: bool) -> None:
        self._operations = operations
        self._with_exceptions = with_exceptions
        self._outcomes: dict[OperationView[Any, Any], Any] = {}

    def add(self, operation: OperationView[Any, Any]) -> None:
        """Take in the outcome of an operation, which is known."""
        try:
            self._outcomes[operation] = operation._outcome()
        except Exception as error:
            if not self._with_exceptions:
                raise
            self._outcomes[operation] = error

    def results(self) -> list[Any]:
        """All outcomes, in the order of the operations."""
        return [self._outcomes[operation] for operation in self._operations]


class _Inbox(Generic[OperationT]):
    """What one task of an event loop waits for, put there from anywhere."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[OperationT] = deque()
        self._waiting: asyncio.Future[bool] | None = None

    def put(self, operation: OperationT) -> None:
        """Put one there; from the thread that it comes from."""
        if operation.blocking:
            self._loop.call_soon_threadsafe(self._put, operation)
        else:
            self._put(operation)

    async def filled(self, timeout: float | None) -> bool:
        """Wait until there is one, for some seconds at most."""
        if not self._items:
            self._waiting = self._loop.create_future()
            timer = None if timeout is None else self._loop.call_later(timeout, self._wake)
            try:
                with on_leaving(lambda: self._loop.call_soon_threadsafe(self._wake)):
                    await self._waiting
            finally:
                self._waiting = None
                if timer is not None:
                    timer.cancel()
        return bool(self._items)

    def get(self) -> OperationT:
        """The first one."""
        return self._items.popleft()

    def _put(self, operation: OperationT) -> None:
        self._items.append(operation)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(True)


def _wait(
    completions: Completions[OperationT], operations: list[OperationT], enough: Callable[[OperationT], bool]
) -> Waited[OperationT]:
    with contextlib.suppress(OperationTimeoutError), contextlib.closing(completions.blocking()) as ended:
        for operation in ended:
            if enough(operation):
                break
    return _sorted(operations)


async def _wait_async(
    completions: Completions[OperationT], operations: list[OperationT], enough: Callable[[OperationT], bool]
) -> Waited[OperationT]:
    with contextlib.suppress(OperationTimeoutError):
        async with contextlib.aclosing(completions.asynchronous()) as ended:
            async for operation in ended:
                if enough(operation):
                    break
    return _sorted(operations)


def _sorted(operations: list[OperationT]) -> Waited[OperationT]:
    done = {operation for operation in operations if operation._over}
    return Waited(done, set(operations) - done)


def _gathered(completions: Completions[Any], outcomes: _Outcomes) -> asyncio.Future[list[Any]]:
    """A future of all results, without a task."""
    loop = running_loop()
    future: asyncio.Future[list[Any]] = loop.create_future()
    waiting = completions.waiting()
    failures: list[Exception] = []  # to ask the future for its exception would count as taking it

    def take_in(operation: Any) -> None:
        del waiting[operation]
        if future.done():
            return
        try:
            outcomes.add(operation)
            if not waiting:
                future.set_result(outcomes.results())
        except Exception as error:
            fail(error)

    def fail(error: Exception) -> None:
        failures.append(error)
        future.set_exception(error)

    def put(operation: Any) -> None:
        if operation.blocking:
            loop.call_soon_threadsafe(take_in, operation)
        else:
            take_in(operation)

    def expire() -> None:
        if not future.done():
            fail(completions.late(waiting))

    def end(future: asyncio.Future[Any]) -> None:
        listening.close()
        error = asyncio.CancelledError() if future.cancelled() else next(iter(failures), None)
        reported.__exit__(None, error, None)

    with contextlib.ExitStack() as opened:
        reported = opened.enter_context(completions.reported())
        listening = reported.run(Listening, completions.operations, put)
        opened.pop_all()
    future.add_done_callback(end)
    if (caller := completions.caller) is not None:
        caller.add(future, lambda: loop.call_soon_threadsafe(expire))
        future.add_done_callback(caller.forget)
    seconds = completions.left()
    if seconds is not None:
        timer = loop.call_later(seconds, expire)
        future.add_done_callback(lambda _: timer.cancel())
    return future


def _failed(operation: OperationView[Any, Any]) -> bool:
    """Whether an operation whose outcome is known has no result."""
    try:
        operation._outcome()
    except Exception:
        return True
    return False

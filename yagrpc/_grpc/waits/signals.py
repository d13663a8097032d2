"""Signals at a moment when their exceptions would break something, and waits that such an exception ends without harm.

The handler of a signal runs in the main thread, between any two steps of it, and may raise: Ctrl-C, the time limit of a
task queue. While an rpc starts, nobody could cancel it; while a lock of Python's or of gRPC's is taken or released, it
would stay held for ever; what has started and is not recorded yet would be lost. So these steps run with signals held.

Rules: only signals that programs handle in Python, and only in the main thread, where Python calls their handlers. What
is held is short, but for waits: a handler's exception ends those of `next_item` at once, and those of gRPC's calls by
cancelling them.
"""

from __future__ import annotations

import _thread
import contextlib
import math
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType, MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

ItemT = TypeVar("ItemT")

HELD: Final = tuple(
    number
    for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGHUP")
    if (number := getattr(signal, name, None)) is not None
)
"""Signals whose handlers often raise: Ctrl-C, the end of a process, alarms, the time limits of task queues."""

SLICE: Final = 0.1
"""Seconds by which a signal may end a wait too late."""

# The module `signal` makes enums of what its C module gives, which takes ten times as long as all the rest.
_plain: Final[Any] = sys.modules.get("_signal", signal)
_get: Final[Callable[[int], Any]] = _plain.getsignal
_set: Final[Callable[[int, Any], Any]] = _plain.signal


def next_item(items: queue.SimpleQueue[ItemT], timeout: float | None) -> ItemT:
    """The next item of a queue; the wait for it can be interrupted, and breaks nothing.

    It is done in slices, as gRPC does its own: a signal that comes just before a wait begins does not end it, and
    its exception is raised after it.

    Raises:
        queue.Empty: There is none within the timeout, in seconds.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            return items.get(timeout=min(max(left, 0.0), SLICE))
        except queue.Empty:
            if left <= SLICE:
                raise


_NONE: Final[Mapping[int, Any]] = MappingProxyType({})
"""The handlers of a block that holds no signal."""


class SignalsHeld:
    """A block that no handler of a signal interrupts: it is called at the end of the block, or in a wait of it.

    After a handler's exception in a wait, signals are held again: what the exception ends can be put in order.
    """

    __slots__ = ("_came", "_handlers", "_over", "_waits")

    def __enter__(self) -> Self:
        self._handlers = _NONE
        if threading.current_thread() is threading.main_thread():
            handlers: dict[int, Any] = {}
            for number in HELD:
                handler = _get(number)
                if callable(handler):
                    handlers[number] = handler
            if handlers:
                self._prepare()
                self._over = self._waits = False
                self._handlers = handlers
                try:
                    for number in handlers:
                        _set(number, self._handle)
                except BaseException:  # of a handler whose turn had not come: the others must not stay replaced
                    self._restore()
                    raise
        return self

    def _prepare(self) -> None:
        """Make what a signal that is held needs; most blocks are in other threads, and hold none."""
        self._came: list[tuple[int, FrameType | None]] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._handlers:
            try:
                self._restore()
            finally:
                self.check()

    def check(self) -> None:
        """Call the handlers of the signals that came so far, each once; their exceptions are raised here."""
        while self._handlers and self._came:
            number, frame = self._came.pop(0)
            try:
                self._handlers[number](number, frame)
            except BaseException:
                self.check()  # those of the others, whose exceptions have this one as their context
                raise

    def next_item(self, items: queue.SimpleQueue[ItemT], timeout: float | None) -> ItemT:
        """The next item of a queue; a handler is called at once, and its exception ends the wait.

        Raises:
            queue.Empty: There is none within the timeout, in seconds.
        """
        self._waits = True
        try:
            self.check()
            return next_item(items, timeout)
        finally:
            self._waits = False

    def join(self, thread: threading.Thread, timeout: float | None) -> None:
        """Wait for the end of a thread, for some seconds at most; a handler's exception ends the wait soon."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while thread.is_alive() and (left := deadline - time.monotonic()) > 0:
            thread.join(min(left, SLICE))
            self.check()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Stands in for a handler; a program may have found it here, and use it after the block."""
        if self._over:
            self._handlers[number](number, frame)
        else:
            self._hold(number, frame)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if not self._waits:
            self._came.append((number, frame))
            return
        try:
            self._handlers[number](number, frame)
        except BaseException:
            self._waits = False
            raise

    def _handles(self, number: int) -> bool:
        """Whether a signal comes here."""
        return bool(_get(number) == self._handle)

    def _restore(self) -> None:
        self._over = True
        try:
            for number, handler in self._handlers.items():
                if self._handles(number):  # a handler may have set another in its place
                    _set(number, handler)
        except BaseException:  # of a handler that is back already: the others have to be, too
            self._restore()
            raise


class SignalsCancel(SignalsHeld):
    """A block in which gRPC waits: the exception of a signal's handler cancels its call, and is raised at the end.

    gRPC waits with locks of Python's; an exception between two steps of that may leave one held, and then nothing on
    the same channel ends any more.

    Args:
        cancel: Cancels the call, so that the wait ends.
    """

    __slots__ = ("_cancel", "_error")

    def __init__(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel
        self._error: BaseException | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()
        if (raised := self._error) is not None:
            self._error = None
            try:
                raise raised from raised.__cause__  # the call's own failure is no news
            finally:
                del raised  # it is a cycle, with this frame in its traceback

    def _hold(self, number: int, frame: FrameType | None) -> None:
        try:
            self._handlers[number](number, frame)
        except BaseException as error:
            self._error = error
            with contextlib.suppress(Exception):  # an interceptor's: the wait ends later
                self._cancel()


class SignalsDelayed(SignalsHeld):
    """A block in which gRPC sends a unary call and waits for its answer in one step, so that nothing can cancel it.

    gRPC cancels the call itself where the exception of a signal's handler comes while it waits in C. In its steps
    before and after that the exception is kept back, and the signal is repeated a moment later.
    """

    __slots__ = ("_due", "_ending", "_error", "_repeats")

    def _prepare(self) -> None:
        self._error: BaseException | None = None
        self._ending = False
        self._due: list[int] = []  # the signals that are repeated now
        self._repeats: list[queue.SimpleQueue[None]] = []  # each has an item once its signal was repeated

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._handlers:
            return
        self._ending = True
        for repeated in self._repeats:  # none of them may come later: the program's own handler would take it
            next_item(repeated, None)
        self._restore()
        if self._error is not None:
            self._raise()

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if number in self._due:
            self._due.remove(number)
        else:
            try:
                self._handlers[number](number, frame)
            except BaseException as error:
                self._error = error
        if self._error is None or self._ending:
            return
        elsewhere = len(self._repeats) >= _REPEATS and not _in_grpc(frame)
        if elsewhere or _waits_in_c(frame) or not self._handles(number):
            self._raise()
        repeated: queue.SimpleQueue[None] = queue.SimpleQueue()
        try:
            _thread.start_new_thread(self._repeat, (number, repeated))  # the class Thread takes locks
        except RuntimeError:  # the system starts no more threads
            self._raise()
        self._repeats.append(repeated)

    def _repeat(self, number: int, repeated: queue.SimpleQueue[None]) -> None:
        time.sleep(_PAUSE)
        if not self._handles(number):
            repeated.put(None)
            return
        self._due.append(number)
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(_main_thread(), number)  # it ends what the system does for that thread
        else:  # on Windows
            signal.raise_signal(number)
        while number in self._due and self._handles(number):
            time.sleep(_PAUSE / 20)
        repeated.put(None)

    def _raise(self) -> None:
        if (error := self._error) is not None:
            self._error = None
            try:
                raise error from error.__cause__  # a failure of the call is no news
            finally:
                del error  # it is a cycle, with this frame in its traceback


_REPEATS: Final = 5
_PAUSE: Final = 0.02
"""How often a signal is repeated where gRPC is not at work, and after how many seconds: an interceptor may wait."""


def _main_thread() -> int:
    return threading.main_thread().ident or 0


def _in_grpc(frame: FrameType | None) -> bool:
    """Whether a step of gRPC's was interrupted, or of a lock that it uses: these take no time."""
    while frame is not None and frame.f_globals.get("__name__") == "threading":
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("grpc.")


def _waits_in_c(frame: FrameType | None) -> bool:
    """Whether the function of gRPC's that makes a unary call was interrupted, after it has started the call."""
    if frame is None or frame.f_code.co_name != "_blocking" or frame.f_globals.get("__name__") != "grpc._channel":
        return False
    return "call" in frame.f_locals


class Cancelled:
    """What ends an rpc, as its call keeps it: that takes a lock of gRPC's.

    Args:
        end: Ends it; `None` where an interceptor gave an iterator that can't be ended.
    """

    __slots__ = ("_end",)

    def __init__(self, end: Callable[[], object] | None) -> None:
        self._end = end

    def __call__(self) -> None:
        """End it.

        An interceptor's object may fail. Its generator does while another thread waits for its next message: then that
        thread ends it.
        """
        if self._end is not None:
            with SignalsHeld(), contextlib.suppress(Exception):
                self._end()


def interruptible(rpc: Any) -> contextlib.AbstractContextManager[object]:
    """A block that waits for a message of an rpc; the exception of a signal ends the rpc."""
    cancel = getattr(rpc, "cancel", None)
    return contextlib.nullcontext() if cancel is None else SignalsCancel(cancel)

"""Functions in threads of their own, and waits that the exception of a signal ends without harm.

Rules: threads are daemons, which never hold up the end of the interpreter. A thread starts with signals held.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from yagrpc._grpc.waits.signals import SLICE, SignalsHeld, next_item
from yagrpc.errors import ClientClosedError

ResultT = TypeVar("ResultT")


def in_thread(function: Callable[[], object], name: str) -> threading.Thread:
    """Call a function in its own daemon thread; gives the thread.

    Raises:
        RuntimeError: The system starts no more threads, or the interpreter ends.
    """
    thread = threading.Thread(target=function, name=name, daemon=True)
    with SignalsHeld():  # the new thread takes a lock that this one waits with
        thread.start()
    return thread


def outcome_in_thread(
    function: Callable[[], ResultT], name: str, closed: Callable[[], bool] = lambda: False
) -> ResultT:
    """What a function returns, or raises, that runs in its own thread; the wait for it can be interrupted.

    Args:
        function: The function.
        name: The name of the thread.
        closed: Whether the client is closed; the wait ends soon after that.

    Raises:
        ClientClosedError: The client was closed meanwhile.
        RuntimeError: As `in_thread`.
    """
    outcomes: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcomes.put((function(), None))
        except BaseException as error:  # the waiter gets it
            outcomes.put((None, error))

    in_thread(run, name)
    while True:
        try:
            returned, failure = next_item(outcomes, SLICE)
            break
        except queue.Empty:
            if closed():
                raise ClientClosedError from None
    if failure is None:
        result: ResultT = returned
        return result
    try:
        raise failure
    finally:
        del failure  # it is a cycle, with this frame in its traceback


def finish(functions: list[Callable[[], object]], name: str, signals: SignalsHeld) -> None:
    """Call functions that have to come to their end: in the main thread, where a signal may end the wait, in another.

    Args:
        functions: The functions, one after the other.
        name: The name of the thread.
        signals: The block in which this is called.
    """
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def run() -> None:
        try:
            for function in functions:
                function()
        finally:
            ended.put(None)

    if not functions or threading.current_thread() is not threading.main_thread():
        run()
        return
    try:
        in_thread(run, name)
    except RuntimeError:  # the system starts no more threads, or the interpreter ends
        run()
    signals.next_item(ended, None)


class Waiter:
    """Something that one thread waits for; any thread may wake it, a destructor too."""

    __slots__ = ("_wakings", "woken")

    def __init__(self) -> None:
        self._wakings: queue.SimpleQueue[None] = queue.SimpleQueue()  # its waits can be interrupted without harm
        self.woken = False

    def wake(self) -> None:
        """Have it check again what it waits for."""
        if not self.woken:
            self.woken = True
            self._wakings.put(None)

    def sleep(self, seconds: float | None, next_item: Callable[..., None] = next_item) -> None:
        """Wait until it is woken, for some seconds at most; the exceptions of signals are raised here.

        Args:
            seconds: How long; `None` or infinity for ever.
            next_item: How the wait is done, where signals are held.
        """
        with contextlib.suppress(queue.Empty):
            next_item(self._wakings, None if seconds is None or seconds == math.inf else max(0.0, seconds))

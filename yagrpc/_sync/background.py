"""What the blocking client does beside its callers: shared flows, and functions in their own threads.

Rules: a shared flow has its own thread, a daemon that ends with it, so that a waiter may give up, be interrupted or
time out without harm to the others. A thread that was lost in a fork is not waited for.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, wait
from typing import Any, Final, TypeVar

from yagrpc._core.flow import Flow, Share
from yagrpc.errors import ClientClosedError

ItemT = TypeVar("ItemT")

_SLICE: Final = 0.2
"""Seconds of a wait that a signal may end too late."""


class Sharing:
    """Flows that run once for all callers that ask for them meanwhile.

    Args:
        run: Runs a flow, blocking.
    """

    def __init__(self, run: Callable[[Flow[Any]], Any]) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], Future[Any]] = {}
        self._closed = False

    def share(self, effect: Share) -> Any:
        """Join a flow, or start it; gives what it returns, or `None` without waiting.

        Raises:
            TimeoutError: It still runs after the effect's timeout.
            ClientClosedError: The client is closed.
        """
        key = effect.key, os.getpid()
        with self._lock:
            if self._closed:
                raise ClientClosedError
            future = self._running.get(key)
            if future is None:
                future = Future[Any]()
                in_thread(lambda: self._run_shared(key, effect, future), f"yagrpc-{effect.key}")
                self._running[key] = future  # after the thread: the start of a thread may fail
        if not effect.wait:
            return None
        if not wait([future], effect.timeout).done:
            raise TimeoutError
        return future.result()

    def close(self) -> None:
        """End every wait with a `ClientClosedError`."""
        with self._lock:
            self._closed = True
            running = list(self._running.values())
        for future in running:
            _settle(future, error=ClientClosedError())

    def _run_shared(self, key: tuple[str, int], effect: Share, future: Future[Any]) -> None:
        returned, failure = None, None
        try:
            returned = self._run(effect.make())
        except BaseException as error:  # the waiters get it
            failure = error
        with self._lock:
            self._running.pop(key, None)
        _settle(future, returned, failure)


def in_thread(function: Callable[[], object], name: str) -> None:
    """Call a function in its own daemon thread.

    Raises:
        RuntimeError: The system starts no more threads, or the interpreter ends.
    """
    threading.Thread(target=function, name=name, daemon=True).start()


def next_item(items: queue.SimpleQueue[ItemT], timeout: float | None) -> ItemT:
    """The next item of a queue; the wait for it can be interrupted.

    It is done in slices, as gRPC does its own: a signal that comes just before a wait begins does not end it, and
    its exception is raised after it.

    Raises:
        queue.Empty: There is none within the timeout, in seconds.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            return items.get(timeout=min(max(left, 0.0), _SLICE))
        except queue.Empty:
            if left <= _SLICE:
                raise


def outcome_in_thread(function: Callable[[], Any], name: str) -> Any:
    """What a function returns, or raises, that runs in its own thread; the wait for it can be interrupted.

    Raises:
        RuntimeError: As `in_thread`.
    """
    outcomes: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcomes.put((function(), None))
        except BaseException as error:  # the waiter gets it
            outcomes.put((None, error))

    in_thread(run, name)
    returned, failure = next_item(outcomes, None)
    if failure is None:
        return returned
    try:
        raise failure
    finally:
        del failure  # it is a cycle, with this frame in its traceback


def _settle(future: Future[Any], returned: Any = None, error: BaseException | None = None) -> None:
    with contextlib.suppress(InvalidStateError):  # the client was closed meanwhile
        future.set_result(returned) if error is None else future.set_exception(error)

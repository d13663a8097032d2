"""What the blocking client does beside its callers: shared flows.

Rules: a shared flow has its own thread, a daemon that ends with it, so that a waiter may give up, be interrupted or
time out without harm to the others. A thread that was lost in a fork is not waited for. What runs in a thread is
recorded once the thread has started, with signals held: none of it is recorded without a thread, and no thread runs
that is not recorded.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any

from yagrpc._core.flow import Flow, Share
from yagrpc._grpc.waits.signals import SignalsHeld
from yagrpc._grpc.waits.threads import in_thread
from yagrpc.context import on_leaving
from yagrpc.errors import ClientClosedError


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
        with SignalsHeld() as signals:
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
            ended: queue.SimpleQueue[object] = queue.SimpleQueue()
            future.add_done_callback(ended.put)
            with contextlib.suppress(queue.Empty), on_leaving(lambda: ended.put(None)):
                signals.next_item(ended, effect.timeout)
            if not future.done():
                raise TimeoutError
            return future.result()

    def close(self) -> None:
        """End every wait with a `ClientClosedError`."""
        with SignalsHeld():
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


def _settle(future: Future[Any], returned: Any = None, error: BaseException | None = None) -> None:
    with contextlib.suppress(InvalidStateError):  # the client was closed meanwhile
        future.set_result(returned) if error is None else future.set_exception(error)

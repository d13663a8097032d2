"""What the blocking client does beside its callers: shared flows, and functions in threads of their own.

Rules: a shared flow has a thread of its own, a daemon that ends with it, so that one who waits may give up, be
interrupted or time out without harm to the others. A thread that was lost over a fork is not waited for.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, wait
from typing import Any

from yagrpc._core.flow import Flow, Share
from yagrpc.errors import ClientClosedError


class Sharing:
    """Flows that run once for all who ask for them meanwhile.

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
                in_thread(lambda: self._carry_out(key, effect, future), f"yagrpc-{effect.key}")
                self._running[key] = future  # after the thread: there may be no room for one more
        if not effect.wait:
            return None
        if not wait([future], effect.timeout).done:
            raise TimeoutError
        return future.result()

    def close(self) -> None:
        """Wait for nothing any longer: those who do get a `ClientClosedError`."""
        with self._lock:
            self._closed = True
            running = list(self._running.values())
        for future in running:
            _settle(future, error=ClientClosedError())

    def _carry_out(self, key: tuple[str, int], effect: Share, future: Future[Any]) -> None:
        returned, failure = None, None
        try:
            returned = self._run(effect.make())
        except BaseException as error:  # those who wait get it
            failure = error
        with self._lock:
            self._running.pop(key, None)
        _settle(future, returned, failure)


def in_thread(function: Callable[[], object], name: str) -> None:
    """Call a function in a daemon thread of its own.

    Raises:
        RuntimeError: There is no room for one more thread, or the interpreter ends.
    """
    threading.Thread(target=function, name=name, daemon=True).start()


def _settle(future: Future[Any], returned: Any = None, error: BaseException | None = None) -> None:
    with contextlib.suppress(InvalidStateError):  # the client was closed meanwhile
        future.set_result(returned) if error is None else future.set_exception(error)

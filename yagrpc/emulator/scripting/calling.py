"""Calls a function of the user's in a thread of its own, so that one that blocks holds up neither calls nor a stop.

Rules: one call at a time, in the order of the requests. The thread lives only while calls wait.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Generic, TypeAlias, TypeVar

__all__ = ["Called"]

_ArgumentT = TypeVar("_ArgumentT")
_ResultT = TypeVar("_ResultT")

_Ended: TypeAlias = "Future[tuple[_ResultT | None, BaseException | None]]"
"""How a call has ended. The error is a value here: a future does not take every exception."""

_log: Final = logging.getLogger("yagrpc.emulator")


class Called(Generic[_ArgumentT, _ResultT]):
    """A function of the user's, which an event loop awaits.

    Args:
        function: The function.
    """

    def __init__(self, function: Callable[[_ArgumentT], _ResultT]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._waiting: deque[tuple[_Ended[_ResultT], _ArgumentT]] = deque()
        self._thread: threading.Thread | None = None
        self._running: _Ended[_ResultT] | None = None

    async def call(self, argument: _ArgumentT) -> _ResultT:
        """Call the function, after all calls that came before.

        Raises:
            RuntimeError: The function raised what is no `Exception`.
            Exception: What the function raised.
        """
        ended: _Ended[_ResultT] = Future()
        with self._lock:
            self._waiting.append((ended, argument))
            if self._thread is None:
                # A daemon: a function that never returns does not keep the process.
                self._thread = threading.Thread(target=self._work, name="yagrpc-emulator-replies", daemon=True)
                self._thread.start()
        result, error = await asyncio.wrap_future(ended)
        if isinstance(error, Exception):
            raise error
        if error is not None:  # SystemExit, or pytest's own: it would end the emulator's thread
            raise RuntimeError(f"the function of replies raised {type(error).__name__}: {error}") from error
        return result  # type: ignore[return-value] # without an error there is a result

    async def leave(self, seconds: float) -> None:
        """Leave the call that is running behind, with a warning, unless it ends soon; no other call waits for it.

        Args:
            seconds: How long it may still take.
        """
        with self._lock:
            running = self._running
        if running is None:
            return
        waited = asyncio.wrap_future(running)
        await asyncio.wait({waited}, timeout=seconds)
        if not waited.cancel():
            return
        with self._lock:
            self._thread = self._running = None
            self._waiting.clear()  # their calls have ended
        name = getattr(self._function, "__qualname__", None) or type(self._function).__qualname__
        module = getattr(self._function, "__module__", "?")
        text = (
            "the emulator stops without its function of replies, %s.%s: it has not returned, and is left in its thread"
        )
        _log.warning(text, module, name)

    def _work(self) -> None:
        thread = threading.current_thread()
        while (found := self._next(thread)) is not None:
            ended, argument = found
            try:
                ended.set_result((self._function(argument), None))
            except BaseException as error:
                ended.set_result((None, error))

    def _next(self, thread: threading.Thread) -> tuple[_Ended[_ResultT], _ArgumentT] | None:
        """The next call; `None` ends the thread."""
        with self._lock:
            if self._thread is not thread:  # it was left behind
                return None
            while self._waiting:
                ended, argument = self._waiting.popleft()
                if ended.set_running_or_notify_cancel():  # otherwise its caller has left
                    self._running = ended
                    return ended, argument
            self._thread = self._running = None
            return None

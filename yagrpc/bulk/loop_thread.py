"""An event loop in a thread, for a run in a program that has no event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

from yagrpc.context import detached_context


class LoopThread:
    """An event loop in a thread, which runs one coroutine, in the context (`contextvars`) of who starts it.

    Args:
        make: Makes the coroutine.
        ended: Called when it has ended.
    """

    def __init__(self, make: Callable[[], Any], ended: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done = False
        self._task: asyncio.Task[None] | None = None
        self._started = threading.Event()

        async def main() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            self._started.set()
            await make()

        def run() -> None:
            try:
                asyncio.run(main())
            except BaseException as error:
                self._error = error
            finally:
                self._done = True
                self._started.set()
                ended()

        self._thread = threading.Thread(target=detached_context().run, args=(run,), name="yagrpc-bulk", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the coroutine has not ended."""
        return not self._done

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in the loop, if that runs."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(function)

    def abort(self, abort: Callable[[], bool]) -> None:
        """End the coroutine: by a function that says whether it does that, or else by cancelling it."""

        def end() -> None:
            if not abort() and self._task is not None:
                self._task.cancel()

        self._started.wait()
        self.call(end)

    def check(self) -> None:
        """Raise what the coroutine raised."""
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

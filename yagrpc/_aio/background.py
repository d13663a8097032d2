"""What the asyncio client does beside its callers: shared flows, and functions that block.

Rules: a shared flow has a task of its own, so that cancelling one who waits leaves it to the others. A function that
blocks has a daemon thread of its own, which never holds up the end of the loop or of the interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from yagrpc._core.flow import Flow, Share
from yagrpc.errors import ClientClosedError


class AsyncSharing:
    """Flows that are carried out once for all who ask for them meanwhile.

    Args:
        run: Carries a flow out.
    """

    def __init__(self, run: Callable[[Flow[Any]], Coroutine[Any, Any, Any]]) -> None:
        self._run = run
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def share(self, effect: Share) -> Any:
        """Join in a flow, or begin it; gives what it returns, or `None` without waiting.

        Raises:
            TimeoutError: It goes on after the effect's timeout.
            ClientClosedError: The client was closed meanwhile.
        """
        loop = asyncio.get_running_loop()
        task = self._running.get(effect.key)
        if task is None or task.done() or task.get_loop() is not loop:
            task = loop.create_task(self._run(effect.make()), name=f"yagrpc-{effect.key}")
            self._running[effect.key] = task
        if not effect.wait:
            return None
        done, _ = await asyncio.wait([task], timeout=effect.timeout)
        if not done:
            raise TimeoutError
        if task.cancelled():
            raise ClientClosedError
        return task.result()

    async def close(self) -> None:
        """End what is under way."""
        loop = asyncio.get_running_loop()
        running = [task for task in self._running.values() if task.get_loop() is loop]
        self._running.clear()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def in_thread(function: Callable[[], Any]) -> Any:
    """What a function that blocks returns, or raises; it runs on where nobody waits for it any longer."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(returned: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result(returned) if error is None else future.set_exception(error)

    def call() -> None:
        returned, failure = None, None
        try:
            returned = function()
        except BaseException as error:  # whoever waits is told
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, returned, failure)

    threading.Thread(target=call, name="yagrpc-blocking", daemon=True).start()
    return await future

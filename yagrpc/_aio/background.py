"""What the asyncio client does beside its callers: shared flows.

Rules: a shared flow has its own task, so that cancelling one waiter leaves the flow to the others.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

from yagrpc._core.flow import Flow, Share
from yagrpc._grpc.loops import ended
from yagrpc.errors import ClientClosedError


class AsyncSharing:
    """Flows that run once for all callers that ask for them meanwhile.

    Args:
        run: Runs a flow.
        closed: Whether its client is closed.
    """

    def __init__(self, run: Callable[[Flow[Any]], Coroutine[Any, Any, Any]], *, closed: bool = False) -> None:
        self._run = run
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._closed = closed

    async def share(self, effect: Share) -> Any:
        """Join a flow, or start it; gives what it returns, or `None` without waiting.

        Raises:
            TimeoutError: It still runs after the effect's timeout.
            ClientClosedError: The client is closed, or was closed meanwhile.
        """
        if self._closed:
            raise ClientClosedError
        loop = asyncio.get_running_loop()
        task = self._running.get(effect.key)
        if task is None or task.done() or task.get_loop() is not loop:
            # In an empty context: it works for all waiters, not only for the first.
            start = contextvars.Context().run
            task = start(loop.create_task, self._run(effect.make()), name=f"yagrpc-{effect.key}")
            self._running[effect.key] = task
        if not effect.wait:
            return None
        if not await ended(effect.timeout, task):
            raise TimeoutError
        if task.cancelled():
            raise ClientClosedError
        return task.result()

    async def close(self) -> None:
        """End the flows that run; their waiters, and later callers, get a `ClientClosedError`."""
        self._closed = True
        loop = asyncio.get_running_loop()
        running = [task for task in self._running.values() if task.get_loop() is loop]
        self._running.clear()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

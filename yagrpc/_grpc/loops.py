"""The event loop that runs."""

from __future__ import annotations

import asyncio
from typing import Any

from yagrpc.context import CURRENT
from yagrpc.errors import ConfigError


def running_loop() -> asyncio.AbstractEventLoop:
    """The event loop that runs in this thread.

    Raises:
        ConfigError: None does: what belongs to an `AsyncClient` works in coroutines only.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        remedy = "call it in a coroutine that an event loop runs, or use yagrpc.Client"
        raise ConfigError(f"an AsyncClient is used where no event loop runs: {remedy}") from None


async def ended(timeout: float | None, *futures: asyncio.Future[Any]) -> set[asyncio.Future[Any]]:
    """Wait for the first of some futures, for some seconds at most, or until the handler's caller has left.

    Args:
        timeout: Seconds; `None` for no limit.
        *futures: The futures.

    Returns:
        Those that are done.
    """
    caller = CURRENT.get()
    done: set[asyncio.Future[Any]]  # not known to type checkers for Python 3.10
    if caller is None:
        done, _ = await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        return done
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    with caller.ends(lambda: loop.call_soon_threadsafe(settle, gone)):
        waited = [*futures, gone]
        done, _ = await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        return done - {gone}


def settle(future: asyncio.Future[None]) -> None:
    """Wake what waits for a future."""
    if not future.done():
        future.set_result(None)

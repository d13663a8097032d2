"""The event loop that runs, what is waited for in it, and functions that block beside it.

Rules: a function that blocks has its own daemon thread, which never holds up the end of the loop or of the interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

from yagrpc.context import CURRENT
from yagrpc.credentials.base import unless
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


def called_in_thread(function: Callable[[], Any]) -> asyncio.Future[Any]:
    """Call a function that blocks; gives a future of what it returns or raises. Cancelling that leaves it running.

    Raises:
        RuntimeError: The system starts no more threads, or the interpreter ends.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def deliver(returned: Any, error: BaseException | None) -> None:
        if isinstance(error, StopIteration):  # no future takes it
            error, cause = RuntimeError("a function that blocks raised StopIteration"), error
            error.__cause__ = cause
        if not future.done():
            future.set_result(returned) if error is None else future.set_exception(error)

    def call() -> None:
        returned, failure = None, None
        try:
            returned = unless(future.cancelled, function)()
        except BaseException as error:  # the waiter gets it
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(deliver, returned, failure)

    threading.Thread(target=call, name="yagrpc-blocking", daemon=True).start()
    return future

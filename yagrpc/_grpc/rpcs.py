"""What gRPC's calls and errors say of themselves; interceptors may have put objects of their own in their place.

An interceptor owes a unary rpc an object with `result()`, and a stream an iterator; on asyncio something to await, or
an asynchronous iterator. Metadata, status, `cancel` and `done` may be missing, or fail.

Rules: what is missing is `None`; nothing here raises, so that it never replaces an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from typing import Any, Final

from yagrpc._core.call.policy import Kind
from yagrpc._core.flow import Effect, Send
from yagrpc.errors import YagrpcError

DRAIN: Final = 0.2
"""Seconds that closing an asyncio client waits for gRPC's events of rpcs that have ended; they take milliseconds."""

_AWAITED: Final = frozenset({"_handle_status_once_received", "channel_ready"})
"""gRPC's tasks that end with the event of an rpc's end, and with that of a connection (grpcio 1.68 to 1.85); where they
have other names, nothing is waited for."""


def given(source: object, name: str) -> Any:
    """What a method of a call or an error gives, such as its metadata; `None` where there is none, or it fails."""
    try:
        return getattr(source, name)()
    except Exception:
        return None


async def given_later(source: object, name: str) -> Any:
    """The same of a method that has to be awaited."""
    try:
        return await getattr(source, name)()
    except Exception:
        return None


def pairs(metadata: Any) -> Any:
    """Metadata as they came, or `None` where they are no pairs of a key and a value."""
    try:
        for _key, _value in metadata:
            pass
    except (TypeError, ValueError):
        return None
    return metadata


def end_of(rpc: object, *names: str) -> Callable[[], object] | None:
    """The first of some methods that an object has, by which an rpc is ended."""
    for name in names:
        method = getattr(rpc, name, None)
        if callable(method):
            found: Callable[[], object] = method
            return found
    return None


def drop(rpc: Any, loop: asyncio.AbstractEventLoop, ending: Callable[[], bool] = sys.is_finalizing) -> None:
    """Cancel an rpc of gRPC's asyncio API that nobody reads any more; a destructor may do it, in any thread.

    Args:
        rpc: The rpc.
        loop: Its event loop.
        ending: Whether the interpreter ends: then this module may have lost its names, and gRPC ends all rpcs.
    """
    if ending():
        return
    with contextlib.suppress(Exception):  # the loop may be closed, and an interceptor's object may fail
        if loop.is_running() and asyncio._get_running_loop() is not loop:
            loop.call_soon_threadsafe(given, rpc, "cancel")
        else:
            rpc.cancel()


async def drain() -> None:
    """Let gRPC's asyncio API learn of the end of rpcs that were cancelled, while their event loop runs.

    An rpc is over for its caller as soon as it is cancelled. gRPC's event of that comes a moment later; where the loop
    has ended meanwhile, the next one logs it as an exception in "PollerCompletionQueue". Rpcs of others are waited for
    too, `DRAIN` seconds at most: gRPC does not distinguish them.
    """
    ending = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") in _AWAITED]
    if ending:
        await asyncio.wait(ending, timeout=DRAIN)


def may_have_run(effect: Effect, error: BaseException) -> bool:
    """Whether an exception that is no status, such as an interceptor's, ended the attempt of a generation."""
    generates = type(effect) is Send and effect.call.policy.kind is Kind.GENERATION
    return generates and isinstance(error, Exception) and not isinstance(error, YagrpcError)

"""What gRPC's calls and errors say of themselves; interceptors may have put objects of their own in their place.

An interceptor owes a unary rpc an object with `result()`, and a stream an iterator; on asyncio something to await, or
an asynchronous iterator. Metadata, status, `cancel` and `done` may be missing, or fail.

Rules: what is missing is `None`; nothing here raises, so that it never replaces an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from yagrpc._core.call.policy import Kind
from yagrpc._core.flow import Effect, Send
from yagrpc.errors import YagrpcError


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


def drop(rpc: Any, loop: asyncio.AbstractEventLoop) -> None:
    """Cancel an rpc of gRPC's asyncio API that nobody reads any more; a destructor may do it, in any thread.

    Args:
        rpc: The rpc.
        loop: Its event loop.
    """
    with contextlib.suppress(Exception):  # the loop may be closed, and an interceptor's object may fail
        if loop.is_running() and asyncio._get_running_loop() is not loop:
            loop.call_soon_threadsafe(given, rpc, "cancel")
        else:
            rpc.cancel()


def may_have_run(effect: Effect, error: BaseException) -> bool:
    """Whether an exception that is no status, such as an interceptor's, ended the attempt of a generation."""
    generates = type(effect) is Send and effect.call.policy.kind is Kind.GENERATION
    return generates and isinstance(error, Exception) and not isinstance(error, YagrpcError)

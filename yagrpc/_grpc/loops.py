"""The event loop that runs."""

from __future__ import annotations

import asyncio

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

"""The emulator's clock: real time, plus whatever it was moved forward by.

Rules: everything in the emulator that depends on time asks this clock, so that `advance` moves operations, quota
windows, retention and token lifetimes together. It never goes back. Any thread may call it.
"""

from __future__ import annotations

import asyncio
import functools
import math
import threading
import time
from collections.abc import Callable

__all__ = ["Clock"]


class Clock:
    """Wall time at creation, carried on by the monotonic clock and by `advance`."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()
        self._lock = threading.Lock()
        self._wakers: set[Callable[[], object]] = set()

    def now(self) -> float:
        """Seconds since the Unix epoch, by this clock."""
        return time.monotonic() + self._offset

    def advance(self, seconds: float) -> None:
        """Move the clock forward; whoever waits on it looks again at once.

        Args:
            seconds: How far, 0 or more, finite.

        Raises:
            ValueError: It would go back, or to no point in time.
        """
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise ValueError(f"a clock moves forward by a finite number of seconds, not by {seconds!r}")
        with self._lock:
            self._offset += seconds
            # Woken under the lock: a waiter takes its waker back under it before its loop can close.
            for wake in self._wakers:
                wake()

    async def wait_until(self, moment: float) -> None:
        """Wait until it is so late by this clock, whether it gets there by itself or through `advance`."""
        loop = asyncio.get_running_loop()
        moved = asyncio.Event()
        wake = functools.partial(loop.call_soon_threadsafe, moved.set)
        with self._lock:
            self._wakers.add(wake)
        try:
            while (left := moment - self.now()) > 0:
                timer = loop.call_later(left, moved.set)
                try:
                    await moved.wait()
                finally:
                    timer.cancel()
                moved.clear()
        finally:
            with self._lock:
                self._wakers.discard(wake)

"""The emulator's clock: real time, plus what it was moved forward by; a frozen clock stops except when it is moved.

Rules: everything in the emulator that depends on time asks this clock, so that `advance` moves operations, quota
windows, retention and token lifetimes together. The clock never moves back. Any thread may call it.
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
    """Wall time at creation, moved on by the monotonic clock, and by `advance` and `set`.

    Args:
        frozen: Whether only `advance` and `set` move it.
    """

    def __init__(self, *, frozen: bool = False) -> None:
        self._frozen = time.time() if frozen else None
        self._offset = time.time() - time.monotonic()
        self._lock = threading.Lock()
        self._waiters: set[Callable[[], object]] = set()

    @property
    def frozen(self) -> bool:
        """Whether only `advance` and `set` move it."""
        return self._frozen is not None

    def now(self) -> float:
        """Seconds since the Unix epoch, by this clock."""
        frozen = self._frozen
        return time.monotonic() + self._offset if frozen is None else frozen

    def advance(self, seconds: float) -> None:
        """Move the clock forward; waiters check the time again at once.

        Args:
            seconds: How far, 0 or more, finite.

        Raises:
            ValueError: The clock would move back, or to no point in time.
        """
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise ValueError(f"a clock moves forward by a finite number of seconds, not by {seconds!r}")
        with self._lock:
            self._move(seconds)

    def set(self, moment: float) -> None:
        """Set the clock to a time that is not in its past; waiters check the time again at once.

        Args:
            moment: Seconds since the Unix epoch.

        Raises:
            ValueError: The clock would move back, or to no point in time.
        """
        with self._lock:
            now = self.now()
            if not (moment >= now and math.isfinite(moment)):
                raise ValueError(f"a clock never goes back: it is {now!r}, and can't be set to {moment!r}")
            self._move(moment - now)

    def freeze(self) -> None:
        """Stop the clock: from now on only `advance` and `set` move it."""
        with self._lock:
            if self._frozen is None:
                self._frozen = self.now()
                self._notify()

    def unfreeze(self) -> None:
        """Let a stopped clock run again, from its present time."""
        with self._lock:
            if self._frozen is not None:
                self._offset, self._frozen = self._frozen - time.monotonic(), None
                self._notify()

    async def wait_until(self, moment: float) -> None:
        """Wait until this clock has reached a time, by itself or because it was moved."""
        if moment <= self.now():
            return
        loop = asyncio.get_running_loop()
        moved = asyncio.Event()
        notify = functools.partial(loop.call_soon_threadsafe, moved.set)
        with self._lock:
            self._waiters.add(notify)
        try:
            while (left := moment - self.now()) > 0:
                timer = None if self.frozen or math.isinf(left) else loop.call_later(left, moved.set)
                try:
                    await moved.wait()
                finally:
                    if timer is not None:
                        timer.cancel()
                moved.clear()
        finally:
            with self._lock:
                self._waiters.discard(notify)

    def _move(self, seconds: float) -> None:
        if self._frozen is None:
            self._offset += seconds
        else:
            self._frozen += seconds
        self._notify()

    def _notify(self) -> None:
        # Under the lock: a waiter removes its callback under it before its loop can close.
        for notify in self._waiters:
            notify()

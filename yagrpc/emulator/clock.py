"""The emulator's clock: real time plus whatever it was moved forward by, or, frozen, only that.

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
    """Wall time at creation, carried on by the monotonic clock, and by `advance` and `set`.

    Args:
        frozen: Whether it stands still but for `advance` and `set`.
    """

    def __init__(self, *, frozen: bool = False) -> None:
        self._frozen = time.time() if frozen else None
        self._offset = time.time() - time.monotonic()
        self._lock = threading.Lock()
        self._wakers: set[Callable[[], object]] = set()

    @property
    def frozen(self) -> bool:
        """Whether it stands still by itself."""
        return self._frozen is not None

    def now(self) -> float:
        """Seconds since the Unix epoch, by this clock."""
        frozen = self._frozen
        return time.monotonic() + self._offset if frozen is None else frozen

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
            self._move(seconds)

    def set(self, moment: float) -> None:
        """Set the clock to a point in time that is not in its past; whoever waits on it looks again at once.

        Args:
            moment: Seconds since the Unix epoch.

        Raises:
            ValueError: It would go back, or to no point in time.
        """
        with self._lock:
            now = self.now()
            if not (moment >= now and math.isfinite(moment)):
                raise ValueError(f"a clock never goes back: it is {now!r}, and can't be set to {moment!r}")
            self._move(moment - now)

    def freeze(self) -> None:
        """Let it stand still from now on, but for `advance` and `set`."""
        with self._lock:
            if self._frozen is None:
                self._frozen = self.now()
                self._wake()

    def unfreeze(self) -> None:
        """Let it go on from where it stands."""
        with self._lock:
            if self._frozen is not None:
                self._offset, self._frozen = self._frozen - time.monotonic(), None
                self._wake()

    async def wait_until(self, moment: float) -> None:
        """Wait until it is so late by this clock, whether it gets there by itself or is moved."""
        if moment <= self.now():
            return
        loop = asyncio.get_running_loop()
        moved = asyncio.Event()
        wake = functools.partial(loop.call_soon_threadsafe, moved.set)
        with self._lock:
            self._wakers.add(wake)
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
                self._wakers.discard(wake)

    def _move(self, seconds: float) -> None:
        if self._frozen is None:
            self._offset += seconds
        else:
            self._frozen += seconds
        self._wake()

    def _wake(self) -> None:
        # Under the lock: a waiter takes its waker back under it before its loop can close.
        for wake in self._wakers:
            wake()

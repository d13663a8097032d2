"""The emulator's clock: real time, plus what it was moved forward by; a frozen clock stops except when it is moved.

Rules: everything in the emulator that depends on time asks this clock, so that `advance` moves operations, quota
windows, retention and token lifetimes together. The clock never moves back, and stops at the end of the year 9999:
later times have no text in a header `date` or in JSON. Any thread may call it.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable
from numbers import Real
from typing import Final

__all__ = ["END", "Clock", "check_seconds"]

END: Final = 253_402_300_799.0
"""The last second of the year 9999, since the Unix epoch."""

_END_TEXT: Final = f"the end of the year 9999 ({END:.0f} s since the epoch)"


def check_seconds(name: str, value: object, *, most: float = END) -> float:
    """A number of seconds that a caller gives: since the epoch, or from now on.

    Args:
        name: The caller's name for it, for errors.
        value: The number.
        most: The highest number that is allowed; infinity allows any.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, too high, or not a number (NaN).
    """
    takes = "a number of seconds, 0 or more"
    if most == END:
        takes = f"a number of seconds from 0 to {_END_TEXT}"
    if not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}: it takes {takes}")
    try:
        seconds = float(value)
    except OverflowError:  # an int; its repr may fail too, and it fills a screen
        raise ValueError(f"{name} is an int beyond all floats: it takes {takes}") from None
    if not 0 <= seconds <= most:
        raise ValueError(f"{name} is {value!r}: it takes {takes}")
    return seconds


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
        return min(END, time.monotonic() + self._offset if frozen is None else frozen)

    def advance(self, seconds: float) -> None:
        """Move the clock forward; waiters check the time again at once.

        Args:
            seconds: How far, 0 or more.

        Raises:
            TypeError: That is no number.
            ValueError: The clock would move back, beyond its end, or to no point in time.
        """
        seconds = check_seconds("seconds", seconds)
        with self._lock:
            now = self.now()
            if now + seconds > END:
                raise ValueError(f"seconds is {seconds!r}: a clock at {now!r} can't move beyond {_END_TEXT}")
            self._move(seconds)

    def set(self, moment: float) -> None:
        """Set the clock to a time that is not in its past; waiters check the time again at once.

        Args:
            moment: Seconds since the Unix epoch.

        Raises:
            TypeError: That is no number.
            ValueError: The clock would move back, beyond its end, or to no point in time.
        """
        moment = check_seconds("moment", moment)
        with self._lock:
            now = self.now()
            if moment < now:
                raise ValueError(f"moment is {moment!r}: a clock never goes back, and it is {now!r}")
            self._move(moment - now)

    def catch_up(self, moment: float) -> None:
        """Set the clock to a time, unless it is in its past; to its end, if the time is beyond it.

        Args:
            moment: Seconds since the Unix epoch.
        """
        with self._lock:
            self._move(max(0.0, min(moment, END) - self.now()))

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
                # A clock that has stopped at its end reaches no later time: a timer would run again and again.
                timer = None if self.frozen or moment > END else loop.call_later(left, moved.set)
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

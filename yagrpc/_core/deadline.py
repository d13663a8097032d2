"""Until when a call may take, as one object.

Rules: a deadline is created once, when a call starts, and never changes. It has no clock: the caller passes one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Gives a time in seconds."""


class Deadline:
    """A time limit that starts when the object is created.

    Args:
        seconds: How long, as it was given; `None` for no limit.
        clock: Gives passed time, in seconds.
    """

    __slots__ = ("_at", "_clock", "seconds")

    def __init__(self, seconds: float | None, clock: Clock) -> None:
        self.seconds = seconds
        self._clock = clock
        self._at = None if seconds is None else clock() + seconds

    def left(self, now: float | None = None) -> float | None:
        """Seconds that are left, 0 or more; `None` for no limit.

        Args:
            now: The time, where the caller has read the deadline's clock.
        """
        if self._at is None:
            return None
        left = self._at - (self._clock() if now is None else now)
        return left if left > 0.0 else 0.0

    def left_at(self, now: float) -> float:
        """Seconds that are left at a time of the deadline's clock, perhaps below 0; infinity for no limit."""
        return float("inf") if self._at is None else self._at - now

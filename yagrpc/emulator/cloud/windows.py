"""How calls are counted against a rate: by sliding window, by fixed window, or by token bucket.

How the service counts is not documented, so a client can be tested against all three.

Rules: no I/O and no clock, `now` is given and never goes back.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from typing import Final, Literal, TypeAlias

__all__ = ["QUOTA_MODELS", "BucketWindow", "FixedWindow", "QuotaModel", "SlidingWindow", "Window", "make_window"]

QuotaModel: TypeAlias = Literal["sliding", "fixed", "bucket"]

_ROUNDING: Final = 1e-9
"""Tokens that were added in parts make a whole one only up to rounding."""


class Window(ABC):
    """A rate limit.

    Args:
        limit: How many calls are admitted in a window.
        seconds: The length of the window.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds

    @abstractmethod
    def full(self, now: float) -> bool:
        """Whether one more call now would be too many."""

    @abstractmethod
    def take(self, now: float) -> None:
        """Count one call."""

    @abstractmethod
    def used(self, now: float) -> int:
        """How many of the limit's calls are used."""


class SlidingWindow(Window):
    """At most the limit in any half-open interval of the window's length: the strictest of the three."""

    def __init__(self, limit: int, seconds: float) -> None:
        super().__init__(limit, seconds)
        self._taken: deque[float] = deque()

    def full(self, now: float) -> bool:
        """Whether one more call now would be too many."""
        return self.used(now) >= self._limit

    def take(self, now: float) -> None:
        """Count one call."""
        self._taken.append(now)

    def used(self, now: float) -> int:
        """How many of the limit's calls are used."""
        while self._taken and self._taken[0] <= now - self._seconds:
            self._taken.popleft()
        return len(self._taken)


class FixedWindow(Window):
    """At most the limit in each second (minute, hour, day) of the clock: up to twice as many around its end."""

    def __init__(self, limit: int, seconds: float) -> None:
        super().__init__(limit, seconds)
        self._window = -math.inf
        self._taken = 0

    def full(self, now: float) -> bool:
        """Whether one more call now would be too many."""
        return self.used(now) >= self._limit

    def take(self, now: float) -> None:
        """Count one call."""
        self._taken += 1

    def used(self, now: float) -> int:
        """How many of the limit's calls are used."""
        window = now // self._seconds
        if window != self._window:
            self._window, self._taken = window, 0
        return self._taken


class BucketWindow(Window):
    """A bucket of as many tokens as the limit, filled evenly: a burst, then one call each `seconds / limit`."""

    def __init__(self, limit: int, seconds: float) -> None:
        super().__init__(limit, seconds)
        self._tokens = float(limit)
        self._filled = -math.inf

    def full(self, now: float) -> bool:
        """Whether one more call now would be too many."""
        self._fill(now)
        return self._tokens < 1 - _ROUNDING

    def take(self, now: float) -> None:
        """Count one call."""
        self._tokens -= 1

    def used(self, now: float) -> int:
        """How many of the limit's calls are used."""
        self._fill(now)
        return self._limit - math.floor(self._tokens + _ROUNDING)

    def _fill(self, now: float) -> None:
        if math.isfinite(self._filled):
            self._tokens = min(self._limit, self._tokens + (now - self._filled) * self._limit / self._seconds)
        self._filled = now


_WINDOWS: Final[dict[QuotaModel, type[Window]]] = {
    "sliding": SlidingWindow,
    "fixed": FixedWindow,
    "bucket": BucketWindow,
}

QUOTA_MODELS: Final[tuple[QuotaModel, ...]] = tuple(_WINDOWS)


def make_window(model: QuotaModel, limit: int, seconds: float) -> Window:
    """A window that counts by the given model; see `Window` for the other arguments."""
    return _WINDOWS[model](limit, seconds)

"""How calls are counted against a rate: by bucket, by fixed window, or by sliding window.

How the service counts is not documented, so that a client can be tried on all three.

Rules: no I/O and no clock, `now` is given and never goes back. `full` asks, `take` counts one.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, Literal, Protocol, TypeAlias

__all__ = ["QUOTA_MODELS", "BucketWindow", "FixedWindow", "QuotaModel", "SlidingWindow", "Window", "make_window"]

QuotaModel: TypeAlias = Literal["sliding", "fixed", "bucket"]

QUOTA_MODELS: Final[tuple[QuotaModel, ...]] = ("sliding", "fixed", "bucket")


class Window(Protocol):
    """A rate limit."""

    def full(self, now: float) -> bool:
        """Whether one more now would be too many."""
        ...

    def take(self, now: float) -> None:
        """Count one."""
        ...


class SlidingWindow:
    """At most the limit in any half-open interval of the window's length: the strictest of the three.

    Args:
        limit: How many are let through in a window.
        seconds: The length of the window.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._taken: deque[float] = deque()

    def full(self, now: float) -> bool:
        """Whether one more now would be too many."""
        while self._taken and self._taken[0] <= now - self._seconds:
            self._taken.popleft()
        return len(self._taken) >= self._limit

    def take(self, now: float) -> None:
        """Count one."""
        self._taken.append(now)


class FixedWindow:
    """At most the limit in each second (minute, hour, day) of the clock: up to twice as many around its end.

    Args:
        limit: How many are let through in a window.
        seconds: The length of the window.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._window = -math.inf
        self._taken = 0

    def full(self, now: float) -> bool:
        """Whether one more now would be too many."""
        window = now // self._seconds
        if window != self._window:
            self._window, self._taken = window, 0
        return self._taken >= self._limit

    def take(self, now: float) -> None:
        """Count one."""
        self._taken += 1


class BucketWindow:
    """A bucket of as many tokens as the limit, filled evenly: a burst, then one each `seconds / limit`.

    Args:
        limit: How many are let through in a window's length on the average, and at once.
        seconds: How long an empty bucket takes to fill.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._rate = limit / seconds
        self._tokens = float(limit)
        self._filled = -math.inf

    def full(self, now: float) -> bool:
        """Whether one more now would be too many."""
        if math.isfinite(self._filled):
            self._tokens = min(self._limit, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        return self._tokens < 1 - 1e-9  # what has been summed up from parts is a whole one but for rounding

    def take(self, now: float) -> None:
        """Count one."""
        self._tokens -= 1


_WINDOWS: Final[dict[QuotaModel, type[SlidingWindow] | type[FixedWindow] | type[BucketWindow]]] = {
    "sliding": SlidingWindow,
    "fixed": FixedWindow,
    "bucket": BucketWindow,
}


def make_window(model: QuotaModel, limit: int, seconds: float) -> Window:
    """A window of the given kind.

    Args:
        model: How it counts.
        limit: How many are let through in its length.
        seconds: Its length.
    """
    return _WINDOWS[model](limit, seconds)

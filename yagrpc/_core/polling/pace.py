"""Slots under a quota of so many a second, and under what the service shows that it bears.

Rules: no clock and no lock of its own, the caller passes the time. Slots are spread over the second: a burst would
come back a second later, and the least jitter of the network would make two of them one.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from yagrpc._core.quota.windows import IN_HAND

MARGIN: Final = 0.01
"""Seconds by which the quota's window is taken to be longer, for the same reason."""

CATCH_UP: Final = 0.5
"""Seconds' worth of slots that are used later, at twice the pace, after the program was late to use them."""

AT_ONCE: Final = 0.05
"""Seconds' worth of slots that may be used at once after a time without Gets."""

JITTER: Final = 0.1
"""Refusals within a second, as a part of its slots, that jitter of the network may explain."""

STEP: Final = 0.01
"""Part of the full pace that each of those costs."""

CUT: Final = 0.7
"""What is left of the pace when the quota refuses more than that, at most once in `CUT_EVERY` seconds."""

CUT_EVERY: Final = 1.0

DEEPEST_CUT: Final = 0.3
"""What is left at least where most were refused: then what was served shows the true quota."""

RECOVERY: Final = 0.05
"""Part of the full pace that comes back in a second."""

NEAR: Final = (0.9, 1.2)
"""Parts of the pace that was refused last. Between them the pace recovers more slowly.

It recovers by `CAREFUL`, in proportion to the pace now.
"""

CAREFUL: Final = 0.12

LEAST_CARE: Final = 0.2
"""The least proportion of those: from a trickle it has to come back, too."""

LEAST: Final = 0.02
"""Part of the full pace that is kept however often the quota refuses."""


class Pace:
    """Slots under a quota; in no window of one second are there more.

    Args:
        per_second: The quota; `None` for no limit. Below one a second, the window grows instead.
    """

    def __init__(self, per_second: float | None) -> None:
        self._limit = per_second
        self._used: deque[float] | None = None
        self._window = 1.0 + MARGIN
        self.full = math.inf
        """Slots a second where nothing is refused."""
        if per_second is not None:
            self._used = deque(maxlen=max(1, math.floor(per_second)))
            self._window = max(1.0, 1.0 / per_second) + MARGIN
            self.full = per_second * (1 - IN_HAND)
        self._rate = self.full
        self._refused_rate = self.full
        self._refusals: deque[float] = deque()
        self._changed = -math.inf
        self._cut = -math.inf
        self._next = -math.inf
        self._last = -math.inf

    def rate(self, now: float) -> float:
        """Slots a second at present."""
        if self._rate < self.full:
            self._recover(now - self._changed)
            self._changed = now
        return self._rate

    def next_slot(self, now: float) -> float:
        """When the next may be used."""
        if self._used is None:
            return now
        slot = self._next - CATCH_UP
        if now - slot > AT_ONCE + 1e-6:
            slot = self._last + 0.5 / self._rate
        if len(self._used) == self._used.maxlen:
            slot = max(slot, self._used[0] + self._window)
        return max(now, slot)

    def used(self, now: float) -> tuple[float | None, int, int | None]:
        """The quota, and how many of its slots are used and left."""
        if self._used is None:
            return None, 0, None
        used = sum(at + self._window > now for at in list(self._used))  # at one step: another thread may ask
        return self._limit, used, (self._used.maxlen or 0) - used

    def use(self, now: float) -> None:
        """One is used."""
        if self._used is None:
            return
        rate = self.rate(now)
        if rate < self.full or self._next == -math.inf:
            self.idle(now)
        self._used.append(now)
        self._last = now
        self._next = max(self._next, now) + 1.0 / rate

    def idle(self, now: float) -> None:
        """No slot is wanted: a slot that is not used now can't be used later."""
        self._next = max(self._next, now + CATCH_UP - AT_ONCE)

    def refused(self, now: float) -> float:
        """The service refused for its quota: it is another than was assumed, or others share it.

        Returns:
            The pace before, where that cut it; else 0.
        """
        if self._used is None:
            return 0.0
        rate = self.rate(now)
        self._refusals.append(now)
        while self._refusals[0] <= now - CUT_EVERY:
            self._refusals.popleft()
        self._next = max(self._next, now + CATCH_UP + 1.0 / rate)
        if now - self._cut < CUT_EVERY:
            return 0.0
        self._refused_rate = rate
        self._changed = now
        if len(self._refusals) <= JITTER * rate:
            self._rate = max(LEAST * self.full, rate - STEP * self.full)
            return 0.0
        served = sum(used > now - CUT_EVERY for used in self._used) - len(self._refusals)
        kept = CUT * rate
        if len(self._refusals) > served:
            kept = min(kept, max(DEEPEST_CUT * rate, CUT * served))
        self._rate = max(LEAST * self.full, kept)
        self._cut = now
        self._next = max(self._next, now + CATCH_UP + 1.0 / self._rate)
        return rate

    def forgive(self, now: float, before: float) -> None:
        """A refusal turned out to be that of one operation alone: the pace that there was before it comes back."""
        self._rate = max(self.rate(now), before)

    def _recover(self, seconds: float) -> None:
        gain = RECOVERY * self.full
        careful = CAREFUL * gain * max(LEAST_CARE, self._rate / self.full)
        near, past = (part * self._refused_rate for part in NEAR)
        for limit, speed in ((near, gain), (past, careful), (self.full, gain)):
            if seconds > 0 and self._rate < limit:
                reached = min(limit, self.full, self._rate + speed * seconds)
                seconds -= (reached - self._rate) / speed
                self._rate = reached

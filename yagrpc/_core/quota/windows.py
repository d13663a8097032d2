"""Slots under one quota: how many there are, who uses them, and when one is free again.

The service counts a call at some time between its departure and its answer. A slot under a rate is free again when,
whatever that time was, the window is over.

Rules: no I/O and no clock, `now` is given; the gate that owns a quota keeps others out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from yagrpc.config import Quota

IN_HAND: Final = 0.02
"""Part of a rate left unused, for jitter of the network: how the service counts is not documented."""

ANSWER_GRACE: Final = 1.0
"""Seconds after its departure by which a call is taken to have been counted, though its answer is not there yet."""

SECONDS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 24 * 3600.0}
"""The windows that the names of quotas end in."""


class Slot:
    """One call's place: in a gate's queue at first, then under its quotas.

    Attributes:
        again: Whether the service refused the call before, so that it waits again.
        queued: Whether it is in the queue.
        sent: When the call left; until then its slot is held.
        answered: When its answer came.
        grant: What a shared limiter has given it, where there is one.
        wake: What ends the wait for this place, while there is one.
        woken: Whether it was notified of something that it has not checked yet.
    """

    __slots__ = ("again", "answered", "grant", "queued", "sent", "wake", "woken")

    def __init__(self, wake: Callable[[], object] | None = None, *, again: bool = False) -> None:
        self.again = again
        self.queued = True
        self.sent = math.inf
        self.answered = math.inf
        self.grant: Any = None
        self.wake = wake
        self.woken = False

    def notify(self) -> None:
        """Have the call that waits check again; one that is about to wait does not wait."""
        self.woken = True
        if (wake := self.wake) is not None:
            wake()


class Window:
    """A rate: so many calls in any window of time.

    Args:
        name: The quota, as `Quota` names it.
        limit: How many calls. Below one in a window, the window grows instead.
        seconds: The window's length.
    """

    def __init__(self, name: str, limit: float, seconds: float) -> None:
        self.name = name
        self.limit: float = limit
        self.window = seconds
        self.size = max(1, math.floor(limit))
        self._seconds = seconds * max(1.0, self.size / limit)
        self._spacing = seconds * self.size / (limit * (1 - IN_HAND))
        self._used: deque[Slot] = deque()

    def free_at(self, now: float) -> float:
        """When the next slot is free, as things stand; infinite while its last user has not left."""
        return now if len(self._used) < self.size else self._again(self._used[0])

    def earliest(self, ahead: int, now: float) -> float:
        """A time before which there is no slot for one with so many in the queue before it."""
        rounds, index = divmod(ahead, self.size)
        index += len(self._used) - self.size
        first = now if index < 0 else min(self._used[index].sent, now) + self._spacing
        return max(now, first) + rounds * self._spacing

    def use(self, slot: Slot) -> None:
        """Give a free slot away."""
        self._used.append(slot)
        while len(self._used) > self.size:
            self._used.popleft()

    def give_back(self, slot: Slot) -> None:
        """The call has ended: where it was sent, its window still runs and nothing is to do."""
        if slot.sent == math.inf and slot in self._used:
            self._used.remove(slot)

    def used(self, now: float) -> int:
        """How many slots are not free."""
        return sum(self._again(slot) > now for slot in list(self._used))

    def _again(self, slot: Slot) -> float:
        counted = min(slot.answered, slot.sent + ANSWER_GRACE)
        return max(slot.sent + self._spacing, counted + self._seconds)


class Gauge:
    """So many calls at once.

    Args:
        name: The quota, as `Quota` names it.
        limit: How many.
    """

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit: float = limit
        self.window = 0.0
        self.size = limit
        self._running: set[Slot] = set()

    def free_at(self, now: float) -> float:
        """Now or never: when a call ends is not known."""
        return now if len(self._running) < self.size else math.inf

    def earliest(self, ahead: int, now: float) -> float:
        """Now: all that run may end at once."""
        return now

    def use(self, slot: Slot) -> None:
        """Give a free slot away."""
        self._running.add(slot)

    def give_back(self, slot: Slot) -> None:
        """The call has ended, and its slot is free."""
        self._running.discard(slot)

    def used(self, now: float) -> int:
        """How many calls run."""
        return len(self._running)


class Rule(NamedTuple):
    """One quota as a name, a limit and a window.

    Args:
        name: As `Quota` names it.
        limit: How many.
        seconds: The length of its window; 0 where it is a number of calls at once.
    """

    name: str
    limit: float
    seconds: float

    def local(self, parts: int = 1) -> Window | Gauge:
        """The quota, or an equal part of it, counted in this process alone."""
        if self.seconds:
            return Window(self.name, self.limit / parts, self.seconds)
        return Gauge(self.name, max(1, int(self.limit) // parts))


def rules_of(quota: Quota | None) -> list[Rule]:
    """The quotas that limit anything."""
    given = {} if quota is None else quota._asdict()
    return [
        Rule(name, limit, SECONDS.get(name.rpartition("_per_")[2], 0.0))
        for name, limit in given.items()
        if limit is not None
    ]

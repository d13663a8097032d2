"""The queues in which operations wait for their next poll, and which operation comes first.

A poll goes where it gains most: to the operation for which the reach of the hazard (see `hazard`) has grown most
since it was last seen running. Operations last seen at about the same age wait in one queue, in the order in which
they were seen: their growth is nearly the same. Only the heads of some dozens of queues are compared, by the latest
estimate, so a new estimate moves no operation.

Rules: no clock of its own: the caller passes the time. A watch is in one queue at most, and knows which.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from yagrpc._core.polling.hazard import EDGES, Hazard
from yagrpc._core.polling.watch import Watch
from yagrpc.config import Polling

if TYPE_CHECKING:
    from typing import TypeAlias

    Queue: TypeAlias = OrderedDict[Watch, None]

GET_COST: Final = 0.05
"""Seconds of delay that are worth one Get while slots are free."""

WORTH: Final = math.sqrt(2 * GET_COST)
"""Growth of the reach that is worth a Get (Keller 1974)."""

ORDER_LASTS: Final = 0.5
"""Seconds for which the order of the queues is kept before it is computed again."""

LONG_OVERDUE: Final = 1e9
"""Ranks above every growth: not polled for longer than any interval."""

JITTER: Final = 0.1
"""Part of an interval by which it may be shorter, so that many clients with one operation each do not poll in step."""


def append(watch: Watch, queue: Queue) -> None:
    """Put a watch at the end of a queue."""
    queue[watch] = None
    watch.queue = queue


def remove(watch: Watch) -> None:
    """Take a watch out of the queue that it is in, if it is in one."""
    if watch.queue is not None:
        del watch.queue[watch]
        watch.queue = None


class Queues:
    """The queues by age.

    Args:
        hazard: What is known of when operations end.
        polling: How often one operation is polled.
        uniform: Gives a random number between two.

    Attributes:
        longest: Seconds after which an operation is polled, whatever the hazard is.
    """

    def __init__(self, hazard: Hazard, polling: Polling, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self._hazard = hazard
        self._polling = polling
        self._queues: dict[int, Queue] = {}  # by the bin of the age when last seen; those never seen apart
        self._order: list[tuple[float, int, Watch]] = []  # a heap of the heads of queues, with their ranks
        self._ordered_until = -math.inf
        self.longest = polling.longest

    def add(self, watch: Watch, now: float) -> None:
        """Let a watch wait behind those that were last seen at about its age."""
        watch.slack = self._uniform(1.0 - JITTER, 1.0)
        watch.version, watch.due = -1, math.inf  # computed once it is the first of its queue
        key = bisect_right(EDGES, watch.ran_at) if watch.polls else -bisect_right(EDGES, now - watch.since)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = OrderedDict()
        append(watch, queue)

    def busy(self, now: float) -> bool:
        """Whether there are some that are due, as far as is known."""
        return self._ranked(now) is not None

    @property
    def empty(self) -> bool:
        """Whether there are none."""
        return not self._queues

    def first_due(self) -> float:
        """When the first of them is due; infinity where there are none."""
        return min((head.due for key in list(self._queues) if (head := self._head(key)) is not None), default=math.inf)

    def most_grown(self, now: float) -> Watch | None:
        """The operation that a poll is worth most for, of those that are due."""
        if not self._order or now >= self._ordered_until:
            self._ordered_until = now + ORDER_LASTS
            self._order = [entry for key in list(self._queues) if (entry := self._entry(key, now)) is not None]
            heapq.heapify(self._order)
        return self._ranked(now)

    def _ranked(self, now: float) -> Watch | None:
        """The first in the order of the queues, as long as that lasts."""
        while self._order:
            _, key, watch = self._order[0]
            queue = self._queues.get(key)
            if queue and next(iter(queue)) is watch and watch.due <= now:
                return watch
            # It is gone, or at the end again: the one that is first now comes in its place.
            entry = self._entry(key, now)
            if entry is None:
                heapq.heappop(self._order)
            else:
                heapq.heapreplace(self._order, entry)
        return None

    def _entry(self, key: int, now: float) -> tuple[float, int, Watch] | None:
        """The head of a queue with its rank, if it is due: what the reach has grown by, negated."""
        head = self._head(key)
        if head is None or head.due > now:
            return None
        waited = now - head.returned
        if waited >= self.longest:
            return -LONG_OVERDUE - waited, key, head
        return head.reach - self._hazard.reach(now - head.since), key, head

    def _head(self, key: int) -> Watch | None:
        """The first of a queue, with what is computed from the hazard up to date; a queue without any is dropped."""
        queue = self._queues.get(key)
        if not queue:
            self._queues.pop(key, None)
            return None
        head = next(iter(queue))
        if head.version != self._hazard.version:
            self._compute(head)
        return head

    def _compute(self, watch: Watch) -> None:
        """When a poll is worth it, by the hazard as it is known now."""
        hazard, polling = self._hazard, self._polling
        watch.version = hazard.version
        watch.reach = hazard.reach(watch.ran_at)
        if not watch.polls and watch.returned - watch.since < polling.first:
            watch.due = watch.since + polling.first * watch.slack
            return
        age = hazard.age_of(watch.reach + WORTH)
        interval = max((age - watch.ran_at) * watch.slack, polling.shortest)
        watch.due = watch.returned + min(interval, self.longest) if watch.polls else watch.returned

"""The poll scheduler: which operation is polled next, and when, for all that one client waits for.

Learning that an operation is done takes a Get, and Gets are a quota shared by all of them, so one scheduler paces
them together: an operation that several wait for is polled once, one without waiters not at all.

Which one comes next is a matter of `queues`, by what `hazard` has learned of when operations end; when there is a slot
for it, of `pace`. What is here: polls that are wanted at once, and what follows a Get that failed.

Rules: no I/O, no clock and no lock of its own: the caller passes the time and keeps others out.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from yagrpc import config
from yagrpc._core.polling.hazard import Hazard
from yagrpc._core.polling.pace import Pace
from yagrpc._core.polling.queues import Queues, append, remove
from yagrpc._core.polling.reading import created_ago, time_taken, wait_failure
from yagrpc._core.polling.watch import Watch
from yagrpc._core.quota.windows import Slot, rules_of
from yagrpc.config import Polling, Quota
from yagrpc.errors import LimiterError, ResourceExhaustedError, YagrpcError

if TYPE_CHECKING:
    from collections.abc import Callable

    from yagrpc import _pb
    from yagrpc._core.polling.queues import Queue
    from yagrpc._core.quota.grants import Grants
    from yagrpc._core.runtime import Runtime

REFUSED_PAUSE: Final = 1.0
"""Seconds before another Get after the quota refused one: the quota's own window."""

LONGEST_PAUSE: Final = 10.0
"""Seconds before another Get at most, after several in a row failed."""

STUBBORN: Final = 3
"""Refusals in a row, while others are answered, that an operation has to itself."""

OUTAGE: Final = 3
"""Gets that fail one after the other, with none answered between, until all are held up together."""

OUTAGE_PAUSES: Final = (0.25, 5.0)
"""Seconds of the first of such pauses, and of the longest."""

MOST_IN_FLIGHT: Final = 1000
"""Gets under way at once where no quota bounds them: more is no faster."""

FINAL_POLL: Final = 1.0
"""Seconds that the last poll, sent when a wait's timeout is over, may take."""

NOT_FOUND_GRACE: Final = 10.0
"""Seconds after our own submit in which NOT_FOUND is taken for a replica that lags behind."""


class Scheduler:
    """Decides which Get is sent next.

    Args:
        quota: How many Gets a second may be sent; `None` for no limit.
        polling: How often one operation is polled.
        runtime: Gives the time of the wall, and random numbers.
        grants: What a limiter grants that other processes share; `None` for quotas of this client alone.
        wake: Has `take` called again; called in any thread.
    """

    def __init__(
        self,
        quota: Quota | None,
        polling: Polling,
        runtime: Runtime,
        grants: Grants | None = None,
        wake: Callable[[], object] | None = None,
    ) -> None:
        self._runtime = runtime
        self._pace = Pace(None if quota is None else quota.get_per_second)
        self._polling = polling
        self._hazard = Hazard()
        self._queues = Queues(self._hazard, polling, runtime.uniform)
        self._watches: dict[str, Watch] = {}
        self._asked: Queue = OrderedDict()  # a caller wants a poll at once
        self._again: Queue = OrderedDict()  # the last Get failed, or there was none and the age is not known
        self._held: list[tuple[float, int, Watch]] = []  # a heap of those whose last Get failed
        self._pushes = 0
        self._again_last = False
        self._in_flight = 0
        hanging = config.GET_TIMEOUT * self._pace.full  # none of them may hold up the others
        self._most_in_flight = MOST_IN_FLIGHT if hanging == math.inf else hanging + MOST_IN_FLIGHT
        self._answers = 0
        self._failures = 0  # in a row, of all Gets
        self._outage_pause = 0.0
        self._outage_until = -math.inf
        self._grants = grants
        self._rules = tuple(rule for rule in rules_of(quota) if rule.name == "get_per_second") if grants else ()
        self._slot = Slot(wake)  # the one that is granted next
        self._granted_at = -math.inf

    def __len__(self) -> int:
        return len(self._watches)

    def watches(self) -> list[Watch]:
        """Everything that is waited for."""
        return list(self._watches.values())

    def watch(self, known: _pb.operation_pb2.Operation, now: float, *, submitted: float | None = None) -> Watch:
        """Begin to wait for an operation, or join its waiters; pair it with `release`.

        Args:
            known: The operation as the caller knows it; its id is enough.
            now: The time, in seconds.
            submitted: When this client submitted it; `None` where another client did: then it is polled at once.
        """
        watch = self._watches.get(known.id)
        if watch is None:
            since = now if submitted is None else submitted
            watch = self._watches[known.id] = Watch(known, since, now, attached=submitted is None)
            if submitted is None:
                append(watch, self._again)
            else:
                self._queues.add(watch, now)
        if submitted is not None:
            watch.not_found_until = submitted + NOT_FOUND_GRACE
        watch.waiters += 1
        self._counted()
        return watch

    def release(self, watch: Watch) -> None:
        """One waiter leaves; with the last waiter the operation is forgotten."""
        watch.waiters -= 1
        if watch.waiters == 0 and self._watches.get(watch.operation_id) is watch:
            del self._watches[watch.operation_id]
            remove(watch)
            self._counted()

    def hurry(self, watch: Watch, now: float) -> None:
        """Make a poll due at once; a Get that is under way is enough."""
        if not watch.in_flight and watch.queue is not self._asked:
            remove(watch)
            append(watch, self._asked)

    def take(self, now: float) -> Watch | None:
        """The operation whose Get is to be sent now, if any; report the outcome with `answered` or `failed`."""
        if self._in_flight >= self._most_in_flight or self._next_slot(now) > now:
            return None
        self._release_held(now)
        watch = next(iter(self._asked), None)
        if watch is None:
            watch = self._in_turn(now)
        if watch is None:
            self._pace.idle(now)
            return None
        if not self._granted(now):
            return None
        remove(watch)
        self._pace.use(now)
        if self._outage_pause:
            self._outage_until = now + self._outage_pause
            self._outage_pause = min(OUTAGE_PAUSES[1], 2 * self._outage_pause)
        self._in_flight += 1
        watch.in_flight = True
        watch.sent = now
        return watch

    def put_back(self, watch: Watch, now: float) -> None:
        """The Get was not sent, or it is not known whether it was sent: the operation is polled next."""
        if not watch.in_flight:  # it was sent, and has come back
            return
        self._in_flight -= 1
        watch.in_flight = False
        if watch.waiters:
            append(watch, self._asked)
            self._asked.move_to_end(watch, last=False)

    def next_time(self, now: float) -> float | None:
        """When `take` may give something next; `None` while nothing is due at any time, or a limiter has to answer."""
        slot = self._next_slot(now)
        if self._in_flight >= self._most_in_flight or slot == math.inf:
            return None
        if self._asked or self._again:
            return slot
        if self._queues.busy(now) or (slot > now and not self._queues.empty):
            return slot  # that there may be one is enough, as long as the quota is what is waited for
        first = self._queues.first_due()
        if (held := self._first_held()) is not None:
            first = min(first, held.due)
        return max(slot, first) if first < math.inf else None

    def answered(self, watch: Watch, operation: _pb.operation_pb2.Operation, now: float) -> None:
        """A Get came back with the operation."""
        self._answers += 1
        self._failures = 0
        self._outage_pause, self._outage_until = 0.0, -math.inf
        if operation != watch.latest:  # a message without news need not be kept beside the handle's
            watch.latest = operation
        watch.last_error = None
        watch.failures = 0
        watch.refused_after = None
        watch.slowed = 0.0
        self._learn(watch, now)
        self._returned(watch, now)
        if watch.waiters and not watch.ended:
            self._queues.add(watch, now)

    def failed(self, watch: Watch, error: YagrpcError, now: float) -> None:
        """A Get failed; most failures pass, and the operation is polled again, before others of its age."""
        believed = now >= watch.not_found_until
        watch.last_error, final = wait_failure(error, watch.latest, self._runtime.wall(), believed=believed)
        if final:
            watch.failure = watch.last_error
        refused = isinstance(error, ResourceExhaustedError)
        if refused:
            self._refused(watch, now)
        elif not final:
            self._failed(now)
        self._returned(watch, now)
        if watch.waiters and not watch.ended:
            first = REFUSED_PAUSE if refused else self._polling.shortest
            pause = min(LONGEST_PAUSE, first * 2.0 ** min(watch.failures, 20))
            watch.failures += 1
            self._hold(watch, now + pause)

    def gets(self, now: float) -> tuple[float | None, int, int | None, int]:
        """The quota of Gets, how much of it is used and left, and how many operations wait to be polled."""
        limit, used, left = self._pace.used(now)
        watches = list(self._watches.values())  # at one step: another thread may ask
        return limit, used, left, sum(not watch.in_flight for watch in watches)

    # What is next

    def _next_slot(self, now: float) -> float:
        return max(self._pace.next_slot(now), self._outage_until, now if self._slot.woken else self._granted_at)

    def _granted(self, now: float) -> bool:
        """Whether there is a slot for a Get that all processes have left; else one is asked for."""
        if self._grants is None or not self._rules:
            return True
        self._slot.woken = False
        try:
            seconds = self._grants.ask(self._slot, self._rules, now)
        except LimiterError:
            seconds = 1.0  # a poll can wait, and its operation continues
        if seconds is not None:
            self._granted_at = now + seconds
            return False
        self._grants.sent(self._slot, now)
        self._slot, self._granted_at = Slot(self._slot.wake), -math.inf
        return True

    def _in_turn(self, now: float) -> Watch | None:
        """The next where no poll is wanted at once; those that failed have every other turn at most."""
        again = next(iter(self._again), None)
        if again is not None and not self._again_last:
            self._again_last = True
            return again
        self._again_last = False
        return self._queues.most_grown(now) or again

    # Where they wait

    def _counted(self) -> None:
        """Set after how long an operation is polled, whatever the hazard is: longer where there are many."""
        self._queues.longest = max(self._polling.longest, 2 * len(self._watches) / self._pace.full)

    def _hold(self, watch: Watch, until: float) -> None:
        watch.due = until
        self._pushes += 1
        heapq.heappush(self._held, (until, self._pushes, watch))

    def _first_held(self) -> Watch | None:
        """The first whose pause is over; those that were hurried or released meanwhile are dropped."""
        while self._held:
            due, _, watch = self._held[0]
            if watch.queue is None and not watch.in_flight and watch.waiters and watch.due == due:
                return watch
            heapq.heappop(self._held)
        return None

    def _release_held(self, now: float) -> None:
        while (held := self._first_held()) is not None and held.due <= now:
            heapq.heappop(self._held)
            append(held, self._again)

    # What a Get shows

    def _returned(self, watch: Watch, now: float) -> None:
        self._in_flight -= watch.in_flight
        remove(watch)  # it is in a queue where it was put back although the Get had been sent
        watch.in_flight = False
        watch.polls += 1
        watch.returned = now

    def _learn(self, watch: Watch, now: float) -> None:
        """Learn when an operation ended, or that it still ran when the Get was sent."""
        if watch.attached and not watch.latest.done:
            watch.attached = False
            watch.since = min(watch.since, now - created_ago(watch.latest, self._runtime.wall()))
        if not watch.latest.done:
            age = max(watch.ran_at, watch.sent - watch.since)
            self._hazard.lived(watch.ran_at, age)
            watch.ran_at = age
            return
        taken = time_taken(watch.latest)
        age = now - watch.since
        if watch.attached:
            if taken is not None:
                self._hazard.ended(0.0, taken)
        elif taken is not None:
            self._hazard.ended(watch.ran_at, min(max(taken, watch.ran_at), age))
        else:
            self._hazard.ended(watch.ran_at, (watch.ran_at + age) / 2)

    def _refused(self, watch: Watch, now: float) -> None:
        """Slow down; not where others are answered, and this operation alone is refused again and again."""
        if watch.refused_after is None or watch.refused_after == self._answers:
            watch.slowed = max(watch.slowed, self._pace.refused(now))
        elif watch.slowed and watch.failures >= STUBBORN:
            self._pace.forgive(now, watch.slowed)
            watch.slowed = 0.0
        watch.refused_after = self._answers

    def _failed(self, now: float) -> None:
        """Hold all up while no Get gets through; from then on one goes at a time, to see."""
        self._failures += 1
        if self._failures == OUTAGE:
            self._outage_pause = OUTAGE_PAUSES[0]
            self._outage_until = now + self._outage_pause

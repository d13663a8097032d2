"""The poll scheduler: which operation is looked at next, and when, for all that one client waits for.

Learning that an operation is done takes a Get, and Gets are a quota shared by all of them, so one scheduler paces
them together: an operation that several wait for is looked at once, one that nobody waits for not at all.

Rules: no I/O, no clock and no lock of its own: the caller passes the time and keeps others out.
"""

from __future__ import annotations

import copy
import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from yagrpc import config
from yagrpc._core.operation import get_failure
from yagrpc.config import Polling, Quota
from yagrpc.errors import CallError, OperationTimeoutError, ResourceExhaustedError, YagrpcError

if TYPE_CHECKING:
    from yagrpc import _pb

GROWTH: Final = 0.2
"""The interval between two looks, as a part of the operation's age."""

IN_HAND: Final = 0.02
"""Part of the quota left unused, for jitter on the way: how the service counts is not documented."""

REFUSED_PAUSE: Final = 1.0
"""Seconds before another look after the quota refused one: the quota's own window."""

FINAL_LOOK: Final = 1.0
"""Seconds that the last look, sent when a wait's timeout is over, may take."""

NOT_FOUND_GRACE: Final = 10.0
"""Seconds after our own submit in which NOT_FOUND is taken for a replica that lags behind."""

Listener = Callable[["Watch"], None]


class Watch:
    """One operation that somebody waits for; shared by all who do.

    Attributes:
        operation_id: Its id.
        latest: The operation as last seen, by those who wait or by the last Get.
        failure: Why it can't be waited for any longer, if so.
        last_error: The failure of the last Get, if it failed.
        looks: How many Gets came back.
        since: When it began to be watched.
        not_found_until: Until when NOT_FOUND is not believed: it was submitted a moment ago.
    """

    __slots__ = (
        "due",
        "failure",
        "in_flight",
        "last_error",
        "latest",
        "listeners",
        "looks",
        "not_found_until",
        "operation_id",
        "since",
        "waiters",
    )

    def __init__(self, latest: _pb.operation_pb2.Operation, now: float) -> None:
        self.operation_id = latest.id
        self.latest = latest
        self.failure: YagrpcError | None = None
        self.last_error: YagrpcError | None = None
        self.looks = 0
        self.since = now
        self.not_found_until = -math.inf
        self.due = math.inf
        self.in_flight = False
        self.waiters = 0
        self.listeners: list[Listener] = []

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.failure is not None or self.latest.done

    def looked(self, seen: int) -> _pb.operation_pb2.Operation:
        """The outcome of one look, for one who had seen `seen` looks before.

        Raises:
            YagrpcError: The look failed, or did not come back in time.
        """
        error = self.failure or self.last_error
        if error is None and self.looks == seen:
            error = OperationTimeoutError(self.operation_id, "no answer to the Get in time; the operation goes on")
        if error is not None:
            raise _copy(error)
        return self.latest

    def waited(self, timeout: float | None) -> _pb.operation_pb2.Operation:
        """The outcome of a wait.

        Raises:
            YagrpcError: The operation can't be waited for, or is not done in time.
        """
        if self.failure is not None:
            raise _copy(self.failure)
        if not self.latest.done:
            text = f"not done within {timeout:g} s; it goes on, and can be waited for again by its id"
            raise OperationTimeoutError(self.operation_id, text) from self.last_error
        return self.latest


class Scheduler:
    """Decides which Get is sent next.

    Args:
        quota: How many Gets a second may be sent; `None` for no limit.
        polling: How often one operation is looked at.

    Raises:
        ConfigError: One of their numbers can't be kept to.
    """

    def __init__(self, quota: Quota | None, polling: Polling) -> None:
        config.check_pacing(quota, polling)
        self._pace = Pace(None if quota is None else quota.get_per_second)
        self._polling = polling
        self._watches: dict[str, Watch] = {}
        self._heap: list[tuple[float, int, Watch]] = []
        self._pushes = 0

    def __len__(self) -> int:
        return len(self._watches)

    def watches(self) -> list[Watch]:
        """Everything that is waited for."""
        return list(self._watches.values())

    def watch(self, known: _pb.operation_pb2.Operation, now: float, *, submitted: float | None = None) -> Watch:
        """Begin to wait for an operation, or join those who do; pair it with `release`.

        Args:
            known: The operation as the caller knows it; its id is enough.
            now: The time, in seconds.
            submitted: When this client submitted it; `None` where another did, which is looked at at once.
        """
        watch = self._watches.get(known.id)
        if watch is None:
            watch = self._watches[known.id] = Watch(known, now if submitted is None else submitted)
            self._push(watch, now if submitted is None else max(now, submitted + self._polling.first))
        if submitted is not None:
            watch.not_found_until = submitted + NOT_FOUND_GRACE
        watch.waiters += 1
        return watch

    def release(self, watch: Watch) -> None:
        """One who waited no longer does; with the last of them the operation is forgotten."""
        watch.waiters -= 1
        if watch.waiters == 0 and self._watches.get(watch.operation_id) is watch:
            del self._watches[watch.operation_id]
            watch.due = math.inf

    def hurry(self, watch: Watch, now: float) -> None:
        """Make a look due at once; one that is under way will do."""
        if not watch.in_flight and watch.due > now:
            self._push(watch, now)

    def take(self, now: float) -> Watch | None:
        """The operation whose Get is to be sent now, if any; tell the outcome by `answered` or `failed`."""
        if self._pace.next_slot(now) > now:
            return None
        watch = self._head()
        if watch is None or watch.due > now:
            return None
        heapq.heappop(self._heap)
        self._pace.use(now)
        watch.due = math.inf
        watch.in_flight = True
        return watch

    def put_back(self, watch: Watch, now: float) -> None:
        """The Get that was to be sent was not: its turn comes again at once."""
        watch.in_flight = False
        if watch.waiters:
            self._push(watch, now)

    def next_time(self, now: float) -> float | None:
        """When `take` may give something next; `None` while nothing is due at any time."""
        watch = self._head()
        return None if watch is None else max(watch.due, self._pace.next_slot(now))

    def answered(self, watch: Watch, operation: _pb.operation_pb2.Operation, now: float) -> None:
        """A Get came back with the operation."""
        watch.latest = operation
        watch.last_error = None
        self._returned(watch, now + self._interval(watch, now))

    def failed(self, watch: Watch, error: YagrpcError, now: float) -> None:
        """A Get failed; most failures pass, and the operation is looked at again."""
        if isinstance(error, CallError):
            watch.last_error, final = get_failure(error, watch.latest, believed=now >= watch.not_found_until)
        else:
            watch.last_error, final = error, True
        if final:
            watch.failure = watch.last_error
        refused = isinstance(error, ResourceExhaustedError)
        self._returned(watch, now + (REFUSED_PAUSE if refused else self._interval(watch, now)))

    def gets(self, now: float) -> tuple[float | None, int, int | None, int]:
        """The quota of Gets, how much of it is used and left, and how many operations are due and wait for it."""
        limit, used, left = self._pace.used(now)
        return limit, used, left, sum(watch.due <= now for watch in self._watches.values())

    def _returned(self, watch: Watch, due: float) -> None:
        watch.in_flight = False
        watch.looks += 1
        if watch.waiters and not watch.ended:
            self._push(watch, due)

    def _interval(self, watch: Watch, now: float) -> float:
        grown = GROWTH * (now - watch.since)
        return min(max(grown, self._polling.shortest), self._polling.longest)

    def _push(self, watch: Watch, due: float) -> None:
        watch.due = due
        self._pushes += 1
        heapq.heappush(self._heap, (due, self._pushes, watch))

    def _head(self) -> Watch | None:
        """The watch that is due first; entries that a later push or a release made void are dropped."""
        while self._heap:
            due, _, watch = self._heap[0]
            if watch.due == due:
                return watch
            heapq.heappop(self._heap)
        return None


class Pace:
    """Slots under a quota of so many a second: in no window of one second are there more.

    Args:
        per_second: The quota; `None` for no limit. Below one a second, the window grows instead.
    """

    def __init__(self, per_second: float | None) -> None:
        self._limit = per_second
        self._window = 1.0
        self._used: deque[float] | None = None
        if per_second is not None:
            usable = per_second * (1 - IN_HAND)
            slots = max(1, math.floor(usable))
            self._window = max(1.0, slots / usable)
            self._used = deque(maxlen=slots)

    def next_slot(self, now: float) -> float:
        """When the next may be sent."""
        if self._used is None or len(self._used) < (self._used.maxlen or 0):
            return now
        return max(now, self._used[0] + self._window)

    def used(self, now: float) -> tuple[float | None, int, int | None]:
        """The quota, and how many of its slots are used and left."""
        if self._used is None:
            return self._limit, 0, None
        used = sum(at + self._window > now for at in self._used)
        return self._limit, used, (self._used.maxlen or 0) - used

    def use(self, now: float) -> None:
        """One is sent."""
        if self._used is not None:
            self._used.append(now)


def _copy(error: YagrpcError) -> YagrpcError:
    """An error of one's own to raise: several may wait, and each raise writes into the exception."""
    mine = copy.copy(error)
    mine.__cause__ = error.__cause__
    return mine

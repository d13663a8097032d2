"""The poll scheduler on a virtual clock: pacing, fairness, and what the outcome of a Get means for those who wait."""

from __future__ import annotations

import itertools
import math
import time
import tracemalloc
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yagrpc import _pb
from yagrpc._core.failure.final import FINAL_GET_FAILURES
from yagrpc._core.polling.pace import RECOVERY, Pace
from yagrpc._core.polling.queues import JITTER
from yagrpc._core.polling.scheduler import LONGEST_PAUSE, NOT_FOUND_GRACE, REFUSED_PAUSE, STUBBORN, Scheduler
from yagrpc._core.polling.watch import Watch
from yagrpc._grpc.runtime import RUNTIME
from yagrpc.config import Polling, Quota
from yagrpc.errors import (
    CALL_ERRORS,
    CallError,
    ClientClosedError,
    Code,
    NotFoundError,
    OperationError,
    OperationExpiredError,
    OperationNotFoundError,
    OperationTimeoutError,
    ResourceExhaustedError,
    UnavailableError,
    YagrpcError,
)

START = 86_400.0
DAY = 24 * 3600.0


class Service:
    """Operations that end at a known time, and the Gets that poll them, driven as a shell would.

    Args:
        rate: The quota, Gets per second.
        trip: Seconds from sending a Get to its answer; the service is read halfway.
    """

    def __init__(self, rate: float | None = 50.0, polling: Polling | None = None, trip: float = 0.0) -> None:
        quota = None if rate is None else Quota(get_per_second=rate)
        self.scheduler = Scheduler(quota, Polling() if polling is None else polling, RUNTIME)
        self.now = START
        self.trip = trip
        self.ends: dict[str, float] = {}
        self.sent: list[tuple[float, str]] = []
        self.delivered: dict[str, float] = {}
        self._under_way: list[tuple[float, Watch]] = []

    def submit(self, operation_id: str, seconds: float = math.inf) -> Watch:
        """Submit an operation that runs for some seconds, and wait for it."""
        self.ends[operation_id] = self.now + seconds
        return self.scheduler.watch(_pb.operation_pb2.Operation(id=operation_id), self.now, submitted=self.now)

    def run_until(self, end: float) -> None:
        """Let time pass, from one event to the next."""
        for _ in range(1_000_000):
            while (watch := self.scheduler.take(self.now)) is not None:
                self.sent.append((self.now, watch.operation_id))
                self._under_way.append((self.now + self.trip, watch))
                self._answer()
            due = self.scheduler.next_time(self.now)
            back = self._under_way[0][0] if self._under_way else None
            following = min((moment for moment in (due, back) if moment is not None), default=math.inf)
            if following > end:
                self.now = end
                return
            self.now = max(self.now, following)
            self._answer()
        raise AssertionError("the scheduler makes no headway")

    def get_times(self, operation_id: str) -> list[float]:
        """When an operation was polled."""
        return [moment for moment, polled_id in self.sent if polled_id == operation_id]

    def _answer(self) -> None:
        while self._under_way and self._under_way[0][0] <= self.now:
            back, watch = self._under_way.pop(0)
            done = self.ends[watch.operation_id] <= back - self.trip / 2
            latest = _pb.operation_pb2.Operation(id=watch.operation_id, done=done)
            self.scheduler.answered(watch, latest, self.now)
            if done:
                self.delivered[watch.operation_id] = self.now
                self.scheduler.release(watch)


def scheduler(rate: float | None = None, **polling: float) -> Scheduler:
    """A scheduler, by default without a quota."""
    return Scheduler(Quota(get_per_second=rate), Polling(**polling), RUNTIME)


def known(operation_id: str = "op", **fields: Any) -> _pb.operation_pb2.Operation:
    """An operation as its waiter knows it."""
    return _pb.operation_pb2.Operation(id=operation_id, **fields)


def most_in_a_window(moments: list[float], window: float) -> int:
    """The most moments in any half-open window of some seconds."""
    return max((bisect_left(moments, moment + window) - index for index, moment in enumerate(moments)), default=0)


# Pacing


@given(
    rate=st.floats(0.5, 200),
    gaps=st.lists(st.floats(0, 2.5) | st.just(0.0), min_size=1, max_size=400),
    start=st.floats(0, 1e8),
)
def test_no_window_holds_more_than_the_quota(rate: float, gaps: list[float], start: float) -> None:
    pace = Pace(rate)
    now, used = start, []
    for gap in gaps:
        now = max(now + gap, pace.next_slot(now + gap))
        pace.use(now)
        used.append(now)
    assert most_in_a_window(used, max(1.0, 1 / rate)) <= max(rate, 1)


@given(rate=st.floats(0.5, 200), trip=st.sampled_from([0.0, 0.03, 0.4]), pending=st.integers(1, 300))
def test_no_window_holds_more_gets_than_the_quota(rate: float, trip: float, pending: int) -> None:
    service = Service(rate, trip=trip)
    for number in range(pending):
        service.submit(f"op-{number}")
    service.run_until(START + 5.0)
    moments = [moment for moment, _ in service.sent]
    assert most_in_a_window(moments, max(1.0, 1 / rate)) <= max(rate, 1)


@pytest.mark.parametrize("rate", [2, 5, 10, 50, 200])
def test_the_quota_is_used_where_there_is_enough_to_ask(rate: float) -> None:
    service = Service(rate)
    for number in range(30 * int(rate)):
        service.submit(f"op-{number}")
    service.run_until(START + 21.0)
    assert len(service.sent) >= 20 * math.floor(0.98 * rate)


def test_without_a_quota_all_leave_at_once() -> None:
    service = Service(None)
    for number in range(1000):
        service.submit(f"op-{number}")
    service.run_until(START + 1.0)
    assert len(service.sent) == 1000
    assert all(START + 0.9 <= moment <= START + 1.0 for moment, _ in service.sent)


@pytest.mark.parametrize("quota", [None, Quota(get_per_second=None)])
def test_no_quota_has_two_spellings(quota: Quota | None) -> None:
    unpaced = Scheduler(quota, Polling(), RUNTIME)
    for number in range(200):
        unpaced.watch(known(f"op-{number}"), START)
    assert sum(unpaced.take(START) is not None for _ in range(300)) == 200


# One operation


@pytest.mark.parametrize("trip", [0.0, 0.02, 0.2])
def test_a_short_operation_is_delivered_soon_with_few_gets(trip: float) -> None:
    service = Service(trip=trip)
    service.submit("op", 4.0)
    service.run_until(START + 60.0)
    assert service.delivered["op"] - (START + 4.0) <= 1.0
    assert len(service.sent) <= 8


@given(seconds=st.floats(0.01, 3600), trip=st.sampled_from([0.0, 0.05]))
def test_the_delay_is_a_part_of_the_age(seconds: float, trip: float) -> None:
    service = Service(trip=trip)
    service.submit("op", seconds)
    service.run_until(START + 2 * seconds + 60.0)
    delay = service.delivered["op"] - (START + seconds)
    assert delay <= min(30.0, max(1.0, 0.25 * seconds)) + 2 * trip
    assert len(service.sent) <= 8 + 7 * math.sqrt(seconds)


@given(first=st.floats(0, 5), shortest=st.floats(0.1, 2), longest=st.floats(0.1, 20), seconds=st.floats(1, 60))
def test_intervals_are_as_they_are_set(first: float, shortest: float, longest: float, seconds: float) -> None:
    service = Service(None, Polling(first, shortest, longest))
    service.submit("op")
    service.run_until(START + seconds)
    get_times = service.get_times("op")
    intervals = [after - before for before, after in itertools.pairwise(get_times)]
    assert not get_times or START + (1 - JITTER) * first - 1e-6 <= get_times[0] <= START + first + 1e-6
    assert all(min(shortest, longest) - 1e-6 <= interval <= longest + 1e-6 for interval in intervals)


def test_operation_of_another_client_is_polled_at_once() -> None:
    attached = scheduler(50)
    watch = attached.watch(known(), START)
    assert attached.next_time(START) == START
    assert attached.take(START) is watch


def test_operation_submitted_long_ago_is_polled_at_once() -> None:
    late = scheduler(50)
    watch = late.watch(known(), START, submitted=START - 100.0)
    assert late.take(START) is watch
    assert watch.since == START - 100.0


def test_nothing_to_wait_for_has_no_next_time() -> None:
    assert scheduler().next_time(START) is None
    assert scheduler().take(START) is None


# Many


def test_thousand_operations_are_polled_in_turn() -> None:
    service = Service(50)
    names = [f"op-{number}" for number in range(1000)]
    for name in names:
        service.submit(name)
    service.run_until(START + 300.0)
    rounds = {name: service.get_times(name) for name in names}
    counts = [len(get_times) for get_times in rounds.values()]
    assert max(counts) - min(counts) <= 1
    cycle = 1000 / 49
    for get_times in rounds.values():
        gaps = [after - before for before, after in zip([START, *get_times], [*get_times, service.now], strict=True)]
        assert max(gaps) <= 30.0 + cycle


def test_the_first_round_is_in_the_order_of_submitting() -> None:
    service = Service(50)
    names = [f"op-{number}" for number in range(200)]
    for name in names:
        service.submit(name)
    service.run_until(START + 6.0)
    assert [name for _, name in service.sent][:200] == names


def test_new_operation_is_polled_within_one_round() -> None:
    service = Service(50)
    for number in range(500):
        service.submit(f"op-{number}")
    service.run_until(START + 60.0)
    came = service.now
    service.submit("late", 0.5)
    service.run_until(came + 60.0)
    assert service.delivered["late"] - came <= 1.0 + 500 / 49 + 1.0


def test_a_thousand_that_end_are_all_delivered() -> None:
    service = Service(50)
    for number in range(1000):
        service.submit(f"op-{number}", 5.0 + number / 10)
    service.run_until(START + 400.0)
    assert len(service.delivered) == 1000
    assert len(service.scheduler) == 0


# Sharing, letting go, hurrying


def test_two_who_wait_share_one_get() -> None:
    shared = scheduler(50)
    one, other = shared.watch(known(), START), shared.watch(known(), START)
    assert one is other
    assert len(shared) == 1
    assert shared.take(START) is one
    assert shared.take(START) is None
    shared.answered(one, known(done=True), START)
    assert one.waited(None).done
    assert other.waited(None).done


def test_operation_without_waiters_is_not_polled() -> None:
    forgotten = scheduler(50)
    watch = forgotten.watch(known(), START)
    assert forgotten.watch(known(), START) is watch
    forgotten.release(watch)
    assert forgotten.next_time(START) == START
    forgotten.release(watch)
    assert len(forgotten) == 0
    assert forgotten.watches() == []
    assert forgotten.next_time(START) is None
    assert forgotten.take(START + 100.0) is None


def test_letting_go_while_a_get_is_under_way_is_the_end_of_it() -> None:
    forgotten = scheduler(50)
    watch = forgotten.watch(known(), START)
    forgotten.take(START)
    forgotten.release(watch)
    forgotten.answered(watch, known(), START + 1.0)
    assert forgotten.next_time(START + 1.0) is None
    assert forgotten.take(START + 100.0) is None


def test_who_comes_back_after_letting_go_gets_a_watch_of_their_own() -> None:
    again = scheduler(50)
    first = again.watch(known(), START)
    again.take(START)
    again.release(first)
    second = again.watch(known(), START)
    assert second is not first
    again.answered(first, known(done=True), START)
    assert not second.ended
    assert again.take(START) is second


def test_a_released_watch_does_not_take_its_successor_along() -> None:
    again = scheduler(50)
    first = again.watch(known(), START)
    again.release(first)
    second = again.watch(known(), START)
    first.waiters = 1
    again.release(first)
    assert again.watches() == [second]


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("done", [True, False])
def test_a_get_that_is_put_back_although_it_was_sent_upsets_nothing(late: bool, done: bool) -> None:
    """Ctrl-C may come after a Get has left, and even after its answer: then its turn comes again."""
    interrupted = scheduler(50)
    watch = interrupted.watch(known(), START)
    assert interrupted.take(START) is watch
    if late:
        interrupted.put_back(watch, START)
    interrupted.answered(watch, known(done=done), START)
    if not late:
        interrupted.put_back(watch, START)
    assert interrupted.gets(START)[3] == 1
    for now in (START + 100.0, START + 200.0):
        assert interrupted.take(now) is (None if done else watch)
        assert interrupted.take(now) is None
        if not done:
            interrupted.answered(watch, known(), now)
    interrupted.release(watch)
    assert interrupted.take(now + 100.0) is None
    assert interrupted.next_time(now + 100.0) is None


def test_a_get_that_is_put_back_is_the_next() -> None:
    """Its turn had come already, before that of others who want a poll at once."""
    interrupted = scheduler(50)
    first, second = (interrupted.watch(known(name), START, submitted=START) for name in ("first", "second"))
    interrupted.hurry(first, START)
    interrupted.hurry(second, START)
    assert interrupted.take(START) is first
    interrupted.put_back(first, START)
    assert interrupted.take(START + 1.0) is first
    assert interrupted.take(START + 2.0) is second


class Learned:
    """In place of what is known of when operations end: keeps what it is told, and knows nothing."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []

    def lived(self, since: float, age: float) -> None:
        self.spans.append((since, age))

    def ended(self, since: float, age: float) -> None:
        self.spans.append((since, age))

    def reach(self, age: float) -> float:
        return age


@given(
    created=st.integers(-3, 3),
    took=st.integers(-1, 3),
    attached=st.booleans(),
    trip=st.floats(0.0, 0.9),
    again=st.floats(0.1, 2.0),
)
def test_an_age_is_never_negative_nor_does_it_shrink(
    created: int, took: int, attached: bool, trip: float, again: float
) -> None:
    """The service gives whole seconds, by a clock of its own."""
    wall = time.time()
    skewed = Scheduler(None, Polling(), RUNTIME)
    learned = skewed._hazard = Learned()  # type: ignore[assignment]
    watch = skewed.watch(known(), START, submitted=None if attached else START)
    now = START
    for done in (False, True):
        skewed.hurry(watch, now)
        assert skewed.take(now) is watch
        latest = known(done=done)
        latest.created_at.seconds = int(wall) + created
        latest.modified_at.seconds = int(wall) + created + took
        skewed.answered(watch, latest, now + trip)
        now += trip + again
    assert learned.spans
    for since, age in learned.spans:
        assert 0.0 <= since <= age
        assert attached or age <= now - START, "it was submitted here, so its age is known"


def test_a_slowing_is_not_forgiven_once_the_operation_was_answered() -> None:
    """The pace that there was before belongs to another time."""
    slowed = scheduler(50)
    watches = [slowed.watch(known(f"op-{number}"), START) for number in range(20)]
    now = START
    for watch in watches:
        slowed.hurry(watch, now)
        while slowed.take(now) is None:
            now += 0.01
        slowed.failed(watch, ResourceExhaustedError("quota"), now)
    victim = next(watch for watch in watches if watch.slowed)
    now += 5.0
    slowed.hurry(victim, now)
    assert slowed.take(now) is victim
    slowed.answered(victim, known(victim.operation_id), now)
    slow = slowed._pace.rate(now)
    others = [watch for watch in watches if watch is not victim]
    for _ in range(STUBBORN + 2):
        for watch, outcome in ((others[0], None), (victim, ResourceExhaustedError("quota"))):
            slowed.hurry(watch, now)
            while slowed.take(now) is None:
                now += 0.01
            if outcome is None:
                slowed.answered(watch, known(watch.operation_id), now)
            else:
                slowed.failed(watch, outcome, now)
    assert slowed._pace.rate(now) <= slow + RECOVERY * slowed._pace.full * (now - START)
    assert slowed._pace.rate(now) < slowed._pace.full


def test_hurry_makes_a_poll_due() -> None:
    hurried = scheduler(50)
    watch = hurried.watch(known(), START, submitted=START)
    assert hurried.take(START) is None
    hurried.hurry(watch, START)
    assert hurried.next_time(START) == START
    assert hurried.take(START) is watch


def test_to_hurry_while_a_get_is_under_way_sends_no_other() -> None:
    hurried = scheduler()
    watch = hurried.watch(known(), START)
    assert hurried.take(START) is watch
    hurried.hurry(watch, START + 0.1)
    assert hurried.take(START + 0.1) is None
    hurried.answered(watch, known(), START + 0.2)
    assert hurried.take(START + 0.3) is None


def test_hurry_twice_makes_one_poll() -> None:
    hurried = scheduler()
    watch = hurried.watch(known(), START, submitted=START)
    hurried.hurry(watch, START)
    hurried.hurry(watch, START)
    assert hurried.take(START) is watch
    hurried.answered(watch, known(), START)
    assert hurried.take(START) is None


def test_to_hurry_does_not_break_the_quota() -> None:
    hurried = scheduler(2)
    watches = [hurried.watch(known(f"op-{number}"), START, submitted=START) for number in range(3)]
    for watch in watches:
        hurried.hurry(watch, START)
    now = START
    taken: list[tuple[Watch, float]] = []
    while len(taken) < 3:
        if (following := hurried.take(now)) is not None:
            taken.append((following, now))
        else:
            now = hurried.next_time(now) or math.nan
    assert [watch for watch, _ in taken] == watches
    assert taken[2][1] - taken[0][1] > 1.0


def test_what_another_submit_makes_known_is_remembered() -> None:
    joined = scheduler(50)
    watch = joined.watch(known(), START)
    joined.watch(known(), START, submitted=START)
    joined.take(START)
    joined.failed(watch, NotFoundError("no", operation_id="op"), START + 1.0)
    assert not watch.ended


# Outcomes


def failing(error: YagrpcError, after: float = 1.0, submitted: float | None = None, **fields: Any) -> Watch:
    """A watch whose only Get failed, some seconds after it began."""
    failed = scheduler()
    watch = failed.watch(known(**fields), START, submitted=submitted)
    failed.hurry(watch, START)
    assert failed.take(START) is watch
    failed.failed(watch, error, START + after)
    assert (failed.next_time(START + after) is None) == watch.ended
    return watch


@pytest.mark.parametrize("code", sorted(CALL_ERRORS))
def test_a_failed_get_ends_the_wait_or_passes(code: Code) -> None:
    error = CALL_ERRORS[code]("it failed", operation_id="op")
    watch = failing(error)
    final = code in {
        Code.NOT_FOUND,
        Code.PERMISSION_DENIED,
        Code.INVALID_ARGUMENT,
        Code.UNIMPLEMENTED,
        Code.UNAUTHENTICATED,
    }
    assert final == (code in FINAL_GET_FAILURES)
    assert watch.ended == final
    assert watch.polls == 1
    assert not watch.in_flight
    wanted = OperationNotFoundError if code is Code.NOT_FOUND else type(error)
    with pytest.raises(wanted if final else OperationTimeoutError):
        watch.waited(0)
    with pytest.raises(wanted, match="it failed"):
        watch.polled(0)


@pytest.mark.parametrize("error", [ClientClosedError("op"), OperationError("op", "its Get could not be sent")])
def test_a_failure_that_is_no_status_ends_the_wait(error: YagrpcError) -> None:
    watch = failing(error)
    assert watch.ended
    with pytest.raises(type(error)):
        watch.waited(None)


def test_not_found_right_after_the_submit_is_polled_again() -> None:
    young = scheduler()
    watch = young.watch(known(), START, submitted=START)
    not_found = NotFoundError("no", operation_id="op")
    now = START
    while True:
        now = young.next_time(now) or now
        if young.take(now) is None:
            continue
        young.failed(watch, not_found, now)
        if watch.ended:
            break
        assert isinstance(watch.last_error, OperationNotFoundError)
        assert now < START + NOT_FOUND_GRACE
    assert now >= START + NOT_FOUND_GRACE
    with pytest.raises(OperationNotFoundError, match=r"operation op: the service knows no such operation \(no\)"):
        watch.waited(None)


def test_what_another_submitted_is_not_found_at_once() -> None:
    assert failing(NotFoundError("no", operation_id="op")).ended


def test_an_answer_after_not_found_makes_all_well() -> None:
    young = scheduler()
    watch = young.watch(known(), START, submitted=START)
    young.hurry(watch, START)
    young.take(START)
    young.failed(watch, NotFoundError("no", operation_id="op"), START)
    young.hurry(watch, START)
    young.take(START)
    young.answered(watch, known(done=True), START)
    assert watch.last_error is None
    assert watch.waited(None).done


@pytest.mark.parametrize("age", [0.0, 100.0, 10_000.0])
def test_a_refusal_by_the_quota_pauses_for_its_window(age: float) -> None:
    refused = scheduler()
    now = START + age
    watch = refused.watch(known(), now, submitted=START)
    refused.hurry(watch, now)
    refused.take(now)
    refused.failed(watch, ResourceExhaustedError("slower", operation_id="op"), now + 0.1)
    assert refused.next_time(now) == now + 0.1 + REFUSED_PAUSE
    assert not watch.ended


def test_a_failure_is_tried_again_soon_and_then_less_and_less_often() -> None:
    failed = scheduler()
    watch = failed.watch(known(), START, submitted=START - 50.0)
    now, pauses = START, []
    for _ in range(8):
        assert failed.take(now) is watch
        failed.failed(watch, UnavailableError("gone", operation_id="op"), now)
        following = failed.next_time(now) or math.nan
        pauses.append(following - now)
        now = following
    assert failed.take(now - 0.001) is None
    assert pauses[0] == 0.5
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def created(days_ago: float) -> Any:
    """A time of creation."""
    return _pb.timestamp_pb2.Timestamp(seconds=int(time.time() - days_ago * DAY))


def test_what_is_older_than_results_are_kept_is_probably_deleted() -> None:
    watch = failing(NotFoundError("no", operation_id="op"), created_at=created(4.5))
    with pytest.raises(OperationExpiredError) as caught:
        watch.waited(None)
    assert str(caught.value) == (
        "operation op: probably deleted: it was created 4.5 days ago, and results are kept for 3"
    )
    assert isinstance(caught.value.__cause__, NotFoundError)


@pytest.mark.parametrize("days_ago", [0.0, 2.9, -1.0])
def test_what_is_younger_is_not_found(days_ago: float) -> None:
    watch = failing(NotFoundError("no", operation_id="op"), created_at=created(days_ago))
    assert type(watch.failure) is OperationNotFoundError


@pytest.mark.parametrize("seconds", [10**15, -(10**15)])
def test_a_time_of_creation_that_is_none_does_no_harm(seconds: int) -> None:
    watch = failing(NotFoundError("no", operation_id="op"), created_at=_pb.timestamp_pb2.Timestamp(seconds=seconds))
    assert isinstance(watch.failure, OperationNotFoundError)


def test_poll_without_an_answer_is_a_timeout() -> None:
    polling = scheduler()
    watch = polling.watch(known(), START)
    with pytest.raises(OperationTimeoutError, match="its Get was not sent within 2 s, so its state is not known$"):
        watch.polled(0, 2.0)
    polling.take(START)
    with pytest.raises(OperationTimeoutError, match="its Get was not answered within 2 s, so its state is not known$"):
        watch.polled(0, 2.0)


def test_a_poll_without_an_answer_is_no_failure_of_the_poll_before() -> None:
    watch = failing(UnavailableError("gone", operation_id="op"))
    with pytest.raises(OperationTimeoutError, match="; the poll before failed: UNAVAILABLE: gone$") as caught:
        watch.polled(watch.polls, 2.0)
    assert isinstance(caught.value.__cause__, UnavailableError)


def test_poll_gives_the_operation_that_it_found() -> None:
    polling = scheduler()
    watch = polling.watch(known(), START)
    polling.take(START)
    polling.answered(watch, known(description="seen"), START)
    assert watch.polled(0).description == "seen"
    with pytest.raises(OperationTimeoutError):
        watch.polled(1)


def test_a_wait_that_is_over_says_what_to_do() -> None:
    watch = failing(UnavailableError("gone", operation_id="op"))
    with pytest.raises(OperationTimeoutError) as caught:
        watch.waited(2.5)
    assert str(caught.value) == (
        "operation op: not done within 2.5 s as far as is known: the last poll failed: UNAVAILABLE: gone; it can be "
        "waited for again by its id"
    )
    assert isinstance(caught.value.__cause__, UnavailableError)


def test_a_wait_says_that_it_runs_only_where_that_was_answered() -> None:
    polling = scheduler()
    watch = polling.watch(known(), START)
    with pytest.raises(OperationTimeoutError, match="as far as is known: no poll was answered; it can be waited for"):
        watch.waited(2.5)
    polling.take(START)
    polling.answered(watch, known(), START)
    with pytest.raises(OperationTimeoutError, match=r"within 2\.5 s; it is still running, and can be waited for again"):
        watch.waited(2.5)


def outcomes_of(watch: Watch, ask: Callable[[Watch], object]) -> list[YagrpcError]:
    """What two waiters for the same operation get."""
    raised: list[YagrpcError] = []
    for _ in range(2):
        with pytest.raises(YagrpcError) as caught:
            ask(watch)
        raised.append(caught.value)
    return raised


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("no", operation_id="op"),
        CALL_ERRORS[Code.PERMISSION_DENIED]("no", details=({"@type": "a/b"},), request_id="id", operation_id="op"),
        ClientClosedError("op"),
    ],
)
@pytest.mark.parametrize("ask", [lambda watch: watch.waited(1.0), lambda watch: watch.polled(0)])
def test_each_who_waits_gets_an_exception_of_their_own(error: YagrpcError, ask: Callable[[Watch], object]) -> None:
    watch = failing(error)
    one, other = outcomes_of(watch, ask)
    assert one is not other
    assert one is not watch.failure
    assert (type(one), str(one), vars(one)) == (type(other), str(other), vars(other))
    assert one.__cause__ is other.__cause__
    assert one.__traceback__ is not other.__traceback__


def test_the_cause_is_kept(rpc_error: Callable[..., grpc.RpcError]) -> None:
    refusal = CALL_ERRORS[Code.UNAUTHENTICATED]("no")
    refusal.__cause__ = rpc_error(grpc.StatusCode.UNAUTHENTICATED)
    watch = failing(refusal)
    with pytest.raises(CallError) as caught:
        watch.waited(None)
    assert caught.value.__cause__ is refusal.__cause__


# Cost


def test_a_pending_operation_takes_little_memory() -> None:
    protos = [known(f"d7qexample{number:010}") for number in range(20_000)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        many = scheduler(50)
        watches = [many.watch(proto, START, submitted=START) for proto in protos]
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(watches) == len(many)
    assert taken / len(protos) <= 1024


def test_looking_again_and_again_does_not_pile_up() -> None:
    polling = scheduler()
    known()  # loads the protos, which are none of it
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            now = START + number / 100
            watch = polling.watch(known(), now, submitted=START)
            polling.hurry(watch, now)
            assert polling.take(now) is watch
            polling.answered(watch, known(), now)
            polling.release(watch)
        assert polling.next_time(now) is None
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert left <= 200_000  # CPython keeps up to 2,000 freed tuples of a size; 20,000 would be ten times as much

"""The scheduler while Gets fail, on a virtual clock: none is lost, none spins, and the others keep their pace."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable

import pytest

from yagrpc import _pb
from yagrpc._core.polling.scheduler import Scheduler
from yagrpc._core.polling.watch import Watch
from yagrpc._grpc.runtime import RUNTIME
from yagrpc.config import Polling, Quota
from yagrpc.errors import (
    DeadlineExceededError,
    NotFoundError,
    OperationNotFoundError,
    ResourceExhaustedError,
    UnavailableError,
    YagrpcError,
)

START = 86_400.0

Trouble = Callable[[str, float], "YagrpcError | None"]


class Troubled:
    """Operations that end at known times behind a service in trouble, and the Gets that poll them.

    Args:
        trouble: What goes wrong with a Get of an operation at a time, seconds after the start.
        seconds: How long a Get takes, by operation.
    """

    def __init__(self, trouble: Trouble, seconds: Callable[[str], float] = lambda name: 0.02) -> None:
        self.scheduler = Scheduler(Quota(get_per_second=50), Polling(), RUNTIME)
        self.now = START
        self.gets: Counter[str] = Counter()
        self.moments: list[float] = []
        self.delivered: dict[str, float] = {}
        self.watches: dict[str, Watch] = {}
        self._trouble = trouble
        self._seconds = seconds
        self._ends: dict[str, float] = {}
        self._back: list[tuple[float, int, Watch]] = []

    def submit(self, count: int, seconds: float, prefix: str = "op") -> None:
        """Submit some operations that run for some seconds."""
        for number in range(count):
            name = f"{prefix}-{number}"
            self._ends[name] = self.now + seconds
            known = _pb.operation_pb2.Operation(id=name)
            self.watches[name] = self.scheduler.watch(known, self.now, submitted=self.now)

    def run_until(self, seconds: float) -> None:
        """Let time pass until so long after the start."""
        numbers = itertools.count()
        while True:
            while (watch := self.scheduler.take(self.now)) is not None:
                self.gets[watch.operation_id] += 1
                self.moments.append(self.now - START)
                back = self.now + self._seconds(watch.operation_id)
                heapq.heappush(self._back, (back, next(numbers), watch))
            due = self.scheduler.next_time(self.now)
            back = self._back[0][0] if self._back else math.inf
            following = min(back, math.inf if due is None else due)
            if following > START + seconds:
                self.now = START + seconds
                return
            self.now = max(self.now, following)
            while self._back and self._back[0][0] <= self.now:
                self._answer(heapq.heappop(self._back)[2])

    def _answer(self, watch: Watch) -> None:
        name = watch.operation_id
        error = self._trouble(name, self.now - START)
        if error is not None:
            self.scheduler.failed(watch, error, self.now)
        else:
            done = self._ends[name] <= self.now
            self.scheduler.answered(watch, _pb.operation_pb2.Operation(id=name, done=done), self.now)
        if watch.ended:
            self.delivered[name] = self.now - START
            self.scheduler.release(watch)

    def rate(self, begin: float, end: float) -> float:
        """Gets a second between two times after the start."""
        return sum(begin <= moment < end for moment in self.moments) / (end - begin)


def refused(name: str = "op") -> ResourceExhaustedError:
    return ResourceExhaustedError("rate quota limit exceed: allowed 50 requests", operation_id=name)


def test_an_hour_of_refusals() -> None:
    service = Troubled(lambda name, now: refused(name) if now < 3600.0 else None)
    service.submit(500, 10.0)
    service.run_until(3600.0)
    assert not service.delivered
    assert service.rate(60.0, 3600.0) <= 2.0
    assert sum(service.gets.values()) >= 600
    service.run_until(3700.0)
    assert len(service.delivered) == 500


def test_some_that_are_refused_for_ever_leave_the_others_their_pace() -> None:
    service = Troubled(lambda name, now: refused(name) if name.startswith("bad") else None)
    service.submit(20, 0.0, "bad")
    service.submit(2000, 5.0)
    service.run_until(35.0)
    assert service.rate(25.0, 35.0) >= 40.0
    service.run_until(400.0)
    assert len(service.delivered) == 2000
    assert all(name.startswith("op") for name in service.delivered)
    # Refused for ever, and polled for ever, though not in a spin.
    gets = [service.gets[f"bad-{number}"] for number in range(20)]
    assert 400 / 20 <= min(gets) <= max(gets) <= 400 / 5
    assert not any(service.watches[f"bad-{number}"].ended for number in range(20))


def test_any_get_may_be_refused() -> None:
    counts = itertools.count()
    service = Troubled(lambda name, now: refused(name) if next(counts) % 50 == 0 else None)
    service.submit(1000, 5.0)
    service.run_until(60.0)
    assert len(service.delivered) == 1000
    assert max(service.delivered.values()) <= 35.0


def test_a_refused_operation_keeps_its_place() -> None:
    first: list[str] = []

    def trouble(name: str, now: float) -> YagrpcError | None:
        if not first:
            first.append(name)
            return refused(name)
        return None

    service = Troubled(trouble)
    service.submit(2000, 0.0)
    service.run_until(60.0)
    assert service.delivered[first[0]] <= 3.0


def test_operation_not_found_is_reported_and_the_others_are_polled() -> None:
    service = Troubled(lambda name, now: NotFoundError("no", operation_id=name) if name == "op-7" else None)
    service.submit(100, 15.0)
    service.run_until(60.0)
    assert len(service.delivered) == 100
    assert isinstance(service.watches["op-7"].failure, OperationNotFoundError)
    assert 10.0 <= service.delivered["op-7"] <= 25.0
    assert all(service.watches[name].failure is None for name in service.delivered if name != "op-7")


@pytest.mark.parametrize("count", [1, 1000])
def test_ten_minutes_of_no_connection(count: int) -> None:
    service = Troubled(lambda name, now: UnavailableError("down", operation_id=name) if now < 600.0 else None)
    service.submit(count, 20.0)
    service.run_until(600.0)
    assert not service.delivered
    assert 50 <= sum(service.gets.values()) <= 250
    service.run_until(640.0)
    assert len(service.delivered) == count


def test_the_pace_is_back_as_soon_as_one_is_answered() -> None:
    service = Troubled(lambda name, now: UnavailableError("down", operation_id=name) if now < 600.0 else None)
    service.submit(1000, 20.0)
    service.run_until(700.0)
    assert service.rate(606.0, 616.0) >= 40.0


def test_one_that_always_fails_does_not_hold_up_the_others() -> None:
    service = Troubled(lambda name, now: UnavailableError("down", operation_id=name) if name == "op-0" else None)
    service.submit(500, 5.0)
    service.run_until(100.0)
    assert len(service.delivered) == 499
    assert max(service.delivered.values()) <= 20.0
    assert 8 <= service.gets["op-0"] <= 30


def test_gets_that_hang_leave_the_others_their_pace() -> None:
    def hangs(name: str) -> bool:
        return name.startswith("hang")

    service = Troubled(
        lambda name, now: DeadlineExceededError("late", operation_id=name) if hangs(name) else None,
        seconds=lambda name: 10.0 if hangs(name) else 0.02,
    )
    service.submit(50, 0.0, "hang")
    service.submit(1000, 5.0)
    service.run_until(60.0)
    assert len(service.delivered) == 1000
    assert max(service.delivered.values()) <= 30.0
    assert all(service.gets[f"hang-{number}"] <= 6 for number in range(50))


def test_operation_released_while_it_fails_is_not_polled_again() -> None:
    service = Troubled(lambda name, now: UnavailableError("down", operation_id=name))
    service.submit(10, 5.0)
    service.run_until(30.0)
    for watch in service.watches.values():
        service.scheduler.release(watch)
    sent = sum(service.gets.values())
    service.run_until(600.0)
    assert sum(service.gets.values()) - sent == 0
    assert service.scheduler.next_time(service.now) is None


def test_the_pause_doubles_with_each_failure_and_an_answer_ends_that() -> None:
    scheduler = Scheduler(None, Polling(first=1.0, shortest=0.5, longest=30.0), RUNTIME)
    operation = _pb.operation_pb2.Operation(id="op")
    watch = scheduler.watch(operation, START)

    def pause(now: float) -> float:
        """How long the next Get waits after one that fails."""
        scheduler.hurry(watch, now)
        assert scheduler.take(now) is watch
        scheduler.failed(watch, UnavailableError("down"), now)
        following = scheduler.next_time(now)
        assert following is not None
        return following - now

    def answer(now: float) -> None:
        scheduler.hurry(watch, now)
        assert scheduler.take(now) is watch
        scheduler.answered(watch, operation, now)

    assert [pause(START), pause(START + 10.0)] == [0.5, 1.0]
    answer(START + 20.0)
    assert [pause(START + 30.0), pause(START + 40.0)] == [0.5, 1.0]

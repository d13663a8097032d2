"""The queues by age: which operation comes first, and when the first is due."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import pytest

from yagrpc import _pb
from yagrpc._core.polling.hazard import Hazard
from yagrpc._core.polling.queues import Queues, append, remove
from yagrpc._core.polling.watch import Watch
from yagrpc.config import Polling

NOW = 1_000.0


class Counting(Hazard):
    """Counts how often a due time is computed."""

    __slots__ = ("computed",)

    def __init__(self) -> None:
        super().__init__()
        self.computed = 0

    def age_of(self, reach: float) -> float:
        self.computed += 1
        return super().age_of(reach)


@pytest.fixture
def hazard() -> Counting:
    return Counting()


@pytest.fixture
def queues(hazard: Counting) -> Queues:
    """Queues whose intervals are not shortened."""
    return Queues(hazard, Polling(first=1.0, shortest=0.5, longest=30.0), lambda least, most: most)


def seen(name: str, age: float, ago: float) -> Watch:
    """An operation that was last seen running at an age, some seconds ago."""
    watch = Watch(_pb.operation_pb2.Operation(id=name), NOW - ago - age, NOW - ago, attached=False)
    watch.polls, watch.ran_at = 1, age
    return watch


def new(name: str, ago: float) -> Watch:
    """An operation that was submitted some seconds ago, and not polled yet."""
    return Watch(_pb.operation_pb2.Operation(id=name), NOW - ago, NOW - ago, attached=False)


def order(queues: Queues, now: float = NOW) -> list[str]:
    """The operations that are due, as they come."""
    found = []
    while (watch := queues.most_grown(now)) is not None:
        found.append(watch.operation_id)
        remove(watch)
    return found


def test_the_one_whose_reach_has_grown_most_comes_first(queues: Queues) -> None:
    """The hazard that is assumed falls with age: of those that wait as long, that is the youngest."""
    for watch in (seen("old", 100.0, 20.0), seen("young", 2.0, 20.0), seen("middle", 20.0, 20.0)):
        queues.add(watch, NOW)
    assert order(queues) == ["young", "middle", "old"]
    for watch in (seen("young", 2.0, 3.0), seen("old", 100.0, 29.0)):
        queues.add(watch, NOW)
    assert order(queues) == ["old", "young"]


def test_one_that_waits_for_longer_than_any_interval_comes_before_all(queues: Queues) -> None:
    for watch in (seen("young", 2.0, 29.0), seen("overdue", 2000.0, 31.0), seen("long overdue", 300.0, 40.0)):
        queues.add(watch, NOW)
    assert order(queues) == ["long overdue", "overdue", "young"]


def test_the_longest_interval_is_reached_exactly(queues: Queues) -> None:
    queues.add(seen("young", 2.0, 29.0), NOW)
    queues.add(seen("overdue", 2000.0, 30.0), NOW)
    assert order(queues) == ["overdue", "young"]


def test_those_of_an_age_come_in_turn(queues: Queues) -> None:
    for number in range(3):
        queues.add(seen(str(number), 10.0, 20.0 - number / 10), NOW)
    assert order(queues) == ["0", "1", "2"]


def test_what_is_not_due_does_not_come(queues: Queues) -> None:
    queues.add(seen("just seen", 1000.0, 0.1), NOW)
    assert order(queues) == []
    assert not queues.busy(NOW)
    assert NOW < queues.first_due() <= NOW + 30.0
    assert not queues.empty


@pytest.mark.parametrize(("ago", "due"), [(0.0, 1.0), (0.4, 0.6)])
def test_a_new_operation_is_due_after_the_first_interval(queues: Queues, ago: float, due: float) -> None:
    queues.add(new("new", ago), NOW)
    assert queues.first_due() == pytest.approx(NOW + due)


def test_one_that_was_put_aside_for_longer_is_due_at_once(queues: Queues) -> None:
    watch = new("new", 5.0)
    watch.returned = NOW - 2.0
    queues.add(watch, NOW)
    assert queues.first_due() == NOW - 2.0


@pytest.mark.parametrize(("age", "least"), [(0.1, 0.5), (1e9, 30.0)])
def test_an_interval_is_neither_shorter_nor_longer_than_given(queues: Queues, age: float, least: float) -> None:
    queues.add(seen("x", age, 0.0), NOW)
    due = queues.first_due()
    assert due - NOW == pytest.approx(least) if age > 1 else due - NOW >= least


def test_a_due_time_is_computed_once_for_each_reading_of_the_hazard(queues: Queues, hazard: Counting) -> None:
    queues.add(seen("x", 10.0, 0.0), NOW)
    for _ in range(5):
        queues.first_due()
        queues.most_grown(NOW + 1.0)
    assert hazard.computed == 1
    hazard.ended(0.0, 10.0)
    queues.first_due()
    assert hazard.computed == 2


def test_without_any_there_is_nothing(queues: Queues) -> None:
    assert queues.empty
    assert queues.first_due() == math.inf
    assert queues.most_grown(NOW) is None
    watch = seen("x", 10.0, 29.0)
    queues.add(watch, NOW)
    assert queues.busy(NOW) is False  # nobody has ordered them yet
    assert queues.most_grown(NOW) is watch
    assert queues.busy(NOW)
    remove(watch)
    assert queues.most_grown(NOW) is None
    assert queues.empty


def test_a_watch_is_in_one_queue_at_most() -> None:
    queue: Any = OrderedDict()
    watch = seen("x", 1.0, 1.0)
    remove(watch)
    append(watch, queue)
    assert (list(queue), watch.queue is queue) == ([watch], True)
    remove(watch)
    assert (list(queue), watch.queue) == ([], None)

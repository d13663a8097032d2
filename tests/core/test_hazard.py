"""What is learned of when operations end."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yagrpc._core.polling.hazard import EDGES, FLOOR, Hazard


def learned(durations: list[float], running: float = 0.0) -> Hazard:
    """A hazard that saw operations end at some ages, and as many that still ran at an age."""
    hazard = Hazard()
    for each in durations:
        hazard.ended(0.0, each)
        if running:
            hazard.lived(0.0, running)
    return hazard


def hazard_at(hazard: Hazard, age: float) -> float:
    """The hazard at an age, from the growth of its reach."""
    return ((hazard.reach(age * 1.001) - hazard.reach(age)) / (age * 0.001)) ** 2


@given(st.floats(0, 1e6))
def test_a_reach_and_its_age_belong_together(age: float) -> None:
    hazard = Hazard()
    assert hazard.age_of(hazard.reach(age)) == pytest.approx(age, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)), max_size=50))
def test_the_reach_grows_whatever_was_seen(seen: list[tuple[float, float]]) -> None:
    hazard = Hazard()
    for one, other in seen:
        hazard.ended(min(one, other), max(one, other))
    reaches = [hazard.reach(edge) for edge in EDGES]
    assert all(before < after for before, after in itertools.pairwise(reaches))


def test_the_reach_has_no_steps() -> None:
    hazard = learned([10.0] * 100)
    for edge in EDGES[1:]:
        assert hazard.reach(edge * (1 - 1e-12)) == pytest.approx(hazard.reach(edge))


def test_the_hazard_of_an_exponential_load_is_found() -> None:
    rng = random.Random(1)
    hazard = learned([rng.expovariate(1 / 20) for _ in range(3000)])
    found = [hazard_at(hazard, age) for age in (5.0, 10.0, 20.0, 40.0)]
    assert all(each == pytest.approx(1 / 20, rel=0.5) for each in found)


def test_two_modes_stand_out_from_the_dead_zone_between() -> None:
    rng = random.Random(1)
    durations = [(15.0 if rng.random() < 0.8 else 600.0) * rng.lognormvariate(0, 0.1) for _ in range(2000)]
    hazard = learned(durations)
    assert hazard_at(hazard, 15.0) > 20 * hazard_at(hazard, 100.0)
    assert hazard_at(hazard, 600.0) > 3 * hazard_at(hazard, 100.0)


def overlap(since: float, age: float, number: int) -> float:
    """How long an operation was of ages in a bin, between two ages."""
    end: float = EDGES[number + 1] if number + 1 < len(EDGES) else math.inf
    begin: float = EDGES[number]
    return max(0.0, min(age, end) - max(since, begin))


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=2))
@example([0.0, 0.0])
@example([EDGES[3], EDGES[4]])
@example([EDGES[3] + 0.01, EDGES[3] + 0.02])
@example([EDGES[-1], 1e6])
def test_a_life_counts_in_each_bin_for_as_long_as_it_was_there(ages: list[float]) -> None:
    since, age = sorted(ages)
    hazard = Hazard()
    before = list(hazard._lived)
    hazard.lived(since, age)
    grown = [after - each for each, after in zip(before, hazard._lived, strict=True)]
    expected = [overlap(since, age, number) for number in range(len(EDGES))]
    assert grown == pytest.approx(expected, abs=1e-6)


def test_the_first_ends_are_read_at_once_and_later_ones_in_lots_of_16() -> None:
    hazard = Hazard()
    versions = [hazard.version]
    for _ in range(164):
        hazard.ended(0.0, 10.0)
        versions.append(hazard.version)
    read = [number for number, (before, after) in enumerate(itertools.pairwise(versions), 1) if after != before]
    assert read[:8] == [1, 2, 3, 4, 6, 8, 11, 15]
    assert [after - before for before, after in itertools.pairwise(read[-5:])] == [16] * 4


def test_those_that_still_run_count() -> None:
    ended = learned([10.0] * 100)
    most_run = learned([10.0] * 100, running=100.0)
    assert hazard_at(most_run, 9.9) < hazard_at(ended, 9.9)


def test_no_age_is_ever_dead() -> None:
    hazard = learned([15.0] * 5000)
    assert all(slope > 0 for slope in hazard.slopes)
    assert min(hazard.slopes) ** 2 >= FLOOR * 1e-3


def test_what_was_learned_fades() -> None:
    hazard = learned([10.0] * 2000)
    before = hazard_at(hazard, 10.0)
    for _ in range(2000):
        hazard.ended(0.0, 100.0)
    assert hazard_at(hazard, 10.0) < before / 10
    assert hazard_at(hazard, 100.0) > hazard_at(hazard, 10.0)


def test_hazard_continues_without_an_end() -> None:
    hazard = Hazard()
    for _ in range(60_000):
        hazard.ended(0.0, 10.0)
    assert hazard._weight < 1e10
    assert 0 < hazard.reach(1e5) < 1e6

"""Deadlines: made once, never changed, at the clock that is handed in."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yagrpc._core.deadline import Deadline


def test_a_deadline_counts_down_to_nothing(clock: Any) -> None:
    deadline = Deadline(10.0, clock)
    assert deadline.left() == pytest.approx(10.0)
    clock.pass_(4.0)
    assert deadline.left() == pytest.approx(6.0)
    clock.pass_(7.0)
    assert deadline.left() == 0.0
    assert deadline.seconds == 10.0


def test_a_deadline_without_seconds_is_never_over(clock: Any) -> None:
    deadline = Deadline(None, clock)
    clock.pass_(1e9)
    assert deadline.left() is None
    assert deadline.left_at(clock()) == math.inf
    assert deadline.seconds is None


def test_a_deadline_of_no_time_is_over_at_once(clock: Any) -> None:
    assert Deadline(0, clock).left() == 0.0


def test_left_at_goes_below_zero(clock: Any) -> None:
    deadline = Deadline(10.0, clock)
    assert deadline.left_at(clock() + 4.0) == pytest.approx(6.0)
    assert deadline.left_at(clock() + 14.0) == pytest.approx(-4.0)


@given(
    given=st.none() | st.floats(0, 1e4),
    passed=st.floats(0, 1e4),
    tighter=st.none() | st.floats(0, 1e4),
    later=st.floats(0, 1e4),
)
def test_a_tightened_deadline_is_never_later_and_leaves_the_first_alone(
    given: float | None, passed: float, tighter: float | None, later: float
) -> None:
    now = 1_000_003.7
    deadline = Deadline(given, lambda: now)
    now += passed
    before = deadline.left()
    tightened = deadline.tightened(tighter)
    assert deadline.left() == before
    assert deadline.seconds == given
    now += later
    left = [math.inf if each is None else each for each in (deadline.left(), tightened.left())]
    assert left[1] <= left[0] + 1e-6
    if tighter is not None:
        assert left[1] <= max(0.0, tighter - later) + 1e-6
    if tighter is None:
        assert left[1] == pytest.approx(left[0], abs=1e-6)


def test_a_deadline_shows_what_was_given_and_what_is_left(clock: Any) -> None:
    deadline = Deadline(60.0, clock)
    clock.pass_(12.5)
    assert repr(deadline) == "<Deadline: 47.5 of 60 s>"
    assert repr(Deadline(None, clock)) == "<Deadline: none>"

"""Deadlines: created once, never changed, on the clock that is passed in."""

from __future__ import annotations

import math
from typing import Any

import pytest

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

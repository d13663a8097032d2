"""The pace: what a refusal costs, how it comes back, and what is put down to jitter."""

from __future__ import annotations

import itertools
import math

import pytest

from yagrpc._core.polling.pace import CUT, LEAST, RECOVERY, Pace

START = 86_400.0


def used_until(pace: Pace, now: float, end: float, refused: bool = False) -> int:
    """Use every slot until some time; gives how many there were."""
    count = 0
    while (now := pace.next_slot(now)) < end:
        pace.use(now)
        count += 1
        if refused:
            pace.refused(now)
    return count


def test_slots_are_spread_over_the_second() -> None:
    pace = Pace(50)
    used_until(pace, START, START + 5.0)
    moments = []
    now = START + 5.0
    for _ in range(49):
        now = pace.next_slot(now)
        pace.use(now)
        moments.append(now)
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert max(gaps) <= 2 / 49
    assert min(gaps) >= 0.5 / 49


def test_one_who_comes_late_makes_up_for_it() -> None:
    pace = Pace(50)
    used_until(pace, START, START + 5.0)
    assert 85 <= used_until(pace, START + 5.4, START + 6.8) <= 90  # as many as if it had not been late
    assert used_until(pace, START + 6.8, START + 7.0) <= 11


def test_one_who_comes_late_has_no_burst() -> None:
    pace = Pace(50)
    used_until(pace, START, START + 5.0)
    moments, now = [], START + 5.4
    for _ in range(20):
        now = pace.next_slot(now)
        pace.use(now)
        moments.append(now)
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert min(gaps) == pytest.approx(0.5 / 49)  # twice the pace


def test_unused_slots_are_not_used_later() -> None:
    pace = Pace(50)
    used_until(pace, START, START + 5.0)
    pace.idle(START + 8.0)
    assert used_until(pace, START + 8.0, START + 8.5) <= 28


def test_few_refusals_cost_little() -> None:
    pace = Pace(50)
    used_until(pace, START, START + 5.0)
    assert not pace.refused(START + 5.0)
    assert not pace.refused(START + 5.1)
    assert 0.97 * pace.full <= pace.rate(START + 5.2) < pace.full


def test_many_refusals_slow_the_pace_once_a_second() -> None:
    pace = Pace(50)
    used_until(pace, START, START + 2.0)
    cuts = [pace.refused(START + 2.0) for _ in range(10)]
    assert [cut > 0 for cut in cuts] == [False] * 4 + [True] + [False] * 5
    assert pace.rate(START + 2.0) == pytest.approx(CUT * pace.full, rel=0.1)
    assert [pace.refused(START + 3.0) for _ in range(10)].count(0.0) == 9


def test_pace_where_most_is_refused_follows_what_was_served() -> None:
    pace = Pace(50)
    used_until(pace, START, START + 1.0)
    assert [pace.refused(START + 1.0) for _ in range(39)].count(0.0) == 38
    used_until(pace, START + 1.0, START + 2.1)
    assert [pace.refused(START + 2.1) for _ in range(30)].count(0.0) == 29
    assert pace.rate(START + 2.1) < 0.8 * CUT * CUT * pace.full + 6


def test_the_pace_comes_back_slower_where_it_was_refused() -> None:
    pace = Pace(50)
    used_until(pace, START, START + 2.0)
    assert [pace.refused(START + 2.0) for _ in range(5)].count(0.0) == 4
    slow = pace.rate(START + 2.0)
    assert pace.rate(START + 4.0) - slow == pytest.approx(2 * RECOVERY * pace.full)
    near = pace.rate(START + 20.0)
    assert pace.rate(START + 25.0) - near < RECOVERY * pace.full
    assert pace.rate(START + 200.0) == pace.full


def test_a_time_that_is_a_moment_older_costs_nothing() -> None:
    pace = Pace(50)
    used_until(pace, START, START + 2.0)
    for _ in range(5):
        pace.refused(START + 2.0)
    slow = pace.rate(START + 3.0)
    assert pace.rate(START + 2.9) == slow


def test_near_the_pace_that_was_refused_an_eighth_of_it_comes_back_in_proportion() -> None:
    pace = Pace(50)
    used_until(pace, START, START + 2.0)
    for _ in range(5):
        pace.refused(START + 2.0)
    near = pace.rate(START + 20.0)
    assert 0.9 * pace.full < near < pace.full
    assert pace.rate(START + 21.0) - near == pytest.approx(0.12 * 0.05 * near)


def test_a_cut_leaves_three_tenths_where_all_were_refused() -> None:
    pace, now = Pace(50), START
    for _ in range(5):
        now = pace.next_slot(now)
        pace.use(now)
    before = [pace.refused(now) for _ in range(5)]
    assert before == [0.0] * 4 + [pytest.approx(0.96 * pace.full)]  # each of the first four cost a hundredth
    assert pace.rate(now) == pytest.approx(0.3 * 0.96 * pace.full)


def test_what_is_used_and_left_is_known() -> None:
    pace = Pace(50)
    assert pace.used(START) == (50, 0, 50)
    used_until(pace, START, START + 0.5)
    limit, used, left = pace.used(START + 0.5)
    assert (limit, used) == (50, 50 - (left or 0))
    assert used > 20
    assert pace.used(START + 1.6) == (50, 0, 50)
    assert Pace(0.5).used(START) == (0.5, 0, 1)
    assert Pace(None).used(START) == (None, 0, None)


def test_an_hour_of_refusals_leaves_a_trickle_and_comes_back() -> None:
    pace = Pace(50)
    sent = used_until(pace, START, START + 3600.0, refused=True)
    assert 3000 * LEAST * 49 <= sent <= 3 * 3600
    assert used_until(pace, START + 3600.0, START + 3900.0) >= 150 * 49


def test_a_refusal_that_was_one_operations_own_is_forgiven() -> None:
    pace = Pace(50)
    used_until(pace, START, START + 2.0)
    assert [pace.refused(START + 2.0) for _ in range(5)].count(0.0) == 4
    pace.forgive(START + 2.0, pace.full)
    assert pace.rate(START + 2.0) == pace.full


def test_without_a_quota_nothing_is_paced() -> None:
    pace = Pace(None)
    for _ in range(1000):
        assert pace.next_slot(START) == START
        pace.use(START)
    assert not pace.refused(START)
    assert pace.full == math.inf

"""Slots that a limiter grants: what is asked for, and when a call may leave, without a limiter."""

from __future__ import annotations

import math
from typing import Any

import pytest

from yagrpc._core.quota.grants import FRESH, LATE, Change, Granted, Grants, Later
from yagrpc._core.quota.windows import Rule, Slot
from yagrpc.errors import LimiterError

RATE = (Rule("submit_per_second", 10, 1.0),)
RUNNING = (Rule("concurrent_completions", 4, 0.0),)
LOST = LimiterError("the shared limiter x can't be reached: gone")


class Bench:
    """Grants, what they have posted, and their clock."""

    def __init__(self, on_failure: Any = "local") -> None:
        self.now = 100.0
        self.posted: list[Change] = []
        self.grants = Grants(self.posted.append, lambda: self.now, on_failure)
        self.slot = Slot()

    def ask(self, rules: tuple[Rule, ...] = RATE, slot: Slot | None = None) -> float | None:
        """Ask for a slot."""
        return self.grants.ask(slot or self.slot, rules, self.now)

    def answer(self, answer: Granted | Later) -> None:
        """What the limiter answers to the last question."""
        self.grants.answer(self.posted[-1].grant, answer)

    @property
    def kinds(self) -> list[str]:
        """What was posted."""
        return [change.kind for change in self.posted]


def test_a_slot_is_asked_for_once_and_used_when_it_is_granted() -> None:
    bench = Bench()
    assert bench.ask() == math.inf
    assert bench.ask() == math.inf
    assert bench.kinds == ["ask"]
    bench.answer(Granted(0.0))
    assert bench.slot.woken
    assert bench.ask() is None


def test_a_slot_of_the_future_is_asked_for_again_when_its_time_has_come() -> None:
    bench = Bench()
    bench.ask()
    bench.answer(Granted(0.5))
    assert bench.ask() == pytest.approx(0.5)
    bench.now += 0.5
    assert bench.ask() == math.inf
    assert bench.kinds == ["ask", "again"]
    bench.answer(Granted(0.1))
    assert bench.ask() == pytest.approx(0.1)
    bench.now += 0.1
    bench.ask()
    bench.answer(Granted(0.0))
    assert bench.ask() is None


def test_a_slot_that_was_not_used_in_time_is_given_back() -> None:
    bench = Bench()
    bench.ask()
    bench.answer(Granted(0.0))
    bench.now += FRESH + 0.01
    assert bench.ask() == math.inf
    assert bench.kinds == ["ask", "give back", "ask"]


def test_without_a_slot_it_is_asked_for_later() -> None:
    bench = Bench()
    bench.ask()
    bench.answer(Later("submit_per_hour", 5.0, 60.0, "allowed 5000 requests"))
    assert bench.ask() == pytest.approx(5.0)
    bench.now += 2
    name, least = bench.grants.waits_for(bench.slot, bench.now) or ("", 0.0)
    assert name == "submit_per_hour"
    assert least == pytest.approx(58.0)
    assert bench.grants.refusal(bench.slot) == "allowed 5000 requests"
    bench.now += 3
    assert bench.ask() == math.inf
    assert bench.kinds == ["ask", "ask"], "there was nothing to give back"


def test_what_left_late_is_said() -> None:
    bench = Bench()
    bench.ask()
    bench.answer(Granted(0.0))
    bench.grants.sent(bench.slot, bench.now + LATE)
    assert bench.kinds == ["ask"]
    bench.grants.sent(bench.slot, bench.now + 2 * LATE)
    bench.grants.answered(bench.slot)
    assert bench.kinds == ["ask", "sent", "answered"]


def test_a_rate_that_was_used_is_not_given_back_and_a_running_call_is() -> None:
    bench = Bench()
    for rules, kinds in ((RATE, ["ask"]), (RUNNING, ["ask", "ask", "give back"])):
        slot = Slot()
        bench.ask(rules, slot)
        bench.answer(Granted(0.0))
        slot.sent = bench.now
        bench.grants.give_back(slot)
        bench.grants.give_back(slot)
        assert bench.kinds == kinds


def test_a_call_that_was_not_sent_gives_its_slot_back() -> None:
    bench = Bench()
    bench.ask()
    bench.grants.give_back(bench.slot)
    assert bench.kinds == ["ask", "give back"]


def test_while_the_limiter_is_lost_each_process_has_its_part() -> None:
    bench = Bench()
    bench.ask()
    bench.grants.lost(LOST, [bench.posted[-1].grant], 5)
    assert bench.slot.woken
    assert bench.ask() is None
    other, third = Slot(), Slot()
    assert bench.ask(slot=other) is None
    bench.slot.sent = other.sent = bench.slot.answered = bench.now
    assert bench.ask(slot=third) == pytest.approx(0.5), "two of ten, for each of five"
    name, seconds = bench.grants.waits_for(third, bench.now) or ("", 0.0)
    assert name == "submit_per_second"
    assert seconds == pytest.approx(1.02, abs=0.03)
    bench.now += 1.1
    bench.grants.give_back(bench.slot)
    assert bench.ask(slot=third) is None
    assert bench.kinds == ["ask"], "nobody is told"


def test_a_part_of_calls_at_once_is_one_at_least() -> None:
    bench = Bench()
    bench.grants.lost(LOST, [], 10)
    assert bench.ask(RUNNING) is None
    assert bench.ask(RUNNING, Slot()) == pytest.approx(0.5)


def test_once_the_limiter_is_found_it_is_asked() -> None:
    bench = Bench()
    bench.grants.lost(LOST, [], 1)
    assert bench.ask(slot=Slot()) is None
    bench.grants.found()
    assert bench.ask() == math.inf
    assert bench.kinds == ["ask"]


def test_while_the_limiter_is_lost_calls_fail_where_that_is_wanted() -> None:
    bench = Bench("error")
    bench.ask()
    bench.grants.lost(LOST, [bench.posted[-1].grant], 1)
    for slot in (bench.slot, Slot()):
        with pytest.raises(LimiterError, match="gone"):
            bench.ask(slot=slot)
    bench.grants.found()
    assert bench.ask() == math.inf


def test_a_refusal_names_the_quota_or_the_first() -> None:
    bench = Bench()
    bench.ask()
    bench.answer(Granted(0.0))
    bench.grants.refused(bench.slot, None, 2.0, "as the service said")
    bench.grants.refused(bench.slot, "submit_per_hour", 2.0, "as the service said")
    assert [(each.quota, each.seconds) for each in bench.posted[1:]] == [
        ("submit_per_second", 2.0),
        ("submit_per_hour", 2.0),
    ]


def test_a_slot_without_a_grant_says_nothing() -> None:
    bench = Bench()
    bench.grants.sent(bench.slot, 0.0)
    bench.grants.answered(bench.slot)
    bench.grants.refused(bench.slot, None, 1.0, "")
    bench.grants.give_back(bench.slot)
    assert bench.grants.waits_for(bench.slot, 0.0) is None
    assert bench.grants.refusal(bench.slot) == ""
    assert bench.posted == []

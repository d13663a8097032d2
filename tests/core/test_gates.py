"""Gates and their quotas, on a clock that a test moves: who passes, in what order, and when the next one may."""

from __future__ import annotations

import itertools
import math
import threading
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yagrpc import methods
from yagrpc._core.call.policy import policy_of
from yagrpc._core.deadline import Deadline
from yagrpc._core.events import Events
from yagrpc._core.quota.admission import Admission
from yagrpc._core.quota.gates import LONGEST_PAUSE, Gate, Gates
from yagrpc._core.quota.windows import Gauge, Slot, Window
from yagrpc.config import Quota
from yagrpc.errors import ClientClosedError
from yagrpc.quotas import Limit

START = 1_000_003.7
SPACING = 1 / 0.98
DEFAULT = Quota()


def gate(*limits: tuple[float, float]) -> Gate:
    """A gate with rates, each so many in so many seconds."""
    windows = [Window(f"rate_{number}", limit, seconds) for number, (limit, seconds) in enumerate(limits)]
    return Gate(*windows, make_lock=threading.RLock)


def gauge(limit: int) -> Gate:
    """A gate for so many calls at once."""
    return Gate(Gauge("concurrent_completions", limit), make_lock=threading.RLock)


def gates_of(quota: Quota | None) -> Gates:
    """The gates of a client."""
    return Gates(quota, threading.RLock)


def gate_of(method: Any, quota: Quota | None = DEFAULT) -> Gate | None:
    """The gate of a method."""
    return gates_of(quota).of(policy_of(method).quotas)


def passed(gate: Gate, now: float) -> Slot:
    """A call that passes at once and leaves."""
    slot = gate.join()
    assert gate.take(slot, now) is None
    gate.sent(slot, now)
    return slot


def waits(gate: Gate, now: float) -> float:
    """How long a call that came now would wait; its place is given back."""
    slot = gate.join()
    seconds = gate.take(slot, now)
    gate.give_back(slot)
    return 0.0 if seconds is None else seconds


# Rates


def test_so_many_leave_in_a_window_and_no_more() -> None:
    ten = gate((10, 1.0))
    slots = [passed(ten, START) for _ in range(10)]
    for slot in slots:
        ten.answered(slot, START + 0.01)
    assert waits(ten, START + 0.01) == pytest.approx(SPACING - 0.01)
    assert waits(ten, START + SPACING) == 0.0


def test_a_late_answer_holds_its_slot_until_the_service_must_have_forgotten_it() -> None:
    one = gate((1, 1.0))
    slot = passed(one, START)
    assert waits(one, START + 1.5) == pytest.approx(0.5)  # it may have been counted a second after it left
    one.answered(slot, START + 0.7)
    assert waits(one, START + 1.5) == pytest.approx(0.2)
    assert waits(one, START + 1.7) == 0.0


def test_an_answer_that_never_comes_holds_its_slot_for_a_second_longer() -> None:
    one = gate((1, 1.0))
    passed(one, START)
    assert waits(one, START + 2.0) == 0.0


def test_what_has_not_left_yet_holds_its_slot() -> None:
    one = gate((1, 1.0))
    slot = one.join()
    assert one.take(slot, START) is None
    assert waits(one, START + 100.0) == math.inf
    one.give_back(slot)
    assert waits(one, START + 100.0) == 0.0


def test_a_call_takes_a_slot_of_every_quota() -> None:
    both = gate((10, 1.0), (15, 3600.0))
    for second in range(2):
        for _ in range(10 - 5 * second):
            both.answered(passed(both, START + 2 * second), START + 2 * second)
    assert waits(both, START + 4.0) == pytest.approx(3600.0 * SPACING - 4.0)
    name, seconds = both.bound(both.join(), START + 4.0)
    assert (name, round(seconds, 6)) == ("rate_1", round(3600.0 * SPACING - 4.0, 6))


def test_less_than_one_a_second() -> None:
    slow = gate((0.5, 1.0))
    slow.answered(passed(slow, START), START)
    assert waits(slow, START) == pytest.approx(2 * SPACING)


def test_a_late_answer_to_less_than_one_a_second_holds_its_slot_for_the_longer_window() -> None:
    half = gate((0.5, 1.0))
    half.answered(passed(half, START), START + 0.9)
    assert waits(half, START + 0.9) == pytest.approx(2.0)


def test_an_hour_of_documented_submits_fits_into_the_hour() -> None:
    hour = gate_of(methods.TextGenerationAsyncService.Completion)
    assert hour is not None
    now, left = START, deque[float]()
    for _ in range(6000):
        slot = hour.join()
        while (seconds := hour.take(slot, now)) is not None:
            now += seconds
        hour.sent(slot, now)
        hour.answered(slot, now)
        left.append(now)
    for many, window in ((10, 1.0), (5000, 3600.0)):
        pairs = zip(left, itertools.islice(left, many, None), strict=False)
        assert all(later - first >= window for first, later in pairs)
    assert left[4999] - START == pytest.approx(499 * SPACING)
    assert left[5000] - START == pytest.approx(3600.0 * SPACING)


@given(
    limit=st.integers(1, 12),
    calls=st.lists(st.tuples(st.floats(0, 0.3), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60),
)
def test_the_service_never_counts_more(limit: int, calls: list[tuple[float, float, float]]) -> None:
    """Whenever between departure and answer the service counts a call, none of its windows is too full."""
    limited = gate((limit, 1.0))
    now, counted = START, []
    answers: list[tuple[float, Slot]] = []
    for gap, latency, part in calls:
        now += gap
        slot = limited.join()
        while (seconds := limited.take(slot, now)) is not None:
            now += min([seconds, *(max(at - now, 0.0) for at, _ in answers)])
            for at, answered in answers:
                if at <= now:
                    limited.answered(answered, at)
            answers = [answer for answer in answers if answer[0] > now]
        limited.sent(slot, now)
        answers.append((now + latency, slot))
        counted.append(now + latency * part)
    counted.sort()
    for first, later in zip(counted, counted[limit:], strict=False):
        assert later - first >= 1.0 - 1e-6


@given(limit=st.integers(1, 9), ahead=st.integers(0, 40), used=st.integers(0, 9), since=st.floats(0, 3))
def test_no_slot_comes_before_it_is_promised(limit: int, ahead: int, used: int, since: float) -> None:
    limited = gate((limit, 1.0))
    for _ in range(min(used, limit)):
        limited.answered(passed(limited, START), START)
    now = START + since
    queue = [limited.join() for _ in range(ahead + 1)]
    promised = now + limited.bound(queue[-1], now)[1]
    for slot in queue:
        while (seconds := limited.take(slot, now)) is not None:
            now += seconds
        limited.sent(slot, now)
        limited.answered(slot, now)
    assert now == pytest.approx(promised)


# The queue


def test_first_come_first_served() -> None:
    one = gate((1, 1.0))
    one.answered(passed(one, START), START)
    first, second = one.join(), one.join()
    assert one.take(second, START + 10.0) == math.inf  # free as the slot is
    assert one.take(first, START + 10.0) is None
    assert second.woken
    assert one.take(second, START + 10.0) == math.inf  # the first has not left


def test_a_place_that_is_given_back_goes_to_the_next() -> None:
    one = gate((1, 1.0))
    first, second, third = one.join(), one.join(), one.join()
    woken = []
    second.wake = lambda: woken.append("second")
    third.wake = lambda: woken.append("third")
    one.give_back(first)
    assert woken == ["second"]
    assert one.take(second, START) is None
    assert woken == ["second", "third"]
    assert len(one) == 1


def test_a_place_that_is_given_back_in_the_middle_shortens_the_wait_of_those_behind() -> None:
    one = gate((1, 1.0))
    queue = [one.join() for _ in range(4)]
    assert one.bound(queue[3], START)[1] == pytest.approx(3 * SPACING)
    one.give_back(queue[1])
    assert one.bound(queue[3], START)[1] == pytest.approx(2 * SPACING)
    assert one.bound(queue[2], START)[1] == pytest.approx(SPACING)


def test_a_place_that_was_given_back_passes_no_more() -> None:
    one = gate((1, 1.0))
    slot = one.join()
    one.give_back(slot)
    one.give_back(slot)
    with pytest.raises(ClientClosedError):
        one.take(slot, START)
    assert waits(one, START) == 0.0


def test_a_place_that_was_given_back_waits_for_nothing() -> None:
    """As when a stream that waits is closed by another thread, between two checks."""
    one = gate((1, 1.0))
    first, second, third = one.join(), one.join(), one.join()
    assert one.take(second, START) == math.inf
    one.give_back(second)
    assert one.bound(second, START)[0] == "rate_0"
    with pytest.raises(ClientClosedError):
        one.take(second, START)
    assert len(one) == len([first, third])


def test_closing_ends_every_wait() -> None:
    gates = gates_of(Quota())
    gate = gates.of(policy_of(methods.TextGenerationService.Completion).quotas)
    assert gate is not None
    queue = [gate.join() for _ in range(3)]
    gates.close()
    for slot in queue:
        assert slot.woken
        with pytest.raises(ClientClosedError):
            gate.take(slot, START)


def test_a_lock_of_the_parent_stops_nobody_in_a_forked_child() -> None:
    gates = gates_of(Quota())
    gate = gates.of(policy_of(methods.TextGenerationService.Completion).quotas)
    assert gate is not None
    slot = passed(gate, START)
    locked, over = threading.Event(), threading.Event()

    def holds_the_lock() -> None:
        with gate._lock:
            locked.set()
            over.wait(10)

    def given_back() -> None:
        gate.give_back(slot)

    holder = threading.Thread(target=holds_the_lock)
    holder.start()
    locked.wait(10)
    gates.forked()
    giver = threading.Thread(target=given_back, daemon=True)
    giver.start()
    giver.join(5)
    stopped = giver.is_alive()
    over.set()
    holder.join()
    assert not stopped


# Gauges


def test_so_many_run_at_once() -> None:
    two = gauge(2)
    running = [passed(two, START), passed(two, START)]
    waiting = two.join()
    assert two.take(waiting, START) == math.inf
    assert two.bound(waiting, START) == ("concurrent_completions", 0.0)
    two.give_back(running[0])
    assert waiting.woken
    assert two.take(waiting, START) is None
    two.give_back(running[0])  # once is enough
    assert waits(two, START) == math.inf


def test_a_slot_goes_back_with_the_one_who_held_it(a_call: Any, drive: Any) -> None:
    one = gauge(1)
    call = a_call()
    admission = Admission(one, drive.clock, Events())
    drive(admission.enter(call, Deadline(60.0, drive.clock), None), [])
    assert waits(one, START) == math.inf
    del admission
    assert waits(one, START) == 0.0


# Refusals


def test_a_refusal_holds_the_others_back_and_the_next_one_longer() -> None:
    ten = gate((10, 1.0))
    pauses, now = [], START
    for _ in range(9):
        ten.refused(passed(ten, now), now)
        pauses.append(waits(ten, now))
        now += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert LONGEST_PAUSE == 60.0
    ten.answered(passed(ten, now), now)
    ten.refused(passed(ten, now), now)
    assert waits(ten, now) == 1.0


@pytest.mark.parametrize("limit", [Window("submit_per_second", 10, 1.0), Gauge("concurrent_completions", 10)])
def test_refusals_of_those_that_were_under_way_count_once(limit: Window | Gauge) -> None:
    ten = Gate(limit, make_lock=threading.RLock)
    for slot in [passed(ten, START) for _ in range(10)]:
        ten.refused(slot, START + 0.1)
    assert waits(ten, START + 0.1) == pytest.approx(1.0)


def test_a_slot_that_comes_back_ends_the_pause_of_a_gauge_but_not_that_of_a_rate() -> None:
    for limited, left in ((gauge(3), 0.0), (gate((3, 1.0)), 1.0)):
        running = passed(limited, START)
        limited.refused(passed(limited, START), START)
        assert waits(limited, START) == 1.0
        limited.give_back(running)
        assert waits(limited, START) == left


# By method


SUBMITS = ("submit_per_second", "submit_per_hour")
IMAGES = ("images_per_minute", "images_per_day")


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (methods.TextGenerationService.Completion, ("concurrent_completions",)),
        (methods.TextGenerationAsyncService.Completion, SUBMITS),
        (methods.TokenizerService.Tokenize, ("tokenize_per_second",)),
        (methods.TokenizerService.TokenizeCompletion, ("tokenize_per_second",)),
        (methods.EmbeddingsService.TextEmbedding, ("embeddings_per_second",)),
        (methods.TextClassificationService.Classify, ("classification_per_second",)),
        (methods.TextClassificationService.FewShotClassify, ("classification_per_second",)),
        (methods.ImageGenerationAsyncService.Generate, IMAGES),
        (methods.OperationService.Get, ()),
        (methods.OperationService.Cancel, ()),
        (methods.ApiEndpointService.List, ()),
    ],
    ids=lambda value: getattr(value, "path", ""),
)
def test_a_method_has_its_quotas(method: Any, names: tuple[str, ...]) -> None:
    gate = gate_of(method)
    assert tuple(limit.name for limit in gate.limits) == names if gate is not None else not names
    assert gate_of(method, None) is None
    assert gate_of(method, Quota(*[None] * len(Quota._fields))) is None


def test_both_tokenizers_share_one_quota() -> None:
    gates = gates_of(Quota())
    one, other = methods.TokenizerService.Tokenize, methods.TokenizerService.TokenizeCompletion
    assert gates.of(policy_of(one).quotas) is gates.of(policy_of(other).quotas)


def test_one_of_two_quotas_may_be_none() -> None:
    gate = gate_of(methods.TextGenerationAsyncService.Completion, Quota(submit_per_hour=None))
    assert gate is not None
    assert [(limit.name, limit.limit) for limit in gate.limits] == [("submit_per_second", 10.0)]


def test_what_is_used_and_left() -> None:
    gates = gates_of(Quota(images_per_day=None))
    submits = gates.of(policy_of(methods.TextGenerationAsyncService.Completion).quotas)
    completions = gates.of(policy_of(methods.TextGenerationService.Completion).quotas)
    assert submits is not None
    assert completions is not None
    for _ in range(3):
        submits.answered(passed(submits, START), START)
    passed(completions, START)
    queue = [submits.join(), submits.join()]
    gets = Limit(50.0, 7, 42, 0)
    used = gates.used(START + 0.5, gets)
    assert used.get_per_second is gets
    assert used.submit_per_second == Limit(10.0, 3, 7, 2)
    assert used.submit_per_hour == Limit(5000.0, 3, 4997, 2)
    assert used.concurrent_completions == Limit(10, 1, 9, 0)
    assert used.images_per_day == Limit(None, 0, None, 0)
    assert gates.used(START + 2.0, gets).submit_per_second == Limit(10.0, 0, 10, len(queue))


def test_the_fields_are_those_of_the_quota() -> None:
    assert gates_of(None).used(START, Limit(None, 0, None, 0))._fields == Quota._fields

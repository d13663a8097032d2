"""The flow that is put around a call's own: slots, refusals and timeouts, by script."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest

from yagrpc import methods
from yagrpc._core import send as sending
from yagrpc._core.failure import retry
from yagrpc._core.flow import Ready, Send, Sleep, Wait
from yagrpc._core.quota.admission import Admission, limited
from yagrpc._core.quota.gates import Gate
from yagrpc._core.quota.windows import Gauge, Slot, Window
from yagrpc.errors import (
    AmbiguousSubmitError,
    ClientClosedError,
    InvalidArgumentError,
    QuotaWaitError,
    ResourceExhaustedError,
    UnavailableError,
)

ENDPOINT = "llm.example:443"
WAY = sending.Way(ENDPOINT)
SUBMIT = methods.TextGenerationAsyncService.Completion
SPACING = 1 / 0.98
RATE = "ai.some.rate rate quota limit exceed: allowed 10 requests"
GAUGE = "ai.textGenerationCompletionSessionsCount.count gauge quota limit exceed: allowed 10 requests"


def rate(limit: float = 1, seconds: float = 1.0) -> Gate:
    return Gate(Window("submit_per_second", limit, seconds))


def full(gate: Gate, now: float) -> Gate:
    """A gate whose slots have all just been used."""
    for _ in range(gate.limits[0].size):
        slot = gate.join()
        assert gate.take(slot, now) is None
        gate.sent(slot, now)
        gate.answered(slot, now)
    return gate


def submit(call: Any, gate: Gate, drive: Any) -> Any:
    return limited(sending.generate(sending.Attempts(call, WAY, drive.clock)), call, gate, drive.clock)


def read(call: Any, gate: Gate, drive: Any) -> Any:
    return limited(sending.read(sending.Attempts(call, WAY, drive.clock)), call, gate, drive.clock)


@pytest.fixture
def exhausted(rpc_error: Any) -> Any:
    """Makes refusals of a quota."""
    return lambda message=RATE: rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


# Waiting


def test_a_free_slot_costs_no_wait(drive: Any, a_call: Any) -> None:
    assert drive(submit(a_call(SUBMIT), rate(), drive), ["answer"]) == "answer"
    assert drive.asked == [("ready", 60.0), ("send", 60.0)]


def test_a_call_has_its_slot_before_it_connects(drive: Any, a_call: Any) -> None:
    call = a_call(SUBMIT, timeout=10.0)
    assert drive(submit(call, full(rate(), drive.clock.now), drive), ["answer"]) == "answer"
    assert drive.kinds() == ["wait", "ready", "send"]
    assert drive.figures("wait") == [pytest.approx(SPACING)]
    assert drive.figures("send") == [pytest.approx(10.0 - SPACING)]  # the wait counts
    assert call.timeout == 10.0


def test_a_wait_known_to_be_too_long_fails_at_once(drive: Any, a_call: Any) -> None:
    gate = full(rate(1, 3600.0), drive.clock.now)
    with pytest.raises(
        QuotaWaitError, match="no slot under quota.submit_per_second in 60 s, there is one in"
    ) as caught:
        drive(submit(a_call(SUBMIT), gate, drive), [])
    assert drive.asked == []
    assert caught.value.seconds == pytest.approx(3600.0 * SPACING)
    error = caught.value
    assert (error.quota, error.timeout, error.method) == ("submit_per_second", 60.0, SUBMIT.path)
    assert error.client_request_id == "client-id"
    assert len(gate) == 0


def test_those_ahead_are_reckoned_with(drive: Any, a_call: Any) -> None:
    gate = full(rate(), drive.clock.now)
    ahead = [gate.join() for _ in range(20)]
    with pytest.raises(QuotaWaitError) as caught:
        drive(submit(a_call(SUBMIT, timeout=20.0), gate, drive), [])
    assert caught.value.seconds == pytest.approx((len(ahead) + 1) * SPACING)


def test_a_slot_that_nobody_can_foresee_is_waited_for_until_the_timeout(drive: Any, a_call: Any) -> None:
    gate = Gate(Gauge("concurrent_completions", 1))
    held = gate.join()
    gate.take(held, drive.clock.now)
    with pytest.raises(QuotaWaitError, match="there is one when a running call ends; nothing was sent") as caught:
        drive(submit(a_call(SUBMIT, timeout=12.0), gate, drive), [])
    assert sum(drive.figures("wait")) == pytest.approx(12.0)
    assert caught.value.seconds is None


def test_no_time_and_no_slot(drive: Any, a_call: Any) -> None:
    with pytest.raises(QuotaWaitError):
        drive(submit(a_call(SUBMIT, timeout=0), full(rate(), drive.clock.now), drive), [])
    assert drive(submit(a_call(SUBMIT, timeout=0), rate(), drive), ["answer"]) == "answer"


def test_without_a_timeout_it_waits_as_long_as_it_takes(drive: Any, a_call: Any) -> None:
    gate = full(rate(1, 86400.0), drive.clock.now)
    assert drive(submit(a_call(SUBMIT, timeout=None), gate, drive), ["answer"]) == "answer"
    assert sum(drive.figures("wait")) == pytest.approx(86400.0 * SPACING)
    assert drive.figures("send") == [None]


@pytest.mark.parametrize(("hold", "logged"), [(4.0, 0), (6.0, 1)])
def test_a_long_wait_is_logged_once(
    hold: float, logged: int, drive: Any, a_call: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gate = full(rate(1, hold / SPACING), drive.clock.now)
    with caplog.at_level(logging.INFO, "yagrpc.quota"):
        drive(submit(a_call(SUBMIT), gate, drive), ["answer"])
    records = [record for record in caplog.records if record.name == "yagrpc.quota"]
    assert len(records) == logged
    for record in records:
        assert "waits at least 6 s for a slot under quota.submit_per_second" in record.getMessage()
        assert "client-id" in record.getMessage()
        assert record.levelno == logging.INFO


def test_a_wait_that_turns_out_long_is_logged_then(drive: Any, a_call: Any, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate(Gauge("concurrent_completions", 1))
    held = gate.join()
    gate.take(held, drive.clock.now)
    with caplog.at_level(logging.INFO, "yagrpc.quota"), pytest.raises(QuotaWaitError):
        drive(submit(a_call(SUBMIT, timeout=30.0), gate, drive), [])
    assert drive.figures("wait") == [pytest.approx(5.0), pytest.approx(25.0)]
    assert [record.getMessage().count("a running call to end") for record in caplog.records] == [1]


def test_an_interrupted_wait_gives_its_place_away(drive: Any, a_call: Any) -> None:
    gate = full(rate(), drive.clock.now)
    flow = submit(a_call(SUBMIT), gate, drive)
    assert isinstance(next(flow), Wait)
    behind = gate.join()
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert behind.woken
    assert len(gate) == 1


def test_closing_ends_a_wait(drive: Any, a_call: Any) -> None:
    gate = full(rate(), drive.clock.now)
    flow = submit(a_call(SUBMIT), gate, drive)
    next(flow)
    gate.close()
    with pytest.raises(ClientClosedError):
        flow.send(None)


@pytest.mark.parametrize("gate", [rate(), Gate(Gauge("concurrent_completions", 1))])
def test_what_was_closed_while_it_connected_is_not_sent(gate: Gate, drive: Any, a_call: Any) -> None:
    call = a_call(methods.TextGenerationService.Completion)
    flow = submit(call, gate, drive)
    assert isinstance(next(flow), Ready)
    call.end()
    with pytest.raises(ClientClosedError):
        flow.send(True)
    assert gate.limits[0].used(drive.clock.now) == 0


def test_what_was_closed_while_it_paused_holds_nothing(drive: Any, a_call: Any, rpc_error: Any) -> None:
    gate = Gate(Gauge("concurrent_completions", 1))
    call = a_call(methods.TextGenerationService.Completion)
    flow = submit(call, gate, drive)
    assert isinstance(next(flow), Ready)
    assert isinstance(flow.send(True), Send)
    assert isinstance(flow.throw(rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "some other limit")), Sleep)
    call.end()
    assert isinstance(flow.send(None), Ready)
    with pytest.raises(ClientClosedError) as caught:
        flow.send(True)
    assert gate.limits[0].used(drive.clock.now) == 0
    assert caught.traceback  # it holds the flow's frames


# The end of a call


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_a_gauge_has_its_slot_back_after_a_failure(code: str, drive: Any, a_call: Any, rpc_error: Any) -> None:
    gate = Gate(Gauge("concurrent_completions", 1))
    errors = [rpc_error(grpc.StatusCode[code], "message larger than max")] * (5 if code == "RESOURCE_EXHAUSTED" else 1)
    with pytest.raises((InvalidArgumentError, AmbiguousSubmitError, ResourceExhaustedError)):
        drive(submit(a_call(SUBMIT), gate, drive), errors)
    assert gate.limits[0].used(drive.clock.now) == 0


def test_no_connection_gives_the_slot_back(drive: Any, a_call: Any) -> None:
    gate = rate()
    with pytest.raises(UnavailableError):
        drive(submit(a_call(SUBMIT), gate, drive), [], connected=[False], connecting=60.0)
    assert gate.limits[0].used(drive.clock.now) == 0


def test_each_attempt_takes_a_slot(drive: Any, a_call: Any, rpc_error: Any) -> None:
    gate = rate()
    script = [rpc_error(grpc.StatusCode.UNAVAILABLE), "answer"]
    assert drive(read(a_call(), gate, drive), script) == "answer"
    assert drive.kinds() == ["send", "sleep", "wait", "ready", "send"]
    left, took = drive.figures("send")[1], drive.figures("sleep")[0] + drive.figures("wait")[0]
    assert left == pytest.approx(retry.attempt_timeout(2, 60.0 - took))


# Refusals


def test_a_refusal_by_a_rate_waits_for_the_window(drive: Any, a_call: Any, exhausted: Any) -> None:
    script = [exhausted() for _ in range(8)]
    assert drive(submit(a_call(SUBMIT, timeout=None), rate(10), drive), [*script, "answer"]) == "answer"
    assert drive.kinds() == ["ready", *["send", "wait", "ready"] * 8, "send"]
    assert sum(drive.figures("wait")) == pytest.approx(1 + 2 + 4 + 8 + 16 + 32 + 60 + 60)


def test_a_refusal_by_a_gauge_waits_for_a_slot(drive: Any, a_call: Any, exhausted: Any) -> None:
    gate = Gate(Gauge("concurrent_completions", 3))
    other = gate.join()
    gate.take(other, drive.clock.now)

    def ends(effect: Wait) -> None:
        drive.clock.pass_(0.25)
        gate.give_back(other)

    drive.waiting = ends
    start = drive.clock.now
    assert drive(submit(a_call(SUBMIT), gate, drive), [exhausted(GAUGE), "answer"]) == "answer"
    assert drive.clock.now - start == 0.25


def test_refusals_until_the_timeout(drive: Any, a_call: Any, exhausted: Any) -> None:
    script = [exhausted() for _ in range(5)]
    with pytest.raises(QuotaWaitError) as caught:
        drive(submit(a_call(SUBMIT, timeout=20.0), rate(10), drive), script)
    assert caught.value.seconds == 16.0
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_the_attempts_of_an_error_count_the_refusals(drive: Any, a_call: Any, exhausted: Any, rpc_error: Any) -> None:
    script = [exhausted(), exhausted(), rpc_error(grpc.StatusCode.INVALID_ARGUMENT)]
    with pytest.raises(InvalidArgumentError) as caught:
        drive(submit(a_call(SUBMIT), rate(10), drive), script)
    assert caught.value.attempts == 3


def test_a_connection_lost_while_it_waits_is_no_ambiguous_submit(drive: Any, a_call: Any, exhausted: Any) -> None:
    with pytest.raises(UnavailableError, match="nothing was started"):
        drive(
            submit(a_call(SUBMIT, timeout=10.0), rate(10), drive),
            [exhausted()],
            connected=[True, False, False],
            connecting=3.0,
        )


def test_a_read_that_is_refused_does_not_wait_for_its_connection(drive: Any, a_call: Any, exhausted: Any) -> None:
    assert drive(read(a_call(), rate(10), drive), [exhausted(), "answer"]) == "answer"
    assert drive.kinds() == ["send", "wait", "send"]


def test_exhausted_otherwise_is_no_refusal(drive: Any, a_call: Any, exhausted: Any, rpc_error: Any) -> None:
    admission = Admission(rate(), a_call().timeout, drive.clock)
    assert not admission.refused(exhausted("Received message larger than max (5 vs. 4)"))
    assert not admission.refused(rpc_error(grpc.StatusCode.UNAVAILABLE, RATE))
    assert admission.refused(exhausted())


def test_a_roused_slot_is_remembered() -> None:
    slot = Slot()
    slot.rouse()
    assert slot.woken

"""The loop under quotas: slots, refusals and timeouts, by script."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any

import pytest

from yagrpc import methods
from yagrpc._core.failure.pauses import attempt_timeout
from yagrpc._core.failure.status import RpcStatus
from yagrpc._core.flow import Connect, Opened, Send, Sleep, Wait
from yagrpc._core.quota.gates import Gate
from yagrpc._core.quota.windows import Gauge, Slot, Window
from yagrpc._core.send import send_call
from yagrpc.errors import (
    AmbiguousSubmitError,
    ClientClosedError,
    Code,
    DeadlineExceededError,
    InvalidArgumentError,
    MessageTooLargeError,
    QuotaWaitError,
    ResourceExhaustedError,
    UnavailableError,
)

SUBMIT = methods.TextGenerationAsyncService.Completion
COMPLETE = methods.TextGenerationService.Completion
SPACING = 1 / 0.98
RATE = "ai.some.rate rate quota limit exceed: allowed 10 requests"
GAUGE = "ai.textGenerationCompletionSessionsCount.count gauge quota limit exceed: allowed 10 requests"
TOO_LARGE = "CLIENT: Received message larger than max (5 vs. 4)"


def rate(limit: float = 1, seconds: float = 1.0) -> Gate:
    return Gate(Window("submit_per_second", limit, seconds), make_lock=threading.RLock)


def gauge(limit: int = 1) -> Gate:
    return Gate(Gauge("concurrent_completions", limit), make_lock=threading.RLock)


def full(gate: Gate, now: float) -> Gate:
    """A gate whose slots have all just been used."""
    for _ in range(gate.limits[0].size):
        slot = gate.join()
        assert gate.take(slot, now) is None
        gate.sent(slot, now)
        gate.answered(slot, now)
    return gate


def taken(gate: Gate, now: float) -> Slot:
    """A slot that somebody else has."""
    slot = gate.join()
    assert gate.take(slot, now) is None
    return slot


def said(code: Code, message: str = "it failed", **fields: Any) -> RpcStatus:
    """A status that is proved to be the other side's."""
    return RpcStatus(code, message, **{"from_peer": True, **fields})


def exhausted(message: str = RATE, **fields: Any) -> RpcStatus:
    """A refusal by a quota, as the service sends it."""
    return said(Code.RESOURCE_EXHAUSTED, message, **fields)


@pytest.fixture
def accepted(operation: Any) -> Any:
    """The answer to a submit."""
    return operation("d7q")


# Waiting


def test_a_free_slot_costs_no_wait(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    assert run(a_call(SUBMIT), [accepted], gate=rate()) is accepted
    assert drive.asked == [("connect", 60.0), ("send", 60.0)]


def test_a_call_has_its_slot_before_it_connects(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    call = a_call(SUBMIT, timeout=10.0)
    assert run(call, [accepted], gate=full(rate(), drive.clock.now)) is accepted
    assert drive.kinds() == ["wait", "connect", "send"]
    assert drive.figures("wait") == [pytest.approx(SPACING)]
    assert drive.figures("send") == [pytest.approx(10.0 - SPACING)]  # the wait counts
    assert call.timeout == 10.0


def test_a_wait_known_to_be_too_long_fails_at_once(run: Any, drive: Any, a_call: Any) -> None:
    gate = full(rate(1, 3600.0), drive.clock.now)
    with pytest.raises(
        QuotaWaitError, match="no slot under quota.submit_per_second in 60 s, there is one in"
    ) as caught:
        run(a_call(SUBMIT), [], gate=gate)
    assert drive.asked == []
    assert caught.value.seconds == pytest.approx(3600.0 * SPACING)
    error = caught.value
    assert (error.quota, error.timeout, error.method) == ("submit_per_second", 60.0, SUBMIT.path)
    assert (error.client_request_id, error.attempts) == ("client-id", 0)
    assert len(gate) == 0


def test_calls_ahead_in_the_queue_count(run: Any, drive: Any, a_call: Any) -> None:
    gate = full(rate(), drive.clock.now)
    ahead = [gate.join() for _ in range(20)]
    with pytest.raises(QuotaWaitError) as caught:
        run(a_call(SUBMIT, timeout=20.0), [], gate=gate)
    assert caught.value.seconds == pytest.approx((len(ahead) + 1) * SPACING)


def test_a_slot_that_nobody_can_foresee_is_waited_for_until_the_timeout(run: Any, drive: Any, a_call: Any) -> None:
    gate = gauge()
    held = taken(gate, drive.clock.now)
    with pytest.raises(QuotaWaitError, match="there is one when a running call ends; nothing was sent") as caught:
        run(a_call(SUBMIT, timeout=12.0), [], gate=gate)
    assert sum(drive.figures("wait")) == pytest.approx(12.0)
    assert caught.value.seconds is None
    gate.give_back(held)


def test_no_time_and_no_slot(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    with pytest.raises(QuotaWaitError):
        run(a_call(SUBMIT, timeout=0), [], gate=full(rate(), drive.clock.now))
    with pytest.raises(DeadlineExceededError, match="the timeout of 0 s is over, nothing was sent"):
        run(a_call(SUBMIT, timeout=0), [], gate=rate())


def test_without_a_timeout_it_waits_as_long_as_it_takes(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    gate = full(rate(1, 86400.0), drive.clock.now)
    assert run(a_call(SUBMIT, timeout=None), [accepted], gate=gate) is accepted
    assert sum(drive.figures("wait")) == pytest.approx(86400.0 * SPACING)
    assert drive.figures("send") == [None]


@pytest.mark.parametrize(("hold", "logged"), [(4.0, 0), (6.0, 1)])
def test_a_long_wait_is_logged_once(
    hold: float, logged: int, run: Any, drive: Any, a_call: Any, accepted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gate = full(rate(1, hold / SPACING), drive.clock.now)
    with caplog.at_level(logging.INFO, "yagrpc.quota"):
        run(a_call(SUBMIT), [accepted], gate=gate)
    records = [record for record in caplog.records if record.name == "yagrpc.quota"]
    assert len(records) == logged
    for record in records:
        assert "waits at least 6 s for a slot under quota.submit_per_second" in record.getMessage()
        assert "client-id" in record.getMessage()
        assert record.levelno == logging.INFO


def test_a_wait_that_turns_out_long_is_logged_then(
    run: Any, drive: Any, a_call: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gate = gauge()
    held = taken(gate, drive.clock.now)
    with caplog.at_level(logging.INFO, "yagrpc.quota"), pytest.raises(QuotaWaitError):
        run(a_call(SUBMIT, timeout=30.0), [], gate=gate)
    assert drive.figures("wait") == [pytest.approx(5.0), pytest.approx(25.0)]
    assert [record.getMessage().count("a running call to end") for record in caplog.records] == [1]
    gate.give_back(held)


def test_an_interrupted_wait_gives_its_place_away(drive: Any, ports: Any, a_call: Any) -> None:
    gate = full(rate(), drive.clock.now)
    flow: Any = send_call(a_call(SUBMIT), ports(gate=gate))
    assert isinstance(next(flow), Wait)
    behind = gate.join()
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert behind.woken
    assert len(gate) == 1


def test_closing_ends_a_wait(drive: Any, ports: Any, a_call: Any) -> None:
    gate = full(rate(), drive.clock.now)
    flow: Any = send_call(a_call(SUBMIT), ports(gate=gate))
    next(flow)
    gate.close()
    with pytest.raises(ClientClosedError):
        flow.send(None)


@pytest.mark.parametrize("make_gate", [rate, gauge])
def test_what_was_cancelled_while_it_connected_is_not_sent(make_gate: Any, drive: Any, ports: Any, a_call: Any) -> None:
    gate = make_gate()
    call = a_call(COMPLETE)
    flow: Any = send_call(call, ports(gate=gate))
    assert isinstance(next(flow), Connect)
    call.cancel()
    with pytest.raises(ClientClosedError):
        flow.send(True)
    assert gate.limits[0].used(drive.clock.now) == 0


def test_what_was_cancelled_while_it_paused_holds_nothing(drive: Any, ports: Any, a_call: Any) -> None:
    """Nor does it queue for a slot again."""
    gate = gauge()
    call = a_call(COMPLETE)
    flow: Any = send_call(call, ports(gate=gate))
    assert isinstance(next(flow), Connect)
    assert isinstance(flow.send(True), Send)
    assert isinstance(flow.send(exhausted("some other limit")), Sleep)
    call.cancel()
    with pytest.raises(ClientClosedError) as caught:
        flow.send(None)
    assert gate.limits[0].used(drive.clock.now) == 0
    assert caught.traceback  # it holds the flow's frames


def test_what_was_cancelled_while_it_connected_again_holds_nothing(drive: Any, ports: Any, a_call: Any) -> None:
    gate = gauge()
    call = a_call(COMPLETE)
    flow: Any = send_call(call, ports(gate=gate))
    assert isinstance(next(flow), Connect)
    assert isinstance(flow.send(True), Send)
    assert isinstance(flow.send(exhausted("some other limit")), Sleep)
    assert isinstance(flow.send(None), Connect)
    call.cancel()
    with pytest.raises(ClientClosedError) as caught:
        flow.send(True)
    assert gate.limits[0].used(drive.clock.now) == 0
    assert caught.traceback


def test_what_was_cancelled_in_the_queue_is_gone(drive: Any, ports: Any, a_call: Any) -> None:
    gate = full(rate(), drive.clock.now)
    call = a_call(SUBMIT)
    flow: Any = send_call(call, ports(gate=gate))
    effect = next(flow)
    assert isinstance(effect, Wait)
    call.cancel()
    assert effect.waiter.woken
    with pytest.raises(ClientClosedError):
        flow.send(None)
    assert len(gate) == 0


# The end of a call


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_a_gauge_has_its_slot_back_after_a_failure(code: str, run: Any, drive: Any, a_call: Any) -> None:
    gate = gauge()
    statuses = [said(Code[code], "message larger than max")] * (5 if code == "RESOURCE_EXHAUSTED" else 1)
    with pytest.raises((InvalidArgumentError, AmbiguousSubmitError, ResourceExhaustedError)):
        run(a_call(SUBMIT), statuses, gate=gate)
    assert gate.limits[0].used(drive.clock.now) == 0


def test_a_gauge_has_its_slot_back_after_an_answer(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    gate = gauge()
    run(a_call(SUBMIT), [accepted], gate=gate)
    assert gate.limits[0].used(drive.clock.now) == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no"), ClientClosedError()])
def test_a_gauge_has_its_slot_back_after_an_exception(error: Any, run: Any, drive: Any, a_call: Any) -> None:
    gate = gauge()
    with pytest.raises((KeyboardInterrupt, OSError, ClientClosedError)) as caught:
        run(a_call(COMPLETE), [error], gate=gate)
    assert caught.traceback  # it holds the flow's frames
    assert gate.limits[0].used(drive.clock.now) == 0


def test_a_stream_keeps_its_slot_until_it_is_released(run: Any, drive: Any, a_call: Any, completion: Any) -> None:
    gate = gauge()
    call = a_call(COMPLETE)
    run(call, [Opened(None, completion())], gate=gate)
    assert gate.limits[0].used(drive.clock.now) == 1
    call.release()
    call.release()
    assert gate.limits[0].used(drive.clock.now) == 0


def test_a_stream_that_is_collected_gives_its_slot_back(run: Any, drive: Any, a_call: Any, completion: Any) -> None:
    gate = gauge()
    call = a_call(COMPLETE)
    run(call, [Opened(None, completion())], gate=gate)
    del call
    drive.sent.clear()  # the effect has the call
    assert gate.limits[0].used(drive.clock.now) == 0


def test_no_connection_gives_the_slot_back(run: Any, drive: Any, a_call: Any) -> None:
    gate = rate()
    with pytest.raises(UnavailableError):
        run(a_call(SUBMIT), [], gate=gate, connected=[False], connecting=60.0)
    assert gate.limits[0].used(drive.clock.now) == 0


def test_each_attempt_takes_a_slot(run: Any, drive: Any, a_call: Any) -> None:
    call = a_call()
    assert run(call, [RpcStatus(Code.UNAVAILABLE), "answer"], gate=rate()) == "answer"
    assert drive.kinds() == ["send", "sleep", "wait", "connect", "send"]
    left, took = drive.figures("send")[1], drive.figures("sleep")[0] + drive.figures("wait")[0]
    assert left == pytest.approx(attempt_timeout(call.policy, 2, 60.0 - took))


# Refusals


def test_a_refusal_by_a_rate_waits_for_the_window(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    script = [exhausted()] * 8
    assert run(a_call(SUBMIT, timeout=None), [*script, accepted], gate=rate(10)) is accepted
    assert drive.kinds() == [*["connect", "send", "wait"] * 8, "connect", "send"]
    assert sum(drive.figures("wait")) == pytest.approx(1 + 2 + 4 + 8 + 16 + 32 + 60 + 60)


def test_a_refusal_by_a_gauge_waits_for_a_slot(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    gate = gauge(3)
    other = taken(gate, drive.clock.now)

    def ends(effect: Wait) -> None:
        drive.clock.pass_(0.25)
        gate.give_back(other)

    drive.waiting = ends
    start = drive.clock.now
    assert run(a_call(SUBMIT), [exhausted(GAUGE), accepted], gate=gate) is accepted
    assert drive.clock.now - start == 0.25


def test_refusals_until_the_timeout(run: Any, a_call: Any) -> None:
    refusal = RuntimeError("what gRPC raised")
    with pytest.raises(QuotaWaitError) as caught:
        run(a_call(SUBMIT, timeout=20.0), [exhausted(error=refusal)] * 5, gate=rate(10))
    assert caught.value.seconds == 16.0
    assert caught.value.attempts == 5
    assert str(caught.value).count("every attempt before failed") == 1
    assert isinstance(caught.value.__cause__, ResourceExhaustedError)
    assert caught.value.__cause__.__cause__ is refusal


def test_a_default_timeout_starts_with_the_slot(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    """The last of 700 submits that were started at once has waited for longer than a call may take."""
    gate, start = rate(10), drive.clock.now
    others = deque(gate.join() for _ in range(699))

    def others_leave(effect: Wait) -> None:
        drive.clock.pass_(min(effect.seconds or 1.0, 1.0))
        while others and gate.take(others[0], drive.clock.now) is None:
            slot = others.popleft()
            gate.sent(slot, drive.clock.now)
            gate.answered(slot, drive.clock.now)

    drive.waiting = others_leave
    call = a_call(SUBMIT)
    call.queues = True  # as of every call without a timeout of its caller's
    assert run(call, [accepted], gate=gate) is accepted
    assert drive.clock.now - start > 69
    assert drive.figures("send") == [60.0]


def test_a_call_that_was_refused_is_before_those_that_never_were_sent(run: Any, drive: Any, a_call: Any) -> None:
    gate = rate(10)
    waiting: list[Slot] = []

    def refused(effect: Send) -> RpcStatus:
        waiting.extend(gate.join() for _ in range(700))
        return exhausted()

    call = a_call(SUBMIT)
    call.queues = True
    with pytest.raises(InvalidArgumentError):  # and not a wait of 70 s, for which 60 are no time
        run(call, [refused, said(Code.INVALID_ARGUMENT)], gate=gate)
    assert drive.figures("wait") == [pytest.approx(1.0)]
    first, second = gate.join(Slot(again=True)), gate.join(Slot(again=True))
    gate.close()
    assert list(gate._queue)[:2] == [first, second]


HOURLY = "ai.textGenerationAsyncCompletionRequestsPerHour.rate rate quota limit exceed: allowed 5000 requests"


def hourly() -> Gate:
    """The gate of submits, with a slot free under both of its quotas."""
    limits = Window("submit_per_second", 10, 1.0), Window("submit_per_hour", 5000, 3600.0)
    return Gate(*limits, make_lock=threading.RLock)


def test_a_refusal_for_the_hour_is_said_to_be_one(run: Any, a_call: Any) -> None:
    """As after a restart: the client has counted nothing, and the service has."""
    gate = hourly()
    with pytest.raises(QuotaWaitError) as caught:
        run(a_call(SUBMIT, timeout=5.0), [exhausted(HOURLY)] * 3, gate=gate)
    assert (caught.value.quota, caught.value.refusal, caught.value.attempts) == ("submit_per_hour", HOURLY, 3)
    assert f"every attempt before failed: it was sent, and refused: {HOURLY}" in str(caught.value)
    with pytest.raises(QuotaWaitError) as caught:  # another one, meanwhile
        run(a_call(SUBMIT, timeout=1.5), [], gate=gate)
    assert (caught.value.quota, caught.value.refusal, caught.value.attempts) == ("submit_per_hour", HOURLY, 0)
    assert f"nothing was sent: the service refused calls before it: {HOURLY}" in str(caught.value)


def test_a_refusal_that_is_over_is_not_said_to_be_the_reason(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    gate = hourly()
    run(a_call(SUBMIT), [exhausted(HOURLY), accepted], gate=gate)
    for _ in range(9):
        run(a_call(SUBMIT), [accepted], gate=gate)
    with pytest.raises(QuotaWaitError) as caught:
        run(a_call(SUBMIT, timeout=0.1), [], gate=gate)
    assert (caught.value.quota, caught.value.refusal) == ("submit_per_second", "")


def test_a_late_wait_for_a_slot_has_the_failure_before_as_its_cause(run: Any, drive: Any, a_call: Any) -> None:
    """Whatever that was, its attempt is counted."""
    with pytest.raises(QuotaWaitError, match="every attempt before failed") as caught:
        run(a_call(timeout=30.0), [RpcStatus(Code.UNAVAILABLE, "gone")], gate=rate(1, 3600.0))
    assert caught.value.attempts == 1
    assert isinstance(caught.value.__cause__, UnavailableError)
    assert drive.kinds() == ["send", "sleep"]


def test_a_late_wait_for_a_slot_leaves_a_generation_ambiguous(run: Any, a_call: Any) -> None:
    with pytest.raises(AmbiguousSubmitError, match="gone") as caught:
        run(a_call(SUBMIT, resubmit=True), [RpcStatus(Code.UNAVAILABLE, "gone")], gate=rate(1, 3600.0))
    assert caught.value.attempts == 1
    late = caught.value.__cause__
    assert isinstance(late, QuotaWaitError)
    assert late.attempts == 1


def test_the_attempts_of_an_error_count_the_refusals(run: Any, a_call: Any) -> None:
    script = [exhausted(), exhausted(), said(Code.INVALID_ARGUMENT)]
    with pytest.raises(InvalidArgumentError) as caught:
        run(a_call(SUBMIT), script, gate=rate(10))
    assert caught.value.attempts == 3


def test_refusals_that_wait_for_a_slot_use_up_no_repetition(run: Any, drive: Any, a_call: Any) -> None:
    script = [exhausted()] * 3 + [exhausted("some other limit")] * 5
    with pytest.raises(ResourceExhaustedError) as caught:
        run(a_call(SUBMIT, timeout=None), script, gate=rate(10))
    assert caught.value.attempts == 8
    assert drive.figures("sleep") == [pytest.approx(pause) for pause in (0.2, 0.4, 0.8, 1.6)]


def test_a_refusal_that_says_when_is_paused_for(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    hinted = exhausted(trailing=[("grpc-retry-pushback-ms", "7000")])
    assert run(a_call(SUBMIT), [hinted, accepted], gate=rate(10)) is accepted
    assert drive.figures("sleep") == [7.0]


def test_a_refusal_holds_the_other_calls_back(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    """Also one that is the call's end."""
    gate = rate(10)
    never = exhausted(trailing=[("grpc-retry-pushback-ms", "-1")])
    with pytest.raises(ResourceExhaustedError):
        run(a_call(SUBMIT), [never], gate=gate)
    drive.asked.clear()
    run(a_call(SUBMIT), [accepted], gate=gate)
    assert drive.asked[0] == ("wait", pytest.approx(1.0))


def test_a_refusal_that_is_not_proved_is_no_reason_to_send_again(run: Any, drive: Any, a_call: Any) -> None:
    """Its text is no proof; what a read is concerned, none is needed."""
    with pytest.raises(AmbiguousSubmitError) as caught:
        run(a_call(SUBMIT), [exhausted(from_peer=False)], gate=rate(10))
    assert caught.value.attempts == 1
    assert run(a_call(), [exhausted(from_peer=False), "answer"], gate=rate(10)) == "answer"
    assert drive.kinds()[-3:] == ["send", "wait", "send"]


def test_a_connection_lost_while_it_waits_is_no_ambiguous_submit(run: Any, a_call: Any) -> None:
    with pytest.raises(UnavailableError, match="nothing was started") as caught:
        run(
            a_call(SUBMIT, timeout=10.0),
            [exhausted()],
            gate=rate(10),
            connected=[True, False],
            connecting=3.0,
        )
    assert caught.value.attempts == 1, "the second was not sent"


def test_a_read_that_is_refused_does_not_wait_for_its_connection(run: Any, drive: Any, a_call: Any) -> None:
    assert run(a_call(), [exhausted(), "answer"], gate=rate(10)) == "answer"
    assert drive.kinds() == ["send", "wait", "send"]


def test_what_is_no_refusal_by_a_quota_does_not_wait_in_its_queue(run: Any, drive: Any, a_call: Any) -> None:
    with pytest.raises(MessageTooLargeError):
        run(a_call(), [exhausted(TOO_LARGE)], gate=rate(10))
    run(a_call(), [said(Code.UNAVAILABLE, RATE), "answer"], gate=rate(10))
    assert "wait" not in drive.kinds()
    run(a_call(), [exhausted(), "answer"], gate=rate(10))
    assert "wait" in drive.kinds()


def test_a_refusal_of_a_quota_that_the_client_does_not_keep_is_paused_for(run: Any, drive: Any, a_call: Any) -> None:
    run(a_call(), [exhausted(), "answer"])
    assert drive.kinds() == ["send", "sleep", "send"]


def test_a_woken_slot_is_remembered() -> None:
    slot = Slot()
    slot.notify()
    assert slot.woken

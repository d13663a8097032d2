"""What the loop reports: before a generation leaves, of each attempt, of each operation, also of one left behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from yagrpc import _pb, methods
from yagrpc._core.events import Events, Outcome
from yagrpc._core.failure.retry import Action, Verdict
from yagrpc._core.failure.sizes import Unreadable
from yagrpc._core.failure.status import RpcStatus
from yagrpc._core.flow import END, Connect, Opened, Send, Sleep
from yagrpc._core.quota.gates import Gate
from yagrpc._core.quota.windows import Gauge
from yagrpc._core.reporting.logs import LogEvents
from yagrpc._core.send import send_call
from yagrpc.errors import (
    AmbiguousSubmitError,
    CallError,
    ClientClosedError,
    Code,
    DeadlineExceededError,
    InvalidArgumentError,
    PermissionDeniedError,
    ResultError,
    YagrpcError,
)

SUBMIT = methods.TextGenerationAsyncService.Completion
COMPLETE = methods.TextGenerationService.Completion
TOKENIZE = methods.TokenizerService.Tokenize
OTHER = methods.IamTokenService.Revoke
EXHAUSTED = RpcStatus(Code.RESOURCE_EXHAUSTED, "a.b rate quota limit exceed", from_peer=True)
DENIED = RpcStatus(Code.PERMISSION_DENIED, "no", from_peer=True)
GONE = RpcStatus(Code.UNAVAILABLE, "gone")


class Heard(Events):
    """Keeps what it hears, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def submitting(self, call: Any) -> None:
        self.heard.append(("submitting", call))

    def accepted(self, call: Any, operation: Any) -> None:
        self.heard.append(("accepted", call, operation))

    def not_started(self, call: Any) -> None:
        self.heard.append(("not_started", call))

    def sending(self, call: Any, number: int, endpoint: str, timeout: float | None) -> None:
        self.heard.append(("sending", number, endpoint, timeout))

    def attempt(self, call: Any, outcome: Outcome, verdict: Verdict | None) -> None:
        self.heard.append(("attempt", outcome, verdict))

    def names(self) -> list[str]:
        """The names of what was heard."""
        return [name for name, *_ in self.heard]

    def outcomes(self) -> list[Outcome]:
        """The outcomes of attempts."""
        return [entry[1] for entry in self.heard if entry[0] == "attempt"]

    def verdicts(self) -> list[Verdict | None]:
        """What followed each attempt."""
        return [entry[2] for entry in self.heard if entry[0] == "attempt"]


@pytest.fixture
def heard() -> Heard:
    """A listener."""
    return Heard()


# Before a generation leaves


def test_submitting_is_called_once_before_the_first_send(heard: Heard, run: Any, a_call: Any, operation: Any) -> None:
    run(a_call(SUBMIT), [EXHAUSTED, EXHAUSTED, operation("d7q")], events=heard)
    assert heard.names() == ["submitting", *["sending", "attempt"] * 2, "sending", "accepted", "attempt"]


def test_submitting_is_called_for_generations_only(heard: Heard, run: Any, a_call: Any, operation: Any) -> None:
    for method in (TOKENIZE, OTHER, COMPLETE, SUBMIT):
        run(a_call(method), [operation("d7q")], events=heard)
    called = [entry[1].method for entry in heard.heard if entry[0] == "submitting"]
    assert called == [COMPLETE, SUBMIT]


def test_submitting_waits_for_the_connection(heard: Heard, run: Any, a_call: Any) -> None:
    """What was never sent has no intent to be recorded."""
    with pytest.raises(CallError):
        run(a_call(SUBMIT), [], connected=[False], events=heard)
    assert heard.heard == []


@pytest.mark.parametrize("error", [RuntimeError("the disk is full"), ResultError("ours")])
def test_an_exception_in_submitting_stops_the_call_with_nothing_sent(
    error: Exception, heard: Heard, run: Any, drive: Any, a_call: Any
) -> None:
    class Refuses(Events):
        def submitting(self, call: Any) -> None:
            raise error

    gate = Gate(Gauge("concurrent_completions", 1), make_lock=threading.RLock)
    call = a_call(SUBMIT, resubmit=True)
    with pytest.raises(type(error)) as caught:
        run(call, [], gate=gate, events=[Refuses(), heard])
    assert caught.value is error
    assert drive.kinds() == ["connect"]
    assert heard.heard == []
    assert call.attempts == 0
    assert gate.limits[0].used(drive.clock()) == 0


@pytest.mark.parametrize("error", [RuntimeError("the disk is full"), KeyboardInterrupt()])
def test_who_has_recorded_an_intent_learns_that_another_stopped_the_call(
    error: BaseException, heard: Heard, run: Any, drive: Any, a_call: Any
) -> None:
    class Refuses(Events):
        def submitting(self, call: Any) -> None:
            raise error

        def not_started(self, call: Any) -> None:
            raise AssertionError("it has recorded nothing")

    later = Heard()
    call = a_call(SUBMIT)
    with pytest.raises(type(error)):
        run(call, [], events=[heard, Refuses(), later])
    assert drive.kinds() == ["connect"]
    assert heard.heard == [("submitting", call), ("not_started", call)]
    assert later.heard == []


@pytest.mark.parametrize("method", [SUBMIT, COMPLETE])
def test_nothing_is_sent_where_submitting_took_the_rest_of_the_time(
    method: Any, heard: Heard, run: Any, drive: Any, a_call: Any
) -> None:
    class Slow(Events):
        def submitting(self, call: Any) -> None:
            drive.clock.now += 6.0

    gate = Gate(Gauge("concurrent_completions", 1), make_lock=threading.RLock)
    with pytest.raises(DeadlineExceededError, match="the timeout of 5 s is over, nothing was sent") as caught:
        run(a_call(method, timeout=5.0), [], gate=gate, events=[Slow(), heard])
    assert caught.value.attempts == 0
    assert drive.kinds() == ["connect"]
    assert heard.names() == ["submitting", "not_started"]
    assert gate.limits[0].used(drive.clock()) == 0


def test_nothing_is_sent_where_submitting_closed_the_client(run: Any, drive: Any, a_call: Any) -> None:
    class Closes(Events):
        def submitting(self, call: Any) -> None:
            call.cancel()

    with pytest.raises(ClientClosedError):
        run(a_call(SUBMIT), [], events=[Closes()])
    assert drive.kinds() == ["connect"]


UNREADABLE = Unreadable(9, None, "odd")


@pytest.mark.parametrize("method", [SUBMIT, COMPLETE])
@pytest.mark.parametrize(
    ("outcomes", "proved"),
    [
        ([DENIED], True),
        ([EXHAUSTED, DENIED], True),
        ([GONE], False),
        ([GONE, DENIED], False),  # sent again, since its caller allows that
        ([UNREADABLE], False),
    ],
    ids=["refused", "refused again", "lost", "lost, then refused", "unreadable"],
)
def test_a_generation_that_is_proved_not_to_have_started_is_taken_back(
    method: Any, outcomes: list[Any], proved: bool, heard: Heard, run: Any, a_call: Any
) -> None:
    call = a_call(method, resubmit=len(outcomes) > 1)
    with pytest.raises(YagrpcError):
        run(call, outcomes, events=heard)
    taken_back = [entry for entry in heard.heard if entry[0] == "not_started"]
    assert taken_back == [("not_started", call)] * proved
    assert heard.names()[-1] == ("not_started" if proved else "attempt")


def test_an_operation_without_an_id_may_have_started(heard: Heard, run: Any, a_call: Any) -> None:
    with pytest.raises(ResultError):
        run(a_call(SUBMIT), [_pb.operation_pb2.Operation()], events=heard)
    assert "not_started" not in heard.names()


def test_a_read_is_never_taken_back(heard: Heard, run: Any, a_call: Any) -> None:
    for method in (TOKENIZE, OTHER):
        with pytest.raises(PermissionDeniedError):
            run(a_call(method), [DENIED], events=heard)
    assert "not_started" not in heard.names()


def test_a_generation_that_is_interrupted_between_two_attempts_is_taken_back(
    heard: Heard, ports: Any, a_call: Any
) -> None:
    flow: Any = send_call(a_call(SUBMIT), ports(events=heard))
    assert isinstance(next(flow), Connect)
    assert isinstance(flow.send(True), Send)
    assert isinstance(flow.send(EXHAUSTED), Sleep)
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert heard.names() == ["submitting", "attempt", "not_started"]


# Attempts


def test_every_attempt_is_reported(heard: Heard, run: Any, a_call: Any) -> None:
    answer = _pb.text_generation_service_pb2.TokenizeResponse()
    run(a_call(TOKENIZE), [GONE, answer], each=2.0, events=heard)
    first, second = heard.outcomes()
    assert (first.number, first.endpoint) == (1, "llm.example:443")
    assert isinstance(first.error, CallError)
    assert (first.answer, first.late) == (None, False)
    assert (second.number, second.answer, second.error) == (2, answer, None)
    assert [first.seconds, second.seconds] == [pytest.approx(2.0)] * 2
    assert heard.verdicts() == [Verdict(Action.RETRY, 0.2), None]
    assert [entry[1:] for entry in heard.heard if entry[0] == "sending"] == [
        (1, "llm.example:443", 15.0),
        (2, "llm.example:443", pytest.approx((60.0 - 2.2) / 2)),
    ]


def test_a_failure_is_reported_to_one_who_does_not_ask_for_attempts(
    run: Any, a_call: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A repetition is in the log at INFO, with the time that the attempt took in the line at DEBUG."""
    with caplog.at_level(logging.INFO, "yagrpc.calls"):
        run(a_call(TOKENIZE), [GONE, "answer"], each=2.0)
    assert [record.getMessage().count("UNAVAILABLE; sent again in 0.200 s") for record in caplog.records] == [1]
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "yagrpc.calls"):
        run(a_call(TOKENIZE), [GONE, "answer"], each=2.0)
    assert any("failed in 2.000 s: UNAVAILABLE: gone" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(("status", "action"), [(DENIED, Action.FAIL), (GONE, Action.AMBIGUOUS)])
def test_the_last_failure_is_reported_with_its_verdict(
    status: RpcStatus, action: Action, heard: Heard, run: Any, a_call: Any
) -> None:
    with pytest.raises((CallError, AmbiguousSubmitError)):
        run(a_call(SUBMIT), [status], events=heard)
    assert heard.verdicts() == [Verdict(action)]


def test_a_stream_is_reported_with_its_first_message(heard: Heard, run: Any, a_call: Any, completion: Any) -> None:
    message = completion("text")
    run(a_call(COMPLETE), [Opened(None, message)], events=heard)
    run(a_call(COMPLETE), [Opened(None, END)], events=heard)
    assert [outcome.answer for outcome in heard.outcomes()] == [message, None]


def test_an_exception_in_another_event_is_logged_and_has_no_effect(
    heard: Heard, run: Any, a_call: Any, operation: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Events):
        def accepted(self, call: Any, operation: Any) -> None:
            raise RuntimeError("no")

        def sending(self, call: Any, number: int, endpoint: str, timeout: float | None) -> None:
            raise RuntimeError("no")

        def attempt(self, call: Any, outcome: Outcome, verdict: Verdict | None) -> None:
            raise RuntimeError("no")

    assert run(a_call(SUBMIT), [EXHAUSTED, operation("d7q")], events=[Broken(), heard]).id == "d7q"
    assert heard.names() == ["submitting", "sending", "attempt", "sending", "accepted", "attempt"]
    failed = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert failed == [
        "Events.sending of Broken failed",
        "Events.attempt of Broken failed",
        "Events.sending of Broken failed",
        "Events.accepted of Broken failed",
        "Events.attempt of Broken failed",
    ]


# Accepted operations


def test_an_accepted_operation_is_reported_once(
    heard: Heard, run: Any, a_call: Any, operation: Any, caplog: pytest.LogCaptureFixture
) -> None:
    call = a_call(SUBMIT)
    with caplog.at_level(logging.INFO, "yagrpc.operations"):
        accepted = run(call, [operation("d7q")], events=heard)
    assert [entry for entry in heard.heard if entry[0] == "accepted"] == [("accepted", call, accepted)]
    (record,) = (record for record in caplog.records if record.name == "yagrpc.operations")
    assert "operation d7q accepted by" in record.getMessage()
    assert "client-id" in record.getMessage()


def test_no_operation_is_accepted_by_other_calls(heard: Heard, run: Any, a_call: Any, operation: Any) -> None:
    for method in (TOKENIZE, OTHER, COMPLETE, methods.OperationService.Get):
        run(a_call(method), [operation("d7q")], events=heard)
    assert "accepted" not in heard.names()


def test_an_answer_without_an_id_is_no_operation(heard: Heard, run: Any, a_call: Any, operation: Any) -> None:
    with pytest.raises(ResultError, match="gave no operation id") as caught:
        run(a_call(SUBMIT), [operation("")], events=heard)
    assert (caught.value.method, caught.value.client_request_id) == (SUBMIT.path, "client-id")
    assert "accepted" not in heard.names()


def reported(effect: Send) -> Callable[[Any], None]:
    """Reports the outcome of a submit whose caller has left, as a driver does."""
    reporter = effect.reporter
    assert reporter is not None

    def report(outcome: Any) -> None:
        reporter.ended(outcome)
        reporter.left(outcome)

    return report


@pytest.fixture
def leave(ports: Any, a_call: Any, clock: Any) -> Callable[..., Callable[[Any], object]]:
    """Leaves a submit that was sent; gives what takes its outcome, which comes three seconds after it was sent."""

    def leave(error: BaseException, **settings: Any) -> Callable[[Any], object]:
        call = a_call(SUBMIT)
        call.watched = True
        flow: Any = send_call(call, ports(**settings))
        assert isinstance(next(flow), Connect)
        effect = flow.send(True)
        assert isinstance(effect, Send)
        clock.pass_(3.0)
        with pytest.raises(type(error)):
            flow.throw(error)
        return reported(effect)

    return leave


def test_an_operation_whose_caller_has_left_is_accepted(
    leave: Any, heard: Heard, operation: Any, caplog: pytest.LogCaptureFixture
) -> None:
    late = leave(KeyboardInterrupt(), events=heard)
    with caplog.at_level(logging.INFO, "yagrpc.operations"):
        late(operation("d7q"))
    assert heard.names() == ["submitting", "sending", "accepted"]
    assert heard.heard[-1][2].id == "d7q"
    assert "operation d7q accepted by" in caplog.text


def test_an_operation_that_is_accepted_after_its_timeout_is_reported(
    heard: Heard, run: Any, drive: Any, a_call: Any, operation: Any
) -> None:
    with pytest.raises(AmbiguousSubmitError):
        run(a_call(SUBMIT), [RpcStatus(Code.DEADLINE_EXCEEDED)], events=heard)
    reported(drive.sent[0])(operation("d7q"))
    assert heard.names() == ["submitting", "sending", "attempt", "accepted"]


@pytest.mark.parametrize(
    ("outcome", "kind", "text"),
    [
        (DENIED, PermissionDeniedError, "PERMISSION_DENIED: no"),
        (Unreadable(9, None, "odd"), ResultError, "does not parse"),
        (_pb.operation_pb2.Operation(), ResultError, "gave no operation id"),
        (ClientClosedError(), CallError, "the attempt ended with ClientClosedError"),
        (RuntimeError("an interceptor's"), CallError, "the attempt ended with RuntimeError"),
    ],
    ids=["refused", "unreadable", "no_id", "closed", "raised"],
)
def test_a_failure_whose_caller_has_left_is_logged(
    outcome: Any,
    kind: type[YagrpcError],
    text: str,
    leave: Any,
    heard: Heard,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody else hears of it."""
    late = leave(KeyboardInterrupt(), events=heard)
    late(outcome)
    assert heard.names() == ["submitting", "sending", "attempt", *["not_started"] * (outcome is DENIED)]
    (found,) = heard.outcomes()
    assert (found.late, found.number) == (True, 1)
    assert found.seconds == pytest.approx(3.0)
    assert isinstance(found.error, kind)
    assert text in str(found.error)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    if outcome is DENIED:  # nothing runs
        assert warnings == []
    else:
        (line,) = warnings
        assert "a submit may have been accepted, its operation id is unknown and its caller had left" in line
    if isinstance(outcome, RuntimeError):
        assert found.error is not None
        assert found.error.__cause__ is outcome


# Polling, in the log


def test_a_polling_outage_is_logged_once(caplog: pytest.LogCaptureFixture, operation: Any) -> None:
    log = LogEvents(texts=lambda: False)
    log.polled("op", operation("op"))
    with caplog.at_level(logging.WARNING, "yagrpc.operations"):
        for _ in range(3):
            log.polled("op", CallError("down", operation_id="op", client_request_id="mine"))
        log.polled("op", operation("op"))
        log.polled("op", operation("op"))
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 2
    assert "down" in lines[0]
    assert "mine" in lines[0]
    assert lines[1].endswith("after 3 failed Gets")


def test_a_failure_that_ends_a_wait_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    log = LogEvents(texts=lambda: False)
    for error in (InvalidArgumentError("no"), ClientClosedError()):
        log.polled("op", error)
    assert caplog.records == []

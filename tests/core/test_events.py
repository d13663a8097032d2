"""What the logs say of calls and operations, line by line; and who is notified of what."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from yagrpc import _pb, methods
from yagrpc._core.events import HOOKS, Events, Hub, Outcome
from yagrpc._core.failure.retry import Action, Verdict
from yagrpc._core.reporting.logs import LogEvents, hub_of
from yagrpc.errors import ConfigError, ResultError, UnavailableError

PATH = methods.TokenizerService.Tokenize.path
REQUEST = _pb.text_generation_service_pb2.TokenizeRequest(text="hello")
ANSWER = _pb.text_generation_service_pb2.TokenizeResponse(model_version="v1")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str, str]]]:
    """Gives what was logged since the last time, as (logger, level, text)."""
    caplog.set_level(logging.DEBUG, "yagrpc")

    def found() -> list[tuple[str, str, str]]:
        records = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
        for record in caplog.records:
            assert record.client_request_id == "client-id"  # type: ignore[attr-defined]
        caplog.clear()
        return records

    return found


@pytest.fixture
def call(a_call: Any) -> Any:
    return a_call(request=REQUEST)


def log(*, texts: bool = False) -> LogEvents:
    return LogEvents(texts=lambda: texts)


def failed(error: Any, *, late: bool = False) -> Outcome:
    return Outcome(1, "model:443", 0.25, None, error, late)


def test_an_outcome_is_not_late_by_itself() -> None:
    outcome = Outcome(1, "model:443", 0.25)
    assert (outcome.answer, outcome.error, outcome.late) == (None, None, False)


@pytest.mark.parametrize(("timeout", "said"), [(None, "no timeout"), (2.5, "timeout 2.5 s")])
def test_an_attempt_that_is_sent_is_logged_with_its_size(
    timeout: float | None, said: str, lines: Any, call: Any
) -> None:
    log().sending(call, 2, "model:443", timeout)
    text = f"{PATH} (client request id client-id) sent to model:443: attempt 2, {REQUEST.ByteSize()} bytes, {said}"
    assert lines() == [("yagrpc.calls", "DEBUG", text)]


def test_a_stream_of_requests_has_no_size(lines: Any, a_call: Any) -> None:
    log(texts=True).sending(a_call(request=iter([REQUEST])), 1, "model:443", None)
    [(_, _, text)] = lines()
    assert text.endswith("attempt 1, a stream, no timeout")


def test_texts_are_logged_where_they_are_wanted(lines: Any, call: Any) -> None:
    log(texts=True).sending(call, 1, "model:443", None)
    [(_, _, text)] = lines()
    assert text.endswith('bytes, no timeout: text: "hello"')
    log(texts=False).sending(call, 1, "model:443", None)
    [(_, _, text)] = lines()
    assert "hello" not in text


def test_a_message_that_shows_nothing_is_not_announced(lines: Any, a_call: Any) -> None:
    empty = _pb.text_generation_service_pb2.TokenizeRequest()
    log(texts=True).sending(a_call(request=empty), 1, "model:443", None)
    [(_, _, text)] = lines()
    assert text.endswith("0 bytes, no timeout")


def test_an_answer_is_logged_with_its_ids(lines: Any, call: Any) -> None:
    log().attempt(call, Outcome(1, "model:443", 0.25, ANSWER), None)
    [(name, level, text)] = lines()
    assert (name, level) == ("yagrpc.calls", "DEBUG")
    assert text.endswith(f"answered in 0.250 s: {ANSWER.ByteSize()} bytes, request id -, server trace id -")
    call.ids = call.ids._replace(request_id="theirs", server_trace_id="trace")
    log(texts=True).attempt(call, Outcome(1, "model:443", 0.25, ANSWER), None)
    [(_, _, text)] = lines()
    assert "request id theirs, server trace id trace" in text
    assert "v1" in text


@pytest.mark.parametrize(
    ("verdict", "follows"),
    [
        (Verdict(Action.RETRY, 0.2), "UNAVAILABLE; sent again in 0.200 s"),
        (Verdict(Action.REQUEUE), f"UNAVAILABLE; {Action.REQUEUE.value}"),
        (Verdict(Action.RENEW), f"UNAVAILABLE; {Action.RENEW.value}"),
        (Verdict(Action.FAIL), None),
        (Verdict(Action.AMBIGUOUS), None),
        (None, None),
    ],
)
def test_a_failure_is_logged_where_the_call_is_sent_again(
    verdict: Verdict | None, follows: str | None, lines: Any, call: Any
) -> None:
    log().attempt(call, failed(UnavailableError("down")), verdict)
    first, *others = lines()
    assert first[1] == "DEBUG"
    assert "failed in 0.250 s: UNAVAILABLE: down" in first[2]
    expected = [] if follows is None else [("yagrpc.calls", "INFO", f"{PATH} (client request id client-id): {follows}")]
    assert others == expected


@pytest.mark.parametrize("verdict", [Verdict(Action.FAIL), Verdict(Action.RETRY), None])
def test_a_late_failure_is_logged_for_nobody_gets_it(verdict: Verdict | None, lines: Any, call: Any) -> None:
    log().attempt(call, failed(ResultError("no id"), late=True), verdict)
    _, (name, level, text) = lines()
    assert (name, level) == ("yagrpc.calls", "INFO")
    assert text == f"{PATH} (client request id client-id): no id; its caller had left"


def test_a_late_failure_that_may_have_run_is_a_warning(lines: Any, call: Any) -> None:
    log().attempt(call, failed(UnavailableError("down"), late=True), Verdict(Action.AMBIGUOUS))
    _, (name, level, text) = lines()
    assert (name, level) == ("yagrpc.operations", "WARNING")
    assert text.startswith("a submit may have been accepted, its operation id is unknown and its caller had left: ")


@pytest.mark.parametrize(("seconds", "said"), [(None, "for a running call to end"), (12.4, "at least 12 s")])
def test_a_wait_for_a_slot_is_logged(seconds: float | None, said: str, lines: Any, call: Any) -> None:
    log().waiting_for_quota(call, "submit_per_hour", seconds)
    text = f"a call of {PATH} waits {said} for a slot under quota.submit_per_hour (client request id client-id)"
    assert lines() == [("yagrpc.quota", "INFO", text)]


# Who is notified


class Attentive(Events):
    """Uses one event."""

    def attempt(self, call: Any, outcome: Outcome, verdict: Verdict | None) -> None:
        raise ValueError("as scripted")


class Ending(Events):
    """Uses the ends of calls and of waits."""

    def call_ended(self, call: Any, answer: Any, error: BaseException | None) -> None:
        raise ValueError("as scripted")

    def wait_ended(self, wait: Any, error: BaseException | None) -> None:
        raise ValueError("as scripted")

    def row_ended(self, row: Any, outcome: str, attempts: int, error: str) -> None:
        raise ValueError("as scripted")


class Polled(Events):
    """Uses another."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def polled(self, operation_id: str, outcome: Any) -> None:
        self.seen.append(operation_id)


def test_every_event_is_a_hook() -> None:
    of_calls = {"call_started", "submitting", "accepted", "not_started", "sending", "attempt", "call_ended"}
    of_waits = {"waiting_for_quota", "waited_for_quota", "wait_started", "wait_ended", "polled", "operation_ended"}
    of_rows = {"row_started", "row_ended"}
    assert set(HOOKS) == {"client_opened", *of_calls, *of_waits, *of_rows}


def test_calls_and_waits_are_wanted_by_one_who_uses_them_alone() -> None:
    hub = hub_of([Polled(), Attentive()], texts=lambda: False)
    assert not hub.calls
    assert not hub.waits
    assert not hub.rows
    hub = hub_of([Polled(), Ending()], texts=lambda: False)
    assert hub.calls
    assert hub.waits
    assert hub.rows


def test_one_more_subscriber_is_notified_until_it_is_removed() -> None:
    first, second = Polled(), Polled()
    hub = hub_of(first, texts=lambda: False)
    hub.polled("a", UnavailableError("down"))
    hub.add(second)
    hub.polled("b", UnavailableError("down"))
    hub.remove(second)
    hub.polled("c", UnavailableError("down"))
    assert (first.seen, second.seen) == (["a", "b", "c"], ["b"])
    assert hub.given == (first,)


def test_attempts_are_wanted_by_one_who_uses_them_or_by_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "yagrpc.calls"):
        assert not hub_of(None, texts=lambda: False).wants_attempts()
        assert not hub_of(Polled(), texts=lambda: False).wants_attempts()
        assert hub_of([Polled(), Attentive()], texts=lambda: False).wants_attempts()
    with caplog.at_level(logging.DEBUG, "yagrpc.calls"):
        assert Hub([]).wants_attempts()


def test_an_exception_of_one_does_not_keep_an_event_from_others(caplog: pytest.LogCaptureFixture, call: Any) -> None:
    polled = Polled()
    hub = hub_of([Attentive(), polled], texts=lambda: False)
    hub.attempt(call, failed(UnavailableError("down")), None)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "Events.attempt of Attentive failed"
    ]
    hub.polled("op", _pb.operation_pb2.Operation(id="op"))
    assert polled.seen == ["op"]


@pytest.mark.parametrize(
    ("given", "said"),
    [(7, "events is a int: it takes a yagrpc.Events, or several"), ([Polled(), object()], "events holds a object")],
)
def test_what_is_no_subscriber_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        hub_of(given, texts=lambda: False)

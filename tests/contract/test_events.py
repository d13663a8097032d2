"""What happens to calls and operations, as `Events` hear of it, for both clients over real gRPC."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import methods
from yagrpc.emulator import Emulator, Failure, Fault


class Journal(yagrpc.Events):
    """Keeps the names of what it is called for, and the ids that it gets."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.ids: list[str] = []

    def submitting(self, call: yagrpc.Call[Any, Any]) -> None:
        self.names.append("submitting")
        assert call.client_request_id

    def accepted(self, call: yagrpc.Call[Any, Any], operation: Any) -> None:
        self.names.append("accepted")
        self.ids.append(operation.id)

    def not_started(self, call: yagrpc.Call[Any, Any]) -> None:
        self.names.append("not started")

    def sending(self, call: yagrpc.Call[Any, Any], number: int, endpoint: str, timeout: float | None) -> None:
        self.names.append(f"sending {number}")

    def attempt(self, call: yagrpc.Call[Any, Any], outcome: yagrpc.Outcome, verdict: yagrpc.Verdict | None) -> None:
        self.names.append("answered" if outcome.error is None else type(outcome.error).__name__)

    def polled(self, operation_id: str, outcome: Any) -> None:
        self.names.append(f"polled {operation_id}")


class Failing(yagrpc.Events):
    """Fails in one of its methods."""

    def __init__(self, name: str, error: Exception) -> None:
        self.name = name
        self.error = error

    def submitting(self, call: yagrpc.Call[Any, Any]) -> None:
        self._fail("submitting")

    def accepted(self, call: yagrpc.Call[Any, Any], operation: Any) -> None:
        self._fail("accepted")

    def attempt(self, call: yagrpc.Call[Any, Any], outcome: yagrpc.Outcome, verdict: yagrpc.Verdict | None) -> None:
        self._fail("attempt")

    def polled(self, operation_id: str, outcome: Any) -> None:
        self._fail("polled")

    def _fail(self, name: str) -> None:
        if name == self.name:
            raise self.error


GENERATIONS = ["completion", "completion_stream", "completion_async"]


def test_an_operation_is_reported_from_its_intent_to_its_end(subject: Any, emulator: Emulator) -> None:
    journal = Journal()
    client = subject.client(emulator, events=journal)
    operation = subject(client.completion_async("hello"))
    assert journal.names == ["submitting", "sending 1", "accepted", "answered"]
    assert journal.ids == [operation.id]
    emulator.advance(3600)
    subject(operation.result(timeout=20))
    assert f"polled {operation.id}" in journal.names


def test_every_operation_of_any_method_is_accepted_once(subject: Any, emulator: Emulator) -> None:
    from yagrpc import _pb

    journal = Journal()
    client = subject.client(emulator, events=[journal])
    request = _pb.text_generation_service_pb2.CompletionRequest(
        model_uri="gpt://folder/yandexgpt",
        messages=[{"role": "user", "text": "hello"}],  # type: ignore[list-item]
    )
    operation = subject(client.call(methods.TextGenerationAsyncService.Completion, request))
    assert journal.ids == [operation.id]


@pytest.mark.parametrize("name", GENERATIONS)
def test_an_exception_in_submitting_stops_the_call_with_nothing_sent(
    subject: Any, emulator: Emulator, name: str
) -> None:
    error = RuntimeError("the disk is full")
    failing, journal = Failing("submitting", error), Journal()
    client = subject.client(emulator, events=[failing, journal])
    with pytest.raises(RuntimeError) as caught:
        subject(getattr(client, name)("hello"))
    assert caught.value is error
    assert journal.names == []
    assert emulator.requests == []
    assert client.limits.concurrent_completions.used == client.limits.submit_per_second.used == 0
    failing.name = ""
    subject(getattr(client, name)("hello"))
    assert journal.names[:2] == ["submitting", "sending 1"]


@pytest.mark.parametrize("name", GENERATIONS)
def test_a_generation_that_was_refused_is_taken_back(subject: Any, emulator: Emulator, name: str) -> None:
    emulator.faults.add(Fault(Failure(grpc.StatusCode.PERMISSION_DENIED, "no")))
    journal = Journal()
    client = subject.client(emulator, events=journal)
    with pytest.raises(yagrpc.PermissionDeniedError):
        subject(getattr(client, name)("hello"))
    assert journal.names == ["submitting", "sending 1", "PermissionDeniedError", "not started"]


@pytest.mark.parametrize("name", ["accepted", "attempt", "polled"])
def test_an_exception_in_another_method_is_logged_and_has_no_effect(
    subject: Any, emulator: Emulator, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal()
    client = subject.client(emulator, events=[Failing(name, RuntimeError("no")), journal])
    operation = subject(client.completion_async("hello"))
    emulator.advance(3600)
    assert subject(operation.result(timeout=20)).text
    assert journal.ids == [operation.id]
    failed = {record.getMessage() for record in caplog.records if record.levelno == logging.ERROR}
    assert failed == {f"Events.{name} of Failing failed"}


def test_a_call_that_starts_nothing_is_not_a_submit(subject: Any, emulator: Emulator) -> None:
    journal = Journal()
    client = subject.client(emulator, events=journal)
    subject(client.tokenize("hello"))
    assert journal.names == ["sending 1", "answered"]


def test_an_operation_is_in_the_log_with_its_ids(
    subject: Any, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    client = subject.client(emulator)
    with caplog.at_level(logging.INFO, "yagrpc.operations"):
        operation = subject(client.completion_async("hello", request_id="mine"))
    (record,) = [record for record in caplog.records if record.name == "yagrpc.operations"]
    assert (record.operation_id, record.client_request_id) == (operation.id, "mine")  # type: ignore[attr-defined]


@pytest.mark.parametrize("events", [object(), [object()], "text", 5, Journal])
def test_what_is_no_events_is_refused(subject: Any, events: Any) -> None:
    with pytest.raises(yagrpc.ConfigError, match=r"events .*yagrpc\.Events"):
        subject.client(endpoint="127.0.0.1:1", plaintext=True, events=events)

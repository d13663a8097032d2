"""What listeners hear of calls and operations, event by event, on both clients, against a real server."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb, methods
from yagrpc.emulator import Emulator, EmulatorQuota, paths


class Heard(yagrpc.Events):
    """Keeps what it hears: the name of the method, and what it was called with."""

    def __init__(self, name: str = "", log: list[str] | None = None) -> None:
        self.heard: list[tuple[str, tuple[Any, ...]]] = []
        self.name = name
        self.log = [] if log is None else log

    def submitting(self, call: Any) -> None:
        self._hear("submitting", call)

    def accepted(self, call: Any, operation: Any) -> None:
        self._hear("accepted", call, operation)

    def sending(self, call: Any, number: int, endpoint: str, timeout: float | None) -> None:
        self._hear("sending", call, number, endpoint, timeout)

    def attempt(self, call: Any, outcome: Any, verdict: Any) -> None:
        self._hear("attempt", call, outcome, verdict)

    def waiting_for_quota(self, call: Any, quota: str, seconds: float | None) -> None:
        self._hear("waiting_for_quota", call, quota, seconds)

    def polled(self, operation_id: str, outcome: Any) -> None:
        self._hear("polled", operation_id, outcome)

    def _hear(self, event: str, *arguments: Any) -> None:
        self.log.append(f"{self.name}.{event}")
        self.heard.append((event, arguments))

    def names(self) -> list[str]:
        """The names of what was heard, in order."""
        return [name for name, _ in self.heard]

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """What one event was called with, each time."""
        return [arguments for heard, arguments in self.heard if heard == name]


class Refusing(yagrpc.Events):
    """Stops every generation by an exception.

    Args:
        error: The exception; `None` for none.
    """

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    def submitting(self, call: Any) -> None:
        if self.error is not None:
            raise self.error


class Broken(yagrpc.Events):
    """Raises in all methods but the one that may stop a call."""

    def accepted(self, call: Any, operation: Any) -> None:
        raise ValueError("accepted")

    def sending(self, call: Any, number: int, endpoint: str, timeout: float | None) -> None:
        raise ValueError("sending")

    def attempt(self, call: Any, outcome: Any, verdict: Any) -> None:
        raise ValueError("attempt")

    def waiting_for_quota(self, call: Any, quota: str, seconds: float | None) -> None:
        raise ValueError("waiting_for_quota")

    def polled(self, operation_id: str, outcome: Any) -> None:
        raise ValueError("polled")


@pytest.fixture
def heard() -> Heard:
    return Heard()


def request() -> Any:
    message = _pb.text_common_pb2.Message(role="user", text="hello")
    return _pb.text_generation_service_pb2.CompletionRequest(model_uri="gpt://f/yandexgpt/latest", messages=[message])


GENERATIONS: dict[str, Any] = {
    "completion": lambda client, **parameters: client.completion("hello", **parameters),
    "completion_stream": lambda client, **parameters: client.completion_stream("hello", **parameters),
    "completion_async": lambda client, **parameters: client.completion_async("hello", **parameters),
    "call": lambda client, **parameters: client.call(
        methods.TextGenerationAsyncService.Completion, request(), **parameters
    ),
    "call of a stream": lambda client, **parameters: client.call(
        methods.TextGenerationService.Completion, request(), **parameters
    ),
}
SUBMITS = ["completion_async", "call"]
generations = pytest.mark.parametrize("name", GENERATIONS)
submits = pytest.mark.parametrize("name", SUBMITS)


# Before a generation leaves


@generations
def test_submitting_is_called_once_before_a_generation_leaves(
    name: str, subject: Any, emulator: Emulator, heard: Heard
) -> None:
    sent: list[int] = []

    class Counting(yagrpc.Events):
        def submitting(self, call: Any) -> None:
            sent.append(emulator.calls[paths.COMPLETION] + emulator.calls[paths.COMPLETION_ASYNC])

    client = subject.client(emulator, events=[Counting(), heard])
    subject(GENERATIONS[name](client, request_id="r-1"))
    assert sent == [0]
    assert heard.names()[:2] == ["submitting", "sending"]
    [(call,)] = heard.of("submitting")
    assert call.client_request_id == "r-1"
    assert call.method.path in (paths.COMPLETION, paths.COMPLETION_ASYNC)
    assert call.request.messages[0].text == "hello"


def test_submitting_is_not_called_for_what_generates_nothing(subject: Any, emulator: Emulator, heard: Heard) -> None:
    client = subject.client(emulator, events=heard)
    subject(client.tokenize("hello"))
    with pytest.raises(yagrpc.OperationNotFoundError):
        subject(client.operation("none").refresh())
    assert "submitting" not in heard.names()


def test_submitting_is_called_once_for_a_submit_that_is_sent_several_times(subject: Any, heard: Heard) -> None:
    with Emulator(duration=3600.0, quota=EmulatorQuota(submit_per_second=1)) as emulator:
        other, client = subject.client(emulator), subject.client(emulator, events=heard)
        subject(other.completion_async("takes the slot"))
        operation = subject(client.completion_async("hello"))
    names = heard.names()
    assert names.count("submitting") == 1
    assert names.count("sending") == names.count("attempt") > 1
    assert [accepted.id for _, accepted in heard.of("accepted")] == [operation.id]


@generations
def test_submitting_is_called_after_the_connection_is_there(name: str, subject: Any, heard: Heard) -> None:
    client = subject.client(endpoint="127.0.0.1:1", plaintext=True, events=heard)
    with pytest.raises(yagrpc.UnavailableError, match="nothing was sent"):
        subject(GENERATIONS[name](client, timeout=0.2))
    assert heard.names() == []


@generations
@pytest.mark.parametrize(
    "error", [KeyError("mine"), yagrpc.RequestError("text", "hello", "not that")], ids=["any", "of ours"]
)
def test_an_exception_in_submitting_stops_the_call(
    name: str, error: BaseException, subject: Any, emulator: Emulator, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    """It is raised as it is, whatever it is; nothing was sent, nothing is held, and the next call works."""
    refusing = Refusing(error)
    quota = yagrpc.Quota(submit_per_second=1, concurrent_completions=1)
    client = subject.client(emulator, events=[refusing, heard], quota=quota)
    with pytest.raises(type(error)) as caught:
        subject(GENERATIONS[name](client))
    assert caught.value is error
    assert emulator.calls == {}
    assert heard.names() == []
    assert (client.limits.submit_per_second.used, client.limits.concurrent_completions.used) == (0, 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    refusing.error = None
    subject(GENERATIONS[name](client, timeout=5))
    assert heard.names()[0] == "submitting"
    assert sum(emulator.calls.values()) == 1


# Accepted operations


@submits
def test_accepted_is_called_once_for_each_operation(
    name: str, subject: Any, emulator: Emulator, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    client = subject.client(emulator, events=heard, quota=None)
    with caplog.at_level(logging.INFO, "yagrpc.operations"):
        operations = subject.together(
            [functools.partial(GENERATIONS[name], client, request_id=f"r-{number}") for number in range(20)]
        )
    accepted = {call.client_request_id: operation.id for call, operation in heard.of("accepted")}
    assert len(heard.of("accepted")) == 20
    assert accepted == {f"r-{number}": operation.id for number, operation in enumerate(operations)}
    found: list[Any] = [record for record in caplog.records if record.name == "yagrpc.operations"]
    assert {record.levelname for record in found} == {"INFO"}
    assert {record.client_request_id: record.operation_id for record in found} == accepted
    for record in found:
        assert record.operation_id in record.getMessage()
        assert record.client_request_id in record.getMessage()


def test_accepted_is_called_for_nothing_else(subject: Any, emulator: Emulator, heard: Heard) -> None:
    client = subject.client(emulator, events=heard)
    subject(client.completion("hello"))
    subject(client.completion_stream("hello"))
    subject(client.tokenize("hello"))
    operation = subject(client.completion_async("hello"))
    subject(operation.refresh())
    subject(operation.cancel())
    assert len(heard.of("accepted")) == 1


def test_a_refused_submit_is_not_accepted(subject: Any, served: Any, heard: Heard) -> None:
    def submit(request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such model")

    client = subject.client(endpoint=served.start(completion_async=submit).address, plaintext=True, events=heard)
    with pytest.raises(yagrpc.InvalidArgumentError) as caught:
        subject(client.completion_async("hello"))
    assert heard.names() == ["submitting", "sending", "attempt"]
    [(_, outcome, verdict)] = heard.of("attempt")
    assert outcome.error is caught.value
    assert verdict.action is yagrpc.Action.FAIL


# Attempts


def test_each_attempt_is_reported(subject: Any, served: Any, heard: Heard) -> None:
    def tokenize(request: Any, context: grpc.ServicerContext) -> Any:
        if len(served.calls) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone for a moment")
        return _pb.text_generation_service_pb2.TokenizeResponse(model_version="v1")

    address = served.start(tokenize=tokenize).address
    client = subject.client(endpoint=address, plaintext=True, events=heard)
    subject(client.tokenize("hello", timeout=30))
    assert heard.names() == ["sending", "attempt"] * 2
    assert [(number, endpoint) for _, number, endpoint, _ in heard.of("sending")] == [(1, address), (2, address)]
    assert all(0 < timeout <= 30 for *_, timeout in heard.of("sending"))
    (_, failed, repeated), (_, answered, done) = heard.of("attempt")
    assert (failed.number, failed.answer, failed.late) == (1, None, False)
    assert isinstance(failed.error, yagrpc.UnavailableError)
    assert repeated.action is yagrpc.Action.RETRY
    assert repeated.pause > 0
    assert (answered.number, answered.error, done) == (2, None, None)
    assert answered.answer.model_version == "v1"
    assert answered.seconds >= 0


def test_a_stream_is_reported_with_its_first_message(subject: Any, emulator: Emulator, heard: Heard) -> None:
    client = subject.client(emulator, events=heard)
    subject(client.completion_stream("hello"))
    [(_, outcome, verdict)] = heard.of("attempt")
    assert outcome.answer.DESCRIPTOR.name == "CompletionResponse"
    assert verdict is None


# Quotas and polls


def test_a_long_wait_for_a_slot_is_reported_once(subject: Any, emulator: Emulator, heard: Heard) -> None:
    """Closing the client ends the wait."""
    waits = threading.Event()

    class Waiting(yagrpc.Events):
        def waiting_for_quota(self, call: Any, quota: str, seconds: float | None) -> None:
            waits.set()

    client = subject.client(emulator, events=[heard, Waiting()], quota=yagrpc.Quota(submit_per_hour=1))
    subject(client.completion_async("takes the slot"))
    submit = functools.partial(client.completion_async, "waits", timeout=None, request_id="r-2")
    error, _ = subject.together([submit, lambda: _closed(subject, client, waits)])
    assert isinstance(error, yagrpc.ClientClosedError)
    [(call, quota, seconds)] = heard.of("waiting_for_quota")
    assert (call.client_request_id, quota) == ("r-2", "submit_per_hour")
    assert 3500 < seconds < 3700
    assert len(heard.of("submitting")) == 1


def _closed(subject: Any, client: Any, waits: threading.Event) -> Any:
    if subject.kind == "sync":
        waits.wait(20)
        return client.close()

    async def close() -> None:
        await asyncio.to_thread(waits.wait, 20)
        await client.close()

    return close()


def test_every_poll_is_reported(subject: Any, served: Any, heard: Heard) -> None:
    def get(request: Any, context: grpc.ServicerContext) -> Any:
        if len(served.calls) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone for a moment")
        operation = _pb.operation_pb2.Operation(id=request.operation_id, done=len(served.calls) > 2)
        if operation.done:
            operation.response.Pack(_pb.text_generation_service_pb2.TokenizeResponse(model_version="v1"))
        return operation

    client = subject.client(endpoint=served.start(get=get).address, plaintext=True, events=heard)
    operation = client.operation("op1", _pb.text_generation_service_pb2.TokenizeResponse)
    assert subject(operation.result(timeout=20)).model_version == "v1"
    polls = heard.of("polled")
    assert [operation_id for operation_id, _ in polls] == ["op1"] * 3
    assert isinstance(polls[0][1], yagrpc.UnavailableError)
    assert [outcome.done for _, outcome in polls[1:]] == [False, True]


def test_a_poll_is_reported_outside_the_context_of_a_call(subject: Any, emulator: Emulator) -> None:
    """Its Gets are of the first who waits; what is set after that is not seen."""
    trace = contextvars.ContextVar("trace", default="none")
    seen: list[str] = []

    class Traced(yagrpc.Events):
        def polled(self, operation_id: str, outcome: Any) -> None:
            seen.append(trace.get())

    client = subject.client(emulator, events=Traced())
    token = trace.set("first")
    operation = subject(client.completion_async("hello"))
    subject(operation.refresh())
    trace.reset(token)
    other = client.operation(operation.id)
    subject(other.refresh())
    assert seen == ["first", "none"]


# Exceptions in listeners


def test_an_exception_in_a_listener_is_logged_and_has_no_effect(
    subject: Any, emulator: Emulator, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    client = subject.client(emulator, events=[Broken(), heard])
    operation = subject(client.completion_async("hello"))
    subject(operation.refresh())
    failures = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert {record.name for record in failures} == {"yagrpc"}
    assert [record.getMessage() for record in failures if "accepted" in record.getMessage()] == [
        "Events.accepted of Broken failed"
    ]
    expected = [f"Events.{name} of Broken failed" for name in heard.names() if name != "submitting"]
    assert sorted(record.getMessage() for record in failures) == sorted(expected)
    for record in failures:
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], ValueError)


def test_an_exception_in_waiting_for_quota_is_logged(
    subject: Any, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    waits = threading.Event()

    class Waiting(Broken):
        def waiting_for_quota(self, call: Any, quota: str, seconds: float | None) -> None:
            waits.set()
            raise ValueError("waiting_for_quota")

    client = subject.client(emulator, events=Waiting(), quota=yagrpc.Quota(submit_per_hour=1))
    subject(client.completion_async("takes the slot"))
    caplog.clear()
    submit = functools.partial(client.completion_async, "waits", timeout=None)
    error, _ = subject.together([submit, lambda: _closed(subject, client, waits)])
    assert isinstance(error, yagrpc.ClientClosedError)
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert messages == ["Events.waiting_for_quota of Waiting failed"]


# Several listeners, and settings


def test_listeners_are_called_in_order(subject: Any, emulator: Emulator) -> None:
    log: list[str] = []
    client = subject.client(emulator, events=(Heard(name, log) for name in "abc"))
    subject(client.completion_async("hello"))
    assert log == [
        f"{name}.{event}" for event in ("submitting", "sending", *_ends(log)) for name in "abc"
    ]  # each event is heard by all before the next


def _ends(log: list[str]) -> Iterator[str]:
    """The last two events: an accepted operation, and the attempt that submitted it, whichever came first."""
    events = list(dict.fromkeys(entry.partition(".")[2] for entry in log))
    assert sorted(events[2:]) == ["accepted", "attempt"]
    return iter(events[2:])


def test_one_that_stops_a_call_is_not_followed_by_the_next(subject: Any, emulator: Emulator) -> None:
    before, after = Heard(), Heard()
    client = subject.client(emulator, events=[before, Refusing(KeyError("mine")), after])
    with pytest.raises(KeyError):
        subject(client.completion_async("hello"))
    assert (before.names(), after.names()) == (["submitting"], [])


@pytest.mark.parametrize("given", [None, [], ()], ids=repr)
def test_no_listener_is_needed(given: Any, subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, events=given)
    assert subject(client.completion_async("hello")).id


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (Heard, "type"),
        (print, "builtin_function_or_method"),
        (1, "int"),
        ("events", "str"),
        ([Heard(), None], "NoneType"),
        ([Heard(), object()], "object"),
        ({"accepted": print}, "str"),
        ([Heard], "type"),
    ],
    ids=["class", "function", "number", "text", "None in a list", "object", "dict", "class in a list"],
)
def test_what_is_no_listener_is_refused(given: Any, named: str, subject: Any, emulator: Emulator) -> None:
    with pytest.raises(yagrpc.ConfigError, match=rf"events (is|holds) an? {named}.*yagrpc\.Events"):
        subject.client(emulator, events=given)
    assert emulator.calls == {}

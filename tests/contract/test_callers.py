"""Calls inside a handler of a server: they have its caller's deadline, trace and request id, and end with the caller.

`yagrpc.serving` sets the caller; here the tests do. What a caller that leaves ends is held up by the server, so that
the moment is known.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import gc
import logging
import pickle
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb
from yagrpc.context import CURRENT, Caller, detached
from yagrpc.emulator import Emulator, paths

if TYPE_CHECKING:
    from tests.contract.conftest import Nowhere, Served, Subject

SOON = 20.0
"""Seconds in which what a test waits for has to happen; it takes milliseconds."""

HOUR = 3600.0

TRACE = (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("x-client-trace-id", "trace-1"))


@contextlib.contextmanager
def calling(caller: Caller) -> Iterator[Caller]:
    """A block in which a caller waits."""
    token = CURRENT.set(caller)
    try:
        yield caller
    finally:
        CURRENT.reset(token)


class Model:
    """A service that holds its answers until the test lets them go, and says of each call how it was made and ended."""

    def __init__(self, served: Any) -> None:
        self.go = threading.Event()
        self.arrived: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.address: str = served.start(
            tokenize=self.held(_pb.text_generation_service_pb2.TokenizeResponse()),
            text_embedding=self.held(_pb.embedding_service_pb2.TextEmbeddingResponse()),
            completion_async=self.held(_pb.operation_pb2.Operation(id="operation-1")),
            get=self.get,
            completion=self.stream,
        ).address

    def arrive(self, context: grpc.ServicerContext) -> None:
        context.add_callback(lambda: self.ended.put(None))
        metadata: dict[str, Any] = {**dict(context.invocation_metadata())}
        self.arrived.put({**metadata, "timeout": context.time_remaining()})

    def held(self, answer: Any) -> Callable[[Any, grpc.ServicerContext], Any]:
        def serve(request: Any, context: grpc.ServicerContext) -> Any:
            self.arrive(context)
            assert self.go.wait(SOON)
            return answer

        return serve

    def get(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.arrive(context)
        return _pb.operation_pb2.Operation(id=request.operation_id)

    def stream(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self.arrive(context)
        chunk = _pb.text_generation_service_pb2.CompletionResponse()
        chunk.alternatives.add().message.text = "one"
        yield chunk
        assert self.go.wait(SOON)

    def next(self) -> dict[str, Any]:
        return self.arrived.get(timeout=SOON)


@pytest.fixture
def model(served: Served) -> Iterator[Model]:
    found = Model(served)
    yield found
    found.go.set()


@pytest.fixture
def asking(subject: Subject, model: Model) -> Any:
    """A client of the service."""
    return subject.client(endpoint=model.address, plaintext=True)


@pytest.fixture
def pool() -> Iterator[futures.ThreadPoolExecutor]:
    with futures.ThreadPoolExecutor(4) as found:
        yield found


def begun(
    pool: futures.ThreadPoolExecutor, subject: Subject, caller: Caller, call: Callable[[], Any]
) -> futures.Future[Any]:
    """Make a call for a caller, in another thread."""

    def run() -> Any:
        with calling(caller):
            return subject(call())

    return pool.submit(run)


CALLS: dict[str, Callable[[Any], Any]] = {
    "tokenize": lambda client: client.tokenize("ping"),
    "completion": lambda client: client.completion("ping"),
    "completion_stream": lambda client: client.completion_stream("ping"),
    "completion_async": lambda client: client.completion_async("ping"),
    "text_embedding": lambda client: client.text_embedding(["ping", "pong"]),
    "result": lambda client: client.operation("d7q").result(),
    "refresh": lambda client: client.operation("d7q").refresh(),
    "cancel": lambda client: client.operation("d7q").cancel(),
}


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("name", ["completion_async", "completion", "completion_stream"])
def test_a_call_inherits_the_deadline_unless_it_has_a_timeout(
    subject: Subject, model: Model, asking: Any, name: str, explicit: bool
) -> None:
    model.go.set()
    given: dict[str, Any] = {"timeout": HOUR} if explicit else {}
    with calling(Caller(lambda: 900.0)):
        subject(getattr(asking, name)("ping", **given))
    assert model.next()["timeout"] == pytest.approx(HOUR if explicit else 900.0, rel=0.05)


def test_a_stream_that_is_opened_late_has_the_deadline_of_its_caller(
    subject: Subject, model: Model, asking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(asking._core, "clock", lambda: now)
    with calling(Caller(lambda: 900.0 - now)):
        stream = subject.in_loop(lambda: asking.completion_stream("ping"))
        now = 500.0
        subject.first(stream)
    assert model.next()["timeout"] == pytest.approx(400.0, rel=0.05)
    subject(stream.close())


def test_the_trace_and_the_request_id_are_sent_with_every_call(subject: Subject, model: Model, asking: Any) -> None:
    model.go.set()
    with calling(Caller(request_id="request-1", metadata=TRACE)):
        for name in ("tokenize", "completion", "completion_async"):
            subject(CALLS[name](asking))
            metadata = model.next()
            assert metadata["x-client-request-id"] == "request-1"
            assert set(TRACE) <= set(metadata.items())


def test_explicit_arguments_come_first(subject: Subject, model: Model, asking: Any) -> None:
    model.go.set()
    mine = {"traceparent": "00-11111111111111111111111111111111-2222222222222222-00"}
    with calling(Caller(request_id="request-1", metadata=TRACE)):
        subject(asking.tokenize("ping", request_id="request-2", metadata=mine))
    metadata = model.next()
    assert metadata["x-client-request-id"] == "request-2"
    assert metadata["traceparent"] == mine["traceparent"]
    assert metadata["x-client-trace-id"] == "trace-1"


@pytest.mark.parametrize("explicit", [False, True], ids=["inherited", "explicit"])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("why", ["left", "late"])
def test_nothing_is_sent_for_a_caller_that_has_left_or_is_late(
    subject: Subject, model: Model, asking: Any, name: str, why: str, explicit: bool
) -> None:
    caller = Caller(lambda: -1.0 if why == "late" else HOUR)
    if why == "left":
        caller.leave()
    if explicit and name in ("tokenize", "completion", "completion_async"):
        call: Callable[[], Any] = lambda: getattr(asking, name)("ping", timeout=HOUR)  # noqa: E731
    else:
        call = lambda: CALLS[name](asking)  # noqa: E731
    with calling(caller), pytest.raises(yagrpc.YagrpcError) as caught:
        subject(call())
    error = caught.value
    waits = name in ("result", "refresh")
    expected = yagrpc.CallCancelledError
    if why == "late":
        expected = yagrpc.OperationTimeoutError if waits else yagrpc.DeadlineExceededError  # type: ignore[assignment]
    assert type(error) is expected
    assert error.attempts == 0
    assert ("d7q" if name in ("result", "refresh", "cancel") else "") == error.operation_id
    assert ("has left" if why == "left" else "deadline has passed") in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(copy.copy(error)) == str(error)
    assert model.arrived.empty()


@pytest.mark.parametrize("name", ["tokenize", "text_embedding"])
def test_a_caller_that_leaves_ends_what_is_under_way(
    subject: Subject, model: Model, asking: Any, pool: futures.ThreadPoolExecutor, name: str
) -> None:
    caller = Caller()
    call = begun(pool, subject, caller, lambda: CALLS[name](asking))
    for _ in range(2 if name == "text_embedding" else 1):
        model.next()
    caller.leave()
    error = call.exception(SOON)
    assert type(error) is yagrpc.CallCancelledError
    assert "the caller has left" in str(error)
    model.ended.get(timeout=SOON)


def test_a_generation_that_a_caller_leaves_may_have_run(
    subject: Subject, pool: futures.ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    import asyncio

    asked: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()

    def an_hour(random: Any) -> float:  # is called in the task that serves the call
        task = asyncio.current_task()
        assert task is not None
        ended = threading.Event()
        task.add_done_callback(lambda done: ended.set())
        asked.put(ended)
        return HOUR

    with Emulator(completion_duration=an_hour, seed=1) as emulator:
        client = subject.client(emulator)
        caller = Caller()
        call = begun(pool, subject, caller, lambda: client.completion("ping"))
        ended = asked.get(timeout=SOON)
        assert not ended.is_set()
        caller.leave()
        error = call.exception(SOON)
        assert type(error) is yagrpc.AmbiguousSubmitError
        assert error.code is yagrpc.Code.CANCELLED
        assert "the caller has left" in str(error)
        assert ended.wait(SOON)


def test_a_stream_between_two_messages_ends_with_the_caller(subject: Subject, model: Model, asking: Any) -> None:
    with calling(Caller()) as caller:
        stream = subject.in_loop(lambda: asking.completion_stream("ping"))
        assert subject.first(stream).text == "one"
        subject.in_loop(caller.leave)
        model.ended.get(timeout=SOON)
        with pytest.raises(yagrpc.CallCancelledError, match="the caller has left"):
            subject.first(stream)


def test_a_stream_that_is_dropped_is_collected_before_its_caller_leaves(
    subject: Subject, model: Model, asking: Any
) -> None:
    with calling(Caller()):
        stream = subject.in_loop(lambda: asking.completion_stream("ping"))
        subject.first(stream)
        del stream
        gc.collect()
        subject.in_loop(gc.collect)
        model.go.set()
        assert asking.limits.concurrent_completions.used == 0


def test_a_submit_is_completed_for_a_caller_that_has_left(
    subject: Subject, model: Model, asking: Any, pool: futures.ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "yagrpc.operations")
    caller = Caller()
    call = begun(pool, subject, caller, lambda: asking.completion_async("ping"))
    model.next()
    caller.leave()
    error = call.exception(SOON)
    assert type(error) is yagrpc.AmbiguousSubmitError
    assert error.code is yagrpc.Code.CANCELLED
    model.go.set()
    model.ended.get(timeout=SOON)
    subject(asking.close())
    assert "operation operation-1 accepted" in caplog.text
    assert list(caller.operations) == ["operation-1"]


def test_a_handler_gets_an_operation_that_was_accepted_before_its_caller_left(subject: Subject, model: Model) -> None:
    caller = Caller()

    class Leaves(yagrpc.Events):
        def accepted(self, call: Any, operation: Any) -> None:
            caller.leave()

    model.go.set()
    client = subject.client(endpoint=model.address, plaintext=True, events=Leaves())
    with calling(caller):
        operation = subject(client.completion_async("ping"))
        assert operation.id == "operation-1"
        with pytest.raises(yagrpc.CallCancelledError):
            subject(operation.result())


def test_the_caller_is_owed_the_ids_of_operations_whose_outcome_it_does_not_have(
    subject: Subject, emulator: Emulator
) -> None:
    client = subject.client(emulator)
    with calling(Caller()) as caller:
        first = subject(client.completion_async("ping"))
        second = subject(client.completion_async("ping"))
        assert list(caller.operations) == [first.id, second.id]
        emulator.advance(HOUR)
        subject(first.result())
        assert list(caller.operations) == [second.id]


WAITS: dict[str, Callable[[Any], Any]] = {
    "result": lambda operation: operation.result(),
    "result with a timeout": lambda operation: operation.result(timeout=HOUR),
    "gather": lambda operation: _gather(operation),
    "wait": lambda operation: yagrpc.wait([operation]),
    "as_completed": lambda operation: _as_completed(operation),
}


def _gather(operation: Any) -> Any:
    if operation.blocking:
        return yagrpc.gather(operation)

    async def gathered() -> Any:
        return await yagrpc.gather(operation)

    return gathered()


def _as_completed(operation: Any) -> Any:
    if operation.blocking:
        return list(yagrpc.as_completed([operation]))

    async def collected() -> Any:
        return [each async for each in yagrpc.as_completed([operation])]

    return collected()


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_for_an_operation_ends_with_the_caller(
    subject: Subject, model: Model, asking: Any, pool: futures.ThreadPoolExecutor, name: str
) -> None:
    caller = Caller()
    call = begun(pool, subject, caller, lambda: WAITS[name](asking.operation("d7q")))
    model.next()
    caller.leave()
    error = call.exception(SOON)
    assert type(error) is yagrpc.CallCancelledError
    assert error.operation_id == "d7q"
    assert "can be waited for again by its id" in str(error)


@pytest.mark.parametrize("name", ["result", "gather", "as_completed"])
def test_a_wait_for_an_operation_has_the_callers_deadline(
    subject: Subject, model: Model, asking: Any, name: str
) -> None:
    lefts = iter([0.2] * 3)
    with (
        calling(Caller(lambda: next(lefts, 0.0))),
        pytest.raises(yagrpc.OperationTimeoutError, match=r"not done within 0\.2 s") as caught,
    ):
        subject(WAITS[name](asking.operation("d7q")))
    assert caught.value.operation_id == "d7q"


def test_the_polls_of_an_operation_survive_the_first_of_its_waiters(
    subject: Subject, model: Model, asking: Any, pool: futures.ThreadPoolExecutor
) -> None:
    caller = Caller(lambda: HOUR, request_id="request-1", metadata=TRACE)
    operation = asking.operation("d7q")
    answered: queue.SimpleQueue[None] = queue.SimpleQueue()
    subject.in_loop(lambda: operation.add_done_callback(lambda done: answered.put(None)))
    with calling(caller):
        subject.in_loop(lambda: asking.operation("d7r").add_done_callback(lambda done: answered.put(None)))
        subject.in_loop(caller.leave)
    polled = [subject(asking.operation("d7r").refresh()) for _ in range(3)]
    assert not any(each.proto.done for each in polled)
    found = [metadata for metadata in iter_now(model.arrived) if "traceparent" in metadata]
    assert found
    assert {metadata["x-client-request-id"] for metadata in found} == {"request-1"}
    assert all(metadata["timeout"] < 60 for metadata in found)
    assert answered.empty()


def iter_now(items: queue.SimpleQueue[Any]) -> Iterator[Any]:
    """What is in a queue by now."""
    while not items.empty():
        yield items.get()


def test_a_wait_for_the_quota_ends_with_the_caller(
    subject: Subject, model: Model, pool: futures.ThreadPoolExecutor
) -> None:
    model.go.set()
    quota = yagrpc.Quota(submit_per_second=None, submit_per_hour=1)
    waiting: queue.SimpleQueue[None] = queue.SimpleQueue()

    class Waits(yagrpc.Events):
        def waiting_for_quota(self, call: Any, quota: str, seconds: float | None) -> None:
            waiting.put(None)

    client = subject.client(endpoint=model.address, plaintext=True, quota=quota, events=Waits())
    subject(client.completion_async("ping"))
    model.next()
    caller = Caller()
    call = begun(pool, subject, caller, lambda: client.completion_async("ping"))
    waiting.get(timeout=SOON)
    caller.leave()
    error = call.exception(SOON)
    assert type(error) is yagrpc.CallCancelledError
    assert "nothing was sent" in str(error)
    assert client.limits.submit_per_hour.waiting == 0
    assert model.arrived.empty()


def test_a_wait_for_the_connection_ends_with_the_caller(
    subject: Subject, nowhere: Nowhere, pool: futures.ThreadPoolExecutor
) -> None:
    client = subject.client(endpoint=nowhere.address, plaintext=True)
    caller = Caller()
    call = begun(pool, subject, caller, lambda: client.completion_async("ping"))
    nowhere.connected()
    caller.leave()
    error = call.exception(SOON)
    assert type(error) is yagrpc.CallCancelledError
    assert "nothing was sent" in str(error)


def test_what_outlives_the_answer_is_not_ended(subject: Subject, model: Model, asking: Any) -> None:
    model.go.set()
    caller = Caller(lambda: 0.0)
    caller.finish()
    caller.leave()
    assert not caller.ended
    with calling(caller):
        subject(asking.tokenize("ping"))
    assert model.next()["timeout"] > 5


def test_detached_calls_have_the_trace_and_no_deadline(subject: Subject, model: Model, asking: Any) -> None:
    model.go.set()
    with calling(Caller(lambda: HOUR, request_id="request-1", metadata=TRACE)) as caller:
        caller.leave()
        with detached():
            subject(asking.tokenize("ping"))
        with pytest.raises(yagrpc.CallCancelledError):
            subject(asking.tokenize("ping"))
    metadata = model.next()
    assert metadata["timeout"] < 100
    assert (metadata["x-client-request-id"], metadata["traceparent"]) == ("request-1", TRACE[0][1])
    with detached():
        assert CURRENT.get() is None


def test_a_token_that_many_use_is_not_obtained_for_one_caller_alone(
    subject: Subject, model: Model, pool: futures.ThreadPoolExecutor
) -> None:
    fetching, go = threading.Event(), threading.Event()
    seen: list[Caller | None] = []

    class Mine(yagrpc.FetchedCredentials):
        def fetch(self, timeout: float) -> yagrpc.AccessToken:
            seen.append(CURRENT.get())
            fetching.set()
            assert go.wait(SOON)
            return yagrpc.AccessToken("t1.token", 3600)

    model.go.set()
    client = subject.client(endpoint=model.address, plaintext=True, credentials=Mine())
    caller = Caller()
    call = begun(pool, subject, caller, lambda: client.tokenize("ping"))
    assert fetching.wait(SOON)
    caller.leave()
    assert type(call.exception(SOON)) is yagrpc.CallCancelledError
    go.set()
    subject(client.tokenize("ping"))
    assert seen == [None]


@pytest.mark.parametrize("why", ["left", "late"])
def test_no_token_is_obtained_for_a_caller_that_has_left_or_is_late(subject: Subject, model: Model, why: str) -> None:
    class Mine(yagrpc.FetchedCredentials):
        def fetch(self, timeout: float) -> yagrpc.AccessToken:
            raise AssertionError("a token was asked for")

    client = subject.client(endpoint=model.address, plaintext=True, credentials=Mine())
    caller = Caller(lambda: 0.0 if why == "late" else HOUR)
    if why == "left":
        caller.leave()
    expected = yagrpc.CallCancelledError if why == "left" else yagrpc.DeadlineExceededError
    with calling(caller), pytest.raises(expected, match="nothing was sent"):
        subject(client.tokenize("ping"))


def test_a_context_is_inherited_by_copies_only() -> None:
    with calling(Caller()) as caller:
        context = contextvars.copy_context()
    assert CURRENT.get() is None
    assert context.run(CURRENT.get) is caller


def test_what_is_registered_too_late_is_ended_at_once_and_a_failing_end_is_no_obstacle() -> None:
    ended: list[str] = []

    def fail() -> None:
        raise RuntimeError("an interceptor's")

    caller = Caller()
    caller.add(1, lambda: ended.append("first"))
    caller.add(2, fail)
    caller.add(3, lambda: ended.append("forgotten"))
    caller.forget(3)
    caller.leave()
    caller.add(4, lambda: ended.append("late"))
    assert ended == ["first", "late"]


def test_the_emulator_bills_nothing_for_an_expired_caller(subject: Subject, emulator: Emulator) -> None:
    client = subject.client(emulator)
    with calling(Caller(lambda: 0.0)):
        for name in ("completion", "completion_async"):
            with pytest.raises(yagrpc.DeadlineExceededError, match="nothing was sent"):
                subject(CALLS[name](client))
    assert not emulator.calls
    assert not emulator.generations
    assert paths.COMPLETION not in emulator.calls

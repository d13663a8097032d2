"""When a call, a wait and an operation start and end, as `Events` hear of it, for both clients over real gRPC."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

import yagrpc
from tests.contract.words import BOTH, DOWN, KINDS, UP, Words, word
from yagrpc import methods
from yagrpc.emulator import Emulator, Failure, Fault

CURRENT: contextvars.ContextVar[str] = contextvars.ContextVar("current", default="")


class Lifecycle(yagrpc.Events):
    """Keeps what starts and what ends."""

    def __init__(self) -> None:
        self.clients: list[Any] = []
        self.open: list[Any] = []
        self.ends: list[tuple[str, int, Any, Any]] = []
        self.waiting: list[Any] = []
        self.began = asyncio.Event()
        self.waits: list[tuple[tuple[str, ...], Any]] = []
        self.operations: list[tuple[str, float | None, float | None]] = []
        self.quotas: list[tuple[str, float]] = []
        self.causes: list[Any] = []

    def client_opened(self, client: Any) -> None:
        self.clients.append(client)

    def call_started(self, call: yagrpc.Call[Any, Any]) -> None:
        call.metadata = (*call.metadata, ("x-added", f"{len(self.ends)}"))
        self.open.append(call)

    def call_ended(self, call: yagrpc.Call[Any, Any], answer: Any, error: BaseException | None) -> None:
        self.open.remove(call)
        self.ends.append((call.method.name, call.attempts, answer, error))

    def attempt(self, call: yagrpc.Call[Any, Any], outcome: yagrpc.Outcome, verdict: yagrpc.Verdict | None) -> None:
        self.causes.append(outcome.cause)

    def waited_for_quota(self, call: yagrpc.Call[Any, Any], quota: str, seconds: float) -> None:
        self.quotas.append((quota, seconds))

    def wait_started(self, wait: Any) -> None:
        wait.within = contextvars.copy_context()
        wait.within.run(CURRENT.set, "in the wait")
        self.waiting.append(wait)
        self.began.set()

    def wait_ended(self, wait: Any, error: BaseException | None) -> None:
        self.waiting.remove(wait)
        self.waits.append((wait.operation_ids, error))

    def operation_ended(self, operation: Any, taken: float | None, delay: float | None) -> None:
        self.operations.append((operation.id, taken, delay))


class Gets(yagrpc.Events):
    """Keeps which context the Gets run in."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def polled(self, operation_id: str, outcome: Any) -> None:
        self.seen.add(CURRENT.get())


@pytest.fixture
def events() -> Lifecycle:
    return Lifecycle()


@pytest.fixture
def server() -> Iterator[Words]:
    """A server of all kinds of methods."""
    found = Words()
    yield found
    found.more.set()
    found.server.stop(None).wait()


def test_a_client_is_reported_once(subject: Any, emulator: Emulator, events: Lifecycle) -> None:
    client = subject.client(emulator, events=[events])
    assert events.clients == [client]


@pytest.mark.parametrize("kind", KINDS)
def test_each_call_of_each_kind_starts_and_ends_once(subject: Any, server: Words, events: Lifecycle, kind: str) -> None:
    server.more.set()
    client = subject.client(endpoint=server.address, plaintext=True, events=events)
    method = KINDS[kind]
    subject(client.call(method, iter([word("a")]) if method in (UP, BOTH) else word("a")))
    ((name, attempts, answer, error),) = events.ends
    assert (name, attempts, error) == (method.name, 1, None)
    assert answer.tokens[0].text == ("b" if method in (DOWN, BOTH) else "a")
    assert not events.open


def test_what_is_added_to_the_metadata_is_sent_with_each_attempt(
    subject: Any, emulator: Emulator, events: Lifecycle
) -> None:
    emulator.faults.add(Fault(Failure(grpc.StatusCode.UNAVAILABLE), method="TokenizerService/Tokenize", times=1))
    client = subject.client(emulator, events=events)
    subject(client.tokenize("hello"))
    assert [request.metadata["x-added"] for request in emulator.requests] == ["0", "0"]
    ((name, attempts, _, error),) = events.ends
    assert (name, attempts, error) == ("Tokenize", 2, None)
    assert [cause and cause.name for cause in events.causes] == ["MAY_HAVE_RUN", None]


def test_a_call_that_fails_ends_with_the_error_of_its_caller(
    subject: Any, emulator: Emulator, events: Lifecycle
) -> None:
    client = subject.client(emulator, events=events)
    with pytest.raises(yagrpc.InvalidArgumentError) as caught:
        subject(client.completion("hello", model="gpt://nothing"))
    assert [(name, error) for name, _, _, error in events.ends] == [("Completion", caught.value)]


def test_a_call_that_is_never_sent_ends_with_no_attempt(subject: Any, emulator: Emulator, events: Lifecycle) -> None:
    quota = yagrpc.Quota(tokenize_per_second=0.001)
    client = subject.client(emulator, events=events, quota=quota)
    subject(client.tokenize("hello"))
    with pytest.raises(yagrpc.QuotaWaitError):
        subject(client.tokenize("hello", timeout=0.01))
    assert [(attempts, type(error)) for _, attempts, _, error in events.ends] == [
        (1, type(None)),
        (0, yagrpc.QuotaWaitError),
    ]
    assert events.quotas == []


def test_a_wait_for_a_slot_is_reported_once_it_is_over(subject: Any, emulator: Emulator, events: Lifecycle) -> None:
    client = subject.client(emulator, events=events, quota=yagrpc.Quota(tokenize_per_second=5))
    for _ in range(6):
        subject(client.tokenize("hello"))
    ((quota, seconds),) = events.quotas
    assert quota == "tokenize_per_second"
    assert seconds > 0


@pytest.mark.parametrize("way", ["closed", "dropped", "failed"])
def test_a_stream_that_does_not_come_to_its_end_has_an_end(
    subject: Any, server: Words, events: Lifecycle, way: str
) -> None:
    client = subject.client(endpoint=server.address, plaintext=True, events=events)
    stream = client.call(DOWN, word("a"))
    assert subject.first(stream).tokens[0].text == "a"
    assert events.ends == []
    if way == "closed":
        subject(stream.close())
        subject(stream.close())
    elif way == "failed":
        server.server.stop(None).wait()
        with pytest.raises(yagrpc.YagrpcError):
            subject(stream)
    else:
        del stream
        gc.collect()
    ((name, _, answer, error),) = events.ends
    assert (name, answer.tokens[0].text) == ("Down", "a")
    assert isinstance(error, yagrpc.YagrpcError) == (way == "failed")


def test_a_stream_that_is_never_read_does_not_start(subject: Any, server: Words, events: Lifecycle) -> None:
    client = subject.client(endpoint=server.address, plaintext=True, events=events)
    subject(client.call(DOWN, word("a")).close())
    assert events.open == events.ends == []


def test_a_wait_starts_and_ends_and_its_gets_run_in_its_context(
    subject: Any, emulator: Emulator, events: Lifecycle
) -> None:
    gets = Gets()
    client = subject.client(emulator, events=[events, gets])
    operation = subject(client.completion_async("hello"))
    emulator.advance(3600)
    subject(operation.result(timeout=20))
    assert events.waits == [((operation.id,), None)]
    assert gets.seen == {"in the wait"}
    assert CURRENT.get() == ""
    ((found, taken, delay),) = events.operations
    assert found == operation.id
    assert taken == pytest.approx(3600, abs=60)  # as the emulator's clock says
    assert delay == 0  # that clock was moved
    subject(operation.result(timeout=20))
    assert len(events.waits) == 1, "an end that is known needs no wait"


def test_a_wait_that_is_over_before_the_operation_ends_with_its_error(
    subject: Any, emulator: Emulator, events: Lifecycle
) -> None:
    client = subject.client(emulator, events=events)
    operation = subject(client.completion_async("hello"))
    with pytest.raises(yagrpc.OperationTimeoutError) as caught:
        subject(operation.result(timeout=0))
    assert events.waits == [((operation.id,), caught.value)]
    assert events.operations == []


@pytest.mark.parametrize("way", ["gather", "wait", "as_completed", "left"])
def test_a_wait_for_many_is_one_wait(subject: Any, emulator: Emulator, events: Lifecycle, way: str) -> None:
    gets = Gets()
    client = subject.client(emulator, events=[events, gets])
    operations = [subject(client.completion_async("hello")) for _ in range(3)]
    ids = tuple(operation.id for operation in operations)
    emulator.advance(3600)
    if way == "gather":
        subject(subject.in_loop(lambda: yagrpc.gather(*operations, timeout=20)))
    elif way == "wait":
        subject(yagrpc.wait(operations, timeout=20))
    elif subject.kind == "sync":
        for _ in yagrpc.as_completed(operations, timeout=20):
            if way == "left":
                break
    else:
        subject(iterate(operations, left=way == "left"))
    gc.collect()
    assert events.waits == [(ids, None)]
    assert gets.seen == {"in the wait"}
    if way != "left":
        assert sorted(each for each, _, _ in events.operations) == sorted(ids)


async def iterate(operations: Any, *, left: bool) -> None:
    found = yagrpc.as_completed(operations, timeout=20).__aiter__()
    async for _ in found:
        if left:
            await found.aclose()  # type: ignore[attr-defined]
            break


def test_a_failed_gather_ends_its_wait_with_the_failure(subject: Any, events: Lifecycle) -> None:
    def answer(request: Any) -> Failure:
        return Failure(grpc.StatusCode.INTERNAL, "as scripted")

    with Emulator(duration=3600.0, replies=answer) as emulator:
        client = subject.client(emulator, events=events)
        operation = subject(client.completion_async("hello"))
        emulator.advance(3600)
        with pytest.raises(yagrpc.OperationFailedError) as caught:
            subject(subject.in_loop(lambda: yagrpc.gather(operation, timeout=20)))
        subject(client.close())
    ((ids, error),) = events.waits
    assert ids == (operation.id,)
    # A blocking gather reads the outcomes of operations that have ended: its wait itself has not failed.
    assert error is (caught.value if subject.kind == "aio" else None)


def test_a_cancelled_task_ends_its_call_and_its_wait(emulator: Emulator, events: Lifecycle) -> None:
    settings: dict[str, Any] = {"endpoint": emulator.address, "plaintext": True, "folder_id": "f"}

    async def run() -> None:
        async with yagrpc.AsyncClient(**settings, credentials="AQVN-key", events=events) as client:
            operation = await client.completion_async("hello")
            waiting = asyncio.ensure_future(operation.result())
            await asyncio.wait_for(events.began.wait(), 20)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            ((_, error),) = events.waits
            assert isinstance(error, asyncio.CancelledError)

    asyncio.run(run())
    assert not events.open


def test_the_polls_of_a_wait_end_before_it(subject: Any, emulator: Emulator, events: Lifecycle) -> None:
    client = subject.client(emulator, events=events)
    operation = subject(client.completion_async("hello"))
    emulator.advance(3600)
    subject(operation.result(timeout=20))
    names = [name for name, _, _, _ in events.ends]
    assert names[0] == methods.TextGenerationAsyncService.Completion.name
    assert set(names[1:]) == {"Get"}
    assert not events.open

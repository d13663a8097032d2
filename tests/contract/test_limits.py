"""Sending under quota, on both clients, against a server that enforces its quotas."""

from __future__ import annotations

import asyncio
import functools
import gc
import math
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb, methods
from yagrpc.emulator import Emulator, EmulatorQuota, paths

UNLIMITED = yagrpc.Quota(*[None] * len(yagrpc.Quota._fields))
ONE = yagrpc.Quota(concurrent_completions=1)


def message(text: str) -> _pb.text_generation_service_pb2.CompletionResponse:
    answer = _pb.text_common_pb2.Message(role="assistant", text=text)
    alternative = _pb.text_common_pb2.Alternative(
        message=answer, status=_pb.text_common_pb2.Alternative.ALTERNATIVE_STATUS_FINAL
    )
    return _pb.text_generation_service_pb2.CompletionResponse(alternatives=[alternative])


def request(text: str) -> _pb.text_generation_service_pb2.CompletionRequest:
    messages = [_pb.text_common_pb2.Message(role="user", text=text)]
    return _pb.text_generation_service_pb2.CompletionRequest(model_uri="gpt://f/yandexgpt/latest", messages=messages)


class Held:
    """A completion that gives one message, and ends when it is let go or the caller is gone."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.texts: list[str] = []

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self.texts.append(request.messages[-1].text)
        gone = threading.Event()
        context.add_callback(gone.set)
        yield message("first")
        while not gone.is_set() and not self.go.wait(0.01):
            pass
        if request.messages[-1].text == "fail":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "as asked")


@pytest.fixture
def held() -> Iterator[Held]:
    found = Held()
    yield found
    found.go.set()


# Under a server's quotas


@pytest.mark.usefixtures("counted_when_answered")
def test_a_crowd_of_submits_is_accepted_without_a_refusal(subject: Any) -> None:
    with Emulator(duration=3600.0, quota=EmulatorQuota(submit_per_second=100)) as emulator:
        client = subject.client(emulator, quota=yagrpc.Quota(submit_per_second=100))
        calls = [functools.partial(client.completion_async, f"number {number}") for number in range(200)]
        operations = subject.together(calls)
        assert len({operation.id for operation in operations}) == 200
        assert emulator.calls[paths.COMPLETION_ASYNC] == 200
        assert emulator.refusals == {}
        limits = client.limits
        assert (limits.submit_per_hour.used, limits.submit_per_hour.left) == (200, 4800)
        assert limits.submit_per_second.used <= 100


@pytest.mark.slow
@pytest.mark.usefixtures("counted_when_answered")
def test_a_crowd_of_submits_at_the_documented_quotas(subject: Any) -> None:
    with Emulator(duration=3600.0, quota=EmulatorQuota()) as emulator:
        client = subject.client(emulator)
        calls = [functools.partial(client.completion_async, f"number {number}") for number in range(200)]
        assert len({operation.id for operation in subject.together(calls)}) == 200
        assert emulator.refusals == {}


@pytest.mark.usefixtures("counted_when_answered")
def test_raw_calls_and_named_ones_share_a_quota(subject: Any) -> None:
    with Emulator(quota=EmulatorQuota(submit_per_second=3, tokenize_per_second=20)) as emulator:
        client = subject.client(emulator, quota=yagrpc.Quota(submit_per_second=3, tokenize_per_second=20))
        method = methods.TextGenerationAsyncService.Completion
        calls: list[Callable[[], Any]] = [functools.partial(client.call, method, request("raw")) for _ in range(2)]
        calls += [functools.partial(client.completion_async, "named") for _ in range(2)]
        calls += [functools.partial(client.tokenize, "words") for _ in range(15)]
        calls += [functools.partial(client.tokenize_completion, "words") for _ in range(15)]
        outcomes = subject.together(calls)
        assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
        assert emulator.refusals == {}


def test_so_many_completions_run_at_once(subject: Any) -> None:
    with Emulator(completion_duration=0.02, quota=EmulatorQuota(concurrent_completions=2)) as emulator:
        client = subject.client(emulator, quota=yagrpc.Quota(concurrent_completions=2))
        calls = [functools.partial(client.completion, f"number {number}") for number in range(12)]
        for number, completion in enumerate(subject.together(calls)):
            assert f"number {number}" in completion.text
        assert emulator.refusals == {}
        assert client.limits.concurrent_completions == yagrpc.Limit(2, 0, 2, 0)


def test_without_quotas_nothing_waits(subject: Any) -> None:
    for quota in (None, UNLIMITED):
        with Emulator(duration=3600.0) as emulator:
            client = subject.client(emulator, quota=quota)
            calls = [functools.partial(client.completion_async, "hello", timeout=30) for _ in range(40)]
            assert len({operation.id for operation in subject.together(calls)}) == 40
            assert client.limits == yagrpc.QuotaUse(*[yagrpc.Limit(None, 0, None, 0)] * len(yagrpc.QuotaUse._fields))


# Refusals, as others use the same quota


def test_a_refusal_by_a_rate_waits_for_the_window(subject: Any) -> None:
    with Emulator(duration=3600.0, quota=EmulatorQuota(submit_per_second=1)) as emulator:
        other, client = subject.client(emulator), subject.client(emulator)
        subject(other.completion_async("takes the slot"))
        operation = subject(client.completion_async("hello"))
        assert operation.id
        assert emulator.refusals[paths.COMPLETION_ASYNC, grpc.StatusCode.RESOURCE_EXHAUSTED] >= 1


def test_a_refusal_by_a_gauge_waits_for_a_slot(subject: Any, served: Any) -> None:
    def completion(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        if len(served.calls) < 2:
            text = "ai.textGenerationCompletionSessionsCount.count gauge quota limit exceed: allowed 10 requests"
            context.set_trailing_metadata((("x-request-id", "theirs"),))  # as the service does: it proves who refused
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        yield message("after all")

    client = subject.client(endpoint=served.start(completion=completion).address, plaintext=True)
    assert subject(client.completion("hello")).text == "after all"
    served.calls.clear()
    with pytest.raises(yagrpc.QuotaWaitError, match="concurrent_completions in 0.3 s") as caught:
        subject(client.completion("hello", timeout=0.3))
    assert caught.value.__cause__ is not None
    assert served.calls == ["completion"]
    assert client.limits.concurrent_completions.used == 0


def test_started_stream_is_not_opened_again(subject: Any, served: Any) -> None:
    def completion(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield message("first")
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "a.count gauge quota limit exceed: allowed 10 requests")

    client = subject.client(endpoint=served.start(completion=completion).address, plaintext=True)
    with pytest.raises(yagrpc.ResourceExhaustedError):
        subject(client.completion_stream("hello"))
    assert served.calls == ["completion"]
    assert client.limits.concurrent_completions.used == 0


# What a stream holds


def opened(subject: Any, client: Any, text: str = "hello") -> Any:
    """A stream that runs, and holds the only slot."""
    stream = client.completion_stream(text)
    assert subject.first(stream).text == "first"
    assert client.limits.concurrent_completions == yagrpc.Limit(1, 1, 0, 0)
    with pytest.raises(yagrpc.QuotaWaitError):
        subject(client.completion_stream("another", timeout=0))
    return stream


@pytest.mark.parametrize("way", ["end", "error", "close", "collection", "interrupted"])
def test_a_stream_gives_its_slot_back(way: str, subject: Any, served: Any, held: Held) -> None:
    client = subject.client(endpoint=served.start(completion=held).address, plaintext=True, quota=ONE)
    stream = opened(subject, client, "fail" if way == "error" else "hello")
    if way == "end":
        held.go.set()
        assert subject(stream) == []
    elif way == "error":
        held.go.set()
        with pytest.raises(yagrpc.InvalidArgumentError):
            subject(stream)
    elif way == "close":
        subject(stream.close())
        subject(stream.close())
    elif way == "interrupted":
        with pytest.raises(KeyError):
            _leave(subject, stream)
    del stream
    gc.collect()
    assert client.limits.concurrent_completions == yagrpc.Limit(1, 0, 1, 0)
    held.go.set()
    assert len(subject(client.completion_stream("another"))) == 1
    assert held.texts[-1] == "another"
    assert len(held.texts) == 2


def test_a_stream_that_nobody_keeps_is_over_at_once(subject: Any, served: Any, held: Held) -> None:
    """Whoever waits for its slot makes no garbage meanwhile, so that nothing would come to collect it."""
    client = subject.client(endpoint=served.start(completion=held).address, plaintext=True, quota=ONE)
    gc.disable()
    try:
        stream = client.completion_stream("hello")
        assert subject.first(stream).text == "first"
        del stream
        assert client.limits.concurrent_completions == yagrpc.Limit(1, 0, 1, 0)
    finally:
        gc.enable()


def _leave(subject: Any, stream: Any) -> None:
    if subject.kind == "sync":
        with stream:
            raise KeyError

    async def leave() -> None:
        async with stream:
            raise KeyError

    subject(leave())


def test_a_stream_that_could_not_be_opened_holds_nothing(subject: Any) -> None:
    client = subject.client(endpoint="127.0.0.1:1", plaintext=True, quota=ONE)
    stream = client.completion_stream("hello", timeout=0.2)
    with pytest.raises(yagrpc.UnavailableError):
        subject(stream)
    assert client.limits.concurrent_completions.used == 0


# Waiting


def test_first_come_first_served(subject: Any, served: Any, held: Held) -> None:
    client = subject.client(endpoint=served.start(completion=held).address, plaintext=True, quota=ONE)
    stream = opened(subject, client)
    numbers = range(8)

    def when(waiting: int) -> None:
        """Threads begin in any order, so each waits for the one before; tasks begin as they were created."""
        while subject.kind == "sync" and client.limits.concurrent_completions.waiting < waiting:
            threading.Event().wait(0.001)

    def call(number: int) -> Any:
        when(number)
        return client.completion(str(number))

    def let_go() -> Any:
        when(len(numbers))
        held.go.set()
        return stream.close()

    subject.together([*(functools.partial(call, number) for number in numbers), let_go])
    assert held.texts == ["hello", *map(str, numbers)]


def test_a_wait_that_cannot_end_in_time_fails_at_once_and_sends_nothing(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, quota=yagrpc.Quota(submit_per_hour=1))
    subject(client.completion_async("the only one"))
    with pytest.raises(yagrpc.QuotaWaitError) as caught:
        subject(client.completion_async("one too many", timeout=600, request_id="r-9"))
    error = caught.value
    assert (error.quota, error.client_request_id) == ("submit_per_hour", "r-9")
    assert error.method == paths.COMPLETION_ASYNC
    assert error.seconds is not None
    assert 3500 < error.seconds < 3700
    assert emulator.calls[paths.COMPLETION_ASYNC] == 1


def test_closing_the_client_ends_the_waits(subject: Any, served: Any, held: Held) -> None:
    client = subject.client(endpoint=served.start(completion=held).address, plaintext=True, quota=ONE)
    stream = opened(subject, client)  # as long as it is kept, it holds the slot

    def close() -> Any:
        while subject.kind == "sync" and client.limits.concurrent_completions.waiting < 3:
            threading.Event().wait(0.001)
        return client.close()

    *outcomes, _ = subject.together([*[functools.partial(client.completion, "waits")] * 3, close])
    assert [type(outcome) for outcome in outcomes] == [yagrpc.ClientClosedError] * 3
    assert held.texts == ["hello"]
    assert stream.last.text == "first"


def test_closing_a_stream_that_waits_ends_it(subject: Any, served: Any, held: Held) -> None:
    client = subject.client(endpoint=served.start(completion=held).address, plaintext=True, quota=ONE)
    first = opened(subject, client)
    waiting = client.completion_stream("waits")

    def items() -> Any:
        return list(waiting) if subject.kind == "sync" else _items(waiting)

    def close() -> Any:
        while subject.kind == "sync" and not client.limits.concurrent_completions.waiting:
            threading.Event().wait(0.001)
        return waiting.close()

    assert subject.together([items, close])[0] == []
    assert client.limits.concurrent_completions == yagrpc.Limit(1, 1, 0, 0)
    assert held.texts == ["hello"]
    subject(first.close())


async def _items(stream: Any) -> list[Any]:
    return [item async for item in stream]


async def test_a_cancelled_task_gives_its_place_to_the_next() -> None:
    with Emulator(duration=3600.0) as emulator:
        settings: dict[str, Any] = {"endpoint": emulator.address, "plaintext": True, "folder_id": "f"}
        quota = yagrpc.Quota(submit_per_second=1)
        async with yagrpc.AsyncClient(**settings, credentials=yagrpc.NoCredentials(), quota=quota) as client:
            await client.completion_async("takes the slot")
            tasks = [asyncio.create_task(client.completion_async(str(number), timeout=1.5)) for number in range(2)]
            with pytest.raises(yagrpc.QuotaWaitError):  # it came second, and could not have a slot
                await tasks[1]
            assert client.limits.submit_per_second.waiting == 1
            tasks[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            third = await client.completion_async("third", timeout=1.5)  # the place of the first
            assert third.id
        assert [sent.request.messages[0].text for sent in emulator.requests] == ["takes the slot", "third"]  # type: ignore[attr-defined]


def test_ctrl_c_ends_a_wait(emulator: Emulator) -> None:
    settings: dict[str, Any] = {"endpoint": emulator.address, "plaintext": True, "folder_id": "f"}
    with yagrpc.Client(**settings, credentials=yagrpc.NoCredentials(), quota=yagrpc.Quota(submit_per_hour=1)) as client:
        client.completion_async("takes the slot")

        main = threading.get_ident()

        def interrupt() -> None:
            while client.limits.submit_per_hour.waiting < 1:
                threading.Event().wait(0.001)
            signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            client.completion_async("waits", timeout=None)
        thread.join()
        assert client.limits.submit_per_hour.waiting == 0
    assert emulator.calls[paths.COMPLETION_ASYNC] == 1


def test_a_channel_of_the_host_is_limited_too(subject: Any, emulator: Emulator) -> None:
    def channel() -> Any:
        kind: Any = grpc if subject.kind == "sync" else grpc.aio
        return kind.insecure_channel(emulator.address)

    given = subject.in_loop(channel)
    client = subject.client(emulator, channel=given, quota=yagrpc.Quota(submit_per_hour=1))
    subject(client.completion_async("the only one"))
    with pytest.raises(yagrpc.QuotaWaitError):
        subject(client.completion_async("one too many", timeout=60))
    subject(given.close())


def test_cancelling_an_operation_is_not_limited(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, quota=yagrpc.Quota(submit_per_hour=1))
    operation = subject(client.completion_async("the only one"))
    for _ in range(20):
        subject(operation.cancel(timeout=10))
    assert emulator.calls[paths.OPERATION_CANCEL] == 20


def test_an_hour_that_is_used_up_by_others_is_said_to_be_that(subject: Any) -> None:
    """As after a restart: the client has counted nothing, and the service has."""
    with Emulator(quota=EmulatorQuota(submit_per_hour=1)) as emulator:
        subject(subject.client(emulator).completion_async("before the restart"))
        client = subject.client(emulator)
        with pytest.raises(
            yagrpc.QuotaWaitError, match="it was sent, and refused: .*PerHour.* allowed 1 req"
        ) as caught:
            subject(client.completion_async("after it", timeout=6))
        assert caught.value.quota == "submit_per_hour"
        assert caught.value.attempts == emulator.calls[paths.COMPLETION_ASYNC] - 1 > 0
        assert isinstance(caught.value.__cause__, yagrpc.ResourceExhaustedError)
        with pytest.raises(
            yagrpc.QuotaWaitError, match="nothing was sent: the service refused calls before it: .*Hour"
        ):
            subject(client.completion_async("one more", timeout=0.01))


class Waits(yagrpc.Events):
    """Counts the calls that wait for a slot for long."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)

    def waiting_for_quota(self, call: Any, quota: str, seconds: float | None) -> None:
        """One of them does."""
        self.waiting.release()


def test_a_default_timeout_does_not_count_the_queue(subject: Any) -> None:
    """A wait that is longer than the default timeout is no failure; one that the caller gave is over it."""
    with Emulator(quota=EmulatorQuota()) as emulator:
        waits, quota = Waits(), yagrpc.Quota(submit_per_hour=1, embeddings_per_second=0.01)
        client = subject.client(emulator, quota=quota, events=waits)
        subject(client.completion_async("the first"))
        subject(client.text_embedding("the first"))
        for late in (client.completion_async, client.text_embedding):
            with pytest.raises(yagrpc.QuotaWaitError):
                subject(late("it has 60 s", timeout=60))

        async def wait_and_close() -> None:
            await asyncio.get_running_loop().run_in_executor(None, lambda: [waits.waiting.acquire() for _ in range(2)])
            await client.close()

        def closing() -> Any:
            if subject.kind == "aio":
                return wait_and_close()
            waits.waiting.acquire()
            waits.waiting.acquire()
            return client.close()

        calls = [lambda: client.completion_async("the second"), lambda: client.text_embedding("the second"), closing]
        outcomes = subject.together(calls)
        assert [type(outcome) for outcome in outcomes[:2]] == [yagrpc.ClientClosedError] * 2


@pytest.mark.parametrize("timeout", [0, 1e-9, 0.0049])
def test_a_generation_without_time_is_not_sent(subject: Any, emulator: Emulator, timeout: float) -> None:
    """Also on a connection that is there."""
    client = subject.client(emulator)
    subject(client.tokenize("so that it is connected"))
    request = {"modelUri": "gpt://folder/yandexgpt", "messages": [{"role": "user", "text": "hi"}]}
    asks: list[Callable[[], Any]] = [
        lambda: client.completion("hi", timeout=timeout),
        lambda: client.completion_stream("hi", timeout=timeout),
        lambda: client.completion_async("hi", timeout=timeout),
        lambda: client.call("TextGenerationService/Completion", request, timeout=timeout),
        lambda: client.call("TextGenerationAsyncService/Completion", request, timeout=timeout),
        lambda: client.call("ImageGenerationAsyncService/Generate", {}, timeout=timeout),
    ]
    for ask in asks:
        with pytest.raises(yagrpc.DeadlineExceededError, match="is over, nothing was sent"):
            subject(ask())
    assert set(emulator.calls) == {paths.TOKENIZE}


@pytest.mark.parametrize("timeout", [-1, -1e-9, -math.inf, math.nan])
def test_a_negative_timeout_is_refused_by_every_method(subject: Any, emulator: Emulator, timeout: float) -> None:
    client = subject.client(emulator)
    operation = client.operation("d7q")
    asks: list[Callable[[], Any]] = [
        lambda: client.completion("hi", timeout=timeout),
        lambda: client.completion_stream("hi", timeout=timeout),
        lambda: client.completion_async("hi", timeout=timeout),
        lambda: client.tokenize("hi", timeout=timeout),
        lambda: client.tokenize_completion("hi", timeout=timeout),
        lambda: client.text_embedding("hi", timeout=timeout),
        lambda: client.text_embedding(["hi"], timeout=timeout),
        lambda: client.call("TokenizerService/Tokenize", {"text": "hi"}, timeout=timeout),
        lambda: operation.done(timeout),
        lambda: operation.refresh(timeout),
        lambda: operation.result(timeout),
        lambda: operation.cancel(timeout=timeout),
    ]
    for ask in asks:
        with pytest.raises(yagrpc.RequestError, match="timeout is "):
            subject(ask())
    assert not emulator.calls

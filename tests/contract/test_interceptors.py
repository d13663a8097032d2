"""Interceptors, and channels of the host's, that give no more than they owe.

A blocking interceptor owes a unary rpc an object with `result()`, and a stream an iterator: those of OpenTelemetry and
of Prometheus give generators. An asyncio one owes something to await, or an asynchronous iterator. Metadata, a status,
`cancel` and `done` are gRPC's own objects'.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from typing import Any

import grpc
import grpc.aio
import pytest

import yagrpc
from tests.contract.words import BOTH, DOWN, KINDS, UP, Words, word
from yagrpc.emulator import Emulator


@pytest.fixture
def server() -> Iterator[Words]:
    """The server."""
    found = Words()
    yield found
    found.more.set()
    found.server.stop(None).wait()


class Result:
    """What an interceptor owes a unary rpc: nothing but `result()`."""

    def __init__(self, rpc: Any) -> None:
        self._rpc = rpc

    def result(self, timeout: float | None = None) -> Any:
        return self._rpc.result()


class Bare(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Gives what a blocking interceptor owes; the rpc of a stream starts with the first message, as OpenTelemetry's."""

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return Result(continuation(client_call_details, request))

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        yield from continuation(client_call_details, request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return Result(continuation(client_call_details, request_iterator))

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        yield from continuation(client_call_details, request_iterator)


class Awaited(grpc.aio.UnaryUnaryCall[Any, Any]):
    """What an asyncio interceptor owes a unary rpc: its answer, and what gRPC's own destructor calls."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __await__(self) -> Any:
        return self._call.__await__()

    def _missing(self, *_: Any) -> Any:
        raise NotImplementedError

    initial_metadata = trailing_metadata = code = details = wait_for_connection = _missing
    time_remaining = _missing

    def add_done_callback(self, callback: Any) -> None:
        raise NotImplementedError

    def cancel(self) -> bool:
        return False

    cancelled = cancel

    def done(self) -> bool:
        return True


class AsyncBareUnary(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return Awaited(await continuation(client_call_details, request))


class AsyncBareStream(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return messages_of(await continuation(client_call_details, request))


class AsyncBareUpload(grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return Awaited(await continuation(client_call_details, request_iterator))


class AsyncBareBoth(grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return messages_of(await continuation(client_call_details, request_iterator))


async def messages_of(call: Any) -> AsyncIterator[Any]:
    """The messages of a call, and no more."""
    async for message in call:
        yield message


class BareChannel(grpc.Channel):
    """A host's blocking channel whose callables are functions: no `with_call`, no `future`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._inner = grpc.intercept_channel(channel, Bare())

    def subscribe(self, callback: Any, try_to_connect: bool | None = False) -> None:
        self._inner.subscribe(callback, bool(try_to_connect))

    def unsubscribe(self, callback: Any) -> None:
        self._inner.unsubscribe(callback)

    def unary_unary(self, *given: Any, **named: Any) -> Any:
        return self._inner.unary_unary(*given, **named).__call__

    def unary_stream(self, *given: Any, **named: Any) -> Any:
        return self._inner.unary_stream(*given, **named).__call__

    def stream_unary(self, *given: Any, **named: Any) -> Any:
        return self._inner.stream_unary(*given, **named).__call__

    def stream_stream(self, *given: Any, **named: Any) -> Any:
        return self._inner.stream_stream(*given, **named).__call__

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> BareChannel:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def bare(subject: Any, address: str, where: str) -> Any:
    """A client whose interceptors, or whose channel, give what they owe."""
    if where == "interceptors":
        aio = [AsyncBareUnary(), AsyncBareStream(), AsyncBareUpload(), AsyncBareBoth()]
        interceptors: list[Any] = [Bare()] if subject.kind == "sync" else aio
        return subject.client(endpoint=address, plaintext=True, interceptors=interceptors)
    if subject.kind == "aio":
        pytest.skip("grpc.aio's callables promise a call of gRPC's")
    channel = BareChannel(grpc.insecure_channel(address))
    client = subject.client(channel=channel, operation_channel=channel, endpoints={"yandex.cloud.ai.stt": address})
    client._transport.channels.given = dict.fromkeys(client._transport.channels.given, channel)
    return client


@pytest.fixture(params=["interceptors", "channel"])
def where(request: pytest.FixtureRequest) -> str:
    """What stands between the client and gRPC."""
    found: str = request.param
    return found


def request_of(method: Any) -> Any:
    """A request of a method, or the stream of them."""
    return iter([word("a")]) if method in (UP, BOTH) else word("a")


@pytest.mark.parametrize("kind", KINDS)
def test_an_interceptor_owes_no_more_than_an_answer(subject: Any, server: Words, where: str, kind: str) -> None:
    server.more.set()
    client = bare(subject, server.address, where)
    answer = subject(client.call(KINDS[kind], request_of(KINDS[kind])))
    if kind in ("stream", "both"):
        assert [one.tokens[0].text for one in answer] == ["a", "b"]
    else:
        assert answer.tokens[0].text == "a"
    subject(client.close())


def test_every_method_works_with_interceptors_that_give_what_they_owe(
    subject: Any, emulator: Emulator, where: str
) -> None:
    client = bare(subject, emulator.address, where)
    assert "hello" in subject(client.completion("hello")).text
    assert "hello" in subject(client.completion_stream("hello"))[-1].text
    assert subject(client.tokenize("hello"))
    operation = subject(client.completion_async("hello"))
    emulator.advance(3600)
    assert "hello" in subject(operation.result(timeout=30)).text
    assert client.limits.concurrent_completions.used == 0
    with pytest.raises(yagrpc.OperationNotFoundError):
        subject(client.operation("nothing").result(timeout=30))
    with pytest.raises(yagrpc.InvalidArgumentError):
        subject(client.completion_stream("hello", model="gpt://nothing"))
    subject(client.close())


@pytest.mark.parametrize("method", [DOWN, BOTH], ids=["stream", "both"])
@pytest.mark.parametrize("way", ["closed", "dropped"])
def test_a_stream_of_an_interceptor_that_is_left_ends_at_the_server(
    subject: Any, server: Words, where: str, method: Any, way: str
) -> None:
    client = bare(subject, server.address, where)
    stream = client.call(method, request_of(method))
    assert subject.first(stream).tokens[0].text == "a"
    if way == "closed":
        subject(stream.close())
        assert subject(stream) == []
    else:
        del stream
        gc.collect()
    ended(subject, server)
    subject(client.close())


def ended(subject: Any, server: Words) -> None:
    """Wait until the server knows that its stream has ended; the event loop runs meanwhile."""
    if subject.kind == "sync":
        assert server.ended.wait(30)
    else:
        waited = asyncio.to_thread(server.ended.wait, 30)
        assert subject(waited)


def test_a_stream_that_another_thread_closes_ends_with_the_next_message(server: Words) -> None:
    """A generator that runs can't be closed: it is, once it has given what it is waiting for."""
    settings: dict[str, Any] = {"folder_id": "f", "credentials": yagrpc.NoCredentials(), "plaintext": True}
    with yagrpc.Client(endpoint=server.address, interceptors=[Bare()], **settings) as client:
        stream = client.call(DOWN, word("a"))
        assert next(stream).tokens[0].text == "a"
        with futures.ThreadPoolExecutor(1) as pool:
            reading = pool.submit(list, stream)
            while not stream._responses._messages.gi_running:  # type: ignore[union-attr]
                pass
            stream.close()
            server.more.set()
            assert reading.result(30) == []
        assert server.ended.wait(30)


class Unclean(grpc.UnaryStreamClientInterceptor):
    """Its generator fails while it is closed."""

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        try:
            yield from continuation(client_call_details, request)
        except GeneratorExit:
            raise OSError("no span was written") from None


class AsyncUnclean(grpc.aio.UnaryStreamClientInterceptor):
    """Its call fails while it is cancelled."""

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        call = await continuation(client_call_details, request)
        cancel = call.cancel

        def unclean() -> bool:
            call.cancel = cancel  # gRPC's own destructor cancels once more
            cancel()
            raise OSError("no span was written")

        call.cancel = unclean
        return call


def test_cleaning_up_never_replaces_an_answer(subject: Any, server: Words) -> None:
    interceptors: list[Any] = [Unclean()] if subject.kind == "sync" else [AsyncUnclean()]
    client = subject.client(endpoint=server.address, plaintext=True, interceptors=interceptors)
    stream = client.call(DOWN, word("a"))
    assert subject.first(stream).tokens[0].text == "a"
    subject(stream.close())
    assert stream.last.tokens[0].text == "a"
    ended(subject, server)


class Odd(grpc.UnaryUnaryClientInterceptor):
    """Gives a call whose metadata are no pairs."""

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        call = continuation(client_call_details, request)
        call.initial_metadata = lambda: ["odd", 5]
        call.trailing_metadata = lambda: 5
        return call


class AsyncOdd(grpc.aio.UnaryUnaryClientInterceptor):
    """The same on asyncio."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        call = await continuation(client_call_details, request)

        async def odd() -> Any:
            return ["odd", 5]

        call.initial_metadata = call.trailing_metadata = odd
        return call


def test_metadata_that_are_none_hide_neither_an_answer_nor_an_id(subject: Any, emulator: Emulator) -> None:
    interceptors: list[Any] = [Odd()] if subject.kind == "sync" else [AsyncOdd()]
    client = subject.client(emulator, interceptors=interceptors)
    assert subject(client.completion_async("hello")).id
    assert subject(client.tokenize("hello"))

"""Calls that are left without a word: they end at the server, whatever version of gRPC is below."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import yagrpc
from tests.contract.words import BOTH, DOWN, GET, UP, Words, word


@pytest.fixture
def server() -> Iterator[Words]:
    """The server."""
    found = Words()
    yield found
    found.more.set()
    found.server.stop(None).wait()


def request_of(method: Any, asynchronous: bool = False) -> Any:
    """A request of a method, or the stream of them, which does not end where it is asynchronous."""
    if method is DOWN:
        return word("a")

    async def endless() -> AsyncIterator[Any]:
        yield word("a")
        await asyncio.Event().wait()

    return endless() if asynchronous else iter([word("a")])


def occurs(subject: Any, event: threading.Event) -> bool:
    """Whether something happens at the server; the event loop runs meanwhile."""
    if subject.kind == "sync":
        return event.wait(30)
    happened: bool = subject(asyncio.to_thread(event.wait, 30))
    return happened


@pytest.mark.parametrize("method", [DOWN, BOTH], ids=["stream", "both"])
@pytest.mark.parametrize("way", ["closed", "dropped", "with", "generator closed", "generator dropped"])
def test_a_stream_that_is_left_ends_at_the_server(subject: Any, server: Words, method: Any, way: str) -> None:
    client = subject.client(endpoint=server.address, plaintext=True)
    stream = client.call(method, request_of(method, subject.kind == "aio"))
    if way.startswith("generator"):
        generator: Any = passed_on(stream) if subject.kind == "sync" else passed_on_later(stream)
        del stream
        assert subject.first(generator).tokens[0].text == "a"
        if way == "generator closed":
            subject(generator.close() if subject.kind == "sync" else generator.aclose())
        else:
            del generator
            gc.collect()
    else:
        assert subject.first(stream).tokens[0].text == "a"
        if way == "closed":
            subject(stream.close())
        elif way == "with":
            _with(subject, stream)
        else:
            del stream
            gc.collect()
    assert occurs(subject, server.ended)


def passed_on(stream: Any) -> Iterator[Any]:
    """A user's generator over a stream."""
    yield from stream


async def passed_on_later(stream: Any) -> AsyncIterator[Any]:
    """The same on asyncio."""
    async for message in stream:
        yield message


def _with(subject: Any, stream: Any) -> None:
    if subject.kind == "sync":
        with stream:
            return

    async def left() -> None:
        async with stream:
            return

    subject(left())


@pytest.mark.parametrize("method", [DOWN, BOTH], ids=["stream", "both"])
def test_a_stream_that_another_thread_drops_ends_at_the_server(server: Words, method: Any) -> None:
    """As where the collector of garbage runs in another thread than the event loop."""

    async def main() -> None:
        settings: dict[str, Any] = {"folder_id": "f", "credentials": yagrpc.NoCredentials(), "plaintext": True}
        async with yagrpc.AsyncClient(endpoint=server.address, **settings) as client:
            streams = [client.call(method, request_of(method, asynchronous=True))]
            assert (await anext(streams[0])).tokens[0].text == "a"
            await asyncio.to_thread(streams.clear)
            assert await asyncio.to_thread(server.ended.wait, 30)

    asyncio.run(main())


@pytest.mark.parametrize("method", [GET, UP], ids=["unary", "upload"])
@pytest.mark.parametrize("way", ["cancelled", "closed"])
def test_a_coroutine_that_is_left_ends_its_rpc_at_the_server(server: Words, method: Any, way: str) -> None:
    async def main() -> None:
        settings: dict[str, Any] = {"folder_id": "f", "credentials": yagrpc.NoCredentials(), "plaintext": True}
        async with yagrpc.AsyncClient(endpoint=server.address, **settings) as client:
            await client.call(GET, word("a"))  # connected, so that one step sends
            coroutine = client.call(method, word("wait") if method is GET else iter([word("wait")]))
            if way == "closed":
                coroutine.send(None)
                assert await asyncio.to_thread(server.came.wait, 30)
                coroutine.close()
            else:
                task = asyncio.ensure_future(coroutine)
                assert await asyncio.to_thread(server.came.wait, 30)
                task.cancel()
            assert await asyncio.to_thread(server.ended.wait, 30)

    asyncio.run(main())

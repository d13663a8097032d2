"""OpenTelemetry's instrumentation of gRPC's servers, the real package, beside the interceptors of `yagrpc.serving`."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.instrumentation.grpc import aio_server_interceptor, server_interceptor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import yagrpc
from yagrpc import serving

ONE, MANY = "/a.B/One", "/a.B/Many"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(spans: InMemorySpanExporter) -> TracerProvider:
    found = TracerProvider()
    found.add_span_processor(SimpleSpanProcessor(spans))
    return found


def handlers(one: Any, many: Any) -> Any:
    """A service with a unary method and one that streams its answer; messages are bytes."""
    table: Any = {
        "One": grpc.unary_unary_rpc_method_handler(one),
        "Many": grpc.unary_stream_rpc_method_handler(many),
    }
    return grpc.method_handlers_generic_handler("a.B", table)


def call_each(channel: grpc.Channel) -> None:
    """Both methods answer, and both failures have the status of the table."""
    one: Any = channel.unary_unary(ONE)
    many: Any = channel.unary_stream(MANY)
    assert one(b"hello", timeout=30) == b"hello"
    assert list(many(b"hello", timeout=30)) == [b"hello", b"hello"]
    with pytest.raises(grpc.RpcError) as caught:
        one(b"fail", timeout=30)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as caught:
        list(many(b"fail", timeout=30))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def check(request: bytes) -> bytes:
    if request == b"fail":
        raise yagrpc.InvalidArgumentError("no")
    return request


def test_a_blocking_server_is_instrumented(provider: TracerProvider, spans: InMemorySpanExporter) -> None:
    def one(request: bytes, context: Any) -> bytes:
        return check(request)

    def many(request: bytes, context: Any) -> Iterator[bytes]:
        yield check(request)
        yield request

    interceptors = [server_interceptor(tracer_provider=provider), serving.ServerInterceptor()]
    server = grpc.server(futures.ThreadPoolExecutor(2), interceptors=interceptors)
    server.add_generic_rpc_handlers((handlers(one, many),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call_each(channel)
    server.stop(None).wait()
    assert sorted(span.name for span in spans.get_finished_spans()) == [MANY, MANY, ONE, ONE]


async def test_an_asyncio_server_is_instrumented(provider: TracerProvider, spans: InMemorySpanExporter) -> None:
    async def one(request: bytes, context: Any) -> bytes:
        return check(request)

    async def many(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield check(request)
        yield request

    interceptors = [aio_server_interceptor(tracer_provider=provider), serving.AsyncServerInterceptor()]
    server = grpc.aio.server(interceptors=interceptors)
    server.add_generic_rpc_handlers((handlers(one, many),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        await asyncio.to_thread(call_each, channel)
    await server.stop(None)
    assert sorted(span.name for span in spans.get_finished_spans()) == [MANY, MANY, ONE, ONE]


@pytest.mark.parametrize("instrumented", [False, True])
async def test_the_generator_of_a_caller_that_leaves_is_closed_without_the_collector(
    instrumented: bool, provider: TracerProvider
) -> None:
    """It waits for a message to be taken, and no step of it comes any more."""
    full, closed = asyncio.Event(), asyncio.Event()

    async def many(request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            while True:
                asyncio.get_running_loop().call_later(0.1, full.set)
                yield b"x" * 200_000
                full.clear()
        finally:
            closed.set()

    interceptors: list[Any] = [serving.AsyncServerInterceptor()]
    if instrumented:
        interceptors.insert(0, aio_server_interceptor(tracer_provider=provider))
    server = grpc.aio.server(interceptors=interceptors)
    server.add_generic_rpc_handlers((handlers(many, many),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    gc.disable()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            method: Any = channel.unary_stream(MANY)
            call = method(b"")
            await call.read()
            await asyncio.wait_for(full.wait(), 30)
            call.cancel()
            await asyncio.wait_for(closed.wait(), 30)
    finally:
        gc.enable()
    await server.stop(None)

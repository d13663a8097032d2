"""gRPC's own OpenTelemetry instrumentation, of the real package: every kind of call works with it, and is in its trace.

It is used in each of its ways: for all channels of the process, on a host's channel, and as interceptors. Alone, and
beside yagrpc's own telemetry, whose spans are then around those of the instrumentation.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import (
    GrpcAioInstrumentorClient,
    GrpcInstrumentorClient,
    aio_client_interceptors,
    client_interceptor,
)
from opentelemetry.instrumentation.grpc.grpcext import intercept_channel
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import yagrpc
from tests.contract.words import BOTH, DOWN, KINDS, UP, Words, word
from yagrpc.emulator import Emulator, paths
from yagrpc.integrations import otel

WAYS = ("global", "interceptors")
GRPC = "opentelemetry.instrumentation.grpc"


class Traced:
    """A client with the instrumentation, and the spans that have ended.

    Args:
        subject: Which client.
        way: How the instrumentation gets at its channels.
        both: Whether the client has yagrpc's own telemetry, too.
    """

    def __init__(self, subject: Any, way: str, *, both: bool) -> None:
        self.subject = subject
        self.way = way
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")
        self._events = [otel.Telemetry(tracer_provider=self.provider)] if both else None
        self._channels: list[grpc.Channel] = []

    def client(self, address: str, **settings: Any) -> Any:
        """A client of an address."""
        if self.way == "interceptors" and self.subject.kind == "sync":  # OpenTelemetry's are none of gRPC's
            inner = grpc.insecure_channel(address)
            self._channels.append(inner)
            channel = intercept_channel(inner, client_interceptor(tracer_provider=self.provider))
            settings |= {"channel": channel, "operation_channel": channel}
        elif self.way == "interceptors":
            settings["interceptors"] = aio_client_interceptors(tracer_provider=self.provider)
        if self._events is not None:
            settings["events"] = self._events
        return self.subject.client(**{"endpoint": address, "plaintext": True, **settings})

    def spans(self, scope: str = GRPC) -> list[ReadableSpan]:
        """The spans of one library, in the order of their ends."""
        found = self.exporter.get_finished_spans()
        return [span for span in found if span.instrumentation_scope and span.instrumentation_scope.name == scope]

    def close(self) -> None:
        for channel in self._channels:
            channel.close()


@pytest.fixture(params=["alone", "beside"])
def traced(subject: Any, request: pytest.FixtureRequest, way: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    found = Traced(subject, way, both=request.param == "beside")
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", found.provider)  # the blocking one takes no other
    instrumentors: list[Any] = [GrpcInstrumentorClient(), GrpcAioInstrumentorClient()] if way == "global" else []
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=found.provider)
    yield found
    subject.close_clients()
    for instrumentor in instrumentors:
        instrumentor.uninstrument()
    found.close()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How the instrumentation gets at the channels."""
    found: str = request.param
    return found


@pytest.fixture
def server() -> Iterator[Words]:
    """A server of all kinds of methods."""
    found = Words()
    yield found
    found.more.set()
    found.server.stop(None).wait()


def test_every_method_works_and_is_in_the_trace(
    traced: Traced, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    subject, client = traced.subject, traced.client(emulator.address)
    with traced.tracer.start_as_current_span("caller") as caller:
        assert "hello" in subject(client.completion("hello")).text
        assert "hello" in subject(client.completion_stream("hello"))[-1].text
        assert subject(client.tokenize("hello"))
        assert len(subject(client.text_embedding(["a", "b", "c"]))) == 3
        operation = subject(client.completion_async("hello"))
        emulator.advance(3600)
        assert "hello" in subject(operation.result(timeout=30)).text
        with pytest.raises(yagrpc.OperationNotFoundError):
            subject(client.operation("nothing").result(timeout=30))
        with pytest.raises(yagrpc.InvalidArgumentError):
            subject(client.completion_stream("hello", model="gpt://nothing"))
        with pytest.raises(yagrpc.InvalidArgumentError):
            subject(client.completion_async("hello", model="gpt://nothing"))
    subject(client.close())
    trace_id = format(caller.get_span_context().trace_id, "032x")
    sent = [str(request.metadata["traceparent"]) for request in emulator.requests]
    assert {each.split("-")[1] for each in sent} == {trace_id}
    spans = traced.spans()
    assert sorted(format(span.context.span_id, "016x") for span in spans) == sorted(each.split("-")[2] for each in sent)
    assert [span.name for span in spans].count(paths.COMPLETION_ASYNC) == 2
    own = {span.context.span_id: span for span in traced.spans("yagrpc")}
    for span in spans:
        assert span.parent is not None
        if own:
            around = own[span.parent.span_id]
            assert around.attributes is not None
            assert f"/{around.attributes['rpc.method']!s}" == span.name
        elif span.name != paths.OPERATION_GET:
            assert span.parent.span_id == caller.get_span_context().span_id
    assert client.limits.concurrent_completions.used == 0
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("kind", KINDS)
def test_calls_of_every_kind_work(traced: Traced, server: Words, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    server.more.set()
    client = traced.client(server.address, endpoints={"yandex.cloud.ai.stt": server.address})
    method = KINDS[kind]
    with traced.tracer.start_as_current_span("caller") as caller:
        answer = traced.subject(client.call(method, iter([word("a")]) if method in (UP, BOTH) else word("a")))
    if method in (DOWN, BOTH):
        assert [one.tokens[0].text for one in answer] == ["a", "b"]
    else:
        assert answer.tokens[0].text == "a"
    traced.subject(client.close())
    (span,) = traced.spans()
    assert span.name == method.path
    assert span.context.trace_id == caller.get_span_context().trace_id
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("method", [DOWN, BOTH], ids=["stream", "both"])
@pytest.mark.parametrize("end", ["closed", "dropped"])
def test_a_stream_that_is_left_ends_at_the_server(
    traced: Traced, server: Words, method: Any, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = traced.client(server.address, endpoints={"yandex.cloud.ai.stt": server.address})
    stream = client.call(method, iter([word("a")]) if method is BOTH else word("a"))
    assert traced.subject.first(stream).tokens[0].text == "a"
    if end == "closed":
        traced.subject(stream.close())
        assert traced.subject(stream) == []
    else:
        del stream
        gc.collect()
    traced.subject.until(server.ended)
    traced.subject(client.close())
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_the_current_span_of_the_reader_is_its_own(traced: Traced, emulator: Emulator) -> None:
    client = traced.client(emulator.address)
    if traced.subject.kind == "sync" and not traced.spans("yagrpc") and traced._events is None:
        pytest.skip("OpenTelemetry's generator sets the current span of whoever reads it")
    with traced.tracer.start_as_current_span("caller") as caller:
        stream = client.completion_stream("hello")
        traced.subject.first(stream)
        assert trace.get_current_span() is caller
        traced.subject(stream.close())

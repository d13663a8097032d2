"""yagrpc's own OpenTelemetry spans and metrics, for both clients over real gRPC."""

from __future__ import annotations

import gc
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import yagrpc
from tests.contract.words import BOTH, DOWN, KINDS, UP, Words, word
from yagrpc import serving
from yagrpc.bulk.recording.reported import ReportedRows
from yagrpc.emulator import Emulator, Failure, Fault
from yagrpc.integrations import conventions, genai, otel
from yagrpc.journal.changes import Fixed

CHAT = "yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion"
SUBMIT = "yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService/Completion"
TOKENIZE = "yandex.cloud.ai.foundation_models.v1.TokenizerService/Tokenize"
GET = "yandex.cloud.operation.OperationService/Get"


class Recorded:
    """Telemetry of the SDK in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.spans_of = TracerProvider()
        self.spans_of.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.tracer = self.spans_of.get_tracer("test")

    def telemetry(self, **settings: Any) -> otel.Telemetry:
        """The subscriber."""
        return otel.Telemetry(tracer_provider=self.spans_of, meter_provider=self.meters, **settings)

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """The spans that have ended, or those of a name."""
        return [span for span in self.exporter.get_finished_spans() if name in ("", span.name)]

    def rows(self) -> list[Any]:
        """The spans of rows of bulk runs."""
        return self.spans("bulk row")

    def span(self, name: str) -> Any:
        """The only span of a name."""
        (found,) = self.spans(name)
        return found

    def metrics(self) -> dict[str, list[Any]]:
        """The points of each metric."""
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}

    def text(self) -> str:
        """All that was recorded."""
        spans = "".join(span.to_json() for span in self.spans())
        data = self.reader.get_metrics_data()
        return spans + (data.to_json() if data else "")


@pytest.fixture
def recorded(caplog: pytest.LogCaptureFixture) -> Iterator[Recorded]:
    """What is recorded; nothing of it may fail."""
    yield Recorded()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.fixture
def server() -> Iterator[Words]:
    """A server of all kinds of methods."""
    found = Words()
    yield found
    found.more.set()
    found.server.stop(None).wait()


def test_a_completion_has_a_span_by_the_conventions(subject: Any, emulator: Emulator, recorded: Recorded) -> None:
    client = subject.client(emulator, events=recorded.telemetry())
    completion = subject(client.completion("hello", temperature=0.5, max_tokens=100, request_id="mine"))
    span = recorded.span("chat yandexgpt")
    assert span.kind is trace.SpanKind.CLIENT
    host, port = emulator.address.split(":")
    assert dict(span.attributes) == {
        "rpc.system.name": "grpc",
        "rpc.method": CHAT,
        "rpc.response.status_code": "OK",
        "server.address": host,
        "server.port": int(port),
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "yandex_cloud",
        "gen_ai.request.model": "yandexgpt",
        "gen_ai.request.stream": False,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.response.model": completion.model_version,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": completion.usage.input_text_tokens,
        "gen_ai.usage.output_tokens": completion.usage.completion_tokens,
        "yagrpc.attempts": 1,
        "yagrpc.client_request_id": "mine",
    }
    assert span.status.is_unset
    (event,) = span.events
    assert event.name == "attempt"
    assert event.attributes["yagrpc.attempt.number"] == 1
    (request,) = emulator.requests
    trace_id, span_id = format(span.context.trace_id, "032x"), format(span.context.span_id, "016x")
    assert str(request.metadata["traceparent"]).split("-")[1:3] == [trace_id, span_id]


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_of_every_kind_has_one_span(subject: Any, server: Words, recorded: Recorded, kind: str) -> None:
    server.more.set()
    client = subject.client(endpoint=server.address, plaintext=True, events=recorded.telemetry())
    method = KINDS[kind]
    with recorded.tracer.start_as_current_span("caller") as caller:
        subject(client.call(method, iter([word("a")]) if method in (UP, BOTH) else word("a")))
    span = recorded.span(method.path[1:])
    assert span.parent.span_id == caller.get_span_context().span_id
    assert span.attributes["rpc.response.status_code"] == "OK"


def test_embeddings_and_tokens_are_named_by_what_they_are(subject: Any, emulator: Emulator, recorded: Recorded) -> None:
    client = subject.client(emulator, events=recorded.telemetry())
    with recorded.tracer.start_as_current_span("caller") as caller:
        embeddings = subject(client.text_embedding(["a", "b"]))
        subject(client.tokenize("a"))
    spans = recorded.spans("embeddings text-embeddings-v2-doc")
    assert len(spans) == 2
    assert {span.parent and span.parent.span_id for span in spans} == {caller.get_span_context().span_id}
    assert len(recorded.spans(TOKENIZE)) == 1
    usage = {
        (point.attributes["gen_ai.operation.name"], point.attributes["gen_ai.token.type"]): point.sum
        for point in recorded.metrics()["gen_ai.client.token.usage"]
    }
    assert usage == {("embeddings", "input"): embeddings.usage.total_tokens}


def test_each_attempt_is_an_event_and_each_failure_is_counted(
    subject: Any, emulator: Emulator, recorded: Recorded
) -> None:
    emulator.faults.add(Fault(Failure(grpc.StatusCode.UNAVAILABLE), method="TokenizerService/Tokenize", times=2))
    client = subject.client(emulator, events=recorded.telemetry())
    subject(client.tokenize("hello"))
    span = recorded.span(TOKENIZE)
    events = [dict(event.attributes) for event in span.events]
    assert [event["yagrpc.attempt.number"] for event in events] == [1, 2, 3]
    assert [event.get("error.type") for event in events] == ["UNAVAILABLE", "UNAVAILABLE", None]
    assert [event.get("yagrpc.attempt.follows") for event in events] == ["retry", "retry", None]
    assert span.attributes["yagrpc.attempts"] == 3
    assert span.status.is_unset
    (refusals,) = recorded.metrics()["yagrpc.client.refusals"]
    assert refusals.value == 2
    assert dict(refusals.attributes) == {
        "rpc.method": TOKENIZE,
        "error.type": "UNAVAILABLE",
        "yagrpc.cause": "may_have_run",
    }


def test_a_failure_has_the_status_and_its_type(subject: Any, emulator: Emulator, recorded: Recorded) -> None:
    quota = yagrpc.Quota(tokenize_per_second=0.001)
    client = subject.client(emulator, events=recorded.telemetry(), quota=quota)
    with pytest.raises(yagrpc.InvalidArgumentError):
        subject(client.completion_stream("hello", model="gpt://nothing"))
    subject(client.tokenize("hello"))
    with pytest.raises(yagrpc.QuotaWaitError):
        subject(client.tokenize("hello", timeout=0.01))
    failed, never = recorded.span("chat nothing"), recorded.spans(TOKENIZE)[1]
    assert never.attributes
    assert (failed.status.status_code, failed.status.description) == (
        trace.StatusCode.ERROR,
        "InvalidArgumentError",
    )
    assert failed.attributes["error.type"] == failed.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert (never.attributes["error.type"], never.attributes["yagrpc.attempts"]) == ("QuotaWaitError", 0)
    assert "rpc.response.status_code" not in never.attributes
    types = {point.attributes.get("error.type") for point in recorded.metrics()["rpc.client.call.duration"]}
    assert types == {None, "INVALID_ARGUMENT", "QuotaWaitError"}


def test_a_wait_for_a_slot_is_an_event_and_a_metric(subject: Any, emulator: Emulator, recorded: Recorded) -> None:
    quota = yagrpc.Quota(tokenize_per_second=5)
    client = subject.client(emulator, events=recorded.telemetry(), quota=quota)
    for _ in range(6):
        subject(client.tokenize("hello"))
    events = [event for span in recorded.spans() for event in span.events if event.name == "quota wait"]
    ((point),) = recorded.metrics()["yagrpc.client.quota.wait"]
    assert len(events) == point.count == 1
    assert events[0].attributes == {"yagrpc.quota": "tokenize_per_second", "yagrpc.seconds": point.sum}


def test_a_wait_is_linked_to_the_submit_and_the_polls_are_in_it(
    subject: Any, emulator: Emulator, recorded: Recorded
) -> None:
    client = subject.client(emulator, events=recorded.telemetry())
    with recorded.tracer.start_as_current_span("submitter"):
        operation = subject(client.completion_async("hello"))
    pending = recorded.metrics()["yagrpc.client.operations.pending"]
    emulator.advance(3600)
    with recorded.tracer.start_as_current_span("waiter") as waiter:
        completion = subject(operation.result(timeout=20))
    submit, wait = recorded.span("chat yandexgpt"), recorded.span("wait for operations")
    assert submit.attributes["yagrpc.deferred"] is True
    assert submit.attributes["yagrpc.operation.id"] == wait.attributes["yagrpc.operation.id"] == operation.id
    assert [link.context.span_id for link in wait.links] == [submit.context.span_id]
    assert wait.parent.span_id == waiter.get_span_context().span_id
    gets = recorded.spans(GET)
    assert gets
    assert {get.parent and get.parent.span_id for get in gets} == {wait.context.span_id}
    (ended,) = wait.events
    assert ended.name == "operation ended"
    assert ended.attributes["gen_ai.usage.output_tokens"] == completion.usage.completion_tokens
    metrics = recorded.metrics()
    tokens = {
        point.attributes["gen_ai.token.type"]: (point.count, point.sum)
        for point in metrics["gen_ai.client.token.usage"]
    }
    assert tokens == {
        "input": (1, completion.usage.input_text_tokens),
        "output": (1, completion.usage.completion_tokens),
    }
    (taken,) = metrics["gen_ai.client.operation.duration"]
    assert (taken.count, taken.attributes["gen_ai.request.model"]) == (1, "yandexgpt")
    assert taken.sum == pytest.approx(3600, abs=60)
    assert [point.count for point in metrics["yagrpc.client.poll.delay"]] == [1]
    assert [point.value for point in pending] == [1]
    assert [point.value for point in metrics["yagrpc.client.operations.pending"]] == [0]


def test_a_wait_for_many_has_a_link_for_each(subject: Any, emulator: Emulator, recorded: Recorded) -> None:
    client = subject.client(emulator, events=recorded.telemetry())
    operations = [subject(client.completion_async("hello")) for _ in range(3)]
    emulator.advance(3600)
    subject(subject.in_loop(lambda: yagrpc.gather(*operations, timeout=20)))
    wait = recorded.span("wait for operations")
    submits = recorded.spans("chat yandexgpt")
    assert {link.context.span_id for link in wait.links} == {span.context.span_id for span in submits}
    assert wait.attributes["yagrpc.operation.ids"] == tuple(operation.id for operation in operations)
    assert [event.name for event in wait.events] == ["operation ended"] * 3


def test_a_row_of_a_bulk_run_is_a_span_with_its_submits_and_gets_in_it(subject: Any, recorded: Recorded) -> None:
    rows = [{"text": "hello", "id": f"row-{n}"} for n in range(4)] + [{"text": "", "id": "empty"}]
    answers = iter([None, Failure(grpc.StatusCode.INTERNAL, "once")])
    with Emulator(duration=0.05, replies=lambda request: next(answers, None)) as emulator:
        client = subject.client(emulator, events=recorded.telemetry())
        with recorded.tracer.start_as_current_span("user") as user:
            subject(client.bulk(rows, concurrency=2).results())
    found: dict[int, Any] = {span.attributes["yagrpc.row.number"]: span for span in recorded.rows()}
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert {span.parent and span.parent.span_id for span in found.values()} == {user.get_span_context().span_id}
    repeated = [span for span in found.values() if span.attributes["yagrpc.attempts"] == 2]
    assert len(repeated) == 1
    for number in range(4):
        span = found[number]
        assert dict(span.attributes) == {
            "yagrpc.row.number": number,
            "yagrpc.row.id": f"row-{number}",
            "yagrpc.row.outcome": "done",
            "yagrpc.attempts": 2 if span in repeated else 1,
            "yagrpc.operation.id": span.attributes["yagrpc.operation.id"],
        }
        inside: list[Any] = [
            each for each in recorded.spans() if each.parent and each.parent.span_id == span.context.span_id
        ]
        assert len([each for each in inside if each.name == "chat yandexgpt"]) == span.attributes["yagrpc.attempts"]
        assert {each.attributes["yagrpc.operation.id"] for each in inside if each.name == GET} >= {
            span.attributes["yagrpc.operation.id"]
        }
    assert all(span.parent for span in recorded.spans(GET))
    assert found[4].attributes["yagrpc.row.outcome"] == found[4].attributes["error.type"] == "invalid"
    assert found[4].status.status_code is trace.StatusCode.ERROR


def test_rows_that_a_run_leaves_have_no_outcome_and_a_later_run_has_spans_of_them(
    subject: Any, recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yagrpc.bulk.engine.stopping.GRACE", 0.01)
    with Emulator(duration=60) as emulator:
        client = subject.client(emulator, events=recorded.telemetry())

        def stop(progress: yagrpc.Progress) -> None:
            if progress.running == 2:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            subject(client.bulk(["a", "b"], journal=tmp_path / "journal", progress=stop).run())
        left = recorded.rows()
        assert [span.attributes.get("yagrpc.row.outcome", "") for span in left] == ["", ""]
        assert {span.status.status_code for span in left} == {trace.StatusCode.UNSET}
        emulator.advance(3600)
        subject(client.bulk(["a", "b"], journal=tmp_path / "journal").run())
    later = recorded.rows()[2:]
    assert [span.attributes["yagrpc.row.outcome"] for span in later] == ["done", "done"]
    ids = {span.attributes["yagrpc.operation.id"] for span in left}
    assert {span.attributes["yagrpc.operation.id"] for span in later} == ids
    assert len(recorded.spans("chat yandexgpt")) == 2


def test_rows_are_not_kept_where_nobody_asks_for_them(subject: Any, emulator: Emulator) -> None:
    class Nobody(yagrpc.Events):
        """Uses no event of rows."""

    client = subject.client(emulator, events=Nobody())
    rows = ReportedRows(client._core.events)
    rows.start(Fixed(0, None, 1, b"", b""))
    assert rows._rows == {}


def test_an_operation_that_failed_is_one_in_the_wait(subject: Any, recorded: Recorded) -> None:
    reply = Failure(grpc.StatusCode.INTERNAL, "the text of the service")
    with Emulator(duration=3600.0, replies=lambda request: reply) as emulator:
        client = subject.client(emulator, events=recorded.telemetry())
        operation = subject(client.completion_async("hello"))
        emulator.advance(3600)
        with pytest.raises(yagrpc.OperationFailedError):
            subject(operation.result(timeout=20))
        subject(client.close())
    (ended,) = recorded.span("wait for operations").events
    assert ended.attributes["error.type"] == "INTERNAL"
    assert "the text of the service" not in recorded.text()


def test_the_quotas_that_are_left_are_observed(subject: Any, emulator: Emulator, recorded: Recorded) -> None:
    telemetry = recorded.telemetry()
    clients = [subject.client(emulator, events=telemetry, quota=yagrpc.Quota(tokenize_per_second=7)) for _ in range(2)]
    subject(clients[0].tokenize("hello"))
    points = recorded.metrics()["yagrpc.client.quota.left"]
    left = {(point.attributes["yagrpc.client"], point.attributes["yagrpc.quota"]): point.value for point in points}
    assert left[1, "tokenize_per_second"] == 6
    assert left[2, "tokenize_per_second"] == 7
    assert len(left) == 2 * len(clients[0].limits)


@pytest.mark.parametrize("way", ["closed", "dropped"])
def test_a_stream_that_is_left_has_its_span(subject: Any, server: Words, recorded: Recorded, way: str) -> None:
    client = subject.client(endpoint=server.address, plaintext=True, events=recorded.telemetry())
    stream = client.call(DOWN, word("a"))
    subject.first(stream)
    if way == "closed":
        subject(stream.close())
    else:
        del stream
        gc.collect()
    assert recorded.span(DOWN.path[1:]).status.is_unset


def test_a_handler_without_a_span_passes_the_trace_of_its_caller_on(
    subject: Any, emulator: Emulator, recorded: Recorded
) -> None:
    client = subject.client(emulator, events=recorded.telemetry())
    theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with serving.handling(metadata={"traceparent": theirs, "x-client-trace-id": "kept"}):
        subject(client.tokenize("hello"))
        operation = subject(client.completion_async("hello"))
        emulator.advance(3600)
        subject(operation.result(timeout=20))
    assert {format(span.context.trace_id, "032x") for span in recorded.spans()} == {theirs.split("-")[1]}
    tokenize = recorded.span(TOKENIZE)
    assert format(tokenize.parent.span_id, "016x") == theirs.split("-")[2]
    first = emulator.requests[0].metadata
    assert str(first["traceparent"]).split("-")[1:3] == [theirs.split("-")[1], format(tokenize.context.span_id, "016x")]
    assert first["x-client-trace-id"] == "kept"


def test_a_trace_that_a_call_is_given_comes_first(subject: Any, emulator: Emulator, recorded: Recorded) -> None:
    client = subject.client(emulator, events=recorded.telemetry())
    theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    subject(client.tokenize("hello", metadata={"traceparent": theirs}))
    assert emulator.requests[0].metadata["traceparent"] == theirs


def test_the_polls_of_four_callers_are_in_four_traces(subject: Any, emulator: Emulator, recorded: Recorded) -> None:
    client = subject.client(emulator, events=recorded.telemetry())
    operations = [subject(client.completion_async("hello")) for _ in range(4)]
    emulator.advance(3600)

    def wait(operation: Any) -> Any:
        if subject.kind == "sync":
            with recorded.tracer.start_as_current_span("caller"):
                return operation.result(timeout=20)

        async def waited() -> Any:
            with recorded.tracer.start_as_current_span("caller"):
                return await operation.result(timeout=20)

        return waited()

    outcomes = subject.together([lambda each=each: wait(each) for each in operations])
    assert not [each for each in outcomes if isinstance(each, BaseException)]
    gets = recorded.spans(GET)
    traces = {span.context.trace_id: span.attributes and span.attributes["yagrpc.operation.id"] for span in gets}
    assert len(traces) == len(set(traces.values())) == 4
    assert set(traces) == {span.context.trace_id for span in recorded.spans("caller")}


def test_two_telemetries_of_one_client_are_one_inside_the_other(
    subject: Any, emulator: Emulator, recorded: Recorded
) -> None:
    client = subject.client(emulator, events=[recorded.telemetry(), recorded.telemetry()])
    subject(client.tokenize("hello"))
    inner, outer = recorded.spans(TOKENIZE)
    if inner.parent is None:
        inner, outer = outer, inner
    assert outer.parent is None
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id


MARK = "UnmistakableText"
SECRET = "AQVNUnmistakableSecret0123456789"


def talk(subject: Any, recorded: Recorded, **settings: Any) -> str:
    """What is recorded of calls that succeed, fail and wait, with a text and secrets in all that may have some."""
    reply = Failure(grpc.StatusCode.INTERNAL, f"{MARK} {SECRET}")
    with Emulator(duration=3600.0, auth="present", replies={f"fail {MARK}": reply}) as emulator:
        credentials = yagrpc.ApiKey(SECRET)
        client = subject.client(emulator, credentials=credentials, events=recorded.telemetry(**settings))
        subject(client.completion(f"{MARK} {SECRET}", system=MARK, metadata={"x-secret": SECRET}))
        subject(client.completion_stream(MARK))
        subject(client.text_embedding(MARK))
        subject(client.tokenize(MARK))
        operations = [subject(client.completion_async(text)) for text in (MARK, f"fail {MARK}")]
        emulator.advance(3600)
        subject(operations[0].result(timeout=20))
        failures: list[Callable[[], Any]] = [
            lambda: operations[1].result(timeout=20),
            lambda: client.completion(f"fail {MARK}", resubmit=False),
            lambda: client.completion("a", model=f"gpt://{SECRET}"),
            lambda: client.operation(f"d7q{MARK}").result(timeout=1),
        ]
        for failing in failures:
            with pytest.raises(yagrpc.YagrpcError):
                subject(failing())
        subject(client.close())
    return recorded.text()


def test_no_text_and_no_secret_is_recorded(subject: Any, recorded: Recorded) -> None:
    text = talk(subject, recorded)
    assert len(recorded.spans()) >= 10
    assert "AQVN" not in text
    assert [each for each in re.findall(rf".{{0,80}}{MARK}", text) if f"d7q{MARK}" not in each] == []


def test_texts_are_recorded_where_they_are_wanted_without_secrets(subject: Any, recorded: Recorded) -> None:
    text = talk(subject, recorded, capture_texts=True)
    assert "AQVN" not in text
    spans = [span for span in recorded.spans("chat yandexgpt") if span.attributes and MARK in str(span.attributes)]
    attributes: Any = spans[0].attributes
    given = json.loads(attributes["gen_ai.input.messages"])
    assert given[0] == {"role": "system", "parts": [{"type": "text", "content": MARK}]}
    assert given[1]["parts"][0]["content"].startswith(MARK)
    (answer,) = json.loads(attributes["gen_ai.output.messages"])
    assert answer["finish_reason"] == "stop"
    assert MARK in answer["parts"][0]["content"]


def test_the_names_of_models_have_no_folder() -> None:
    names = {
        "gpt://b1g/yandexgpt/latest": "yandexgpt",
        "gpt://b1g/yandexgpt/rc": "yandexgpt/rc",
        "gpt://b1g/yandexgpt": "yandexgpt",
        "ds://bt1234": "bt1234",
        "yandexgpt": "yandexgpt",
        "": "",
        "gpt://b1g/": "b1g/",
    }
    assert {uri: genai.model_name(uri) for uri in names} == names


def test_every_name_of_the_conventions_is_used() -> None:
    sources = "".join(Path(str(module.__file__)).read_text("utf-8") for module in (otel, genai))
    names = [name for name in vars(conventions) if name.isupper()]
    assert len(names) > 40
    assert [name for name in names if f"conventions.{name}" not in sources] == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"capture_texts": "yes"}, "capture_texts is a str: it takes True or False"),
        ({"tracer_provider": 5}, "tracer_provider is a int: it takes one of OpenTelemetry's"),
        ({"meter_provider": object()}, "meter_provider is a object: it takes one of OpenTelemetry's"),
    ],
)
def test_a_setting_that_can_not_work_is_refused(settings: Any, said: str) -> None:
    with pytest.raises(yagrpc.ConfigError, match=said):
        otel.Telemetry(**settings)


def test_what_is_remembered_of_submits_has_a_limit(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "MOST_SUBMITTED", 3)
    with Emulator(duration=3600.0) as emulator:
        settings: dict[str, Any] = {"endpoint": emulator.address, "plaintext": True, "folder_id": "f"}
        with yagrpc.Client(**settings, credentials="AQVN-k", events=recorded.telemetry()) as client:
            for _ in range(5):
                client.completion_async("hello")
    (pending,) = recorded.metrics()["yagrpc.client.operations.pending"]
    assert pending.value == 3


def run(code: str, *, without: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which a package can't be imported."""
    hidden = f"import sys; sys.modules[{without!r}] = None\n"
    return subprocess.run([sys.executable, "-W", "error", "-c", hidden + code], capture_output=True, text=True)


def test_without_the_extra_one_line_says_what_to_install() -> None:
    done = run("from yagrpc.integrations import otel", without="opentelemetry")
    assert done.stderr.splitlines()[-1] == (
        "ImportError: yagrpc.integrations.otel needs OpenTelemetry's API: pip install 'yagrpc[otel]'"
    )
    assert done.stderr.count("Traceback") == 1


NO_SDK = """
import asyncio, yagrpc
from yagrpc import serving
from yagrpc.emulator import Emulator
from yagrpc.integrations import otel
theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
with Emulator(duration=0.0) as emulator:
    settings = {"endpoint": emulator.address, "plaintext": True, "folder_id": "f", "credentials": "AQVN-k"}
    with yagrpc.Client(**settings, events=otel.Telemetry()) as client:
        with serving.handling(metadata={"traceparent": theirs}):
            assert client.completion("hello").text
            assert client.completion_async("hello").result().text
    async def main():
        async with yagrpc.AsyncClient(**settings, events=otel.Telemetry()) as client:
            assert (await client.completion("hello")).text
            assert (await (await client.completion_async("hello"))).text
    asyncio.run(main())
    print([request.metadata.get("traceparent") == theirs for request in emulator.requests])
"""


def test_without_the_sdk_nothing_is_recorded_and_the_trace_is_passed_on() -> None:
    done = run(NO_SDK, without="opentelemetry.sdk")
    assert done.stderr == ""
    found = json.loads(done.stdout.lower())
    assert found[:2] == [True, True]
    assert found[-2:] == [False, False]

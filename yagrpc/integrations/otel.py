"""OpenTelemetry: traces and metrics of a client's calls, of waits for operations, and of quotas.

    from yagrpc.integrations import otel

    client = yagrpc.Client(events=otel.Telemetry())

It needs the extra `otel`, which is OpenTelemetry's API alone: where no SDK is set up, nothing is recorded, and the
trace of a caller is passed on as it came.

Rules: no text of a request, an answer or an error without `capture_texts`; no metadata and no secret ever. There is no
lock, so that a forked child has none that is held: each step is one operation of a dict.
"""

from __future__ import annotations

import contextlib
import contextvars
import time
import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import yagrpc
from yagrpc.hiding import without_secrets
from yagrpc.integrations import conventions, genai

try:
    from opentelemetry import context as contexts
    from opentelemetry import metrics, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    raise ImportError("yagrpc.integrations.otel needs OpenTelemetry's API: pip install 'yagrpc[otel]'") from None

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

    from yagrpc.integrations.genai import Attributes

__all__ = ["Telemetry"]

MOST_SUBMITTED: Final = 20_000
"""Operations whose submits are remembered for links; the service itself takes 5,000 submits an hour."""

MOST_LINKS: Final = 128
"""Links of one span, as OpenTelemetry's SDK limits them."""

_TRACE_KEYS: Final = frozenset({"traceparent", "tracestate"})


class Work:
    """Something that takes time and has a span: a call, or a wait.

    Args:
        span: Its span.
        context: OpenTelemetry's context in which the span is the current one.
        labels: What its metrics are grouped by.
    """

    __slots__ = ("__weakref__", "context", "ended", "labels", "span", "started")

    def __init__(self, span: Span, context: Context, labels: Attributes) -> None:
        self.span = span
        self.context = context
        self.labels = labels
        self.started = time.monotonic()
        self.ended = False

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes of the span, while it is open."""
        if not self.ended:
            self.span.set_attributes(attributes)

    def add(self, event: str, attributes: Mapping[str, Any]) -> None:
        """Add an event to the span, while it is open."""
        if not self.ended:
            self.span.add_event(event, attributes)

    def within(self, outer: contextvars.Context | None) -> contextvars.Context:
        """A context (`contextvars`) in which the span is the current one.

        Args:
            outer: What another subscriber has set, whose span is then around this one; `None` for that of now.
        """
        found = contextvars.copy_context() if outer is None else outer.copy()
        found.run(contexts.attach, self.context)
        return found

    def end(self) -> float:
        """End the span; gives the seconds that it took."""
        self.ended = True
        self.span.end()
        return time.monotonic() - self.started


class _Submitted:
    """What is remembered of a submit until its operation ends.

    Args:
        context: Names its span, for links.
        labels: What metrics are grouped by.
        response: The class of the operation's result.
    """

    __slots__ = ("context", "labels", "response")

    def __init__(self, context: SpanContext, labels: Attributes, response: Any) -> None:
        self.context = context
        self.labels = labels
        self.response = response


class Telemetry(yagrpc.Events):
    """Traces and metrics of the clients that have it among their `events`; one is enough for all clients.

    A call has a span of the kind CLIENT, with an event for each attempt and each wait for a slot. Its trace goes to the
    service as `traceparent`, unless the call was given one in `metadata=`. A wait for operations has a span, which is
    linked to those of their submits, and the polls are in it. A row of a bulk run has a span with its requests and its
    polls in it. docs/observability.md lists all names.

    Args:
        tracer_provider: Creates the spans; by default the global one.
        meter_provider: Creates the metrics; by default the global one.
        capture_texts: Whether spans have the texts of requests, answers and errors, without what has the form of a
            credential.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        capture_texts: bool = False,
    ) -> None:
        if not isinstance(capture_texts, bool):
            raise yagrpc.ConfigError(f"capture_texts is a {type(capture_texts).__name__}: it takes True or False")
        for name, given, kind in (
            ("tracer_provider", tracer_provider, trace.TracerProvider),
            ("meter_provider", meter_provider, metrics.MeterProvider),
        ):
            if given is not None and not isinstance(given, kind):
                raise yagrpc.ConfigError(f"{name} is a {type(given).__name__}: it takes one of OpenTelemetry's")
        self._texts = capture_texts
        self._tracer = trace.get_tracer("yagrpc", yagrpc.__version__, tracer_provider, conventions.RPC_SCHEMA)
        self._propagator = TraceContextTextMapPropagator()  # nothing but the trace leaves for the service
        self._calls: weakref.WeakKeyDictionary[yagrpc.Call[Any, Any], Work] = weakref.WeakKeyDictionary()
        self._waits: weakref.WeakKeyDictionary[Any, Work] = weakref.WeakKeyDictionary()
        self._rows: weakref.WeakKeyDictionary[Any, Work] = weakref.WeakKeyDictionary()
        self._waiting: dict[str, dict[Work, None]] = {}
        self._submitted: dict[str, _Submitted] = {}
        self._ended: dict[str, None] = {}
        self._clients: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._opened = 0
        meter = metrics.get_meter("yagrpc", yagrpc.__version__, meter_provider, conventions.RPC_SCHEMA)
        self._call_seconds = meter.create_histogram(
            conventions.CALL_DURATION,
            "s",
            "How long calls take, from the wait for a slot to the answer, with all attempts",
            explicit_bucket_boundaries_advisory=conventions.CALL_BUCKETS,
        )
        self._generation_seconds = meter.create_histogram(
            conventions.GENERATION_DURATION,
            "s",
            "How long models take; of an operation, from its creation to its end",
            explicit_bucket_boundaries_advisory=conventions.GENERATION_BUCKETS,
        )
        self._tokens = meter.create_histogram(
            conventions.TOKEN_USAGE,
            "{token}",
            "Tokens that models have used",
            explicit_bucket_boundaries_advisory=conventions.TOKEN_BUCKETS,
        )
        self._quota_seconds = meter.create_histogram(
            conventions.QUOTA_WAIT, "s", "How long calls have waited for a slot under a quota"
        )
        self._delays = meter.create_histogram(
            conventions.POLL_DELAY, "s", "How long after the end of an operation a poll found it"
        )
        self._refusals = meter.create_counter(conventions.REFUSALS, "{attempt}", "Attempts that failed, by their cause")
        meter.create_observable_gauge(
            conventions.QUOTA_LEFT, [self._observe_quotas], "{slot}", "Slots that are free under each quota"
        )
        meter.create_observable_up_down_counter(
            conventions.PENDING,
            [self._observe_pending],
            "{operation}",
            "Operations that were submitted, and whose end was not found yet",
        )

    # Calls

    def client_opened(self, client: Any) -> None:
        """Have the quotas of the client observed."""
        self._opened += 1
        self._clients[self._opened] = client

    def call_started(self, call: yagrpc.Call[Any, Any]) -> None:
        """Start the span of a call, and put its trace into the metadata."""
        method = call.method.path[1:]
        labels = genai.labels(call.method.service, call.request)
        attributes: Attributes = {
            conventions.RPC_SYSTEM: conventions.GRPC,
            conventions.RPC_METHOD: method,
            conventions.REQUEST_ID: without_secrets(call.client_request_id),
            **labels,
        }
        name = method
        if labels:
            attributes |= genai.of_request(call.request, texts=self._texts)
            name = " ".join(
                str(labels[key]) for key in (conventions.OPERATION, conventions.REQUEST_MODEL) if key in labels
            )
        if isinstance(call.method, yagrpc.OperationMethod):
            attributes[conventions.DEFERRED] = True
        if call.operation_id:
            attributes[conventions.OPERATION_ID] = call.operation_id
        work = self._start(name, trace.SpanKind.CLIENT, attributes, labels, call.caller, call.within)
        self._calls[call] = work
        call.within = work.within(call.within)
        self._propagate(call, work)

    def waited_for_quota(self, call: yagrpc.Call[Any, Any], quota: str, seconds: float) -> None:
        """Count the seconds, and note them in the span."""
        self._quota_seconds.record(seconds, {conventions.QUOTA: quota})
        if (work := self._calls.get(call)) is not None:
            work.add(conventions.QUOTA_EVENT, {conventions.QUOTA: quota, conventions.SECONDS: seconds})

    def attempt(self, call: yagrpc.Call[Any, Any], outcome: yagrpc.Outcome, verdict: yagrpc.Verdict | None) -> None:
        """Count a failure, and note the attempt in the span."""
        noted: Attributes = {conventions.NUMBER: outcome.number, conventions.SECONDS: outcome.seconds}
        if outcome.error is not None:
            noted[conventions.ERROR_TYPE] = error_type(outcome.error)
            if outcome.cause is not None:
                noted[conventions.CAUSE] = outcome.cause.name.lower()
            kinds: Attributes = {key: noted[key] for key in (conventions.ERROR_TYPE, conventions.CAUSE) if key in noted}
            kinds[conventions.RPC_METHOD] = call.method.path[1:]
            self._refusals.add(1, kinds)
        if verdict is not None:
            noted[conventions.FOLLOWS] = verdict.action.name.lower()
        if outcome.late:
            noted[conventions.LATE] = True
        if (work := self._calls.get(call)) is not None:
            work.set(server := _server(outcome.endpoint))
            work.labels.update(server)
            work.add(conventions.ATTEMPT_EVENT, noted)

    def accepted(self, call: yagrpc.Call[Any, Any], operation: Any) -> None:
        """Remember the submit until its operation ends."""
        if (work := self._calls.get(call)) is None:
            return
        work.set({conventions.OPERATION_ID: operation.id})
        response = getattr(call.method, "response_type", None)
        _remember(self._submitted, operation.id, _Submitted(work.span.get_span_context(), work.labels, response))
        if operation.done:  # at once, so that no Get will find it
            self._finish(operation, None)

    def call_ended(self, call: yagrpc.Call[Any, Any], answer: Any, error: BaseException | None) -> None:
        """End the span, and count the call."""
        if (work := self._calls.get(call)) is None or work.ended:
            return
        done = {conventions.ATTEMPTS: call.attempts}
        counted: Attributes = {}
        if error is None:
            counted[conventions.RPC_STATUS] = "OK"
        elif isinstance(error, (yagrpc.CallError, yagrpc.AmbiguousSubmitError)) and error.code is not None:
            counted[conventions.RPC_STATUS] = _name(error.code)
        if answer is not None:
            work.set(genai.of_answer(answer, texts=self._texts))
        if error is not None:
            counted[conventions.ERROR_TYPE] = self._fail(work, error)
        work.set({**done, **counted})
        seconds, server = work.end(), _server_of(work.labels)
        method = {conventions.RPC_SYSTEM: conventions.GRPC, conventions.RPC_METHOD: call.method.path[1:]}
        self._call_seconds.record(seconds, {**method, **counted, **server})
        if conventions.OPERATION in work.labels and not isinstance(call.method, yagrpc.OperationMethod):
            self._count_generation(work.labels, seconds, answer, error_type(error) if error is not None else "")
        if call.method is yagrpc.methods.OperationService.Cancel and answer is not None and answer.done:
            self._submitted.pop(answer.id, None)  # nobody may wait for it any more

    # Operations

    def wait_started(self, wait: Any) -> None:
        """Start the span of a wait, linked to the submits of what it waits for."""
        ids = wait.operation_ids
        known = (self._submitted.get(each) for each in ids)
        links = [trace.Link(each.context) for each in known if each is not None and each.context.is_valid][:MOST_LINKS]
        attributes: Attributes = {conventions.OPERATION_COUNT: len(ids)}
        attributes |= {conventions.OPERATION_ID: ids[0]} if len(ids) == 1 else {}
        attributes |= {conventions.OPERATION_IDS: ids[: conventions.MOST_IDS]} if len(ids) > 1 else {}
        work = self._start(
            conventions.WAIT, trace.SpanKind.INTERNAL, attributes, {}, wait.caller, wait.within, links=links
        )
        self._waits[wait] = work
        for each in ids:
            self._waiting.setdefault(each, {})[work] = None
        wait.within = work.within(wait.within)

    def wait_ended(self, wait: Any, error: BaseException | None) -> None:
        """End the span of a wait."""
        if (work := self._waits.pop(wait, None)) is None:
            return
        for each in wait.operation_ids:
            works = self._waiting.get(each, {})
            works.pop(work, None)
            if not works:
                self._waiting.pop(each, None)
        if error is not None:
            self._fail(work, error)
        work.end()

    def operation_ended(self, operation: Any, taken: float | None, delay: float | None) -> None:
        """Count an operation, and note its end in the spans of those who wait for it."""
        if delay is not None:
            self._delays.record(delay)
        self._finish(operation, taken)

    def _finish(self, operation: Any, taken: float | None) -> None:
        submitted = self._submitted.pop(operation.id, None)
        seen = operation.id in self._ended
        _remember(self._ended, operation.id, None)
        failure = ""
        if operation.HasField("error"):
            failure = _name(operation.error.code)
        answer = None if failure else _result(operation, submitted)
        found = genai.of_answer(answer, texts=self._texts) if answer is not None else {}
        if failure:
            found[conventions.ERROR_TYPE] = failure
        if taken is not None:
            found[conventions.OPERATION_SECONDS] = taken
        for work in list(self._waiting.get(operation.id, ())):
            work.add(conventions.ENDED_EVENT, {conventions.OPERATION_ID: operation.id, **found})
        if not seen:
            labels = submitted.labels if submitted is not None else _labels_of(answer)
            if conventions.OPERATION in labels:
                self._count_generation(labels, taken, answer, failure)

    # Rows of bulk runs

    def row_started(self, row: Any) -> None:
        """Start the span of a row: its requests and Gets are in it."""
        attributes: Attributes = {conventions.ROW_NUMBER: row.number}
        attributes |= {} if row.id is None else {conventions.ROW_ID: without_secrets(row.id)}
        work = self._start(conventions.ROW, trace.SpanKind.INTERNAL, attributes, {}, row.caller, row.within)
        self._rows[row] = work
        row.within = work.within(row.within)

    def row_ended(self, row: Any, outcome: str, attempts: int, error: str) -> None:
        """End the span of a row."""
        if (work := self._rows.pop(row, None)) is None:
            return
        found: Attributes = {conventions.OPERATION_ID: row.operation_id} if row.operation_id else {}
        if outcome:
            found |= {conventions.ROW_OUTCOME: outcome, conventions.ATTEMPTS: attempts}
        work.set(found)
        if outcome not in ("", yagrpc.RowOutcome.DONE.value):
            self._set_failed(work, outcome, error)
        work.end()

    # What calls, waits and rows share

    def _start(
        self,
        name: str,
        kind: trace.SpanKind,
        attributes: Attributes,
        labels: Attributes,
        caller: Any,
        within: contextvars.Context | None,
        *,
        links: Iterable[trace.Link] = (),
    ) -> Work:
        """Start a span, in the trace of now, or else in that of the caller of the handler that runs.

        Args:
            name: Its name.
            kind: Its kind.
            attributes: What it has from its start.
            labels: What its metrics are grouped by.
            caller: The caller, where there is one.
            within: The context that another subscriber has set.
            links: What it is linked to.
        """
        parent = contexts.get_current() if within is None else within.copy().run(contexts.get_current)
        if caller is not None and not trace.get_current_span(parent).get_span_context().is_valid:
            parent = self._propagator.extract(dict(caller.metadata), context=parent)
        span = self._tracer.start_span(name, parent, kind, attributes, list(links))
        return Work(span, trace.set_span_in_context(span, parent), labels)

    def _propagate(self, call: yagrpc.Call[Any, Any], work: Work) -> None:
        """Put the trace into the metadata of a call, in place of its caller's; what the call was given comes first."""
        inherited = () if call.caller is None else call.caller.metadata
        kept = [pair for pair in call.metadata if pair[0] not in _TRACE_KEYS or pair not in inherited]
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=work.context)
        if carrier and not any(key == "traceparent" for key, _ in kept):
            call.metadata = (*kept, *carrier.items())

    def _fail(self, work: Work, error: BaseException) -> str:
        """Note an error in a span; gives its type."""
        kind = error_type(error)
        if not isinstance(error, GeneratorExit):  # nobody is there for what comes
            self._set_failed(work, kind, str(error), type(error).__name__)
        return kind

    def _set_failed(self, work: Work, kind: str, text: str, name: str = "") -> None:
        """Note in a span that its work has failed.

        Args:
            work: The work.
            kind: Why, in one word.
            text: The same in words, which are recorded where texts are.
            name: What is recorded in their place; by default the kind.
        """
        work.set({conventions.ERROR_TYPE: kind})
        work.span.set_status(trace.StatusCode.ERROR, without_secrets(text) if self._texts else name or kind)

    def _count_generation(self, labels: Attributes, seconds: float | None, answer: Any, failure: str) -> None:
        failed = {conventions.ERROR_TYPE: failure} if failure else {}
        if seconds is not None:
            self._generation_seconds.record(seconds, {**labels, **failed})
        for kind, count in genai.tokens(answer).items():
            self._tokens.record(count, {**labels, conventions.TOKEN_TYPE: kind})

    # What is observed

    def _observe_quotas(self, options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        for number, client in list(self._clients.items()):
            for quota, limit in client.limits._asdict().items():
                if limit.left is not None:
                    yield metrics.Observation(limit.left, {conventions.QUOTA: quota, conventions.CLIENT: number})

    def _observe_pending(self, options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        yield metrics.Observation(len(self._submitted))


def error_type(error: BaseException) -> str:
    """The value of `error.type`: the name of the status, or of the class where there is none."""
    return _name(error.code) if isinstance(error, yagrpc.CallError) else type(error).__qualname__


def _name(code: Any) -> str:
    """The name of a status by its number; of one that no status has, the number."""
    try:
        return yagrpc.Code(code).name
    except ValueError:
        return str(code)


def _server(endpoint: str) -> Attributes:
    host, _, port = endpoint.rpartition(":")
    found: Attributes = {conventions.SERVER_ADDRESS: host.strip("[]")}
    return {**found, conventions.SERVER_PORT: int(port)} if port.isdecimal() else found


def _server_of(labels: Attributes) -> Attributes:
    return {key: labels[key] for key in (conventions.SERVER_ADDRESS, conventions.SERVER_PORT) if key in labels}


def _result(operation: Any, submitted: _Submitted | None) -> Any:
    """The result of an operation as a message, where its type is known and it parses."""
    completion: Any = yagrpc.methods.TextGenerationAsyncService.Completion.response_type
    kinds = (None if submitted is None else submitted.response, completion)
    name = operation.response.type_url.rpartition("/")[2]
    for kind in kinds:
        if kind is not None and kind.DESCRIPTOR.full_name == name:
            with contextlib.suppress(Exception):  # the waiters get what is wrong with it
                return kind.FromString(operation.response.value)
    return None


def _labels_of(answer: Any) -> Attributes:
    """What metrics of an operation are grouped by that another process has submitted."""
    if answer is None:
        return {}
    return {conventions.OPERATION: conventions.CHAT, conventions.PROVIDER: conventions.YANDEX}


def _remember(kept: dict[str, Any], key: str, value: Any) -> None:
    """Keep a value, and forget the oldest of too many."""
    kept[key] = value
    if len(kept) > MOST_SUBMITTED:
        with contextlib.suppress(RuntimeError, StopIteration):  # another thread has added one meanwhile
            kept.pop(next(iter(kept)), None)

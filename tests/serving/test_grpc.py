"""The interceptors, over real gRPC: caller, service and model are three parties, each with its own channel."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

import yagrpc
from yagrpc import serving
from yagrpc.context import CURRENT
from yagrpc.emulator import Failure, paths
from yagrpc.serving.table import TABLE, row_of

from .conftest import HOUR, SOON

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Backend, Model

DEADLINE = 0.3
"""Seconds that a caller waits, of whom it is measured when it and those behind it end."""

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def completes(client: Any, text: str, context: Any) -> Any:
    """Ask the model, and wait."""
    return client.completion(text).text


async def completes_aio(client: Any, text: str, context: Any) -> Any:
    return (await client.completion(text)).text


def waits(client: Any, text: str, context: Any) -> Any:
    """Submit, and wait."""
    return client.completion_async(text).result().text


async def waits_aio(client: Any, text: str, context: Any) -> Any:
    return (await (await client.completion_async(text)).result()).text


def skip_where_grpc_is_silent(backend: Backend) -> None:
    """Skip a test for handlers that block in a `grpc.aio.server`: gRPC does not say there that a caller has left."""
    if backend.kind == "threads":
        pytest.skip("gRPC does not notify a blocking handler of a grpc.aio.server")


def multicallable(channel: Any, path: str) -> Any:
    return channel.unary_unary(path)


def trailers(call: Any) -> dict[str, Any]:
    return dict(call.trailing_metadata() or ())


def details(call: Any) -> dict[str, Any]:
    """The details of a call's status, by their kinds."""
    status = status_pb2.Status.FromString(trailers(call)["grpc-status-details-bin"])
    assert (status.code, status.message) == (call.code().value[0], call.details())
    found: dict[str, Any] = {}
    for packed in status.details:
        kind = getattr(error_details_pb2, packed.type_url.rpartition(".")[2])
        found[kind.__name__] = kind.FromString(packed.value)
    return found


def test_a_deadline_ends_caller_service_and_model(backend: Backend, model: Model) -> None:
    skip_where_grpc_is_silent(backend)
    ended = threading.Event()

    def watched(client: Any, text: str, context: Any) -> Any:
        try:
            return completes(client, text, context)
        finally:
            ended.set()

    async def watched_aio(client: Any, text: str, context: Any) -> Any:
        try:
            return await completes_aio(client, text, context)
        finally:
            ended.set()

    backend.handle(watched, watched_aio)
    grpc.channel_ready_future(backend.channel).result(SOON)
    call = backend.call(timeout=HOUR)  # the first call connects
    model.asked.get(timeout=SOON)
    call.cancel()
    assert ended.wait(SOON)
    ended.clear()
    call = backend.call(timeout=DEADLINE)
    served = model.asked.get(timeout=SOON)
    assert not served.is_set()
    assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert ended.wait(SOON)
    assert served.wait(SOON)


def test_the_margin_lets_the_handlers_own_answer_arrive(backends: Callable[..., Backend], model: Model) -> None:
    backend = backends(margin=HOUR - 1)
    backend.handle(waits, waits_aio)
    call = backend.call(timeout=HOUR)
    assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    info = details(call)["ErrorInfo"]
    assert (info.domain, info.reason) == ("yagrpc", "OPERATION_RUNNING")
    (operation,) = model.emulator.operations
    assert info.metadata["operation_id"] == operation.id
    assert trailers(call)[serving.OPERATION_ID] == operation.id


def test_a_caller_that_leaves_stops_the_model(backend: Backend, model: Model) -> None:
    skip_where_grpc_is_silent(backend)
    backend.handle(completes, completes_aio)
    call = backend.call(timeout=HOUR)
    served = model.asked.get(timeout=SOON)
    assert not served.is_set()
    call.cancel()
    assert served.wait(SOON)


@pytest.mark.parametrize("reads", [False, True], ids=["before the first message", "between two messages"])
def test_a_caller_that_leaves_stops_a_stream(backend: Backend, model: Model, reads: bool) -> None:
    skip_where_grpc_is_silent(backend)

    def streams(client: Any, text: str, context: Any) -> Any:
        for chunk in client.completion_stream(text):
            yield chunk.text

    async def streams_aio(client: Any, text: str, context: Any) -> Any:
        async for chunk in client.completion_stream(text):
            yield chunk.text

    backend.stream = streams_aio if backend.kind == "aio" else streams
    call = backend.open(timeout=HOUR)
    served = model.asked.get(timeout=SOON)
    if reads:
        model.emulator.advance(HOUR / 2)
        assert next(call)
    assert not served.is_set()
    call.cancel()
    assert served.wait(SOON)


def test_a_stream_is_passed_on_and_its_failure_mapped(backend: Backend, model: Model) -> None:
    def streams(client: Any, text: str, context: Any) -> Any:
        yield client.tokenize(text).text if False else text
        raise yagrpc.UnavailableError("10.0.0.7 is down", retry_after=7.0)

    async def streams_aio(client: Any, text: str, context: Any) -> Any:
        yield text
        raise yagrpc.UnavailableError("10.0.0.7 is down", retry_after=7.0)

    backend.stream = streams_aio if backend.kind == "aio" else streams
    call = backend.open()
    assert next(call) == b"ping"
    assert call.code() is grpc.StatusCode.UNAVAILABLE
    assert details(call)["RetryInfo"].retry_delay.seconds == 7


def test_the_wait_of_a_caller_that_leaves_keeps_its_operation(backend: Backend, model: Model) -> None:
    skip_where_grpc_is_silent(backend)
    logged: queue.SimpleQueue[str] = queue.SimpleQueue()

    class Logged(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "no caller any more" in record.getMessage():
                logged.put(record.getMessage())

    log, handler = logging.getLogger("yagrpc.serving"), Logged()
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        backend.handle(waits, waits_aio)
        call = backend.call(metadata=[("x-request-id", "request-1")])
        model.asked.get(timeout=SOON)
        model.polled.get(timeout=SOON)  # it waits for the operation
        call.cancel()
        text = logged.get(timeout=SOON)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    (operation,) = model.emulator.operations
    assert text.startswith(f"operation {operation.id} has no caller any more")
    assert "request-1" in text
    model.emulator.advance(HOUR)
    with yagrpc.Client(**model.settings()) as client:
        assert client.operation(operation.id).result(timeout=SOON).text


def test_one_trace_and_one_request_id_throughout(backend: Backend, model: Model) -> None:
    backend.handle(waits, waits_aio)
    metadata = [
        ("traceparent", TRACEPARENT),
        ("tracestate", "vendor=1"),
        ("x-client-trace-id", "trace-1"),
        ("x-request-id", "request-1"),
        ("authorization", "Bearer callers-own"),
    ]
    call = backend.call(metadata=metadata)
    model.asked.get(timeout=SOON)
    model.emulator.advance(HOUR)
    assert call.result(SOON)
    assert {each.path for each in model.emulator.requests} == {paths.COMPLETION_ASYNC, paths.OPERATION_GET}
    for request in model.emulator.requests:
        assert request.metadata["traceparent"] == TRACEPARENT
        assert request.metadata["tracestate"] == "vendor=1"
        assert request.metadata["x-client-trace-id"] == "trace-1"
        assert request.metadata["x-client-request-id"] == "request-1"
        assert "callers-own" not in str(request.metadata)


@pytest.mark.parametrize(
    ("key", "value"),
    [("traceparent", "nonsense"), ("x-request-id", "x" * 300), ("x-client-trace-id", "with spaces in it")],
)
def test_what_cannot_be_passed_on_is_left_out(backend: Backend, model: Model, key: str, value: str) -> None:
    backend.handle(
        lambda client, text, context: len(client.tokenize(text)),
        lambda client, text, context: _tokens_aio(client, text),
    )
    assert backend.call(metadata=[(key, value)]).result(SOON)
    (request,) = model.emulator.requests
    assert value not in request.metadata.values()


async def _tokens_aio(client: Any, text: str) -> int:
    return len(await client.tokenize(text))


def test_a_late_caller_gets_its_status_and_nothing_is_sent(backends: Callable[..., Backend], model: Model) -> None:
    backend = backends(margin=2 * HOUR)
    backend.handle(completes, completes_aio)
    call = backend.call(timeout=HOUR)
    assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert details(call)["ErrorInfo"].reason == "TIMEOUT"
    assert not model.emulator.calls


def test_a_handlers_own_status_and_metadata_stay(backend: Backend, model: Model) -> None:
    def aborts(client: Any, text: str, context: Any) -> Any:
        context.set_trailing_metadata((("mine", "1"),))
        if text == "status":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such text")
        raise yagrpc.RequestError("text", "a secret", "it takes a text")

    async def aborts_aio(client: Any, text: str, context: Any) -> Any:
        context.set_trailing_metadata((("mine", "1"),))
        if text == "status":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such text")
        raise yagrpc.RequestError("text", "a secret", "it takes a text")

    backend.handle(aborts, aborts_aio)
    call = backend.call("status")
    assert (call.code(), call.details()) == (grpc.StatusCode.NOT_FOUND, "no such text")
    call = backend.call("error")
    assert (call.code(), call.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "text: it takes a text")
    if backend.kind != "threads":  # such a handler can't read what it has set
        assert trailers(call)["mine"] == "1"


class EndedContext:
    """The context of a call that has ended, before gRPC says so: a race of a few microseconds."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def time_remaining(self) -> float:
        return 0.001

    def add_done_callback(self, callback: Any) -> None: ...

    def set_trailing_metadata(self, metadata: Any) -> None: ...

    async def abort(self, *_: Any) -> None:
        raise grpc.aio.InternalError("execute_batch")


@pytest.mark.parametrize("streams", [False, True])
async def test_an_error_for_a_caller_that_has_just_left_is_no_exception_of_the_handler(streams: bool) -> None:
    """The task ends as those do that gRPC cancels; it would log any other end with a traceback."""

    async def fails(request: Any, context: Any) -> Any:
        raise yagrpc.RequestError("text", "a secret", "it takes a text")

    async def fails_late(request: Any, context: Any) -> Any:
        yield b"text"
        raise yagrpc.RequestError("text", "a secret", "it takes a text")

    make: Any = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler

    async def continuation(details: Any) -> Any:
        return make(fails_late if streams else fails)

    handler = await serving.AsyncServerInterceptor().intercept_service(continuation, None)

    async def serve() -> None:
        if streams:
            assert [message async for message in handler.unary_stream(b"", EndedContext())] == []
        await handler.unary_unary(b"", EndedContext())

    with pytest.raises(asyncio.CancelledError):
        await serve()


def test_other_exceptions_stay_what_they_are(backend: Backend) -> None:
    def fails(client: Any, text: str, context: Any) -> Any:
        raise ZeroDivisionError("mine")

    async def fails_aio(client: Any, text: str, context: Any) -> Any:
        raise ZeroDivisionError("mine")

    backend.handle(fails, fails_aio)
    call = backend.call()
    assert call.code() is grpc.StatusCode.UNKNOWN
    assert "mine" in call.details()


def test_the_ids_of_operations_that_a_handler_leaves_go_to_the_caller(backend: Backend, model: Model) -> None:
    def submits(client: Any, text: str, context: Any) -> Any:
        return [client.completion_async(text).id for _ in range(2)]

    async def submits_aio(client: Any, text: str, context: Any) -> Any:
        return [(await client.completion_async(text)).id for _ in range(2)]

    backend.handle(submits, submits_aio)
    call = backend.call()
    assert call.code() is grpc.StatusCode.OK
    sent = [value for key, value in call.trailing_metadata() if key == serving.OPERATION_ID]
    assert sent == [operation.id for operation in model.emulator.operations]


def test_background_work_outlives_the_answer(backend: Backend, model: Model) -> None:
    import contextvars

    done: list[Any] = []
    ended, answered = threading.Event(), threading.Event()

    def starts(client: Any, text: str, context: Any) -> Any:
        def work() -> None:
            assert answered.wait(SOON)
            done.append(len(client.tokenize(text)))
            ended.set()

        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(work,), daemon=True).start()
        return "started"

    async def starts_aio(client: Any, text: str, context: Any) -> Any:
        async def work() -> None:
            await asyncio.to_thread(answered.wait, SOON)
            done.append(len(await client.tokenize(text)))
            ended.set()

        tasks.append(asyncio.create_task(work()))
        return "started"

    tasks: list[Any] = []
    backend.handle(starts, starts_aio)
    assert backend.call(timeout=HOUR).result(SOON) == b"started"
    answered.set()
    assert ended.wait(SOON)
    assert done[0] > 0


def test_a_method_that_is_not_served_is_unimplemented(backend: Backend) -> None:
    call: Any = multicallable(backend.channel, "/example.Service/Nothing").future(b"")
    assert call.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_models_failure_becomes_the_callers(backends: Callable[..., Backend], model: Model) -> None:
    for expose, text in ((False, "the model refused the request"), ([yagrpc.Code.INVALID_ARGUMENT], "as scripted")):
        backend = backends(expose=expose)
        backend.handle(completes, completes_aio)
        with yagrpc.emulator.Emulator(
            replies={".*": Failure(grpc.StatusCode.INVALID_ARGUMENT, "as scripted")}
        ) as other:
            settings = {**model.settings(), "endpoint": other.address}

            def asks(client: Any, text: str, context: Any, settings: Any = settings) -> Any:
                with yagrpc.Client(**settings) as mine:
                    return mine.completion(text).text

            async def asks_aio(client: Any, text: str, context: Any, settings: Any = settings) -> Any:
                async with yagrpc.AsyncClient(**settings) as mine:
                    return (await mine.completion(text)).text

            backend.handle(asks, asks_aio)
            call = backend.call(metadata=[("x-request-id", "request-1")])
            assert (call.code(), call.details()) == (grpc.StatusCode.INVALID_ARGUMENT, text)
            assert details(call)["RequestInfo"].request_id == "request-1"


# The table


def errors_of_the_table() -> list[yagrpc.YagrpcError]:
    """An error for each row and each of its codes."""
    made: list[yagrpc.YagrpcError] = [
        yagrpc.RequestError("text", "a secret", "it takes a text"),
        yagrpc.ConfigError("a secret"),
        yagrpc.ClientClosedError(),
        yagrpc.QuotaWaitError("submit_per_hour", 12.5, timeout=1.0),
        yagrpc.LimiterError("the shared limiter can't be reached"),
        yagrpc.ServerBusyError(7),
        *(
            yagrpc.AmbiguousSubmitError("a secret", code=code)
            for code in (yagrpc.Code.DEADLINE_EXCEEDED, yagrpc.Code.CANCELLED, yagrpc.Code.INTERNAL)
        ),
        yagrpc.MessageTooLargeError(5, 4, "grpc.max_send_message_length"),
        yagrpc.CompletionFilteredError(None, "a secret"),
        yagrpc.CompletionTruncatedError(None, "a secret"),
        yagrpc.OperationTimeoutError("d7q", "a secret"),
        yagrpc.OperationCancelledError("d7q", "a secret"),
        yagrpc.OperationExpiredError("d7q", "a secret"),
        yagrpc.OperationNotFoundError("d7q", "a secret"),
        yagrpc.OperationResultError("d7q", "a secret"),
        yagrpc.OperationFailedError("d7q", "a secret", code=yagrpc.Code.INTERNAL),
        yagrpc.OperationFailedError("d7q", "a secret", code=99),
    ]
    from yagrpc.errors import CALL_ERRORS

    made += [kind("a secret", retry_after=3.0, client_request_id="request-1") for kind in CALL_ERRORS.values()]
    return made


WITHOUT_A_TIME = (yagrpc.ClientClosedError, yagrpc.LimiterError, yagrpc.ServerBusyError)
"""Errors after which a caller may ask again, nobody knows when."""


def test_every_row_of_the_table_has_an_error() -> None:
    assert {row_of(error) for error in errors_of_the_table()} == set(TABLE)


def test_every_row_arrives_over_grpc(backends: Callable[..., Backend]) -> None:
    backend = backends()
    for error in errors_of_the_table():

        def fails(client: Any, text: str, context: Any, error: Any = error) -> Any:
            raise error

        async def fails_aio(client: Any, text: str, context: Any, error: Any = error) -> Any:
            raise error

        backend.handle(fails, fails_aio)
        call = backend.call()
        row = row_of(error)
        assert call.code().value[0] == row.status
        found = details(call)
        assert (found["ErrorInfo"].reason, found["ErrorInfo"].domain) == (row.reason, "yagrpc")
        assert "a secret" not in str(found) + call.details()
        assert found["ErrorInfo"].metadata.get("operation_id", "") == error.operation_id
        assert ("RetryInfo" in found) == (row.again and not isinstance(error, WITHOUT_A_TIME))
        assert trailers(call).get(serving.OPERATION_ID, "") == error.operation_id
        assert ("RequestInfo" in found) == bool(error.client_request_id)


@pytest.mark.parametrize("error", errors_of_the_table(), ids=lambda error: type(error).__name__)
def test_texts_are_passed_on_where_they_are_allowed(error: yagrpc.YagrpcError) -> None:
    from yagrpc.serving.table import Exposure

    row = row_of(error)
    exposed = Exposure(True).text(error, row)
    assert ("a secret" in exposed) == ("a secret" in error.message and not row.ours)
    other = Exposure([yagrpc.Code.OK]).text(error, row)
    assert "a secret" not in other


def test_abort_is_for_handlers_without_the_interceptor(model: Model) -> None:
    from concurrent import futures

    def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            raise yagrpc.ResourceExhaustedError("a secret", retry_after=2.5)
        except yagrpc.YagrpcError as error:
            serving.abort(context, error, expose={yagrpc.Code.RESOURCE_EXHAUSTED})

    server = grpc.server(futures.ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    handler = grpc.method_handlers_generic_handler("a.B", {"C": grpc.unary_unary_rpc_method_handler(unary)})
    server.add_generic_rpc_handlers((handler,))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        call = multicallable(channel, "/a.B/C").future(b"")
        assert (call.code(), call.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "a secret")
        assert details(call)["RetryInfo"].retry_delay.nanos == 500_000_000
    server.stop(None).wait()


def test_abort_takes_errors_of_yagrpc_alone() -> None:
    with pytest.raises(yagrpc.ConfigError, match="abort takes an error of yagrpc, and got ValueError"):
        serving.abort(None, ValueError("mine"))  # type: ignore[call-overload]


@pytest.mark.parametrize("interceptor", [serving.ServerInterceptor, serving.AsyncServerInterceptor])
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"margin": -1}, "margin is -1: it takes seconds, 0 or more"),
        ({"margin": None}, "margin is None"),
        ({"margin": "1"}, "margin is '1'"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"expose": "INTERNAL"}, "expose is 'INTERNAL'"),
        ({"expose": 5}, "expose is 5"),
        ({"expose": ["INTERNAL"]}, "expose is "),
    ],
)
def test_settings_that_cannot_work_are_refused(interceptor: Any, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(yagrpc.ConfigError) as caught:
        interceptor(**settings)
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


def test_outside_a_handler_there_is_no_caller() -> None:
    assert CURRENT.get() is None
    with pytest.raises(yagrpc.ConfigError, match="there is no caller here: use it in a handler"):
        serving.caller()

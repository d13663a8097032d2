"""The ASGI middleware and the plain blocks, over real HTTP: uvicorn in a thread, with FastAPI and with plain ASGI."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

import yagrpc
from yagrpc import serving
from yagrpc.context import CURRENT
from yagrpc.emulator import paths
from yagrpc.serving.table import row_of

from .conftest import HOUR, SOON
from .test_grpc import TRACEPARENT, errors_of_the_table

if TYPE_CHECKING:
    from .conftest import Loop, Model


class Web:
    """An application, served on a free port."""

    def __init__(self, app: Any, loop: Loop) -> None:
        self._loop = loop
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off")
        self._server = uvicorn.Server(config)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._serving = asyncio.run_coroutine_threadsafe(self._server._serve([self._socket]), loop.loop)
        self.client = httpx.Client(base_url=self.url, timeout=SOON, trust_env=False)

    def leave(self, path: str, moment: Callable[[], Any], *, body: bytes = b"") -> Any:
        """Ask, and close the connection at some moment; gives what the moment gave."""
        with socket.create_connection(self._socket.getsockname()) as connection:
            method = "POST" if body else "GET"
            head = f"{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            return moment()

    def close(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._server.force_exit = True
        self._serving.result(SOON)
        self._socket.close()


@pytest.fixture
def web(loop: Loop) -> Iterator[Callable[[Any], Web]]:
    found: list[Web] = []

    def serve(app: Any) -> Web:
        found.append(Web(app, loop))
        return found[-1]

    yield serve
    for each in found:
        each.close()


@pytest.fixture
def asynchronous(model: Model, loop: Loop) -> Iterator[yagrpc.AsyncClient]:
    async def make() -> yagrpc.AsyncClient:
        return yagrpc.AsyncClient(**model.settings())

    client = loop.run(make())
    yield client
    loop.run(client.close())


@pytest.fixture
def blocking(model: Model) -> Iterator[yagrpc.Client]:
    with yagrpc.Client(**model.settings()) as client:
        yield client


@pytest.fixture
def app(asynchronous: yagrpc.AsyncClient, blocking: yagrpc.Client) -> FastAPI:
    """An application with the same method in each way in which a handler may work."""
    app = FastAPI()

    @app.get("/aio")
    async def aio(text: str = "ping") -> Any:
        return {"text": (await asynchronous.completion(text)).text}

    @app.get("/threads")
    def threads(text: str = "ping") -> Any:
        return {"text": blocking.completion(text).text}

    @app.post("/aio")
    async def aio_body(request: Request) -> Any:
        return {"text": (await asynchronous.completion(str(len(await request.body())))).text}

    @app.get("/submit")
    async def submit() -> Any:
        return {"id": (await asynchronous.completion_async("ping")).id}

    @app.get("/wait")
    async def wait() -> Any:
        return {"text": (await (await asynchronous.completion_async("ping")).result()).text}

    @app.get("/stream")
    async def stream() -> Any:
        async def texts() -> Any:
            async for chunk in asynchronous.completion_stream("ping"):
                yield chunk.text

        return StreamingResponse(texts())

    return app


WAYS = ["aio", "threads"]


@pytest.mark.parametrize("way", WAYS)
def test_a_caller_that_leaves_stops_the_model(app: FastAPI, web: Callable[[Any], Web], model: Model, way: str) -> None:
    app.add_middleware(serving.Middleware)
    served = web(app).leave(f"/{way}", lambda: model.asked.get(timeout=SOON))
    assert served.wait(SOON)


def test_a_caller_that_leaves_after_its_body_stops_the_model(
    app: FastAPI, web: Callable[[Any], Web], model: Model
) -> None:
    app.add_middleware(serving.Middleware)
    body = b"x" * 300_000
    served = web(app).leave("/aio", lambda: model.asked.get(timeout=SOON), body=body)
    assert served.wait(SOON)
    (request,) = model.emulator.requests
    message: Any = request.request
    assert message.messages[0].text == str(len(body))


@pytest.mark.parametrize("way", ["aio", "threads", "wait"])
def test_the_timeout_ends_the_work_and_is_answered(
    app: FastAPI, web: Callable[[Any], Web], model: Model, way: str
) -> None:
    app.add_middleware(serving.Middleware, timeout=0.5, margin=0.1)
    answer = web(app).client.get(f"/{way}")
    assert answer.status_code == 504
    assert answer.headers["content-type"] == "application/problem+json"
    served = model.asked.get(timeout=SOON)
    if way != "wait":
        assert answer.json()["reason"] == "MAY_HAVE_STARTED"
        assert served.wait(SOON)
        return
    assert answer.json()["reason"] == "OPERATION_RUNNING"
    (operation,) = model.emulator.operations
    assert answer.headers[serving.OPERATION_ID] == answer.json()["operation_id"] == operation.id


def test_a_request_without_time_sends_nothing(app: FastAPI, web: Callable[[Any], Web], model: Model) -> None:
    app.add_middleware(serving.Middleware, timeout=0)
    for way in ("aio", "threads", "wait", "submit"):
        answer = web(app).client.get(f"/{way}")
        assert (answer.status_code, answer.json()["reason"]) == (504, "TIMEOUT")
    assert not model.emulator.calls


@pytest.mark.parametrize(
    ("given", "timeout", "left"),
    [
        ("30", 60, 30.0),
        ("1.5", None, 1.5),
        ("1500m", 60, 1.5),
        ("2S", 60, 2.0),
        ("1H", 60, 60.0),
        ("90", 60, 60.0),
        ("0", 60, 0.0),
        ("-1", 60, 60.0),
        ("soon", 60, 60.0),
        ("1e3", 60, 60.0),
        ("nan", None, None),
        (None, 60, 60.0),
    ],
)
def test_a_header_shortens_the_timeout(
    given: str | None, timeout: float | None, left: float | None, loop: Loop
) -> None:
    found: list[float | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(serving.caller().left())

    async def receive() -> Any:
        await asyncio.sleep(HOUR)

    async def send(message: Any) -> None: ...

    middleware = serving.Middleware(app, timeout=timeout, margin=0, deadline_header="X-Request-Timeout")
    headers = [] if given is None else [(b"x-request-timeout", given.encode())]
    loop.run(middleware({"type": "http", "headers": headers}, receive, send))
    assert found == [left if left is None else pytest.approx(left, abs=1.0)]


def test_without_the_setting_no_header_counts(app: FastAPI, web: Callable[[Any], Web], model: Model) -> None:
    app.add_middleware(serving.Middleware)
    answer = web(app).client.get("/submit", headers={"grpc-timeout": "0m", "x-request-timeout": "0"})
    assert answer.status_code == 200


def test_a_caller_that_waits_no_longer_sends_nothing(app: FastAPI, web: Callable[[Any], Web], model: Model) -> None:
    app.add_middleware(serving.Middleware, timeout=60, deadline_header="grpc-timeout")
    answer = web(app).client.get("/submit", headers={"Grpc-Timeout": "1m"})
    assert (answer.status_code, answer.json()["reason"]) == (504, "TIMEOUT")
    assert not model.emulator.calls


@pytest.mark.parametrize("way", WAYS)
def test_the_trace_and_the_request_id_are_passed_on(
    app: FastAPI, web: Callable[[Any], Web], model: Model, way: str
) -> None:
    app.add_middleware(serving.Middleware)
    headers = {"Traceparent": TRACEPARENT, "X-Client-Trace-Id": "trace-1", "X-Request-Id": "request-1"}
    server = web(app)

    def answer() -> None:
        model.asked.get(timeout=SOON)
        model.emulator.advance(HOUR)

    threading.Thread(target=answer, name="test-clock").start()
    assert server.client.get(f"/{way}", headers=headers).status_code == 200
    (request,) = model.emulator.requests
    assert request.metadata["traceparent"] == TRACEPARENT
    assert request.metadata["x-client-trace-id"] == "trace-1"
    assert request.metadata["x-client-request-id"] == "request-1"


def test_the_id_of_an_operation_that_is_left_is_a_header(app: FastAPI, web: Callable[[Any], Web]) -> None:
    app.add_middleware(serving.Middleware)
    answer = web(app).client.get("/submit")
    assert answer.headers[serving.OPERATION_ID] == answer.json()["id"]


def test_a_caller_that_leaves_a_stream_stops_it(app: FastAPI, web: Callable[[Any], Web], model: Model) -> None:
    app.add_middleware(serving.Middleware)
    served = web(app).leave("/stream", lambda: model.asked.get(timeout=SOON))
    assert served.wait(SOON)


def test_background_tasks_outlive_the_answer(
    web: Callable[[Any], Web], asynchronous: yagrpc.AsyncClient, model: Model
) -> None:
    app, tokens, go, ended = FastAPI(), list[int](), threading.Event(), threading.Event()

    async def work() -> None:
        await asyncio.to_thread(go.wait, SOON)
        tokens.append(len(await asynchronous.tokenize("ping")))
        ended.set()

    @app.get("/")
    async def index(background: BackgroundTasks) -> Any:
        background.add_task(work)
        return {}

    app.add_middleware(serving.Middleware, timeout=HOUR)
    server = web(app)
    assert server.client.get("/").status_code == 200
    server.client.close()
    go.set()
    assert ended.wait(SOON)
    assert tokens[0] > 0


def test_every_row_arrives_over_http(web: Callable[[Any], Web]) -> None:
    app, errors = FastAPI(), errors_of_the_table()

    @app.get("/{number}")
    async def fail(number: int) -> Any:
        raise errors[number]

    app.add_middleware(serving.Middleware)
    server = web(app)
    for number, error in enumerate(errors):
        row, answer = row_of(error), server.client.get(f"/{number}", headers={"x-request-id": "request-2"})
        body = answer.json()
        assert answer.status_code == body["status"] == row.http
        assert answer.headers["content-type"] == "application/problem+json"
        assert (body["reason"], body["title"]) == (row.reason, row.text)
        assert "a secret" not in answer.text
        assert body["request_id"] == error.client_request_id or "request-2"
        assert body.get("operation_id", "") == error.operation_id
        seconds = {"QUOTA_EXHAUSTED": ("3", "13"), "UNAVAILABLE": ("3",)}.get(row.reason, (None,))
        assert answer.headers.get("retry-after") in seconds


def test_a_problem_is_for_handlers_of_exceptions_too(web: Callable[[Any], Web]) -> None:
    app = FastAPI()

    @app.exception_handler(yagrpc.YagrpcError)
    async def failed(request: Request, error: yagrpc.YagrpcError) -> JSONResponse:
        found = serving.problem(error, expose=True)
        assert found.body == json.dumps(found.content, ensure_ascii=False).encode()
        return JSONResponse(found.content, found.status, found.headers)

    @app.get("/")
    async def index() -> Any:
        raise yagrpc.UnavailableError("the text of the service")

    answer = web(app).client.get("/")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the text of the service")
    assert answer.headers["content-type"] == "application/problem+json"


def test_other_exceptions_and_late_ones_are_not_hidden(web: Callable[[Any], Web]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise yagrpc.UnavailableError("too late")
        raise ZeroDivisionError

    server = web(serving.Middleware(app))
    assert server.client.get("/").status_code == 500
    with pytest.raises(httpx.RemoteProtocolError):
        server.client.get("/late")


def test_other_kinds_of_connections_pass(loop: Loop) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], CURRENT.get() is not None))
        if scope["type"] == "websocket":
            assert (await receive())["type"] == "websocket.connect"
            assert (await receive())["type"] == "websocket.disconnect"
            assert (await receive())["type"] == "websocket.disconnect"
            assert serving.caller().gone

    messages = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        raise AssertionError

    middleware = serving.Middleware(app)
    loop.run(middleware({"type": "lifespan"}, receive, send))
    loop.run(middleware({"type": "websocket", "headers": []}, receive, send))
    assert seen == [("lifespan", False), ("websocket", True)]


@pytest.mark.parametrize("steps", range(6))
def test_a_message_that_comes_as_its_wait_is_cancelled_is_not_lost(loop: Loop, steps: int) -> None:
    """Whatever step of the event loop comes between, as where a framework waits for the end of its caller."""
    seen: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        waiting = asyncio.ensure_future(receive())
        for _ in range(5):
            await asyncio.sleep(0)  # until it waits
        given.put_nowait({"type": "http.request", "body": b"first"})
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        given.put_nowait({"type": "http.request", "body": b"second"})
        seen.append((await receive() if waiting.cancelled() else waiting.result())["body"])

    async def serve() -> None:
        await serving.Middleware(app)({"type": "http", "headers": []}, given.get, None)  # type: ignore[arg-type]

    given: asyncio.Queue[Any] = asyncio.Queue()
    loop.run(serve())
    assert seen == [b"first"]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"margin": -0.5}, "margin is -0.5: it takes"),
        ({"timeout": -1}, "timeout is -1: it takes"),
        ({"expose": 1}, "ex"),
        ({"deadline_header": "two words"}, "deadline_header is 'two words': it takes the name of a header"),
        ({"deadline_header": ""}, "deadline_header"),
        ({"deadline_header": 3.0}, "deadline_header"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], text: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(yagrpc.ConfigError, match=text):
        serving.Middleware(app, **settings)


# Plain blocks


def test_a_block_works_for_its_caller(model: Model, blocking: yagrpc.Client) -> None:
    headers = {"traceparent": TRACEPARENT, "X-Request-ID": "request-1"}
    with serving.handling(timeout=HOUR, metadata=headers) as caller:
        assert serving.caller() is caller
        left = caller.left()
        assert left is not None
        assert HOUR - SOON < left < HOUR
        blocking.tokenize("ping")
        caller.leave()
        with pytest.raises(yagrpc.CallCancelledError, match="the caller has left, nothing was sent"):
            blocking.tokenize("ping")
        with serving.detached():
            blocking.tokenize("ping")
    blocking.tokenize("ping")
    ids = [request.metadata["x-client-request-id"] for request in model.emulator.requests]
    assert ids[:2] == ["request-1"] * 2
    assert ids[2] != "request-1"


def test_a_block_works_in_coroutines(model: Model, asynchronous: yagrpc.AsyncClient, loop: Loop) -> None:
    async def work() -> None:
        async with serving.handling(timeout=0, request_id="request-1"):
            with pytest.raises(yagrpc.DeadlineExceededError) as caught:
                await asynchronous.completion("ping")
            assert caught.value.client_request_id == "request-1"
        assert await asynchronous.tokenize("ping")

    loop.run(work())
    assert model.emulator.calls[paths.COMPLETION] == 0


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"margin": -1}, "margin is -1"),
        ({"timeout": -1}, "timeout is -1"),
        ({"timeout": "soon"}, "timeout is 'soon'"),
        ({"metadata": 5}, "metadata takes pairs"),
        ({"metadata": ["a"]}, "metadata takes pairs"),
    ],
)
def test_a_block_with_settings_that_cannot_work_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(yagrpc.ConfigError, match=text):
        serving.handling(**settings)


def test_a_block_is_for_one_caller() -> None:
    block = serving.handling()
    with block:
        pass
    with pytest.raises(yagrpc.ConfigError, match=r"call yagrpc\.serving\.handling\(\) again for each caller"), block:
        pass

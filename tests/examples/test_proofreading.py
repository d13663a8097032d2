"""yagrpc inside another gRPC service: the proofreader of the examples, both of its servers held to the same tests.

Callers are blocking stubs over loopback; the model is an emulator whose clock only the tests move.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import logging
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest

import yagrpc
from yagrpc.emulator import Emulator, Failure, paths

EXAMPLES = Path(__file__).parents[2] / "examples"

QUICK = yagrpc.Polling(first=0.01, shortest=0.01, longest=0.05)

SOON = 20.0
"""Seconds in which what a test waits for has to happen; it takes milliseconds."""

DEADLINE = 2.0
"""Seconds that a caller waits without an answer: long enough for its request to arrive first."""

ROUNDED = 1.05
"""By so much a deadline may grow on its way: gRPC sends few digits of it, rounded up."""

HOUR = 3600.0


@pytest.fixture(scope="module")
def modules() -> Iterator[SimpleNamespace]:
    """The example's modules, imported as its scripts import them."""
    folders = [str(EXAMPLES / "proofreading"), str(EXAMPLES / "proofreading" / "generated")]
    sys.path[:0] = folders
    names = ("server_sync", "server_aio")
    try:
        generated = importlib.import_module("proofreading_proto.proofreading_pb2_grpc")
        messages = importlib.import_module("proofreading_proto.proofreading_pb2")
        yield SimpleNamespace(
            stubs=generated, messages=messages, **{name: importlib.import_module(name) for name in names}
        )
    finally:
        for folder in folders:
            sys.path.remove(folder)


class Model:
    """The emulator, with the moments that a test waits for.

    Attributes:
        emulator: The emulator; what it was asked to generate takes an hour.
        accepted: The ids of the operations that clients of this process have submitted.
        asked: For everything that it has been asked, an event: set when it no longer serves that call.
        reply: What it answers, if anything but its own.
    """

    def __init__(self) -> None:
        self.accepted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.asked: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
        self.reply: Failure | None = None
        self.emulator = Emulator(
            duration=self._an_hour, completion_duration=self._an_hour, seed=1, replies=lambda request: self.reply
        )

    def _an_hour(self, random: Any) -> float:
        # The emulator draws it in the task that serves the call, whose end is the call's end as the emulator sees it.
        task = asyncio.current_task()
        assert task is not None
        served = threading.Event()
        task.add_done_callback(lambda done: served.set())
        self.asked.put(served)
        return HOUR


class Timeouts(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Notes with which timeout the calls leave a blocking client."""

    def __init__(self) -> None:
        self.seen: dict[str, float | None] = {}

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self.seen[client_call_details.method] = client_call_details.timeout
        return continuation(client_call_details, request)

    intercept_unary_stream = intercept_unary_unary


class AsyncTimeouts:
    """The same for the asyncio client, whose channels take one interceptor for each kind of call."""

    def __init__(self) -> None:
        self.seen: dict[str, float | None] = {}
        timeouts = self

        class Unary(grpc.aio.UnaryUnaryClientInterceptor):
            async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
                timeouts.note(client_call_details)
                return await continuation(client_call_details, request)

        class Streamed(grpc.aio.UnaryStreamClientInterceptor):
            async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
                timeouts.note(client_call_details)
                return await continuation(client_call_details, request)

        self.interceptors = [Unary(), Streamed()]

    def note(self, details: Any) -> None:
        self.seen[details.method.decode()] = details.timeout


class Proofreader:
    """One of the two servers, and a caller's stub for it."""

    def __init__(self, modules: SimpleNamespace, address: str, timeouts: dict[str, float | None]) -> None:
        self.timeouts = timeouts
        self.channel = grpc.insecure_channel(address)
        self.stub = modules.stubs.ProofreaderStub(self.channel)
        self._request = modules.messages.CorrectRequest

    def correct(self, text: str, **settings: Any) -> Any:
        """Begin a call; gives its future."""
        return self.stub.Correct.future(self._request(text=text), **settings)

    def correct_stream(self, text: str, **settings: Any) -> Any:
        """Begin a streamed call; gives its iterator."""
        return self.stub.CorrectStream(self._request(text=text), **settings)


class Accepted(logging.Handler):
    """Takes the ids of operations from the log that yagrpc keeps of them."""

    def __init__(self, ids: queue.SimpleQueue[str]) -> None:
        super().__init__()
        self._ids = ids

    def emit(self, record: Any) -> None:
        self._ids.put(record.operation_id)


@pytest.fixture
def model() -> Iterator[Model]:
    found = Model()
    handler = Accepted(found.accepted)
    log = logging.getLogger("yagrpc.operations")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    with found.emulator:
        yield found
    log.removeHandler(handler)
    log.setLevel(level)


@pytest.fixture
def watcher(model: Model) -> Iterator[yagrpc.Client]:
    """A client of the test's own, to see what became of the model's operations."""
    with yagrpc.Client(**_settings(model)) as client:
        yield client


@pytest.fixture(params=["sync", "aio"])
def proofreader(request: pytest.FixtureRequest, modules: SimpleNamespace, model: Model) -> Iterator[Proofreader]:
    """The blocking server, then the asyncio one."""
    serve = _serve_sync if request.param == "sync" else _serve_aio
    for found in serve(modules, model):
        with found.channel:
            yield found


def _settings(model: Model) -> dict[str, Any]:
    return {
        "endpoint": model.emulator.address,
        "plaintext": True,
        "folder_id": "folder",
        "credentials": yagrpc.NoCredentials(),
        "polling": QUICK,
    }


def _serve_sync(modules: SimpleNamespace, model: Model) -> Iterator[Proofreader]:
    timeouts = Timeouts()
    with yagrpc.Client(**_settings(model), interceptors=[timeouts]) as client:
        server, address = modules.server_sync.start(client)
        yield Proofreader(modules, address, timeouts.seen)
        server.stop(None).wait()


def _serve_aio(modules: SimpleNamespace, model: Model) -> Iterator[Proofreader]:
    timeouts = AsyncTimeouts()
    started: futures.Future[str] = futures.Future()
    ended: futures.Future[None] = futures.Future()

    async def serve() -> None:
        async with yagrpc.AsyncClient(**_settings(model), interceptors=timeouts.interceptors) as client:
            server, address = await modules.server_aio.start(client)
            started.set_result(address)
            await asyncio.wrap_future(ended)
            await server.stop(None)

    with futures.ThreadPoolExecutor(1) as pool:
        serving = pool.submit(asyncio.run, serve())
        ended_or_started: list[futures.Future[Any]] = [started, serving]
        futures.wait(ended_or_started, SOON, return_when=futures.FIRST_COMPLETED)
        if serving.done():  # it failed: this raises its error
            serving.result()
        yield Proofreader(modules, started.result(0), timeouts.seen)
        ended.set_result(None)
        serving.result(SOON)


def test_a_call_is_answered(proofreader: Proofreader, model: Model) -> None:
    call = proofreader.correct("малоко", metadata=[("x-request-id", "trace-7")])
    operation_id = model.accepted.get(timeout=SOON)
    model.emulator.advance(HOUR)
    assert 'You wrote: "малоко".' in call.result(SOON).text
    submit, *gets = model.emulator.requests
    assert submit.path == paths.COMPLETION_ASYNC
    assert submit.metadata["x-client-request-id"] == "trace-7"
    request: Any = submit.request
    assert [message.role for message in request.messages] == ["system", "user"]
    assert {get.path for get in gets} == {paths.OPERATION_GET}
    assert {getattr(get.request, "operation_id", "") for get in gets} == {operation_id}


def test_a_stream_is_passed_on_as_it_grows(proofreader: Proofreader, model: Model) -> None:
    call = proofreader.correct_stream("малоко", metadata=[("x-request-id", "trace-8")])
    served = model.asked.get(timeout=SOON)
    model.emulator.advance(HOUR / 2)
    texts = [next(call).text]
    assert not served.is_set()
    model.emulator.advance(HOUR / 2)
    texts += [answer.text for answer in call]
    assert len(texts) > 2
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert 'You wrote: "малоко".' in texts[-1]
    (received,) = model.emulator.requests
    assert received.metadata["x-client-request-id"] == "trace-8"


def test_the_callers_deadline_is_passed_on(proofreader: Proofreader, model: Model) -> None:
    calls = [proofreader.correct("малоко", timeout=HOUR), proofreader.correct_stream("малоко", timeout=HOUR)]
    for _ in calls:
        model.asked.get(timeout=SOON)
    for path in (paths.COMPLETION_ASYNC, paths.COMPLETION):
        timeout = proofreader.timeouts[path]
        assert timeout is not None
        assert HOUR - SOON < timeout <= HOUR * ROUNDED
    for call in calls:
        call.cancel()


def test_a_deadline_that_comes_ends_the_work(proofreader: Proofreader, model: Model, watcher: yagrpc.Client) -> None:
    stream = proofreader.correct_stream("малоко", timeout=DEADLINE)
    call = proofreader.correct("малоко", timeout=DEADLINE)
    operation_id = model.accepted.get(timeout=SOON)
    assert call.code() is stream.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    with pytest.raises(yagrpc.OperationCancelledError):  # by the server, since nobody waits for it
        watcher.operation(operation_id).result(timeout=SOON)
    for _ in (stream, call):
        assert model.asked.get(timeout=SOON).wait(SOON)


def test_a_caller_without_a_deadline_gets_yagrpcs_default(proofreader: Proofreader, model: Model) -> None:
    call = proofreader.correct("малоко")
    model.accepted.get(timeout=SOON)
    model.emulator.advance(HOUR)
    assert "малоко" in call.result(SOON).text
    timeout = proofreader.timeouts[paths.COMPLETION_ASYNC]
    assert timeout is not None
    # The default of 60 s; the service sees 10 s more, in which an answer that comes late is still received.
    assert 60 < timeout <= 70


def test_the_operation_is_cancelled_when_the_caller_leaves(
    proofreader: Proofreader, model: Model, watcher: yagrpc.Client
) -> None:
    call = proofreader.correct("малоко", timeout=HOUR)
    operation_id = model.accepted.get(timeout=SOON)
    call.cancel()
    with pytest.raises(yagrpc.OperationCancelledError):
        watcher.operation(operation_id).result(timeout=SOON)
    assert model.emulator.calls[paths.OPERATION_CANCEL] == 1


@pytest.mark.parametrize("answers", [False, True], ids=["before the first answer", "between two answers"])
def test_the_stream_is_cancelled_when_the_caller_leaves(proofreader: Proofreader, model: Model, answers: bool) -> None:
    call = proofreader.correct_stream("малоко", timeout=HOUR)
    served = model.asked.get(timeout=SOON)
    if answers:
        model.emulator.advance(HOUR / 2)
        next(call)
    assert not served.is_set()
    call.cancel()
    assert served.wait(SOON)


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL]
)
def test_the_models_status_becomes_the_servers(proofreader: Proofreader, model: Model, code: grpc.StatusCode) -> None:
    model.reply = Failure(code, "as scripted")
    call = proofreader.correct("малоко")
    model.accepted.get(timeout=SOON)
    model.emulator.advance(HOUR)
    assert (call.code(), call.details()) == (code, "as scripted")
    model.asked.get(timeout=SOON)
    stream = proofreader.correct_stream("малоко")
    model.asked.get(timeout=SOON)
    model.emulator.advance(HOUR)
    # After INTERNAL the generation may have started: a caller must not take it for what can be sent again.
    unsure = code is grpc.StatusCode.INTERNAL
    assert (stream.code(), stream.details()) == (grpc.StatusCode.UNKNOWN if unsure else code, "as scripted")


def test_a_request_that_the_model_would_refuse_is_the_callers_fault(proofreader: Proofreader, model: Model) -> None:
    for begin in (proofreader.correct, proofreader.correct_stream):
        call = begin("")
        assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "messages[0]" in call.details()
    assert not model.emulator.requests


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED])
def test_refused_credentials_are_not_laid_at_the_callers_door(
    proofreader: Proofreader, model: Model, code: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    model.reply = Failure(code, "as scripted")
    call = proofreader.correct("малоко")
    model.accepted.get(timeout=SOON)
    model.emulator.advance(HOUR)
    assert call.code() is grpc.StatusCode.INTERNAL
    assert "scripted" not in call.details()
    assert "as scripted" in caplog.text


@pytest.mark.parametrize("name", ["server_sync.py", "server_aio.py"])
def test_the_server_and_its_caller_run_as_programs(name: str, programs: Any, tmp_path: Path) -> None:
    with Emulator(duration=0.0) as emulator:
        environment = {**programs.environment, "YAGRPC_EMULATOR_HOST": emulator.address}
        with subprocess.Popen(
            programs.command(f"proofreading/{name}"),
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as server:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            called = programs.run("proofreading/caller.py", address, "малоко", cwd=tmp_path)
            server.terminate()
            output, errors = server.communicate(timeout=SOON)
    assert called.returncode == 0, called.stderr
    assert called.stdout.startswith('Correct: You wrote: "малоко".')
    assert called.stdout.splitlines()[-1].startswith('CorrectStream: You wrote: "малоко".')
    assert (server.returncode, output, errors) == (0, "stopped\n", "")
    assert emulator.calls[paths.COMPLETION_ASYNC] == emulator.calls[paths.COMPLETION] == 1


def test_the_web_application_runs_as_a_program(programs: Any, tmp_path: Path) -> None:
    with Emulator(duration=0.0) as emulator:
        environment = {**programs.environment, "YAGRPC_EMULATOR_HOST": emulator.address}
        with subprocess.Popen(
            programs.command("proofreading/app_fastapi.py"),
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as server:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            with httpx.Client(base_url=url, timeout=SOON, trust_env=False) as caller:
                corrected = caller.post("/correct", json={"text": "малоко"}, headers={"x-request-id": "request-1"})
                lines = caller.post("/stream", json={"text": "малоко"}).text.splitlines()
                refused = caller.post("/correct", json={"text": ""})
                missing = caller.get("/operations/d7qnothing")
            server.terminate()
            _, errors = server.communicate(timeout=SOON)
    assert corrected.json()["text"].startswith('You wrote: "малоко".'), errors
    assert lines[-1].startswith('You wrote: "малоко".')
    assert (refused.status_code, refused.json()["reason"]) == (400, "INVALID_REQUEST")
    assert (missing.status_code, missing.json()["reason"]) == (404, "OPERATION_NOT_FOUND")
    assert emulator.requests[0].metadata["x-client-request-id"] == "request-1"


@pytest.mark.parametrize("name", ["server_sync.py", "server_aio.py"])
def test_a_deadline_ends_three_processes(
    name: str, modules: SimpleNamespace, model: Model, programs: Any, tmp_path: Path
) -> None:
    environment = {**programs.environment, "YAGRPC_EMULATOR_HOST": model.emulator.address}
    with subprocess.Popen(
        programs.command(f"proofreading/{name}"),
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as server:
        assert server.stdout is not None
        with grpc.insecure_channel(server.stdout.readline().strip()) as channel:
            stub, request = modules.stubs.ProofreaderStub(channel), modules.messages.CorrectRequest(text="малоко")
            first = stub.CorrectStream(request, timeout=HOUR)  # it connects
            served = model.asked.get(timeout=SOON)
            first.cancel()
            assert served.wait(SOON)
            call = stub.CorrectStream(request, timeout=0.3)
            served = model.asked.get(timeout=SOON)
            assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert served.wait(SOON)  # 0 to 10 ms later, as measured on an idle machine
        server.terminate()
        server.communicate(timeout=SOON)

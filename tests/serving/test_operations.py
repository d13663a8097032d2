"""Long-running rpcs of a host's own, on both kinds of server, over real gRPC, with a real restart of their process."""

from __future__ import annotations

import contextlib
import logging
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]

import yagrpc
from yagrpc import _pb, serving
from yagrpc.emulator import Emulator, Failure, Fault, paths
from yagrpc.serving.operations import outcomes

from .operations_host import AsyncHost, BlockingHost, Request, Response, settings

if TYPE_CHECKING:
    from .conftest import Loop

SOON = 20.0

HOUR = 3600.0

PROGRAM = Path(__file__).parent / "operations_host.py"

Operation = _pb.operation_pb2.Operation


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Caller:
    """A caller of a host: its rpcs, and a client of yagrpc's for its operations.

    Args:
        address: Where the host serves.
    """

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)])
        self.client = yagrpc.Client(**settings(address), quota=None)

    def submit(self, handler: str, text: str = "ping") -> Any:
        """Call an rpc of the host's; gives the operation that it answers with."""
        return self.call(handler, text).result()

    def call(self, handler: str, text: str = "ping", **options: Any) -> Any:
        call = self.channel.unary_unary(f"/host/{handler}", Request.SerializeToString, Operation.FromString)
        return call.future(Request(text=text), timeout=SOON, wait_for_ready=True, **options)

    def result(self, operation: Any, kind: Any = Response) -> Any:
        """What an operation resolves to."""
        return self.client.operation(operation.id, kind).result(SOON)

    def get(self, operation_id: str) -> Any:
        """The operation, as it is now."""
        return self._about("Get", _pb.operation_service_pb2.GetOperationRequest(operation_id=operation_id))

    def cancel(self, operation_id: str) -> Any:
        return self._about("Cancel", _pb.operation_service_pb2.CancelOperationRequest(operation_id=operation_id))

    def _about(self, name: str, request: Any) -> Any:
        path = f"/yandex.cloud.operation.OperationService/{name}"
        call = self.channel.unary_unary(path, type(request).SerializeToString, Operation.FromString)
        return call(request, timeout=SOON, wait_for_ready=True)

    def close(self) -> None:
        self.client.close()
        self.channel.close()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(duration=HOUR, completion_duration=HOUR, seed=1) as found:
        yield found


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "operations.db"


@pytest.fixture(params=["sync", "aio"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock() -> Clock:
    return Clock()


Start = Callable[..., Any]


@pytest.fixture
def start(
    kind: str, store: Path, emulator: Emulator, clock: Clock, request: pytest.FixtureRequest
) -> Callable[..., contextlib.AbstractContextManager[tuple[Any, Caller]]]:
    """Starts a host in this process, and gives it with a caller."""

    @contextlib.contextmanager
    def started(**options: Any) -> Iterator[tuple[Any, Caller]]:
        with contextlib.ExitStack() as stack:
            given = {"store": store, **options}
            if kind == "sync":
                host: Any = stack.enter_context(BlockingHost(model=emulator.address, clock=clock, **given))
            else:
                loop: Loop = request.getfixturevalue("loop")

                async def make() -> AsyncHost:
                    return await AsyncHost(model=emulator.address, clock=clock, **given).__aenter__()

                host = loop.run(make())
                stack.callback(lambda: loop.run(host.__aexit__()))
            caller = Caller(host.address)
            stack.callback(caller.close)
            yield host, caller

    return started


@pytest.fixture
def host(start: Any) -> Iterator[Any]:
    with start() as (found, _caller):
        found.caller = _caller
        yield found


def until(condition: Callable[[], object]) -> None:
    """Wait until something holds that real gRPC brings about."""
    done = threading.Event()
    while not condition():
        assert not done.wait(0.005)


def until_accepted(caller: Caller, handler: str = "echo") -> Any:
    """Submit until there is room for a handler; gives the operation."""
    while (call := caller.call(handler)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        pass
    return call.result()


def details(operation: Any, kind: str) -> Any:
    """A detail of the error of an operation."""
    (found,) = (each for each in operation.error.details if each.type_url.endswith(f"google.rpc.{kind}"))
    return getattr(error_details_pb2, kind).FromString(found.value)


def test_a_handler_answers_at_once_and_its_operation_gets_the_message(host: Any, clock: Clock) -> None:
    operation = host.caller.submit("echo", "привет")
    assert (operation.done, operation.description) == (False, "echo")
    assert operation.created_at.seconds == operation.modified_at.seconds == int(clock.now)
    assert Request.FromString(operation.metadata.value).text == "привет"
    assert host.caller.result(operation).model_version == "привет"
    attached = host.caller.client.operation(operation.id, Response)
    assert attached.result(SOON).model_version == "привет"
    assert attached.metadata.text == "привет"
    assert attached.created_at.timestamp() == clock.now


@pytest.mark.parametrize("handler", ["model", "attach_model"])
def test_an_operation_gets_the_answer_of_the_models(host: Any, emulator: Emulator, handler: str) -> None:
    operation = host.caller.submit(handler, "ping")
    assert not host.caller.get(operation.id).done
    until(lambda: emulator.calls[paths.OPERATION_GET])
    emulator.advance(HOUR)
    assert host.caller.result(operation).model_version.startswith('You wrote: "ping"')
    assert emulator.generations == {paths.COMPLETION_ASYNC: 1}


@pytest.mark.parametrize("handler", ["raw", "attach"])
def test_an_operation_without_an_answer_function_is_a_completion(host: Any, emulator: Emulator, handler: str) -> None:
    call = host.caller.call(handler)
    operation = call.result()
    assert serving.OPERATION_ID not in dict(call.trailing_metadata()), "the model's id is the host's own"
    until(lambda: emulator.generations[paths.COMPLETION_ASYNC])
    emulator.advance(HOUR)
    completion = host.caller.client.operation(operation.id).result(SOON)
    assert completion.text.startswith('You wrote: "ping"')
    assert completion.usage.total_tokens


def test_an_operation_without_an_answer_function_may_be_of_any_type(host: Any, emulator: Emulator) -> None:
    """What comes from the model is passed on as it is, whatever it was expected to be."""
    from yagrpc.serving.operations.outcomes import MODELS_OWN, result_message

    packed = _pb.any_pb2.Any(type_url="type.googleapis.com/google.protobuf.Empty")
    client = host.caller.client
    operation = client.operation("d7q")
    operation._proto = Operation(id="d7q", done=True, response=packed)
    assert result_message(MODELS_OWN, operation, lambda: operation.result(0)) == packed


@pytest.mark.parametrize(
    ("handler", "text", "code", "reason", "said"),
    [
        ("waits", "", "INVALID_ARGUMENT", "INVALID_REQUEST", "messages"),
        ("model", "broken", "INTERNAL", "MODEL_FAILED", "the model failed"),
        ("model", "unreadable", "INTERNAL", "HANDLER_FAILED", "the handler failed"),
        ("fails", "x", "INTERNAL", "HANDLER_FAILED", "the handler failed"),
        ("text", "x", "INTERNAL", "HANDLER_FAILED", "the handler failed"),
        ("no_error", "x", "INTERNAL", "HANDLER_FAILED", "the handler failed"),
    ],
)
def test_a_failure_is_the_status_of_the_table(
    host: Any, emulator: Emulator, caplog: Any, handler: str, text: str, code: str, reason: str, said: str
) -> None:
    emulator.set_replies({"broken": Failure(grpc.StatusCode.INTERNAL, "internals"), "unreadable": "unreadable"})
    with caplog.at_level(logging.INFO, "yagrpc.serving"):
        operation = host.caller.submit(handler, text)
        if handler == "model":
            until(lambda: emulator.generations[paths.COMPLETION_ASYNC])
            emulator.advance(HOUR)
        with pytest.raises(yagrpc.OperationFailedError) as caught:
            host.caller.result(operation)
    assert caught.value.code == yagrpc.Code[code]
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    found = host.caller.get(operation.id)
    info = details(found, "ErrorInfo")
    assert (info.reason, info.domain) == (reason, "yagrpc")
    assert info.metadata["operation_id"] in ("", operation.id)
    assert any(record.levelno >= logging.INFO for record in caplog.records)


def test_a_status_that_a_handler_returns_is_the_error(host: Any) -> None:
    operation = host.caller.submit("status", "not today")
    with pytest.raises(yagrpc.OperationFailedError, match="not today") as caught:
        host.caller.result(operation)
    assert caught.value.code == yagrpc.Code.FAILED_PRECONDITION


def test_cancelling_an_operation_ends_its_handler_and_the_models(host: Any, emulator: Emulator) -> None:
    operation = host.caller.submit("waits")
    until(lambda: host.ran)
    until(lambda: emulator.generations[paths.COMPLETION])
    cancelled = host.caller.cancel(operation.id)
    assert (cancelled.done, cancelled.error.code) == (True, 1)
    assert details(cancelled, "ErrorInfo").reason == "CANCELLED"
    until(lambda: not host.servicer._running)
    with pytest.raises(yagrpc.OperationCancelledError):
        host.caller.result(operation)
    assert host.caller.cancel(operation.id) == cancelled


def test_cancelling_an_operation_cancels_the_models(host: Any, emulator: Emulator) -> None:
    operation = host.caller.submit("attach")
    host.caller.client.operation(operation.id).cancel()
    (record,) = emulator.operations
    assert record.done
    with pytest.raises(yagrpc.OperationCancelledError):
        host.caller.result(operation)


def test_an_operation_that_has_ended_is_not_cancelled(host: Any) -> None:
    operation = host.caller.submit("echo")
    host.caller.result(operation)
    assert host.caller.cancel(operation.id).HasField("response")


def test_a_model_that_does_not_stop_leaves_the_operation_cancelled(host: Any, emulator: Emulator, caplog: Any) -> None:
    emulator.faults.add(Fault(Failure(grpc.StatusCode.PERMISSION_DENIED, "no"), method=paths.OPERATION_CANCEL))
    operation = host.caller.submit("attach")
    assert host.caller.cancel(operation.id).error.code == 1
    assert "could not be stopped" in caplog.text


@pytest.mark.parametrize("operation_id", ["", "d7qnothing", "x" * 5000])
def test_an_unknown_id_is_not_found(host: Any, operation_id: str) -> None:
    for ask in (host.caller.get, host.caller.cancel):
        with pytest.raises(grpc.RpcError) as caught:
            ask(operation_id)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(yagrpc.OperationNotFoundError):
        host.caller.client.operation("d7qnothing").result(SOON)


def test_an_operation_is_kept_for_its_retention(host: Any, clock: Clock, store: Path) -> None:
    operation, late = host.caller.submit("echo"), host.caller.submit("attach")
    host.caller.result(operation)
    clock.now += 3 * 24 * HOUR - 1
    assert host.caller.get(operation.id).done
    clock.now += 1
    with pytest.raises(grpc.RpcError) as caught:
        host.caller.get(operation.id)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert not host.caller.get(late.id).done, "what still runs is kept"
    clock.now += 1
    host.caller.submit("echo")
    assert host.servicer._store.get(operation.id) is None
    assert host.servicer._store.get(late.id) is not None


def test_a_retention_may_be_shorter(start: Any, clock: Clock) -> None:
    with start(retention=60) as (_, caller):
        operation = caller.submit("echo")
        caller.result(operation)
        clock.now += 60
        with pytest.raises(grpc.RpcError):
            caller.get(operation.id)


def test_the_error_is_passed_on_where_it_is_exposed(start: Any, emulator: Emulator) -> None:
    emulator.set_replies({"broken": Failure(grpc.StatusCode.INTERNAL, "internals")})
    with start(expose=True) as (_, caller):
        operation = caller.submit("attach", "broken")
        emulator.advance(HOUR)
        with pytest.raises(yagrpc.OperationFailedError, match="internals"):
            caller.result(operation)


def test_a_wait_that_fails_leaves_the_operation_running(host: Any, emulator: Emulator, caplog: Any) -> None:
    """A credential that is refused for a time does not cost a result that is paid for."""
    emulator.faults.add(Fault(Failure(grpc.StatusCode.PERMISSION_DENIED, "no"), method=paths.OPERATION_GET, calls=1))
    operation = host.caller.submit("model")
    until(lambda: "can't be followed now" in caplog.text)
    emulator.advance(HOUR)
    assert host.caller.result(operation).model_version.startswith('You wrote: "ping"')


def test_a_restart_continues_what_the_model_does(start: Any, emulator: Emulator) -> None:
    with start() as (_, caller):
        operations = [caller.submit(handler) for handler in ("model", "raw", "attach")]
        done = caller.submit("echo", "kept")
        caller.result(done)
        until(lambda: emulator.generations[paths.COMPLETION_ASYNC] == 3)
    emulator.advance(HOUR)
    with start() as (_, caller):
        assert caller.result(operations[0]).model_version.startswith('You wrote: "ping"')
        for operation in operations[1:]:
            assert caller.client.operation(operation.id).result(SOON).text
        assert caller.result(done).model_version == "kept"
    assert emulator.generations == {paths.COMPLETION_ASYNC: 3}


@pytest.fixture
def programs(kind: str, store: Path, emulator: Emulator) -> Iterator[Callable[[], Any]]:
    """Starts a host in a process of its own; gives the process and a caller."""
    with contextlib.ExitStack() as stack:

        def started() -> tuple[Any, Caller]:
            command = [sys.executable, "-W", "error", str(PROGRAM), kind, str(store), emulator.address]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            assert process.stdout is not None
            caller = Caller(process.stdout.readline().strip())
            stack.callback(caller.close)
            return process, caller

        yield started


def test_a_killed_process_continues_or_fails_each_operation(programs: Any, emulator: Emulator, store: Path) -> None:
    process, caller = programs()
    assert {stat.S_IMODE(each.stat().st_mode) for each in store.parent.glob("operations.db*")} == {0o600}
    followed, attached = caller.submit("model", "one"), caller.submit("attach", "two")
    lost, again = caller.submit("waits", "three"), caller.submit("restarts", "four")
    done = caller.submit("echo", "five")
    caller.result(done)
    until(lambda: emulator.generations[paths.COMPLETION] == 2)
    until(lambda: emulator.calls[paths.OPERATION_GET] >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process, caller = programs()
    until(lambda: emulator.generations[paths.COMPLETION] == 3)  # the handler that may be run again
    emulator.advance(HOUR)
    assert caller.result(followed).model_version.startswith('You wrote: "one"')
    assert caller.client.operation(attached.id).result(SOON).text.startswith('You wrote: "two"')
    assert caller.result(again).model_version.startswith('You wrote: "four"')
    assert caller.result(done).model_version == "five"
    with pytest.raises(yagrpc.OperationFailedError, match="the server was restarted before the operation ended") as was:
        caller.result(lost)
    assert was.value.code == yagrpc.Code.ABORTED
    assert details(caller.get(lost.id), "ErrorInfo").reason == "SERVER_RESTARTED"
    assert emulator.generations[paths.COMPLETION_ASYNC] == 2
    sent = [each.request.messages[0].text for each in emulator.requests if each.path == paths.COMPLETION]  # type: ignore[attr-defined]
    assert sorted(sent) == ["four", "four", "three"]
    assert process.communicate("", timeout=SOON) == ("", None)
    assert process.returncode == 0


def test_a_second_process_does_not_take_the_file(programs: Any, kind: str, store: Path) -> None:
    programs()
    servicer = serving.OperationServicer if kind == "sync" else serving.AsyncOperationServicer
    with pytest.raises(
        yagrpc.ConfigError, match=r"store=.*operations\.db'? is in use, by another process or in this one"
    ):
        servicer(store)


def test_an_operation_whose_handler_is_gone_stays(start: Any, emulator: Emulator, store: Path, caplog: Any) -> None:
    with start() as (_, caller):
        operation = caller.submit("attach_model")
    with contextlib.closing(sqlite3.connect(store)) as database, database:
        database.execute("UPDATE operation SET handler = 'earlier'")
    emulator.advance(HOUR)
    with start() as (_, caller):
        assert not caller.get(operation.id).done
    assert "there is no handler 'earlier' any more" in caplog.text


def test_a_coroutine_that_cancels_itself_has_failed(host: Any, kind: str) -> None:
    if kind == "sync":
        pytest.skip("there is no event loop")
    with pytest.raises(yagrpc.OperationFailedError, match="the handler failed"):
        host.caller.result(host.caller.submit("cancels"))


def test_a_handler_that_exits_has_failed(host: Any, kind: str) -> None:
    if kind == "aio":
        pytest.skip("sys.exit in a task ends the event loop, and the process")
    with pytest.raises(yagrpc.OperationFailedError, match="the handler failed"):
        host.caller.result(host.caller.submit("exits"))


def test_a_request_of_an_earlier_version_fails_its_operation_alone(start: Any, emulator: Emulator, store: Path) -> None:
    with start() as (_, caller):
        operations = [caller.submit("restarts", "one"), caller.submit("restarts", "two")]
        until(lambda: emulator.generations[paths.COMPLETION] == 2)
    with contextlib.closing(sqlite3.connect(store)) as database, database:
        database.execute("UPDATE operation SET request = x'ff' WHERE id = ?", (operations[0].id,))
    with start() as (_, caller):
        with pytest.raises(yagrpc.OperationFailedError, match="the handler failed"):
            caller.result(operations[0])
        until(lambda: emulator.generations[paths.COMPLETION] == 3)
        emulator.advance(HOUR)
        assert caller.result(operations[1]).model_version.startswith('You wrote: "two"')


def test_a_handler_has_its_callers_trace_and_request_id_and_no_deadline(host: Any, emulator: Emulator) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    call = host.caller.call("waits", metadata=(("traceparent", trace), ("x-request-id", "mine")))
    operation = call.result()
    until(lambda: emulator.generations[paths.COMPLETION])
    emulator.advance(HOUR)
    assert host.caller.result(operation).model_version
    (sent,) = (each for each in emulator.requests if each.path == paths.COMPLETION)
    assert (sent.metadata["traceparent"], sent.metadata["x-client-request-id"]) == (trace, "mine")


class Records:
    """A store of the host's own: the least that `OperationStore` asks for."""

    def __init__(self) -> None:
        self.operations: dict[str, serving.StoredOperation] = {}
        self.lock = threading.Lock()

    def add(self, operation: serving.StoredOperation) -> None:
        self.operations[operation.id] = operation

    def get(self, operation_id: str) -> serving.StoredOperation | None:
        return self.operations.get(operation_id)

    def follow(self, operation_id: str, model_operation_id: str) -> bool:
        return self._change(operation_id, model_operation_id=model_operation_id)

    def end(self, operation_id: str, proto: bytes, modified: float) -> bool:
        return self._change(operation_id, proto=proto, modified=modified, done=True)

    def running(self) -> list[serving.StoredOperation]:
        return [each for each in self.operations.values() if not each.done]

    def forget(self, before: float) -> None:
        self.operations = {k: v for k, v in self.operations.items() if not v.done or v.modified >= before}

    def _change(self, operation_id: str, **changes: Any) -> bool:
        with self.lock:
            found = self.operations[operation_id]
            if not found.done:
                self.operations[operation_id] = found._replace(**changes)
            return not found.done


@pytest.fixture(params=["sqlite", "own"])
def any_store(request: pytest.FixtureRequest, store: Path) -> Iterator[serving.OperationStore]:
    if request.param == "own":
        yield Records()
        return
    found = serving.SqliteOperations(store)
    yield found
    found.close()


def test_an_operation_ends_once_in_a_store(any_store: serving.OperationStore) -> None:
    stored = serving.StoredOperation("one", "echo", b"running", 5.0, request=b"request")
    any_store.add(stored)
    assert any_store.get("one") == stored
    assert any_store.get("two") is None
    assert any_store.follow("one", "d7q")
    assert list(any_store.running()) == [stored._replace(model_operation_id="d7q")]
    assert any_store.end("one", b"done", 6.0)
    assert not any_store.end("one", b"cancelled", 7.0)
    assert not any_store.follow("one", "d7r")
    found = any_store.get("one")
    assert found is not None
    assert (found.proto, found.modified, found.done, found.model_operation_id) == (b"done", 6.0, True, "d7q")
    assert list(any_store.running()) == []
    any_store.add(stored._replace(id="two"))
    any_store.forget(6.0)
    assert any_store.get("one") is not None
    any_store.forget(6.5)
    assert any_store.get("one") is None
    assert any_store.get("two") is not None


def test_what_a_handler_submits_after_its_operation_was_cancelled_is_stopped(
    host: Any, emulator: Emulator, kind: str
) -> None:
    if kind == "aio":
        pytest.skip("a coroutine is cancelled with its operation")
    operation = host.caller.submit("late")
    until(lambda: host.ran)
    assert host.caller.cancel(operation.id).error.code == 1
    host.go.set()
    until(lambda: [each for each in emulator.operations if each.done])
    assert host.caller.get(operation.id).error.code == 1


def test_a_host_may_keep_operations_in_a_store_of_its_own(start: Any, emulator: Emulator) -> None:
    records = Records()
    checked: serving.OperationStore = records
    with start(store=checked) as (_, caller):
        running, ended = caller.submit("model"), caller.submit("echo")
        caller.result(ended)
        cancelled = caller.submit("attach")
        caller.cancel(cancelled.id)
        until(lambda: records.operations[running.id].model_operation_id)
    emulator.advance(HOUR)
    with start(store=checked) as (_, caller):
        assert caller.result(running).model_version.startswith('You wrote: "ping"')
    assert [each.done for each in records.operations.values()] == [True, True, True]


def test_a_store_that_fails_for_a_moment_loses_no_result(start: Any, emulator: Emulator, caplog: Any) -> None:
    """The model's operation was submitted, and is billed."""

    class Failing(Records):
        def follow(self, operation_id: str, model_operation_id: str) -> bool:
            raise OSError("the connection is lost")

    with start(store=Failing()) as (_, caller):
        operation = caller.submit("model")
        until(lambda: "which could not be stored" in caplog.text)
        (submitted,) = emulator.operations
        assert f"operation {operation.id} waits for the model's operation {submitted.id}" in caplog.text
        emulator.advance(HOUR)
        assert caller.result(operation).model_version.startswith('You wrote: "ping"')


class Unwilling(Records):
    """A store that can't end operations until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end, self.offered = threading.Event(), threading.Event()

    def end(self, operation_id: str, proto: bytes, modified: float) -> bool:
        if not self.may_end.is_set():
            self.offered.set()
            raise OSError("INSERT failed: [parameters: ('a secret',)]")
        return super().end(operation_id, proto, modified)


@pytest.mark.parametrize(("handler", "code"), [("echo", None), ("status", 9), ("fails", 13)])
def test_a_store_that_fails_gets_the_result_of_a_handler_later(
    start: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch, handler: str, code: int | None
) -> None:
    monkeypatch.setattr(outcomes, "FIRST_PAUSE", 0.01)
    store = Unwilling()
    with start(store=store) as (_, caller):
        operation = caller.submit(handler, "a secret")
        assert store.offered.wait(SOON)
        assert not caller.get(operation.id).done
        store.may_end.set()
        until(lambda: caller.get(operation.id).done)
        ended = caller.get(operation.id)
    assert (ended.error.code if code else ended.response.value) == (
        code or Response(model_version="a secret").SerializeToString()
    )
    (warning,) = (record for record in caplog.records if "can't be stored now" in record.getMessage())
    assert (warning.levelname, warning.operation_id) == ("WARNING", operation.id)
    assert "(OSError)" in warning.getMessage()
    assert not [record for record in caplog.records if "is lost" in record.getMessage()]


@pytest.mark.parametrize("over", ["time", "closed"])
def test_a_result_that_no_store_takes_is_logged_by_its_operation_alone(
    start: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch, over: str
) -> None:
    if over == "time":
        monkeypatch.setattr(outcomes, "KEPT", 0.05)
    store = Unwilling()
    with start(store=store) as (_, caller):
        operation = caller.submit("echo", "a secret")
        assert store.offered.wait(SOON)
        if over == "time":
            until(lambda: "is lost" in caplog.text)
    (lost,) = (record for record in caplog.records if "is lost" in record.getMessage())
    assert (lost.levelname, lost.operation_id, lost.exc_info) == ("ERROR", operation.id, None)
    assert lost.getMessage() == f"the result of operation {operation.id} is lost: the store fails (OSError)"
    assert "a secret" not in caplog.text
    store.may_end.set()
    with start(store=store) as (_, caller):
        assert details(caller.get(operation.id), "ErrorInfo").reason == "SERVER_RESTARTED"


def test_more_handlers_than_may_run_are_refused_and_not_stored(start: Any, emulator: Emulator) -> None:
    records = Records()
    with start(store=records, most_running=2) as (host, caller):
        running = [caller.submit("restarts", str(number)) for number in range(2)]
        refused = caller.call("echo")
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.details() == "the service is busy"
        assert list(records.operations) == [operation.id for operation in running]
        until(lambda: len(host.ran) == 2)
        followed = caller.submit("attach")
        caller.cancel(running[0].id)
        ended = until_accepted(caller)
        assert caller.result(ended).model_version == "ping"
        assert not caller.get(followed.id).done
        again = until_accepted(caller, "restarts")
    with start(store=records, most_running=1) as (host, caller):  # those of before run again, however many
        until(lambda: len(host.ran) == 2)
        assert caller.call("echo").code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not caller.get(again.id).done


def test_a_handler_whose_operation_could_not_be_stored_does_not_count(start: Any) -> None:
    class Full(Records):
        refuses = True

        def add(self, operation: serving.StoredOperation) -> None:
            if self.refuses:
                raise OSError("no space")
            super().add(operation)

    records = Full()
    with start(store=records, most_running=1) as (_, caller):
        assert caller.call("echo").code() is grpc.StatusCode.UNKNOWN
        records.refuses = False
        assert caller.result(caller.submit("echo")).model_version == "ping"


def test_a_servicer_that_was_closed_takes_nothing(store: Path) -> None:
    with serving.OperationServicer(store) as servicer:
        handler = servicer.handler(name="echo")(lambda request: request)
    with pytest.raises(yagrpc.ClientClosedError):
        handler.submit(Request())


def test_a_server_of_the_other_kind_is_refused(store: Path, loop: Loop) -> None:
    with serving.OperationServicer(store) as servicer:
        for other in (None, object()):
            with pytest.raises(yagrpc.ConfigError, match="server is .*: it takes a grpc.server"):
                servicer.add_to(other)  # type: ignore[arg-type]

    async def check() -> None:
        async with serving.AsyncOperationServicer(store) as servicer:
            with pytest.raises(yagrpc.ConfigError, match="it takes a grpc.aio.server; use OperationServicer"):
                await servicer.add_to(grpc.server(None))  # type: ignore[arg-type]

    loop.run(check())


def test_a_store_that_blocks_does_not_block_the_event_loop(start: Any, kind: str, tmp_path: Path) -> None:
    if kind == "sync":
        pytest.skip("there is no event loop")
    entered, go = threading.Event(), threading.Event()

    class Slow(serving.SqliteOperations):
        def get(self, operation_id: str) -> serving.StoredOperation | None:
            if operation_id == "slow":
                entered.set()
                assert go.wait(SOON)
            return super().get(operation_id)

    own = Slow(tmp_path / "own.db")
    with start(store=own) as (_, caller):
        request = _pb.operation_service_pb2.GetOperationRequest(operation_id="slow")
        path = "/yandex.cloud.operation.OperationService/Get"
        blocked = caller.channel.unary_unary(path, type(request).SerializeToString).future(request, timeout=SOON)
        assert entered.wait(SOON)
        with pytest.raises(grpc.RpcError) as caught:  # answered meanwhile, by the same event loop
            caller.channel.unary_unary("/nothing/Here")(b"", timeout=SOON)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert not blocked.done()
        go.set()
        assert blocked.code() is grpc.StatusCode.NOT_FOUND
    own.close()


def test_a_package_of_the_hosts_has_its_own_operation(start: Any) -> None:
    class Own:
        DESCRIPTOR = Operation.DESCRIPTOR

        @staticmethod
        def FromString(data: bytes) -> Any:
            return Operation.FromString(data)

    with start(operation_type=Own) as (_, caller):
        assert caller.submit("echo").id


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retention": 0}, "retention is 0: it takes seconds, above 0"),
        ({"retention": -1}, "retention is -1"),
        ({"operation_type": Response}, "operation_type is .*: it takes the class of yandex.cloud.operation.Operation"),
        ({"expose": "x"}, "expose is 'x'"),
        ({"client": object()}, "client is .*: it takes a yagrpc"),
        ({"most_running": 0}, "most_running is 0: it takes a number, 1 or more"),
        ({"most_running": "5"}, "most_running is '5'"),
    ],
)
@pytest.mark.parametrize("servicer", [serving.OperationServicer, serving.AsyncOperationServicer])
def test_a_wrong_setting_is_refused(servicer: Any, options: dict[str, Any], said: str, store: Path) -> None:
    with pytest.raises(yagrpc.ConfigError, match=said):
        servicer(store, **options)
    assert not store.exists()


@pytest.mark.parametrize("wrong", [None, 5, b"operations.db", {}, object()])
@pytest.mark.parametrize("servicer", [serving.OperationServicer, serving.AsyncOperationServicer])
def test_a_store_of_another_type_is_refused(servicer: Any, wrong: Any) -> None:
    for take in (servicer, serving.SqliteOperations):
        with pytest.raises(yagrpc.ConfigError, match="it takes a file's path, or the methods of OperationStore"):
            take(wrong)


def test_whole_numbers_of_numpy_are_numbers(store: Path) -> None:
    with serving.OperationServicer(store, most_running=numpy.int64(5), workers=numpy.int64(1)):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_a_name_that_no_file_has_is_refused(name: str) -> None:
    with pytest.raises(yagrpc.ConfigError, match="store=.* can't be used: no file has such a name"):
        serving.OperationServicer(name)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_text("hello" * 100), "is no server's file: name another"),
        (lambda path: path.mkdir(), "it is no file"),
        (lambda path: path.symlink_to("/dev/null"), "can't be used"),
        (lambda path: sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close(), "is no server's file"),
    ],
)
def test_a_file_of_something_else_is_refused(store: Path, make: Any, said: str) -> None:
    make(store)
    with pytest.raises(yagrpc.ConfigError, match=said):
        serving.OperationServicer(store)
    with pytest.raises(yagrpc.ConfigError, match="No such file or directory"):
        serving.OperationServicer(store.parent / "nowhere" / "operations.db")


def test_a_file_that_something_else_has_changed_is_refused(store: Path) -> None:
    file = serving.SqliteOperations(store)
    file.add(serving.StoredOperation("id", "", b"", 1.0))
    file.close()
    with contextlib.closing(sqlite3.connect(store)) as database:
        database.execute("UPDATE operation SET proto = 'text'")
        database.commit()
    with pytest.raises(yagrpc.ConfigError, match="is broken .a value in column proto of table operation is not bytes"):
        serving.OperationServicer(store)


def test_a_wrong_handler_is_refused(store: Path, loop: Loop) -> None:
    async def asynchronous(request: Any) -> None: ...

    def blocking(request: Any) -> None: ...

    with serving.OperationServicer(store) as servicer:
        with pytest.raises(yagrpc.ConfigError, match="it takes a function, and no coroutine function"):
            servicer.handler()(asynchronous)
        servicer.handler()(blocking)
        with pytest.raises(yagrpc.ConfigError, match="there are two handlers named 'blocking'"):
            servicer.handler()(blocking)
        with pytest.raises(yagrpc.ConfigError, match="restart is 5"):
            servicer.handler(name="x", restart=5)(blocking)  # type: ignore[arg-type]
        with pytest.raises(yagrpc.RequestError, match="it takes an operation of a yagrpc.Client"):
            servicer.attach("d7q")  # type: ignore[arg-type]

    async def check() -> None:
        async with serving.AsyncOperationServicer(store) as servicer:
            with pytest.raises(yagrpc.ConfigError, match=r"it takes a coroutine function \(async def\)"):
                servicer.handler()(blocking)  # type: ignore[arg-type]

    loop.run(check())


def test_operations_without_a_client_say_so(start: Any, store: Path, emulator: Emulator, kind: str) -> None:
    with start() as (_, caller):
        caller.submit("attach")
    if kind == "sync":
        with (
            serving.OperationServicer(store) as servicer,
            pytest.raises(yagrpc.ConfigError, match="give the servicer a client="),
        ):
            servicer.add_to(grpc.server(None))  # type: ignore[arg-type]

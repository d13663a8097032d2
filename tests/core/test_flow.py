"""Flows and their two drivers: who may yield, what a driver does with an outcome, and what ends it.

`test_drivers` has what takes a real server: every effect in every flow, and what closing does to each.
"""

from __future__ import annotations

import ast
import asyncio
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

import yagrpc
from yagrpc import _core, methods
from yagrpc._aio.transport import AsyncTransport
from yagrpc._core.call.call import Call
from yagrpc._core.call.policy import policy_of
from yagrpc._core.client import ClientCore
from yagrpc._core.flow import Flow, block, connect, send, sleep
from yagrpc._grpc.options import ChannelOptions
from yagrpc._grpc.runtime import RUNTIME
from yagrpc._grpc.status import MULTICALLABLES
from yagrpc._sync.transport import Transport
from yagrpc.errors import ClientClosedError

CORE = Path(str(_core.__file__)).parent
HELPERS = {"send", "connect", "sleep", "wait", "block", "share"}


# Who may yield


def own_yields(function: ast.AST) -> int:
    """How many bare yields a function has itself, those of functions within it left out."""
    found, open_nodes = 0, list(ast.iter_child_nodes(function))
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        found += isinstance(node, ast.Yield)
        open_nodes += ast.iter_child_nodes(node)
    return found


def test_only_the_helpers_of_flow_yield() -> None:
    yielding = {}
    for path in sorted(CORE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and own_yields(node):
                yielding[f"{path.relative_to(CORE).with_suffix('').as_posix()}.{node.name}"] = own_yields(node)
    assert yielding == {f"flow.{name}": 1 for name in HELPERS}


def test_every_kind_of_method_has_its_callable() -> None:
    assert {kind.__name__: name for kind, name in MULTICALLABLES.items()} == {
        "UnaryMethod": "unary_unary",
        "OperationMethod": "unary_unary",
        "StreamMethod": "unary_stream",
        "ClientStreamMethod": "stream_unary",
        "BidiStreamMethod": "stream_stream",
    }
    for name in MULTICALLABLES.values():
        assert hasattr(grpc.Channel, name)
        assert hasattr(grpc.aio.Channel, name)


# Drivers


class Rpc:
    """What gRPC gives besides an answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def initial_metadata(self) -> Any:
        return (("x-request-id", "theirs"),)

    def trailing_metadata(self) -> Any:
        return (("x-server-trace-id", b"trace"),)


class AsyncRpc(Rpc):
    """The same for asyncio."""

    def __await__(self) -> Any:
        async def answered() -> Any:
            given = self.answer()
            return await given if asyncio.iscoroutine(given) else given

        return answered().__await__()

    async def initial_metadata(self) -> Any:
        return super().initial_metadata()

    async def trailing_metadata(self) -> Any:
        return super().trailing_metadata()


class Host:
    """A channel of the host service's own, of either kind, whose calls do what the test says.

    Args:
        answer: What a call gives, or raises.
        asynchronous: Whether it is one of asyncio.
    """

    def __init__(self, answer: Callable[..., Any], asynchronous: bool) -> None:
        self.answer = answer
        self.asynchronous = asynchronous
        self.calls: list[tuple[str, Any, float | None]] = []

    def unary_unary(self, path: str, request_serializer: Any, response_deserializer: Any) -> Callable[..., Any]:
        def call(request: Any, timeout: float | None, metadata: Any) -> Any:
            self.calls.append((path, request, timeout))
            return self.answer()

        def with_call(request: Any, timeout: float | None, metadata: Any) -> Any:
            return call(request, timeout, metadata), Rpc(None)

        def awaited(request: Any, timeout: float | None, metadata: Any) -> Any:
            return AsyncRpc(lambda: call(request, timeout, metadata))

        if self.asynchronous:
            return awaited
        call.with_call = with_call  # type: ignore[attr-defined]
        return call

    def check_connectivity_state(self, try_to_connect: bool) -> int:
        """How the blocking transport learns that it is connected."""
        return int(grpc.ChannelConnectivity.READY.value[0])

    def watch_connectivity_state(self, last: int, deadline: float) -> None:
        """How it would wait for that."""
        raise AssertionError("it is connected: there is nothing to wait for")

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """How the asyncio transport learns it."""
        return grpc.ChannelConnectivity.READY


def _core_of_a_client() -> ClientCore:
    return ClientCore(
        RUNTIME,
        folder_id="b1g",
        credentials=yagrpc.NoCredentials(),
        model="yandexgpt",
        endpoint="127.0.0.1:1",
        operation_endpoint=None,
        plaintext=True,
        endpoints=None,
        quota=None,
        polling=yagrpc.Polling(),
        data_logging=None,
    )


class Shell:
    """One of the two drivers, behind one face."""

    def __init__(self, kind: str) -> None:
        self.asynchronous = kind == "aio"
        self._loop = asyncio.new_event_loop() if self.asynchronous else None
        self._answer: Callable[..., Any] = lambda: "answer"
        self.host = Host(lambda: self._answer(), self.asynchronous)
        channel: Any = self.host
        core = _core_of_a_client()
        self.transport: Any = (
            AsyncTransport(core, ChannelOptions(()), channel, None, ())
            if self.asynchronous
            else Transport(core, ChannelOptions(()), channel, None, ())
        )

    def answers(self, answer: Callable[[], Any]) -> None:
        """Say what a call does."""
        self._answer = answer

    def run(self, flow: Flow[Any]) -> Any:
        """Run a flow, and give what it returns."""
        return self._wait(self.transport.run(flow))

    def close(self) -> None:
        """Close the transport."""
        self._wait(self.transport.close())

    def end(self) -> None:
        """Close the loop."""
        if self._loop is not None:
            self._loop.close()

    def _wait(self, given: Any) -> Any:
        return given if self._loop is None else self._loop.run_until_complete(given)


@pytest.fixture(params=["sync", "aio"])
def shell(request: pytest.FixtureRequest) -> Any:
    """The blocking driver, then the asyncio one."""
    found = Shell(request.param)
    yield found
    found.end()


@pytest.fixture
def call() -> Call[Any, Any]:
    """A call."""
    method = methods.TokenizerService.Tokenize
    return Call(method, policy_of(method), "request", 60.0, (("key", "value"),), "client-id")


class Seen:
    """A flow that keeps what became of its effects, and may go on after a failure."""

    def __init__(self, effects: list[Flow[Any]], *, continues: bool = False) -> None:
        self.effects = effects
        self.continues = continues
        self.outcomes: list[Any] = []
        self.closed = False

    def __call__(self) -> Flow[list[Any]]:
        try:
            for effect in self.effects:
                try:
                    self.outcomes.append((yield from effect))
                except BaseException as error:
                    self.outcomes.append(error)
                    if not self.continues:
                        raise
            return self.outcomes
        finally:
            self.closed = True


def test_a_driver_performs_effects_in_turn(shell: Any, call: Call[Any, Any]) -> None:
    seen = Seen([connect(call, 5.0), send(call, 4.0, ()), sleep(0.0), send(call, None, ())])
    assert shell.run(seen()) == [True, "answer", None, "answer"]
    path = "/yandex.cloud.ai.foundation_models.v1.TokenizerService/Tokenize"
    assert shell.host.calls == [(path, "request", 4.0), (path, "request", None)]
    assert seen.closed


def test_a_flow_without_effects_is_over_at_once(shell: Any) -> None:
    assert shell.run(Seen([])()) == []


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), OSError("no"), asyncio.CancelledError()])
def test_what_an_effect_raises_is_raised_in_the_flow(shell: Any, call: Call[Any, Any], error: BaseException) -> None:
    def failing() -> None:
        raise error

    shell.answers(failing)
    seen = Seen([send(call, None, ()), sleep(0.0)])
    with pytest.raises(type(error)) as caught:
        shell.run(seen())
    # Before Python 3.11, asyncio gives the waiter of a cancelled task a CancelledError of its own.
    replaced = isinstance(error, asyncio.CancelledError) and shell.asynchronous and sys.version_info < (3, 11)
    assert replaced or caught.value is error
    assert seen.outcomes == [error]
    assert seen.closed


def test_flow_may_continue_after_a_failure(shell: Any, call: Call[Any, Any]) -> None:
    def failing() -> None:
        raise RuntimeError("no")

    shell.answers(failing)
    outcomes = shell.run(Seen([send(call, None, ()), sleep(0.0), send(call, None, ())], continues=True)())
    assert [type(outcome) for outcome in outcomes] == [RuntimeError, type(None), RuntimeError]


def test_an_error_of_an_open_channel_is_raised_as_it_is(shell: Any, call: Call[Any, Any]) -> None:
    error = grpc.aio.UsageError("closed") if shell.asynchronous else ValueError("closed")

    def failing() -> None:
        raise error

    shell.answers(failing)
    with pytest.raises(type(error)) as caught:
        shell.run(Seen([send(call, None, ())])())
    assert caught.value is error


def test_what_a_function_that_blocks_raises_is_raised_as_it_is(shell: Any) -> None:
    error = json.JSONDecodeError("Expecting value", "", 0)  # a ValueError, as of a channel that is closed

    def failing() -> None:
        raise error

    with pytest.raises(json.JSONDecodeError) as caught:
        shell.run(block(failing))
    assert caught.value is error


def test_what_ends_a_generator_is_no_answer(shell: Any, call: Call[Any, Any]) -> None:
    def stopping() -> None:
        raise StopIteration("answer")

    shell.answers(stopping)
    with pytest.raises(RuntimeError):
        shell.run(Seen([send(call, None, ())])())


def test_nothing_is_done_after_closing(shell: Any, call: Call[Any, Any]) -> None:
    shell.close()
    shell.close()
    for effect in (send(call, None, ()), connect(call, None)):
        seen = Seen([effect])
        with pytest.raises(ClientClosedError):
            shell.run(seen())
        assert seen.closed
    assert shell.host.calls == []


def test_closing_ends_the_sleep_of_the_blocking_driver() -> None:
    shell = Shell("sync")
    started, reported = threading.Event(), []

    def announced() -> Flow[None]:
        started.set()
        yield from sleep(3600.0)

    def sleeping() -> None:
        with pytest.raises(ClientClosedError) as caught:
            shell.run(announced())
        reported.append(caught.value)

    thread = threading.Thread(target=sleeping, daemon=True)
    thread.start()
    assert started.wait(30.0)
    shell.close()
    thread.join(30.0)
    assert not thread.is_alive()
    assert len(reported) == 1


async def test_closing_ends_the_sleep_of_the_asyncio_driver() -> None:
    transport = AsyncTransport(_core_of_a_client(), ChannelOptions(()), None, None, ())
    started = asyncio.Event()

    def announced() -> Flow[None]:
        started.set()
        yield from sleep(3600.0)

    task = asyncio.ensure_future(transport.run(announced()))
    await started.wait()
    await asyncio.sleep(0)
    await transport.close()
    done, _ = await asyncio.wait([task], timeout=30.0)
    task.cancel()
    assert done
    with pytest.raises(ClientClosedError):
        await task


async def cancelled_when(shell: Any, started: asyncio.Event, flow: Flow[Any]) -> asyncio.Task[Any]:
    """A task that runs a flow, cancelled once the flow has started."""
    task = asyncio.get_running_loop().create_task(shell.run(flow))
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return task


async def test_cancelling_ends_a_sleep_of_the_asyncio_driver() -> None:
    transport = AsyncTransport(_core_of_a_client(), ChannelOptions(()), None, None, ())
    started, seen = asyncio.Event(), Seen([sleep(3600.0)])

    def announced() -> Flow[Any]:
        started.set()
        return (yield from seen())

    task = await cancelled_when(transport, started, announced())
    assert task.cancelled()
    assert isinstance(seen.outcomes[0], asyncio.CancelledError)
    assert seen.closed
    await transport.close()


async def test_cancelling_reaches_the_rpc_that_is_awaited(call: Call[Any, Any]) -> None:
    started, ended = asyncio.Event(), []

    async def endless() -> None:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append(True)
            raise

    channel: Any = Host(endless, asynchronous=True)
    transport = AsyncTransport(_core_of_a_client(), ChannelOptions(()), channel, None, ())
    seen = Seen([send(call, None, ())])
    task = await cancelled_when(transport, started, seen())
    assert task.cancelled()
    assert ended == [True]
    assert seen.closed
    await transport.close()


async def test_flow_that_continues_after_cancelling_runs_to_its_end(call: Call[Any, Any]) -> None:
    channel: Any = Host(lambda: "answer", asynchronous=True)
    transport = AsyncTransport(_core_of_a_client(), ChannelOptions(()), channel, None, ())
    started, seen = asyncio.Event(), Seen([sleep(3600.0), send(call, None, ())], continues=True)

    def announced() -> Flow[Any]:
        started.set()
        return (yield from seen())

    task = await cancelled_when(transport, started, announced())
    assert not task.cancelled()
    assert task.result()[1] == "answer"

"""Both drivers against a real server: every effect works in every flow, and closing ends each that waits."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import grpc.aio
import pytest

import yagrpc
from yagrpc import _pb, methods
from yagrpc._aio.transport import AsyncTransport
from yagrpc._core.call.call import Call
from yagrpc._core.call.policy import policy_of
from yagrpc._core.client import ClientCore
from yagrpc._core.deadline import Deadline
from yagrpc._core.failure.status import RpcStatus
from yagrpc._core.flow import END, Flow, Opened, block, connect, send, share, sleep, wait
from yagrpc._core.quota.admission import Admission
from yagrpc._grpc.options import ChannelOptions
from yagrpc._grpc.runtime import RUNTIME
from yagrpc._sync.transport import Transport
from yagrpc.config import Quota
from yagrpc.errors import ClientClosedError, Code
from yagrpc.method import UnaryMethod

LONG = 30.0
"""Seconds after which a test has failed."""

TOKENIZE = methods.TokenizerService.Tokenize
STREAM = methods.TextGenerationService.Completion
SUBMIT = methods.TextGenerationAsyncService.Completion
TEXTS = _pb.text_generation_service_pb2


class Service:
    """A server of three rpcs: one that answers, or keeps its caller waiting; one that streams; one that submits."""

    def __init__(self) -> None:
        self.holding = False
        self.arrived = threading.Event()
        self.released = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        rpcs: dict[str, Any] = {
            TOKENIZE.path: grpc.unary_unary_rpc_method_handler(self._tokenize, None, _serialized),
            STREAM.path: grpc.unary_stream_rpc_method_handler(self._stream, None, _serialized),
            SUBMIT.path: grpc.unary_unary_rpc_method_handler(self._submit, None, _serialized),
        }
        for path, handler in rpcs.items():
            _, service, name = path.split("/")
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Let all go, and end."""
        self.released.set()
        self._server.stop(None).wait()

    def _tokenize(self, request: bytes, context: grpc.ServicerContext) -> Any:
        self._hold()
        return TEXTS.TokenizeResponse(model_version="v1")

    def _stream(self, request: bytes, context: grpc.ServicerContext) -> Iterator[Any]:
        yield TEXTS.CompletionResponse(model_version="v1")

    def _submit(self, request: bytes, context: grpc.ServicerContext) -> Any:
        self._hold()
        return _pb.operation_pb2.Operation(id="d7q")

    def _hold(self) -> None:
        self.arrived.set()
        if self.holding:
            self.released.wait(LONG)


def _serialized(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


@pytest.fixture
def service() -> Iterator[Service]:
    """A server."""
    found = Service()
    yield found
    found.stop()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where connecting is never refused and never works: nothing listens on a port that is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def core_of(address: str, **settings: Any) -> ClientCore:
    """The settings of a client of a server."""
    return ClientCore(
        RUNTIME,
        **{
            "folder_id": "b1g",
            "credentials": yagrpc.NoCredentials(),
            "model": "yandexgpt",
            "endpoint": address,
            "operation_endpoint": None,
            "plaintext": True,
            "endpoints": None,
            "quota": Quota(concurrent_completions=1),
            "polling": yagrpc.Polling(),
            "data_logging": None,
            **settings,
        },
    )


class Shell:
    """One of the two drivers, behind one face: `run` waits for a flow, `start` gives a future of its outcome.

    Args:
        core: The client's settings.
        channel: The host's channel, of the kind that `channel_to` makes.
    """

    def __init__(self, core: ClientCore, channel: Any = None) -> None:
        self.core = core
        self.transport = self.make(core, channel)

    def make(self, core: ClientCore, channel: Any) -> Any:
        """The transport."""
        return Transport(core, ChannelOptions(()), channel, None, ())

    def channel_to(self, address: str) -> Any:
        """A channel of the host's own."""
        return grpc.insecure_channel(address)

    def run(self, flow: Flow[Any]) -> Any:
        """Run a flow in the caller's thread; gives what it returns, or raises."""
        return self.transport.run(flow)

    def start(self, flow: Flow[Any]) -> futures.Future[Any]:
        """Run a flow beside the caller; gives a future of what it returns or raises."""
        outcome: futures.Future[Any] = futures.Future()

        def done(given: Any) -> None:
            outcome.set_exception(given) if isinstance(given, BaseException) else outcome.set_result(given)

        self.transport.start(flow, done)
        return outcome

    def close(self) -> None:
        """Close the transport."""
        self.transport.close()

    def close_channel(self, channel: Any) -> None:
        """Close the host's channel."""
        channel.close()

    def end(self) -> None:
        """Close all."""
        self.close()


class AsyncShell(Shell):
    """The asyncio driver; its event loop has a thread of its own, so that tests are the same."""

    def __init__(self, core: ClientCore, channel: Any = None) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        super().__init__(core, channel(self) if callable(channel) else channel)

    def make(self, core: ClientCore, channel: Any) -> Any:
        """The transport."""
        return AsyncTransport(core, ChannelOptions(()), channel, None, ())

    def channel_to(self, address: str) -> Any:
        """A channel of the host's own, of this event loop."""

        async def opened() -> grpc.aio.Channel:
            return grpc.aio.insecure_channel(address)

        return self.wait(opened())

    def run(self, flow: Flow[Any]) -> Any:
        """Run a flow; gives what it returns, or raises."""
        return self.start(flow).result(LONG)

    def start(self, flow: Flow[Any]) -> futures.Future[Any]:
        """Run a flow in a task of its own; gives a future of what it returns or raises."""
        return asyncio.run_coroutine_threadsafe(self.transport.run(flow), self.loop)

    def close(self) -> None:
        """Close the transport."""
        self.wait(self.transport.close())

    def close_channel(self, channel: Any) -> None:
        """Close the host's channel."""
        self.wait(channel.close())

    def wait(self, awaitable: Any) -> Any:
        """What a coroutine gives, run in the event loop."""
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(LONG)

    def end(self) -> None:
        """Close all, and the event loop."""
        self.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(LONG)
        self.loop.close()


Make = Callable[..., Shell]


@pytest.fixture(params=[Shell, AsyncShell], ids=["sync", "aio"])
def shell_of(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes the blocking driver, then the asyncio one, for the settings of a client."""
    created: list[Shell] = []

    def make(core: ClientCore, *, host: str = "") -> Shell:
        found: Shell
        if not host:
            found = request.param(core)
        elif request.param is Shell:
            found = Shell(core, grpc.insecure_channel(host))
        else:
            found = AsyncShell(core, lambda shell: shell.channel_to(host))
        created.append(found)
        return found

    yield make
    for shell in created:
        shell.end()


def call_of(method: Any = TOKENIZE, request: Any = None) -> Call[Any, Any]:
    """A call."""
    return Call(method, policy_of(method), method.request_type() if request is None else request, None, (), "id")


class Waiter:
    """Something to wait for."""

    def __init__(self) -> None:
        self.woken = False
        self.wake: Callable[[], object] | None = None


def woken_by_a_thread() -> Flow[bool]:
    """Wait for what another thread wakes once it is waited for."""
    waiter = Waiter()

    def wake() -> None:
        while waiter.wake is None:
            pass
        waiter.woken = True
        waiter.wake()

    threading.Thread(target=wake, daemon=True).start()
    yield from wait(waiter, LONG)
    return waiter.woken


class Reports:
    """Keeps what a driver reports of a submit."""

    def __init__(self) -> None:
        self.outcomes: list[Any] = []
        self.seen = threading.Event()

    def ended(self, outcome: Any) -> None:
        """The attempt has ended."""
        self.outcomes.append(outcome)
        self.seen.set()

    def left(self, outcome: Any) -> None:
        """Nobody gets the outcome."""


EFFECTS: dict[str, Callable[[], Flow[Any]]] = {
    "send": lambda: send(call_of(), LONG, ()),
    "stream": lambda: send(call_of(STREAM), LONG, ()),
    "submit": lambda: send(call_of(SUBMIT), LONG, (), Reports()),
    "connect": lambda: connect(call_of(), LONG),
    "sleep": lambda: sleep(0.001),
    "wait": woken_by_a_thread,
    "wait no longer": lambda: wait(Waiter(), 0.001),
    "block": lambda: block(lambda: "returned"),
    "share": lambda: share("key", lambda: block(lambda: "shared")),
    "share without waiting": lambda: share("another key", lambda: sleep(0.0), wait=False),
}


def shown(outcome: Any) -> str:
    """What an effect gave, as one can compare it."""
    if isinstance(outcome, Opened):
        return f"opened, {outcome.first.model_version}"
    return str(getattr(outcome, "model_version", "") or getattr(outcome, "id", "") or outcome)


GIVEN = {
    "send": "v1",
    "stream": "opened, v1",
    "submit": "d7q",
    "connect": "True",
    "sleep": "None",
    "wait": "True",
    "wait no longer": "None",
    "block": "returned",
    "share": "shared",
    "share without waiting": "None",
}


def all_in_turn() -> Flow[dict[str, str]]:
    """Every effect, one after the other."""
    found = {}
    for name, effect in EFFECTS.items():
        found[name] = shown((yield from effect()))
    return found


def after(effect: str) -> Flow[dict[str, str]]:
    """One effect, and all of them after it: the next step is wherever its outcome came through."""
    yield from EFFECTS[effect]()
    return (yield from all_in_turn())


def test_every_effect_works_in_a_flow_that_is_waited_for(shell_of: Make, service: Service) -> None:
    assert shell_of(core_of(service.address)).run(all_in_turn()) == GIVEN


@pytest.mark.parametrize("first", EFFECTS)
def test_every_effect_works_in_a_flow_beside_its_caller(shell_of: Make, service: Service, first: str) -> None:
    assert shell_of(core_of(service.address)).start(after(first)).result(LONG) == GIVEN


@pytest.mark.parametrize("first", EFFECTS)
def test_every_effect_works_in_a_shared_flow(shell_of: Make, service: Service, first: str) -> None:
    shell = shell_of(core_of(service.address))
    assert shell.run(share("all", lambda: after(first), LONG)) == GIVEN
    assert shell.start(share("all", lambda: after(first), LONG)).result(LONG) == GIVEN


def test_a_wake_up_before_the_wait_is_not_lost(shell_of: Make, service: Service) -> None:
    waiter = Waiter()
    waiter.woken = True
    assert shell_of(core_of(service.address)).start(wait(waiter, None)).result(LONG) is None


def test_a_wake_up_in_the_event_loop_itself_takes_no_detour_by_its_pipe(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def woken() -> None:
        transport = AsyncTransport(core_of(service.address), ChannelOptions(()), None, None, ())
        loop, waiter = asyncio.get_running_loop(), Waiter()
        waiting = loop.create_task(transport.run(wait(waiter, LONG)))
        while waiter.wake is None:  # noqa: ASYNC110 - it is the driver that sets it
            await asyncio.sleep(0)
        with monkeypatch.context() as patch:
            patch.setattr(loop, "call_soon_threadsafe", lambda *_: pytest.fail("as from another thread"))
            waiter.wake()
        await waiting
        await transport.close()

    asyncio.run(woken())


def test_a_stream_of_a_flow_beside_its_caller_can_be_read(service: Service) -> None:
    shell = Shell(core_of(service.address))
    opened = shell.start(send(call_of(STREAM), LONG, ())).result(LONG)
    assert opened.responses.read() is END
    shell.close()


def test_a_failed_send_is_a_value(shell_of: Make, service: Service) -> None:
    shell = shell_of(core_of(service.address))
    for method in (methods.TokenizerService.TokenizeCompletion, methods.OperationService.Get):
        for outcome in (
            shell.run(send(call_of(method), LONG, ())),
            shell.start(send(call_of(method), LONG, ())).result(LONG),
        ):
            assert isinstance(outcome, RpcStatus)
            assert outcome.code is Code.UNIMPLEMENTED
            assert isinstance(outcome.error, grpc.RpcError)


def test_a_submit_that_its_caller_leaves_is_completed(shell_of: Make, service: Service) -> None:
    shell = shell_of(core_of(service.address))
    service.holding = True
    for begin in (shell.run, lambda flow: shell.start(flow).result(LONG)):
        reports = Reports()
        outcome = begin(send(call_of(SUBMIT), 0.05, (), reports))
        assert isinstance(outcome, RpcStatus)
        assert outcome.code is Code.DEADLINE_EXCEEDED
        service.released.set()
        assert reports.seen.wait(LONG)
        assert [each.id for each in reports.outcomes] == ["d7q"]
        service.released.clear()


# Closing


def slot_of(core: ClientCore, entered: threading.Event | None = None) -> Flow[Admission]:
    """Wait for the one slot under the quota of completions."""
    gate = core.gates.of(("concurrent_completions",))
    assert gate is not None
    admission = Admission(gate, core.clock, core.events)
    if entered is not None:
        entered.set()
    yield from admission.enter(call_of(STREAM), Deadline(None, core.clock), None)
    return admission


WAITING: dict[str, Callable[[ClientCore, threading.Event], Flow[Any]]] = {
    "sleep": lambda core, release: sleep(3600.0),
    "wait": lambda core, release: wait(Waiter(), None),
    "block": lambda core, release: block(lambda: release.wait(LONG)),
    "slot": lambda core, release: slot_of(core),
    "connect": lambda core, release: connect(call_of(), None),
    "shared sleep": lambda core, release: share("key", lambda: sleep(3600.0)),
    "shared wait": lambda core, release: share("key", lambda: wait(Waiter(), None)),
    "shared connect": lambda core, release: share("key", lambda: connect(call_of(), None)),
    "shared slot": lambda core, release: share("key", lambda: slot_of(core)),
    "shared block": lambda core, release: share("key", lambda: block(lambda: release.wait(LONG))),
}


@pytest.mark.parametrize(
    ("waiting", "hosted"), [*((waiting, False) for waiting in WAITING), ("connect", True)], ids=lambda given: str(given)
)
def test_closing_ends_a_flow_that_waits(shell_of: Make, nobody: str, waiting: str, hosted: bool) -> None:
    shell = shell_of(core_of(nobody), host=nobody if hosted else "")
    release, started = threading.Event(), threading.Event()
    kept = shell.run(slot_of(shell.core))

    def announced() -> Flow[Any]:
        started.set()
        return (yield from WAITING[waiting](shell.core, release))

    outcomes = [shell.start(announced()) for _ in range(2)]
    assert started.wait(LONG)
    done, _ = futures.wait(outcomes, 0.05)
    assert not done
    shell.close()
    try:
        for outcome in outcomes:
            assert isinstance(outcome.exception(LONG), ClientClosedError)
    finally:
        release.set()
        kept.release()


def test_what_a_flow_blocked_for_fails_after_closing(shell_of: Make, nobody: str) -> None:
    shell, release, started = shell_of(core_of(nobody)), threading.Event(), threading.Event()

    def blocked() -> None:
        started.set()
        release.wait(LONG)
        raise OSError("nobody waits for this any longer")

    outcome = shell.start(block(blocked))
    assert started.wait(LONG)
    shell.close()
    assert isinstance(outcome.exception(LONG), ClientClosedError)
    release.set()


class Wrapped:
    """A host's own kind of channel: nothing shows which channel of gRPC's is in it."""

    def __init__(self, address: str) -> None:
        self.inner = grpc.insecure_channel(address)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "watch_connectivity_state":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def close(self) -> None:
        """Close it once gRPC's thread has left that polls it: that raises where the channel is closed meanwhile."""
        polled: Any = self.inner
        while polled._connectivity_state.polling:  # for 0.2 s after the last who watched
            threading.Event().wait(0.01)
        self.inner.close()


@pytest.mark.parametrize("kind", ["main thread", "thread"])
def test_closing_ends_the_wait_for_a_channel_that_is_not_grpcs_own(nobody: str, kind: str) -> None:
    channel = Wrapped(nobody)
    shell = Shell(core_of(nobody), channel)
    if kind == "thread":
        outcome = shell.start(connect(call_of(), None))
        shell.close()
        assert isinstance(outcome.exception(LONG), ClientClosedError)
    else:
        closing = threading.Timer(0.05, shell.close)
        closing.start()
        with pytest.raises(ClientClosedError):
            shell.run(connect(call_of(), None))
        closing.join()
    channel.close()


def test_a_channel_that_is_not_grpcs_own_connects(service: Service, nobody: str) -> None:
    channel = Wrapped(service.address)
    shell = Shell(core_of(service.address), channel)
    assert shell.run(connect(call_of(), LONG)) is True
    shell.close()
    channel.close()
    channel = Wrapped(nobody)
    shell = Shell(core_of(nobody), channel)
    assert shell.run(connect(call_of(), 0.05)) is False
    shell.close()
    channel.close()


def test_closing_ends_an_rpc_that_runs(shell_of: Make, service: Service) -> None:
    shell = shell_of(core_of(service.address))
    service.holding = True
    outcome = shell.start(send(call_of(), None, ()))
    assert service.arrived.wait(LONG)
    shell.close()
    ended = outcome.result(LONG)
    assert isinstance(ended, RpcStatus)
    assert ended.code is Code.CANCELLED
    assert ended.closed


@pytest.mark.parametrize("name", ["send", "stream", "submit", "connect", "share", "share without waiting"])
def test_nothing_begins_after_closing(shell_of: Make, service: Service, name: str) -> None:
    shell = shell_of(core_of(service.address))
    shell.run(all_in_turn())
    service.arrived.clear()
    shell.close()
    for begin in (shell.run, lambda flow: shell.start(flow).result(LONG)):
        with pytest.raises(ClientClosedError):
            begin(EFFECTS[name]())
    assert not service.arrived.is_set()


def test_closed_client_asks_for_no_endpoint(shell_of: Make) -> None:
    shell = shell_of(core_of("llm.api.cloud.yandex.net:443", plaintext=False))
    kind = f"{TEXTS.__name__}:TokenizeRequest"
    unknown = UnaryMethod[Any, Any]("/yandex.cloud.nowhere.v1.Nets/Take", request=kind, response=kind)
    with pytest.raises(yagrpc.ConfigError, match="no endpoint is known"):
        shell.run(connect(call_of(unknown), None))
    shell.close()
    for effect in (connect(call_of(unknown), None), send(call_of(unknown), None, ())):
        with pytest.raises(ClientClosedError):
            shell.run(effect)


def test_sharing_stays_closed_in_another_event_loop() -> None:
    transport = AsyncTransport(core_of("127.0.0.1:1"), ChannelOptions(()), None, None, ())

    async def close() -> None:
        transport.enter_loop()
        await transport.close()

    async def use() -> None:
        with pytest.raises(ClientClosedError):
            await transport.run(share("key", lambda: sleep(0.0)))

    asyncio.run(close())
    asyncio.run(use())


# A channel that its host closes


@pytest.mark.parametrize("name", ["send", "stream", "submit", "connect"])
def test_a_channel_that_its_host_has_closed(shell_of: Make, service: Service, name: str) -> None:
    shell = shell_of(core_of(service.address), host=service.address)
    given = shell.transport.channels.given["model"]
    assert shown(shell.run(EFFECTS[name]())) == GIVEN[name]
    shell.close_channel(given)
    for begin in (shell.run, lambda flow: shell.start(flow).result(LONG)):
        with pytest.raises(ClientClosedError) as caught:
            begin(EFFECTS[name]())
        assert isinstance(caught.value.__cause__, (ValueError, grpc.aio.UsageError))


def test_a_channel_that_its_host_closes_while_it_connects(shell_of: Make, nobody: str) -> None:
    shell, started = shell_of(core_of(nobody), host=nobody), threading.Event()

    def announced() -> Flow[Any]:
        started.set()
        return (yield from connect(call_of(), None))

    outcome = shell.start(announced())
    assert started.wait(LONG)
    shell.close_channel(shell.transport.channels.given["model"])
    assert isinstance(outcome.exception(LONG), ClientClosedError)


# Threads


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets the drivers start no more threads; gRPC's own are left to it."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("yagrpc"):
            raise RuntimeError("can't start new thread")
        start(thread)

    return lambda: monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.parametrize("name", ["connect", "sleep", "wait no longer", "block", "share", "stream"])
def test_a_flow_learns_that_its_thread_cannot_be_started(
    service: Service, no_threads: Callable[[], None], name: str
) -> None:
    shell = Shell(core_of(service.address))
    shell.run(all_in_turn())
    no_threads()
    seen = []

    def flow() -> Flow[Any]:
        try:
            yield from EFFECTS[name]()
        except RuntimeError as error:
            seen.append(str(error))
        return (yield from send(call_of(), LONG, ()))

    assert shown(shell.start(flow()).result(LONG)) == "v1"
    assert seen == ["can't start new thread"]
    with pytest.raises(RuntimeError, match="can't start new thread"):
        shell.start(EFFECTS[name]()).result(LONG)
    shell.close()


def test_an_asyncio_flow_learns_that_its_thread_cannot_be_started(
    service: Service, no_threads: Callable[[], None]
) -> None:
    shell = AsyncShell(core_of(service.address))
    no_threads()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        shell.run(block(lambda: None))
    shell.end()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), OSError("no")])
def test_whatever_ends_a_flow_beside_its_caller_is_reported(service: Service, error: BaseException) -> None:
    shell = Shell(core_of(service.address))

    def failing() -> None:
        raise error

    assert shell.start(block(failing)).exception(LONG) is error
    shell.close()


def test_a_function_that_blocks_and_ends_a_generator_is_no_answer(shell_of: Make, service: Service) -> None:
    shell = shell_of(core_of(service.address))

    def stopping() -> None:
        raise StopIteration("answer")

    for begin in (shell.run, lambda flow: shell.start(flow).result(LONG)):
        with pytest.raises(RuntimeError, match="StopIteration"):
            begin(block(stopping))


# Contexts

WHOSE: contextvars.ContextVar[str] = contextvars.ContextVar("WHOSE", default="nobody's")


def steps(effect: str, seen: list[str]) -> Flow[None]:
    """A flow that takes note of its context before and after an effect."""
    seen.append(WHOSE.get())
    yield from EFFECTS[effect]()
    seen.append(WHOSE.get())


@pytest.mark.parametrize("effect", EFFECTS)
def test_a_flow_beside_its_caller_stays_in_its_callers_context(shell_of: Make, service: Service, effect: str) -> None:
    shell, seen = shell_of(core_of(service.address)), list[str]()
    context = contextvars.copy_context()
    context.run(WHOSE.set, "the caller's")
    context.run(shell.start, steps(effect, seen)).result(LONG)
    assert seen == ["the caller's"] * 2


def test_a_shared_flow_is_in_nobodys_context(shell_of: Make, service: Service) -> None:
    shell, seen = shell_of(core_of(service.address)), list[str]()
    context = contextvars.copy_context()
    context.run(WHOSE.set, "the caller's")
    context.run(shell.start, share("key", lambda: steps("send", seen))).result(LONG)
    context.run(shell.run, share("key", lambda: steps("send", seen)))
    assert seen == ["nobody's"] * 4

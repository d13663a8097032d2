"""What the tests of the decisions share: a clock that stands still, a driver for flows, what a loop needs of a client.

Rules: no network, no waiting; time passes when a test says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from hypothesis import settings

from yagrpc import _pb, methods
from yagrpc._core.call.call import Call
from yagrpc._core.call.policy import Policy, policy_of
from yagrpc._core.deadline import Deadline
from yagrpc._core.events import Events
from yagrpc._core.flow import Block, Connect, Flow, Send, Share, Sleep, Wait
from yagrpc._core.ports import Route
from yagrpc._core.quota.gates import Gate
from yagrpc._core.reporting.logs import hub_of
from yagrpc._core.send import send_call
from yagrpc.method import AnyMethod

# Machines that run the tests differ in speed, and a run leaves no files behind.
settings.register_profile("core", deadline=None, database=None)
settings.load_profile("core")

Pairs = Iterable[tuple[str, str | bytes]]


class Clock:
    """A monotonic clock that a test moves. It starts late, as real ones do: floats are coarser there."""

    def __init__(self) -> None:
        self.now = 1_000_003.7

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


ENDPOINT = "llm.example:443"
SCRIPTED = {"connected", "each", "connecting", "blocking"}


class Ports:
    """What the loop needs of a client: one route for every method, on a clock that a test moves.

    Args:
        clock: The clock.
        gate: What limits every call.
        events: Who listens.
        authorizer: Obtains tokens.
        send_limit: The largest request that the channel sends, in bytes.
        jitter: What pauses are multiplied by.
        discovering: The effects that finding the endpoint takes.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        gate: Gate | None = None,
        events: Events | Iterable[Events] | None = None,
        authorizer: Any = None,
        send_limit: int = -1,
        jitter: float = 1.0,
        discovering: Callable[[], Flow[None]] | None = None,
    ) -> None:
        self.clock: Callable[[], float] = clock
        self.events = hub_of(events, texts=lambda: False)
        self.authorizer = authorizer
        self.routes: dict[AnyMethod, Route] = {}
        self._route = Route(ENDPOINT, send_limit, gate)
        self._jitter = jitter
        self._discovering = discovering

    def jitter(self) -> float:
        """A factor that does not change."""
        return self._jitter

    def find_route(self, call: Call[Any, Any], deadline: Deadline) -> Flow[Route]:
        """The one route, kept as a client does."""
        if self._discovering is not None:
            yield from self._discovering()
        self.routes[call.method] = self._route
        return self._route


class Driver:
    """Runs a flow by a script, and keeps what the flow asked for.

    Args:
        clock: Moved by every sleep and every wait, and by so many seconds with every send, connection and block.

    Attributes:
        asked: The effects in order, each with its figure: a timeout or a pause, in seconds.
        sent: The effects that were sends.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[tuple[str, float | None]] = []
        self.sent: list[Send] = []
        self._sends: Iterator[Any] = iter(())
        self._connected: Iterator[Any] = iter(())
        self._seconds = {"send": 0.0, "connect": 0.0, "block": 0.0}

    def __call__(
        self,
        flow: Flow[Any],
        sends: Sequence[Any],
        *,
        connected: Sequence[Any] = (),
        each: float = 0.0,
        connecting: float = 0.0,
        blocking: float = 0.0,
        whole: bool = True,
    ) -> Any:
        """What the flow returns.

        Args:
            flow: Which.
            sends: The outcome of each send: a response, an `RpcStatus`, an exception to raise, or a function that
                gives the outcome from the effect.
            connected: The same for each wait for the connection; connected where the script is over.
            each: Seconds that a send takes.
            connecting: Seconds that a wait for the connection takes.
            blocking: Seconds that a function takes which blocks.
            whole: Whether the flow has to use up what is to be sent.
        """
        self._sends, self._connected = iter(sends), iter(connected)
        self._seconds = {"send": each, "connect": connecting, "block": blocking}
        try:
            return self._run(flow)
        finally:
            assert not whole or next(self._sends, None) is None, "the flow sent less than the script holds"

    def _run(self, flow: Flow[Any], until: float = math.inf) -> Any:
        try:
            effect = next(flow)
            while True:
                try:
                    outcome = self._perform(effect)
                    if self.clock() > until:
                        self.clock.now = until
                        raise _TooLateError
                except (AssertionError, _TooLateError):  # the test's own, and for those who wait
                    raise
                except BaseException as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as stop:
            return stop.value

    def _perform(self, effect: Any) -> Any:
        if isinstance(effect, Send):
            self._ask("send", effect.timeout)
            self.sent.append(effect)
            outcome = next(self._sends, _NO_MORE)
            assert outcome is not _NO_MORE, "the flow sent more than the script holds"
            outcome = outcome(effect) if callable(outcome) else outcome
            if effect.reporter is not None:  # as the shells do, before the caller gets it
                effect.reporter.ended(outcome)
            return _raised(outcome)
        if isinstance(effect, Connect):
            self._ask("connect", effect.timeout)
            return _raised(next(self._connected, True))
        if isinstance(effect, Wait):
            self._ask("wait", effect.seconds)
            return self.waiting(effect)
        if isinstance(effect, Block):
            self._ask("block", None)
            return effect.function()
        if isinstance(effect, Share):
            return self._share(effect)
        assert isinstance(effect, Sleep)
        self._ask("sleep", effect.seconds)
        self.clock.pass_(effect.seconds)
        return None

    def _ask(self, kind: str, figure: float | None) -> None:
        self.asked.append((kind, figure))
        self.clock.pass_(self._seconds.get(kind, 0.0))

    def _share(self, effect: Share) -> Any:
        """Run what is shared to its end, or, where somebody waits, until the time is over."""
        limited = effect.wait and effect.timeout is not None
        try:
            outcome = self._run(effect.make(), self.clock() + (effect.timeout or 0.0) if limited else math.inf)
        except _TooLateError:
            raise TimeoutError from None
        return outcome if effect.wait else None

    def waiting(self, effect: Wait) -> None:
        """What happens while a slot is waited for: by default all that can is that time passes."""
        assert effect.seconds is not None, "it would wait for ever"
        self.clock.pass_(effect.seconds)

    def kinds(self) -> list[str]:
        """What the flow asked for, without the figures."""
        return [kind for kind, _ in self.asked]

    def figures(self, kind: str) -> list[float | None]:
        """The figures of one kind of what it asked for: timeouts or pauses, in seconds."""
        return [figure for asked, figure in self.asked if asked == kind]


_NO_MORE = object()


class _TooLateError(Exception):
    """The time of those who wait for a shared flow is over."""


def _raised(outcome: Any) -> Any:
    """An outcome of a script; an exception is raised."""
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _rpc_error(
    code: grpc.StatusCode,
    details: str | None = "it failed",
    *,
    initial: Pairs = (),
    trailing: Pairs = (),
) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(*initial), grpc.aio.Metadata(*trailing), details)


def _a_call(
    method: Any = methods.TokenizerService.Tokenize,
    timeout: float | None = 60.0,
    operation_id: str = "",
    *,
    request: Any = None,
    policy: Policy | None = None,
    needs_token: bool = False,
    resubmit: bool = False,
) -> Call[Any, Any]:
    return Call(
        method,
        policy or policy_of(method),
        object() if request is None else request,
        timeout,
        (),
        "client-id",
        operation_id,
        needs_token,
        resubmit,
    )


def _packed(message: Message) -> _pb.any_pb2.Any:
    packed = _pb.any_pb2.Any()
    packed.Pack(message)
    return packed


def _operation(operation_id: str = "op", **fields: Any) -> _pb.operation_pb2.Operation:
    return _pb.operation_pb2.Operation(id=operation_id, **fields)


def _completion(text: str = "", **fields: Any) -> _pb.text_generation_service_pb2.CompletionResponse:
    message = _pb.text_common_pb2.Message(role="assistant", text=text)
    alternative = _pb.text_common_pb2.Alternative(**{"message": message, "status": 3, **fields})
    usage = _pb.text_common_pb2.ContentUsage(
        input_text_tokens=20,
        completion_tokens=7,
        total_tokens=27,
        completion_tokens_details=_pb.text_common_pb2.ContentUsage.CompletionTokensDetails(reasoning_tokens=3),
    )
    return _pb.text_generation_service_pb2.CompletionResponse(
        alternatives=[alternative], usage=usage, model_version="09.02.2025"
    )


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def drive(clock: Clock) -> Driver:
    """A driver for flows, on the clock."""
    return Driver(clock)


@pytest.fixture(scope="session")
def new_driver() -> Callable[[], Driver]:
    """Makes drivers, each on a clock of its own, for tests of many examples."""
    return lambda: Driver(Clock())


@pytest.fixture(scope="session")
def new_ports() -> Callable[..., Ports]:
    """Makes what the loop needs of a client, on a clock that is given."""
    return Ports


@pytest.fixture
def ports(clock: Clock) -> Callable[..., Ports]:
    """Makes what the loop needs of a client, on the clock."""
    return lambda **settings: Ports(clock, **settings)


@pytest.fixture
def run(drive: Driver, ports: Callable[..., Ports]) -> Callable[..., Any]:
    """Sends a call through the loop by a script; all that is not for the driver is a setting of `ports`."""

    def run(call: Call[Any, Any], sends: Sequence[Any], **settings: Any) -> Any:
        script = {name: settings.pop(name) for name in SCRIPTED & settings.keys()}
        created = ports(**settings)
        call.watched = created.events.wants_attempts()  # as a client says of its calls
        return drive(send_call(call, created), sends, **script)

    return run


@pytest.fixture(scope="session")
def rpc_error() -> Callable[..., grpc.aio.AioRpcError]:
    """Makes errors as gRPC raises them."""
    return _rpc_error


@pytest.fixture(scope="session")
def a_call() -> Callable[..., Call[Any, Any]]:
    """Makes calls."""
    return _a_call


@pytest.fixture(scope="session")
def packed() -> Callable[[Message], _pb.any_pb2.Any]:
    """Packs a message into an `Any`."""
    return _packed


@pytest.fixture(scope="session")
def operation() -> Callable[..., _pb.operation_pb2.Operation]:
    """Makes operations."""
    return _operation


@pytest.fixture(scope="session")
def completion() -> Callable[..., _pb.text_generation_service_pb2.CompletionResponse]:
    """Makes answers of the model; fields are those of their one alternative."""
    return _completion

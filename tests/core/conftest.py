"""What the tests of the decisions share: a clock that stands still, real errors of gRPC's, a driver for flows.

Rules: no network, no waiting; time passes when a test says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from hypothesis import settings

from yagrpc import _pb, methods
from yagrpc._core.flow import Call, Flow, Ready, Send, Sleep, Wait

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


class Driver:
    """Carries a flow out by a script, and keeps what the flow asked for.

    Args:
        clock: Moved by every sleep, and by `each` with every send.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[tuple[str, float | None]] = []

    def __call__(
        self,
        flow: Flow[Any],
        sends: Sequence[Any],
        *,
        connected: Sequence[Any] = (),
        each: float = 0.0,
        connecting: float = 0.0,
    ) -> Any:
        """What the flow returns.

        Args:
            flow: Which.
            sends: What becomes of each send: a response, or an exception to raise. The flow has to use them up.
            connected: The same for each wait for the connection; connected where the script is over.
            each: Seconds that a send takes.
            connecting: Seconds that a wait for the connection takes.
        """
        sent, readied = iter(sends), iter(connected)
        outcome: Any = None
        try:
            while True:
                effect = flow.throw(outcome) if isinstance(outcome, BaseException) else flow.send(outcome)
                if isinstance(effect, Send):
                    self.asked.append(("send", effect.timeout))
                    self.clock.pass_(each)
                    outcome = next(sent)
                elif isinstance(effect, Ready):
                    self.asked.append(("ready", effect.timeout))
                    self.clock.pass_(connecting)
                    outcome = next(readied, True)
                elif isinstance(effect, Wait):
                    self.asked.append(("wait", effect.seconds))
                    self.waiting(effect)
                    outcome = None
                else:
                    assert isinstance(effect, Sleep)
                    self.asked.append(("sleep", effect.seconds))
                    self.clock.pass_(effect.seconds)
                    outcome = None
        except StopIteration as stop:
            return stop.value
        finally:
            assert next(sent, None) is None, "the flow sent less than the script holds"

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


def _rpc_error(
    code: grpc.StatusCode,
    details: str | None = "it failed",
    *,
    initial: Pairs = (),
    trailing: Pairs = (),
) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(*initial), grpc.aio.Metadata(*trailing), details)


def _a_call(
    method: Any = methods.TokenizerService.Tokenize, timeout: float | None = 60.0, operation_id: str = ""
) -> Call[Any, Any]:
    return Call(method, object(), timeout, (), "client-id", operation_id)


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

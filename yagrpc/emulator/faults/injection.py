"""Scripted faults at work: which rules befall a call, and what they do to it.

Rules: `FaultRules` decides and does no I/O; any thread may change it. `Injected` does what was decided, at the three
points where the pipeline asks it to. What a fault does to an operation is done to the answer, never to what is kept.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator.cloud.auth import unauthenticated
from yagrpc.emulator.faults import fault as kinds
from yagrpc.emulator.faults.fault import Fault
from yagrpc.emulator.received import Received
from yagrpc.emulator.refusal import Refusal, make_status
from yagrpc.emulator.replies import Failure

__all__ = ["TAKES", "FaultRules", "Host", "Injected"]

TAKES: Final[ContextVar[float | None]] = ContextVar("yagrpc_emulator_takes", default=None)
"""How long what the running call starts has to take, where a fault says so; seconds."""

_PADDING_TAG: Final = b"\xfa\xff\xff\xff\x0f"
"""The tag of a length-delimited field with the highest number that there is."""


class Host(Protocol):
    """What faults need of the server that they befall."""

    async def wait(self, seconds: float) -> None:
        """Wait on the emulator's clock."""

    def shut(self, peer: str) -> bool:
        """Shut the connection of a client; whether it was found."""
        ...

    def crash(self, fault: kinds.Crash) -> None:
        """Begin to die; what runs is cancelled soon."""


class FaultRules:
    """The rules that hold, with their counters.

    Args:
        faults: The first rules.
        host: What they befall.
        rng: Gives each rule without a seed of its own one.
        number_of: The number of an operation in the order of submits, by its id.
    """

    def __init__(
        self, faults: Iterable[Fault], host: Host, rng: random.Random, number_of: Callable[[str], int | None]
    ) -> None:
        self._host = host
        self._random = rng
        self._number_of = number_of
        self._lock = threading.Lock()
        self._rules: tuple[_Rule, ...] = ()
        self.add(*faults)

    def __len__(self) -> int:
        """How many rules hold."""
        return len(self._rules)

    def add(self, *faults: Fault) -> None:
        """Let rules hold from now on, after those that there are."""
        with self._lock:
            seeds = [self._random.getrandbits(64) if fault.seed is None else fault.seed for fault in faults]
            self._rules += tuple(map(_Rule, faults, seeds))

    def clear(self) -> None:
        """Let no rule hold any more."""
        with self._lock:
            self._rules = ()

    def list(self) -> list[tuple[Fault, int]]:
        """The rules that hold, and how often each has befallen a call."""
        return [(rule.fault, rule.befallen) for rule in self._rules]

    def take(self, received: Received) -> Injected | None:
        """What befalls a call that has arrived."""
        rules = self._rules
        if not rules:
            return None
        named = getattr(received.request, "operation_id", "")
        number = self._number_of(named) if named else None
        taken = [rule for rule in rules if rule.befalls(received.path, named, number)]
        return Injected(taken, received, self._host) if taken else None


class _Rule:
    """A fault, and what it has seen."""

    def __init__(self, fault: Fault, seed: int) -> None:
        self.fault = fault
        self.befallen = 0
        self.credentials: dict[str, float] = {}
        self._paths = None if fault.method is None else kinds.find_paths(fault.method)
        self._calls = frozenset([fault.calls] if isinstance(fault.calls, int) else fault.calls or ())
        self._random = random.Random(seed)
        self._seen = 0

    def befalls(self, path: str, operation_id: str, number: int | None) -> bool:
        """Decide on a call, and count it."""
        fault = self.fault
        if self._paths is not None and path not in self._paths:
            return False
        if fault.operation is not None and fault.operation not in (operation_id, number):
            return False
        self._seen += 1
        if self._calls and self._seen not in self._calls:
            return False
        if fault.probability < 1 and self._random.random() >= fault.probability:
            return False
        if fault.times is not None and self.befallen >= fault.times:
            return False
        self.befallen += 1
        return True


class Injected:
    """The faults of one call.

    Args:
        rules: Those that befall it.
        received: The call.
        host: Where it runs.
    """

    def __init__(self, rules: list[_Rule], received: Received, host: Host) -> None:
        self._rules = rules
        self._actions = [rule.fault.action for rule in rules]
        self._received = received
        self._host = host
        self._sent = 0
        self.silent = any(isinstance(action, kinds.LostReply) for action in self._actions)
        """Whether no headers may leave."""

    async def before(self, context: Any, request_id: str) -> None:
        """Do what comes before any work.

        Args:
            context: gRPC's, of the call.
            request_id: The `x-request-id` of its answer.

        Raises:
            Refusal: The call ends here.
        """
        for rule, action in zip(self._rules, self._actions, strict=True):
            if isinstance(action, kinds.Delay):
                await self._host.wait(action.seconds)
            elif isinstance(action, kinds.Take):
                TAKES.set(action.seconds)
            elif isinstance(action, Failure):
                raise Refusal(make_status(action.code, action.message, *action.details))
            elif isinstance(action, kinds.ExpireToken):
                self._check_age(rule, action.seconds, request_id)
            elif isinstance(action, kinds.Hang):
                await _for_ever()
            elif isinstance(action, kinds.Crash):
                self._host.crash(action)
                await _for_ever()
            elif isinstance(action, kinds.DropConnection) and action.after == 0:
                await self._drop(context)

    async def after(self, answer: Any, context: Any) -> Any:
        """The answer of a unary call as it is sent: a message or bytes.

        Raises:
            Refusal: The answer is lost.
        """
        await self.last(context)
        return self._changed(answer)

    async def each(self, message: Any, context: Any) -> Any:
        """A message of a stream as it is sent."""
        for action in self._actions:
            if isinstance(action, kinds.DropConnection) and self._sent >= action.after:
                await self._drop(context)
        self._sent += 1
        return self._changed(message)

    async def last(self, context: Any) -> None:
        """Do what comes after all work.

        Raises:
            Refusal: The end is lost.
        """
        for action in self._actions:
            if isinstance(action, kinds.LostReply):
                if action.connection:
                    await self._drop(context)
                raise _lost()
            if isinstance(action, kinds.DropConnection):
                await self._drop(context)

    def _changed(self, answer: Any) -> Any:
        for action in self._actions:
            if isinstance(answer, _pb.operation_pb2.Operation):
                answer = _damaged(answer, action)
            if isinstance(action, kinds.Oversize):
                answer = _padded(answer, action.size)
            elif isinstance(action, kinds.Garbage):
                answer = action.data
        return answer

    def _check_age(self, rule: _Rule, seconds: float, request_id: str) -> None:
        credential, now = str(self._received.metadata.get("authorization", "")), self._received.at
        if now >= rule.credentials.setdefault(credential, now) + seconds:
            raise unauthenticated("The token is invalid", request_id)

    async def _drop(self, context: Any) -> None:
        if not self._host.shut(context.peer()):
            raise _lost()
        await _for_ever()


def _damaged(operation: _pb.operation_pb2.Operation, action: kinds.Action) -> _pb.operation_pb2.Operation:
    """What a fault makes of an operation."""
    if not isinstance(action, (kinds.WrongType, kinds.NoResult, kinds.EarlyError)):
        return operation
    damaged = _pb.operation_pb2.Operation()
    damaged.CopyFrom(operation)
    damaged.ClearField("response")
    damaged.ClearField("error")
    damaged.done = not isinstance(action, kinds.EarlyError)
    if isinstance(action, kinds.WrongType):
        damaged.response.type_url = f"type.googleapis.com/{action.type}"
    elif isinstance(action, kinds.EarlyError):
        damaged.error.code, damaged.error.message = action.code, action.message
    return damaged


def _padded(answer: Message | bytes, size: int) -> bytes:
    body = answer if isinstance(answer, bytes) else answer.SerializeToString()
    if len(body) >= size:
        return body
    length, digits = size - len(body), bytearray()
    rest = length
    while rest > 0x7F:
        digits.append(rest & 0x7F | 0x80)
        rest >>= 7
    digits.append(rest)
    return b"".join((body, _PADDING_TAG, digits, bytes(length)))


def _lost() -> Refusal:
    return Refusal(make_status(grpc.StatusCode.UNAVAILABLE, "the stream was reset before the answer"))


async def _for_ever() -> None:
    """Until the call is cancelled: by its caller, its deadline, a lost connection, or the server's end."""
    await asyncio.get_running_loop().create_future()

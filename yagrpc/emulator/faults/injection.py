"""Fault injection: which rules apply to a call, and what they do to it.

Rules: `FaultRules` decides and does no I/O; any thread may change it. `Injected` does what was decided, at the points
where the pipeline calls it. What a fault does to an operation is done to the answer, never to what is kept.
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
from yagrpc.emulator.faults import schema
from yagrpc.emulator.faults.fault import Fault
from yagrpc.emulator.received import Received
from yagrpc.emulator.refusal import Refusal, make_status

__all__ = ["TAKES", "FaultRules", "Host", "Injected"]

TAKES: Final[ContextVar[float | None]] = ContextVar("yagrpc_emulator_takes", default=None)
"""How long the work takes that the running call starts, if a fault says so; seconds."""

_PADDING_TAG: Final = b"\xfa\xff\xff\xff\x0f"
"""The tag of a length-delimited field with the highest possible number."""

_MOST_CREDENTIALS: Final = 10_000
"""Of how many credentials a fault remembers when each came first."""


class Host(Protocol):
    """What faults need of the server."""

    async def wait(self, seconds: float) -> None:
        """Wait on the emulator's clock."""

    def shut(self, peer: str) -> bool:
        """Shut down the connection of a client; returns whether it was found."""
        ...

    def crash(self, crash: _pb.control_pb2.Crash) -> None:
        """Start to crash; running calls are cancelled soon."""


class FaultRules:
    """The active rules, with their counters.

    Args:
        faults: The first rules.
        host: The server that they act on.
        rng: Draws a seed for each rule that has none.
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
        """How many rules are active."""
        return len(self._rules)

    def add(self, *faults: Fault) -> None:
        """Add rules after the rules that exist."""
        with self._lock:
            seeds = [
                fault.message.seed if fault.message.HasField("seed") else self._random.getrandbits(64)
                for fault in faults
            ]
            self._rules += tuple(map(_Rule, faults, seeds))

    def clear(self) -> None:
        """Remove all rules."""
        with self._lock:
            self._rules = ()

    def list(self) -> list[tuple[Fault, int]]:
        """The active rules, and how many times each has been applied."""
        return [(rule.fault, rule.applied) for rule in self._rules]

    def take(self, received: Received) -> Injected | None:
        """The rules that apply to a call that has arrived; `None` if none does."""
        rules = self._rules
        if not rules:
            return None
        named = getattr(received.request, "operation_id", "")
        number = self._number_of(named) if named else None
        taken = [rule for rule in rules if rule.applies(received.path, named, number)]
        return Injected(taken, received, self._host) if taken else None


class _Rule:
    """A fault, and which calls it has met."""

    def __init__(self, fault: Fault, seed: int) -> None:
        self.fault = fault
        self.applied = 0
        self.credentials: dict[str, float] = {}
        message = self._message = fault.message
        self._paths = schema.find_paths(message.method) if message.HasField("method") else None
        operation = message.WhichOneof("operation")
        self._operation = getattr(message, operation) if operation else None
        self._calls = frozenset(message.calls)
        self._probability = message.probability if message.HasField("probability") else 1.0
        self._random = random.Random(seed)
        self._seen = 0

    def applies(self, path: str, operation_id: str, number: int | None) -> bool:
        """Whether the rule applies to a call, which is counted."""
        if self._paths is not None and path not in self._paths:
            return False
        if self._operation is not None and self._operation not in (operation_id, number):
            return False
        self._seen += 1
        if self._calls and self._seen not in self._calls:
            return False
        if self._probability < 1 and self._random.random() >= self._probability:
            return False
        if self._message.HasField("times") and self.applied >= self._message.times:
            return False
        self.applied += 1
        return True


class Injected:
    """The faults of one call.

    Args:
        rules: The rules that apply to it.
        received: The call.
        host: The server that it runs on.
    """

    def __init__(self, rules: list[_Rule], received: Received, host: Host) -> None:
        self._rules = rules
        self._faults = [rule.fault.message for rule in rules]
        self._received = received
        self._host = host
        self._sent = 0
        self.silent = any(fault.HasField("lose_reply") for fault in self._faults)
        """Whether no headers may be sent."""

    async def before(self, context: Any, request_id: str) -> None:
        """Do what comes before any work.

        Args:
            context: gRPC's context of the call.
            request_id: The `x-request-id` of its answer.

        Raises:
            Refusal: The call ends here.
        """
        for rule, fault in zip(self._rules, self._faults, strict=True):
            action = fault.WhichOneof("action")
            if action == "delay":
                await self._host.wait(fault.delay.seconds)
            elif action == "take":
                TAKES.set(fault.take.seconds)
            elif action == "fail":
                raise Refusal(fault.fail)
            elif action == "expire_token":
                self._check_age(rule, fault.expire_token.seconds, request_id)
            elif action == "hang":
                await _for_ever()
            elif action == "crash":
                self._host.crash(fault.crash)
                await _for_ever()
            elif action == "drop_connection" and fault.drop_connection.after == 0:
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
        for fault in self._faults:
            if fault.HasField("drop_connection") and self._sent >= fault.drop_connection.after:
                await self._drop(context)
        self._sent += 1
        return self._changed(message)

    async def last(self, context: Any) -> None:
        """Do what comes after all work.

        Raises:
            Refusal: The end is lost.
        """
        for fault in self._faults:
            if fault.HasField("lose_reply"):
                if fault.lose_reply.connection:
                    await self._drop(context)
                raise _lost()
            if fault.HasField("drop_connection"):
                await self._drop(context)

    def _changed(self, answer: Any) -> Any:
        for fault in self._faults:
            if isinstance(answer, _pb.operation_pb2.Operation):
                answer = _damaged(answer, fault)
            if fault.HasField("oversize"):
                answer = _padded(answer, schema.get_field(fault.oversize, "size"))
            elif fault.HasField("garbage"):
                answer = schema.get_field(fault.garbage, "data")
        return answer

    def _check_age(self, rule: _Rule, seconds: float, request_id: str) -> None:
        credential, now = str(self._received.metadata.get("authorization", "")), self._received.at
        first = rule.credentials.setdefault(credential, now)
        if len(rule.credentials) > _MOST_CREDENTIALS:
            del rule.credentials[next(iter(rule.credentials))]
        if now >= first + seconds:
            raise unauthenticated("The token is invalid", request_id)

    async def _drop(self, context: Any) -> None:
        if not self._host.shut(context.peer()):
            raise _lost()
        await _for_ever()


def _damaged(operation: _pb.operation_pb2.Operation, fault: _pb.control_pb2.Fault) -> _pb.operation_pb2.Operation:
    """The operation as a fault changes it."""
    action = fault.WhichOneof("action")
    if action not in ("wrong_type", "no_result", "early_error"):
        return operation
    damaged = _pb.operation_pb2.Operation()
    damaged.CopyFrom(operation)
    damaged.ClearField("response")
    damaged.ClearField("error")
    damaged.done = action != "early_error"
    if action == "wrong_type":
        damaged.response.type_url = f"type.googleapis.com/{schema.get_field(fault.wrong_type, 'type')}"
    elif action == "early_error":
        damaged.error.code, damaged.error.message = fault.early_error.code, fault.early_error.message
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
    """Wait until the call is cancelled: by its caller, its deadline, a lost connection, or the server's stop."""
    await asyncio.get_running_loop().create_future()

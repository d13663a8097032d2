"""The operations of asynchronous completions and of images: submitted, running, done, expired.

Rules: no I/O and no clock, `now` is given. An operation costs its request's bytes while it runs and its answer's
bytes once somebody has read that; nothing runs in between. What was read once as done never changes.
"""

from __future__ import annotations

import dataclasses
import random
import string
from typing import Final

import grpc
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator.auth import CREATED_BY
from yagrpc.emulator.kinds import TEXT, Kind, kind_of
from yagrpc.emulator.refusal import Refusal, make_status

__all__ = ["RETENTION_SECONDS", "Operations"]

RETENTION_SECONDS: Final = 3 * 24 * 3600.0
"""How long a result can be fetched. Source: Yandex Cloud documentation, "Quotas and limits in AI Studio". From when
it counts is not documented; here from the submit."""

_ID_CHARACTERS: Final = string.ascii_lowercase + string.digits


@dataclasses.dataclass(slots=True)
class _Stored:
    created: float
    ends: float
    request: bytes
    scripted: str | Message | None
    done: bytes | None = None
    """The serialized operation, from when it was first read as done."""


class Operations:
    """Keeps operations in memory.

    Args:
        rng: Where ids are drawn from.
    """

    def __init__(self, rng: random.Random) -> None:
        self._random = rng
        self._stored: dict[str, _Stored] = {}

    def __len__(self) -> int:
        """How many are kept, whatever their state."""
        return len(self._stored)

    def submit(
        self,
        request: Message,
        scripted: str | Message | None,
        *,
        seconds: float,
        now: float,
        kind: Kind = TEXT,
    ) -> _pb.operation_pb2.Operation:
        """Start an operation on a valid request.

        Args:
            request: What to answer.
            scripted: What a script says to it; the answer itself is made when it is first read.
            seconds: How long it runs; infinity for one that never ends.
            now: Seconds since the epoch.
            kind: What it makes.
        """
        self._forget(now)
        operation_id = self._new_id(kind)
        self._stored[operation_id] = _Stored(now, now + seconds, request.SerializeToString(), scripted)
        return self.get(operation_id, now)

    def get(self, operation_id: str, now: float) -> _pb.operation_pb2.Operation:
        """The operation as it is now.

        Raises:
            Refusal: NOT_FOUND: there is none of that id, or no longer.
        """
        stored = self._find(operation_id, now)
        if stored.done is not None:
            return _pb.operation_pb2.Operation.FromString(stored.done)
        if now < stored.ends:
            return _operation(operation_id, stored.created, stored.created)
        kind = kind_of(operation_id)
        request = kind.request_type()
        request.ParseFromString(stored.request)
        return self._finish(operation_id, stored, kind.compose(request, stored.scripted))

    def cancel(self, operation_id: str, now: float) -> _pb.operation_pb2.Operation:
        """End a running operation with the error CANCELLED; one that is done stays as it is.

        Whether the service cancels generation at all is not documented.

        Raises:
            Refusal: NOT_FOUND, as for `get`.
        """
        current = self.get(operation_id, now)
        if current.done:
            return current
        stored = self._find(operation_id, now)
        stored.ends = now
        return self._finish(operation_id, stored, make_status(grpc.StatusCode.CANCELLED, "The operation was cancelled"))

    def _finish(self, operation_id: str, stored: _Stored, outcome: Message) -> _pb.operation_pb2.Operation:
        operation = _operation(operation_id, stored.created, stored.ends)
        operation.done = True
        if isinstance(outcome, _pb.status_pb2.Status):
            operation.error.CopyFrom(outcome)
        else:
            operation.response.Pack(outcome)
        stored.done = operation.SerializeToString()
        stored.request, stored.scripted = b"", None
        return operation

    def _find(self, operation_id: str, now: float) -> _Stored:
        stored = self._stored.get(operation_id)
        if stored is None or _expired(stored, now):
            raise Refusal(make_status(grpc.StatusCode.NOT_FOUND, f"Operation {operation_id} not found"))
        return stored

    def _forget(self, now: float) -> None:
        # Insertion order is order of creation, so only the front can have expired.
        while self._stored and _expired(self._stored[oldest := next(iter(self._stored))], now):
            del self._stored[oldest]

    def _new_id(self, kind: Kind) -> str:
        # 36**17 ids: two equal ones are less likely than a broken generator.
        return kind.prefix + "".join(self._random.choices(_ID_CHARACTERS, k=20 - len(kind.prefix)))


def _expired(stored: _Stored, now: float) -> bool:
    return now >= stored.created + RETENTION_SECONDS


def _operation(operation_id: str, created: float, modified: float) -> _pb.operation_pb2.Operation:
    """Times in whole seconds, as the service gives them; where the kind has them at all."""
    kind = kind_of(operation_id)
    if not kind.dated:
        return _pb.operation_pb2.Operation(id=operation_id, description=kind.description)
    return _pb.operation_pb2.Operation(
        id=operation_id,
        description=kind.description,
        created_at=_pb.timestamp_pb2.Timestamp(seconds=int(created)),
        created_by=CREATED_BY,
        modified_at=_pb.timestamp_pb2.Timestamp(seconds=int(modified)),
    )

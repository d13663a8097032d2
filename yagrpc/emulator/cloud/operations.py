"""The operations of asynchronous completions and of images: submitted, running, done, expired.

Rules: no clock, `now` is given; no I/O but into the state file, if one is attached. An operation costs the bytes of its
request while it runs, and the bytes of its answer once the answer has been read; no task runs for it. An operation that
was read as done never changes.
"""

from __future__ import annotations

import dataclasses
import math
import random
import string
from typing import Final, NamedTuple

import grpc
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator.cloud.auth import CREATED_BY
from yagrpc.emulator.cloud.kinds import TEXT, Kind, kind_of
from yagrpc.emulator.refusal import Refusal, make_status
from yagrpc.emulator.statefile import Kept, StateFile

__all__ = ["RETENTION_SECONDS", "OperationRecord", "Operations"]

RETENTION_SECONDS: Final = 3 * 24 * 3600.0
"""How long a result can be fetched. Source: Yandex Cloud documentation, "Quotas and limits in AI Studio". When the time
begins is not documented; here it begins with the submit."""

_ID_CHARACTERS: Final = string.ascii_lowercase + string.digits


class OperationRecord(NamedTuple):
    """An operation as the emulator knows it, without the faults that its callers have seen."""

    id: str
    """Its id."""
    number: int
    """Its number in the order of submits, from 1."""
    created: float
    """When it was submitted, in seconds since the epoch by the emulator's clock."""
    ends: float
    """When it is done, likewise; infinity if it never ends."""
    done: bool
    """Whether it is done."""


@dataclasses.dataclass(slots=True)
class _Stored:
    number: int
    created: float
    ends: float
    request: bytes
    scripted: str | Message | None
    running: bytes = b""
    """The serialized operation while it runs: most Gets find it running."""
    done: bytes | None = None
    """The serialized operation, after it was first read as done."""


class Operations:
    """Keeps operations in memory, and in a state file where one is attached.

    Args:
        rng: Draws the ids.
    """

    def __init__(self, rng: random.Random) -> None:
        self._random = rng
        self._stored: dict[str, _Stored] = {}
        self._file: StateFile | None = None
        self._last_number = 0

    def attach(self, file: StateFile) -> None:
        """Continue with the operations of a file, and keep all later operations there too.

        Raises:
            StateFileError: The file is broken; nothing has changed.
        """
        stored = {
            kept.id: _Stored(
                kept.number,
                kept.created,
                kept.ends,
                b"" if kept.done is not None else kept.request.SerializeToString(),
                kept.scripted,
                b"" if kept.done is not None else _operation(kept.id, kept.created, kept.created).SerializeToString(),
                kept.done,
            )
            for kept in file.load()
        }
        self._stored, self._file = stored, file
        self._last_number = max((one.number for one in stored.values()), default=0)

    def detach(self) -> None:
        """Keep operations in memory only; those of the file stay in both."""
        self._file = None

    def clear(self) -> None:
        """Remove all operations."""
        self._stored = {}
        self._last_number = 0
        if self._file is not None:
            self._file.forget(math.inf)

    def number_of(self, operation_id: str) -> int | None:
        """The number of an operation in the order of submits, from 1; `None` for an unknown id."""
        stored = self._stored.get(operation_id)
        return None if stored is None else stored.number

    def records(self, now: float) -> list[OperationRecord]:
        """All operations, in the order of their submits. Any thread may call this."""
        return [
            OperationRecord(name, one.number, one.created, one.ends, now >= one.ends)
            for name, one in self._stored.copy().items()
        ]

    def __len__(self) -> int:
        """How many operations are kept, in any state."""
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
            request: The request to answer.
            scripted: The scripted reply; the answer is built when it is first read.
            seconds: How long it runs; infinity for an operation that never ends.
            now: Seconds since the epoch.
            kind: The kind of its result.
        """
        self._remove_expired(now)
        operation_id, number = self._new_id(kind), self._last_number + 1
        if self._file is not None:
            self._file.add(Kept(number, operation_id, now, now + seconds, request, scripted, None))
        self._last_number = number
        running = _operation(operation_id, now, now).SerializeToString()
        self._stored[operation_id] = _Stored(number, now, now + seconds, request.SerializeToString(), scripted, running)
        return self.get(operation_id, now)

    def get(self, operation_id: str, now: float) -> _pb.operation_pb2.Operation:
        """The operation as it is now.

        Raises:
            Refusal: NOT_FOUND: no operation has that id, or it has expired.
        """
        stored = self._find(operation_id, now)
        if stored.done is not None:
            return _pb.operation_pb2.Operation.FromString(stored.done)
        if now < stored.ends:
            return _pb.operation_pb2.Operation.FromString(stored.running)
        kind = kind_of(operation_id)
        request = kind.request_type()
        request.ParseFromString(stored.request)
        return self._finish(operation_id, stored, kind.compose(request, stored.scripted))

    def cancel(self, operation_id: str, now: float) -> _pb.operation_pb2.Operation:
        """End a running operation with the error CANCELLED; a finished operation does not change.

        Whether the service cancels generation at all is not documented.

        Raises:
            Refusal: NOT_FOUND, as for `get`.
        """
        current = self.get(operation_id, now)
        if current.done:
            return current
        stored = self._find(operation_id, now)
        stored.ends = now
        ended = self._finish(
            operation_id, stored, make_status(grpc.StatusCode.CANCELLED, "The operation was cancelled")
        )
        if self._file is not None:
            self._file.end(operation_id, now, ended.SerializeToString())
        return ended

    def _finish(self, operation_id: str, stored: _Stored, outcome: Message) -> _pb.operation_pb2.Operation:
        operation = _operation(operation_id, stored.created, stored.ends)
        operation.done = True
        if isinstance(outcome, _pb.status_pb2.Status):
            operation.error.CopyFrom(outcome)
        else:
            operation.response.Pack(outcome)
        stored.done = operation.SerializeToString()
        stored.request, stored.scripted, stored.running = b"", None, b""
        return operation

    def _find(self, operation_id: str, now: float) -> _Stored:
        stored = self._stored.get(operation_id)
        if stored is None or _expired(stored, now):
            raise Refusal(make_status(grpc.StatusCode.NOT_FOUND, f"Operation {operation_id} not found"))
        return stored

    def _remove_expired(self, now: float) -> None:
        # The order of insertion is the order of creation, so only the first ones can have expired.
        before = len(self._stored)
        while self._stored and _expired(self._stored[oldest := next(iter(self._stored))], now):
            del self._stored[oldest]
        if self._file is not None and len(self._stored) < before:
            self._file.forget(now - RETENTION_SECONDS)

    def _new_id(self, kind: Kind) -> str:
        # 36**17 ids: two are equal only if a seed repeats the ids of a state file.
        while True:
            drawn = kind.prefix + "".join(self._random.choices(_ID_CHARACTERS, k=20 - len(kind.prefix)))
            if drawn not in self._stored:
                return drawn


def _expired(stored: _Stored, now: float) -> bool:
    return now >= stored.created + RETENTION_SECONDS


def _operation(operation_id: str, created: float, modified: float) -> _pb.operation_pb2.Operation:
    """An operation without result; times in whole seconds, as the service gives them, if the kind has times."""
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

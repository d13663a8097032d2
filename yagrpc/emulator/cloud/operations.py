"""The operations of asynchronous completions and of images: submitted, running, done, expired.

Rules: no clock, `now` is given; no I/O but into the state file, if one is attached. An operation costs the bytes of its
request while it runs, and the bytes of its answer once the answer has been read; no task runs for it. An operation that
was read as done never changes. All operations together have a budget; none is removed before its time for it.
"""

from __future__ import annotations

import dataclasses
import math
import random
import string
from collections import OrderedDict
from typing import Final, NamedTuple

import grpc
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator.cloud.auth import CREATED_BY
from yagrpc.emulator.cloud.kinds import TEXT, Kind, kind_of
from yagrpc.emulator.refusal import Refusal, make_status
from yagrpc.emulator.statefile import Kept, StateFile

__all__ = ["KEPT_BYTES", "RETENTION_SECONDS", "OperationRecord", "Operations"]

RETENTION_SECONDS: Final = 3 * 24 * 3600.0
"""How long a result can be fetched. Source: Yandex Cloud documentation, "Quotas and limits in AI Studio". When the time
begins is not documented; here it begins with the submit."""

KEPT_BYTES: Final = 512 * 1024 * 1024
"""How many bytes of requests and answers are kept, at most; a submit beyond this is refused. An answer beyond this is
not kept: it is built again for each Get, from the request."""

_WORDS: Final = 100
"""How many characters of a request and of its model are kept to show them."""

_OVERHEAD: Final = 700
"""About how many bytes an operation takes besides its request and answer."""

_FULL: Final = (
    f"the emulator keeps at most {KEPT_BYTES >> 20} MiB of operations, and has no more room: reset it, advance "
    "its clock past the three days that operations are kept, or start another"
)

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
    model: str
    """The model's URI; empty for one that a state file had as done."""
    words: str
    """The first words of the last message, likewise."""


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
    model: str = ""
    words: str = ""

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.request) + len(self.running) + len(self.done or b"") + _OVERHEAD


class Operations:
    """Keeps operations in memory, and in a state file where one is attached.

    Args:
        rng: Draws the ids.
    """

    def __init__(self, rng: random.Random) -> None:
        self._random = rng
        # Ordered, since the first ones are removed: a dict would search all removed ones for the next first one.
        self._stored: OrderedDict[str, _Stored] = OrderedDict()
        self._bytes = 0
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
                *_described(kept.request),
            )
            for kept in file.load()
        }
        self._stored, self._file = OrderedDict(stored), file
        self._bytes = sum(one.size for one in stored.values())
        self._last_number = max((one.number for one in stored.values()), default=0)

    def detach(self) -> None:
        """Keep operations in memory only; those of the file stay in both."""
        self._file = None

    def clear(self) -> None:
        """Remove all operations."""
        self._stored = OrderedDict()
        self._bytes = 0
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
            OperationRecord(name, one.number, one.created, one.ends, now >= one.ends, one.model, one.words)
            for name, one in self._stored.copy().items()
        ]

    def tokens(self, operation_id: str, now: float) -> int | None:
        """How many tokens an operation has used; `None` while it runs, and for one without a completion."""
        try:
            operation, answer = self.get(operation_id, now), _pb.text_generation_service_pb2.CompletionResponse()
        except Refusal:  # it has expired
            return None
        return int(answer.usage.total_tokens) if operation.response.Unpack(answer) else None

    def last_moment(self) -> float:
        """When the last operation was submitted or cancelled, in seconds since the epoch; 0 without any."""
        moments = (one.created if one.done is None else max(one.created, one.ends) for one in self._stored.values())
        return max(moments, default=0.0)

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

        Raises:
            Refusal: FAILED_PRECONDITION: the budget of all operations is used up.
        """
        self._remove_expired(now)
        operation_id, number = self._new_id(kind), self._last_number + 1
        running = _operation(operation_id, now, now).SerializeToString()
        model, words = _described(request)
        body = request.SerializeToString()
        stored = _Stored(number, now, now + seconds, body, scripted, running, model=model, words=words)
        if self._bytes + stored.size > KEPT_BYTES:
            raise Refusal(make_status(grpc.StatusCode.FAILED_PRECONDITION, _FULL))
        if self._file is not None:
            self._file.add(Kept(number, operation_id, now, now + seconds, request, scripted, None))
        self._last_number = number
        self._stored[operation_id] = stored
        self._bytes += stored.size
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
        cancelled = make_status(grpc.StatusCode.CANCELLED, "The operation was cancelled")
        ended = self._finish(operation_id, stored, cancelled, keep=True)
        if self._file is not None:
            self._file.end(operation_id, now, ended.SerializeToString())
        return ended

    def _finish(
        self, operation_id: str, stored: _Stored, outcome: Message, *, keep: bool = False
    ) -> _pb.operation_pb2.Operation:
        """The operation with its outcome; kept if the budget allows it, or if it can't be built again."""
        operation = _operation(operation_id, stored.created, stored.ends)
        operation.done = True
        if isinstance(outcome, _pb.status_pb2.Status):
            operation.error.CopyFrom(outcome)
        else:
            operation.response.Pack(outcome)
        done = operation.SerializeToString()
        if keep or self._bytes - stored.size + len(done) <= KEPT_BYTES:
            self._bytes -= stored.size
            stored.request, stored.scripted, stored.running, stored.done = b"", None, b"", done
            self._bytes += stored.size
        return operation

    def _find(self, operation_id: str, now: float) -> _Stored:
        stored = self._stored.get(operation_id)
        if stored is None or _expired(stored, now):
            raise Refusal(make_status(grpc.StatusCode.NOT_FOUND, f"Operation {operation_id} not found"))
        return stored

    def _remove_expired(self, now: float) -> None:
        # The order of insertion is the order of creation, so only the first ones can have expired.
        before = len(self._stored)
        while self._stored and _expired(self._stored[next(iter(self._stored))], now):
            self._bytes -= self._stored.popitem(last=False)[1].size
        if self._file is not None and len(self._stored) < before:
            self._file.forget(now - RETENTION_SECONDS)

    def _new_id(self, kind: Kind) -> str:
        # 36**17 ids: two are equal only if a seed repeats the ids of a state file.
        while True:
            drawn = kind.prefix + "".join(self._random.choices(_ID_CHARACTERS, k=20 - len(kind.prefix)))
            if drawn not in self._stored:
                return drawn


def _described(request: Message | None) -> tuple[str, str]:
    """The model and the first words of a request."""
    messages = getattr(request, "messages", ())
    words = messages[-1].text[:_WORDS] if messages else ""
    return getattr(request, "model_uri", "")[:_WORDS], words


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

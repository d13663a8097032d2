"""What has reached the emulator, for tests to look at: calls, refusals, the last requests.

Rules: written by the server's thread, read by any; readers get copies, so that what they look at stands still.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter, deque
from contextvars import ContextVar
from typing import Final

import grpc
from google.protobuf.message import Message

__all__ = ["CURRENT", "KEPT", "Received", "ReceivedLog"]

KEPT: Final = 1000
"""So many of the last requests are kept."""


@dataclasses.dataclass(frozen=True)
class Received:
    """One call, as it arrived."""

    path: str
    """Full gRPC path."""
    metadata: dict[str, str | bytes] = dataclasses.field(repr=False)
    """Its metadata; of a repeated key the last value. Not shown in a repr, since credentials are in it."""
    request: Message
    """The request message."""
    at: float
    """When, in seconds since the epoch by the emulator's clock."""


CURRENT: Final[ContextVar[Received]] = ContextVar("yagrpc_emulator_call")
"""The call that the running task serves: its delays count from its arrival, not from when they are looked at."""


class ReceivedLog:
    """Counts calls and keeps the last requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._refusals: Counter[tuple[str, grpc.StatusCode]] = Counter()
        self._requests: deque[Received] = deque(maxlen=KEPT)

    def count(self, path: str) -> None:
        """A call has arrived."""
        with self._lock:
            self._calls[path] += 1

    def keep(self, received: Received) -> None:
        """A call's request has been read."""
        with self._lock:
            self._requests.append(received)

    def refuse(self, path: str, code: grpc.StatusCode) -> None:
        """A call is about to be refused."""
        with self._lock:
            self._refusals[path, code] += 1

    @property
    def calls(self) -> Counter[str]:
        """How many calls of each path have arrived, refused ones and those to paths not served included."""
        with self._lock:
            return self._calls.copy()

    @property
    def refusals(self) -> Counter[tuple[str, grpc.StatusCode]]:
        """How many calls have ended with a status other than OK, by path and code."""
        with self._lock:
            return self._refusals.copy()

    @property
    def requests(self) -> list[Received]:
        """The last `KEPT` requests, oldest first."""
        with self._lock:
            return list(self._requests)

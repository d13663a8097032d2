"""What has reached the emulator, for tests to read: counters, and the last requests.

Rules: written by the server's thread, read by any thread; readers get copies, which do not change. Everything that
a peer can make grow has a limit here. A request is kept as its bytes: as a message it may take 50 times as much.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from contextvars import ContextVar
from typing import Final, NamedTuple

import grpc
from google.protobuf.message import Message

from yagrpc.emulator import paths

__all__ = ["CURRENT", "KEPT", "KEPT_BYTES", "MINUTE", "MOST_UNSERVED", "OTHER_PATHS", "Received", "ReceivedLog"]

KEPT: Final = 1000
"""How many of the last requests are kept, at most."""

KEPT_BYTES: Final = 64 * 1024 * 1024
"""How many bytes of them are kept, at most, with their metadata; the last request is always kept."""

MOST_UNSERVED: Final = 1000
"""How many paths that are not served are counted one by one."""

OTHER_PATHS: Final = f"{paths.CLOUD}(other paths)"
"""The path under which all further ones are counted."""

MINUTE: Final = 60
"""Of how many seconds the calls are kept second by second."""

MOST_DELIVERIES: Final = 1_000_000
"""Of how many operations the deliveries are counted, at most: of the last ones."""


class Received(NamedTuple):
    """One call, as it arrived."""

    path: str
    """Full gRPC path."""
    metadata: dict[str, str | bytes]
    """Its metadata; of a repeated key the last value. A repr leaves it out, because it contains credentials."""
    request: Message
    """The request message."""
    at: float
    """When, in seconds since the epoch by the emulator's clock."""

    def __repr__(self) -> str:
        return f"Received(path={self.path!r}, request={self.request!r}, at={self.at!r})"


CURRENT: Final[ContextVar[Received]] = ContextVar("yagrpc_emulator_call")
"""The call that the running task serves: its delays count from its arrival."""


class _Kept(NamedTuple):
    """A request as it is kept."""

    path: str
    metadata: dict[str, str | bytes]
    kind: type[Message]
    body: bytes
    at: float

    @property
    def size(self) -> int:
        return len(self.body) + sum(len(key) + len(value) for key, value in self.metadata.items())


class _Second(NamedTuple):
    """What arrived, and what was refused, in one second of the emulator's clock, by path."""

    number: int
    calls: Counter[str]
    refusals: Counter[str]


class ReceivedLog:
    """Counts calls and their results, and keeps the last requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Remove everything."""
        with self._lock:
            self._calls: Counter[str] = Counter()
            self._refusals: Counter[tuple[str, grpc.StatusCode]] = Counter()
            self._requests: deque[_Kept] = deque()
            self._bytes = 0
            self._unserved: set[str] = set()
            self._generations: Counter[str] = Counter()
            self._deliveries: Counter[str] = Counter()
            self._last_second: dict[str, deque[float]] = {}
            self._busiest: Counter[str] = Counter()
            self._minute: deque[_Second] = deque()

    def count(self, path: str, now: float) -> None:
        """Count a call that has arrived."""
        with self._lock:
            self._calls[path] += 1
            self._second(now).calls[path] += 1
            second = self._last_second.get(path)
            if second is None:
                second = self._last_second[path] = deque()
            second.append(now)
            while second[0] <= now - 1:
                second.popleft()
            if len(second) > self._busiest[path]:
                self._busiest[path] = len(second)

    def keep(self, received: Received) -> None:
        """Keep a request that has been read, and as many of those before it as the limits allow."""
        request = received.request
        kept = _Kept(received.path, received.metadata, type(request), request.SerializeToString(), received.at)
        with self._lock:
            self._requests.append(kept)
            self._bytes += kept.size
            while len(self._requests) > KEPT or (self._bytes > KEPT_BYTES and len(self._requests) > 1):
                self._bytes -= self._requests.popleft().size

    def count_unserved(self, path: str, now: float) -> None:
        """Count a call of a path that is not served, and its refusal; further paths are counted together."""
        with self._lock:
            if path not in self._unserved and len(self._unserved) >= MOST_UNSERVED:
                path = OTHER_PATHS
            else:
                self._unserved.add(path)
        self.count(path, now)
        self.refuse(path, grpc.StatusCode.UNIMPLEMENTED, now)

    def refuse(self, path: str, code: grpc.StatusCode, now: float) -> None:
        """Count a call that is about to be refused."""
        with self._lock:
            self._refusals[path, code] += 1
            self._second(now).refusals[path] += 1

    def generate(self, path: str) -> None:
        """Count a request that was accepted as a generation: the service would bill it."""
        with self._lock:
            self._generations[path] += 1

    def deliver(self, operation_id: str) -> None:
        """Count an answer that is about to deliver the end of an operation."""
        with self._lock:
            self._deliveries[operation_id] += 1
            if len(self._deliveries) > MOST_DELIVERIES:
                del self._deliveries[next(iter(self._deliveries))]

    def last_minute(self, now: float) -> dict[str, tuple[list[int], list[int]]]:
        """The calls and the refusals of each path in each second of the last minute, the oldest first.

        Args:
            now: Seconds since the epoch, by the emulator's clock.
        """
        first, found = int(now) - MINUTE + 1, dict[str, tuple[list[int], list[int]]]()
        with self._lock:
            for second in self._minute:
                if second.number < first:
                    continue
                for kind, counts in enumerate((second.calls, second.refusals)):
                    for path, count in counts.items():
                        bars = found.setdefault(path, ([0] * MINUTE, [0] * MINUTE))
                        bars[kind][second.number - first] += count
        return found

    def _second(self, now: float) -> _Second:
        """The counts of the present second; under the lock."""
        number = int(now)
        if not self._minute or self._minute[-1].number < number:
            self._minute.append(_Second(number, Counter(), Counter()))
            while self._minute[0].number <= number - MINUTE:
                self._minute.popleft()
        return self._minute[-1]

    @property
    def calls(self) -> Counter[str]:
        """How many calls of each path have arrived, including refused calls and calls of paths that are not served."""
        with self._lock:
            return self._calls.copy()

    @property
    def refusals(self) -> Counter[tuple[str, grpc.StatusCode]]:
        """How many calls have ended with a status other than OK, by path and code."""
        with self._lock:
            return self._refusals.copy()

    @property
    def requests(self) -> list[Received]:
        """The last `KEPT` requests, or fewer if they have more than `KEPT_BYTES`, oldest first."""
        with self._lock:
            kept = list(self._requests)
        return [Received(one.path, one.metadata, one.kind.FromString(one.body), one.at) for one in kept]

    @property
    def generations(self) -> Counter[str]:
        """How many requests of each path were accepted as generations."""
        with self._lock:
            return self._generations.copy()

    @property
    def deliveries(self) -> Counter[str]:
        """How many answers have delivered the end of an operation, by its id."""
        with self._lock:
            return self._deliveries.copy()

    @property
    def most_in_a_second(self) -> Counter[str]:
        """The most calls of each path that arrived within any half-open second of the emulator's clock."""
        with self._lock:
            return self._busiest.copy()

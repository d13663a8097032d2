"""Quotas: how many calls of a kind are served in a window of time, or at once.

Rules: no I/O and no clock, `now` is given. A refused call takes nothing from any quota. Windows slide: in any
half-open interval of the window's length at most the quota is served. Whether the service's own windows slide or
are fixed is not documented; sliding is the stricter of the two, so a client that fits here fits there.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Iterator

import grpc

from yagrpc.emulator import paths
from yagrpc.emulator.refusal import Refusal, make_status

__all__ = ["EmulatorQuota", "Quotas", "Window"]

_SECOND, _HOUR = 1.0, 3600.0


@dataclasses.dataclass(frozen=True)
class EmulatorQuota:
    """Limits of the emulated cloud; `None` for no limit. The defaults are the documented ones.

    Source: Yandex Cloud documentation, "Quotas and limits in AI Studio" (default quotas).
    """

    get_per_second: int | None = 50
    """`OperationService.Get` calls in a second."""
    submit_per_second: int | None = 10
    """Asynchronous completions submitted in a second."""
    submit_per_hour: int | None = 5000
    """Asynchronous completions submitted in an hour."""
    concurrent_completions: int | None = 10
    """Synchronous completions running at once."""
    tokenize_per_second: int | None = 50
    """`Tokenize` and `TokenizeCompletion` calls in a second, together."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            limit = getattr(self, field.name)
            if limit is not None and limit < 0:
                raise ValueError(f"{field.name} is a number of calls, 0 or more, or None; got {limit!r}")


class Window:
    """A rate limit over a sliding window.

    Args:
        name: The quota's id, as the refusal names it.
        limit: How many are let through in a window.
        seconds: The length of the window.
    """

    def __init__(self, name: str, limit: int, seconds: float) -> None:
        self.name = name
        self.limit = limit
        self._seconds = seconds
        self._taken: deque[float] = deque()

    def full(self, now: float) -> bool:
        """Whether one more now would be too many."""
        while self._taken and self._taken[0] <= now - self._seconds:
            self._taken.popleft()
        return len(self._taken) >= self.limit

    def take(self, now: float) -> None:
        """Count one. `now` must not be earlier than in calls before."""
        self._taken.append(now)


class Quotas:
    """The state of all quotas.

    The id of the quota for running completions is quoted from the service; the others follow the pattern of the
    messages that are known (`<quota id>.<rate|count> <rate|gauge> quota limit exceed: allowed <N> requests`).

    Args:
        quota: The limits, or `None` for none at all.
    """

    def __init__(self, quota: EmulatorQuota | None) -> None:
        self._windows: dict[str, list[Window]] = {}
        self._concurrent = quota.concurrent_completions if quota else None
        self._running = 0
        if quota:
            self._limit(quota.get_per_second, _SECOND, "ai.operationGetRequestsPerSecond", paths.OPERATION_GET)
            self._limit(
                quota.submit_per_second,
                _SECOND,
                "ai.textGenerationAsyncCompletionRequestsPerSecond",
                paths.COMPLETION_ASYNC,
            )
            self._limit(
                quota.submit_per_hour,
                _HOUR,
                "ai.textGenerationAsyncCompletionRequestsPerHour",
                paths.COMPLETION_ASYNC,
            )
            self._limit(
                quota.tokenize_per_second,
                _SECOND,
                "ai.textGenerationTokenizeRequestsPerSecond",
                paths.TOKENIZE,
                paths.TOKENIZE_COMPLETION,
            )

    def _limit(self, limit: int | None, seconds: float, name: str, *limited: str) -> None:
        if limit is not None:
            window = Window(name, limit, seconds)
            for path in limited:
                self._windows.setdefault(path, []).append(window)

    @contextlib.contextmanager
    def admit(self, path: str, now: float) -> Iterator[None]:
        """Let one call through, for as long as the context is open.

        Raises:
            Refusal: RESOURCE_EXHAUSTED, with the service's message and no details, as the service sends it.
        """
        windows = self._windows.get(path, [])
        for window in windows:
            if window.full(now):
                raise _exhausted(f"{window.name}.rate rate", window.limit)
        is_completion = path == paths.COMPLETION
        if is_completion and self._concurrent is not None and self._running >= self._concurrent:
            raise _exhausted("ai.textGenerationCompletionSessionsCount.count gauge", self._concurrent)
        for window in windows:
            window.take(now)
        self._running += is_completion
        try:
            yield
        finally:
            self._running -= is_completion


def _exhausted(quota: str, allowed: int) -> Refusal:
    message = f"{quota} quota limit exceed: allowed {allowed} requests"
    return Refusal(make_status(grpc.StatusCode.RESOURCE_EXHAUSTED, message))

"""Quotas: how many calls of a kind are served in a window of time, or at once.

Rules: no I/O and no clock, `now` is given. A refused call uses no quota.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Final, NamedTuple

import grpc

from yagrpc.emulator import paths
from yagrpc.emulator.cloud.windows import QuotaModel, Window, make_window
from yagrpc.emulator.refusal import Refusal, make_status

__all__ = ["EmulatorQuota", "QuotaUse", "Quotas", "parse_quota"]

_CONCURRENT: Final = "ai.textGenerationCompletionSessionsCount"

_SECOND, _MINUTE, _HOUR, _DAY = 1.0, 60.0, 3600.0, 86_400.0


@dataclasses.dataclass(frozen=True)
class EmulatorQuota:
    """Limits of the emulated cloud; `None` for no limit. Names and defaults are those of `yagrpc.Quota`.

    Source: Yandex Cloud documentation, "Quotas and limits in AI Studio" (default quotas).
    """

    get_per_second: int | None = 50
    """`OperationService.Get` calls per second, of texts and images together."""
    submit_per_second: int | None = 10
    """Asynchronous completions submitted per second."""
    submit_per_hour: int | None = 5000
    """Asynchronous completions submitted per hour."""
    concurrent_completions: int | None = 10
    """Synchronous completions that run at once."""
    tokenize_per_second: int | None = 50
    """`Tokenize` and `TokenizeCompletion` calls per second, together."""
    embeddings_per_second: int | None = 10
    """`TextEmbedding` calls per second."""
    classification_per_second: int | None = 1
    """`Classify` and `FewShotClassify` calls per second, together."""
    images_per_minute: int | None = 500
    """Images submitted per minute."""
    images_per_day: int | None = 5000
    """Images submitted per day."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            limit = getattr(self, field.name)
            if limit is not None and limit < 0:
                raise ValueError(f"{field.name} is a number of calls, 0 or more, or None; got {limit!r}")


def parse_quota(text: str) -> EmulatorQuota:
    """Read a quota from a text, such as `submit_per_second=2,submit_per_hour=none`; the others keep their defaults.

    Raises:
        ValueError: A name is none of a quota, a number is none, or a quota is there twice.
    """
    names = [field.name for field in dataclasses.fields(EmulatorQuota)]
    given: dict[str, int | None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in names:
            raise ValueError(f"a quota is written NAME=NUMBER, with one of the names {', '.join(names)}; got {part!r}")
        if name in given:
            raise ValueError(f"the quota {name} is given twice")
        if number != "none" and not (number.isascii() and number.isdigit()):
            raise ValueError(f"{name} is a number of calls, 0 or more, or none for no limit; got {number!r}")
        given[name] = None if number == "none" else int(number)
    return EmulatorQuota(**given)


class QuotaUse(NamedTuple):
    """A quota's id, as the refusal names it, how many calls count against it now, and how many it allows."""

    name: str
    used: int
    allowed: int


class _Limit(NamedTuple):
    """A rate quota."""

    name: str
    """The quota's id, as the refusal names it."""
    allowed: int
    window: Window


class Quotas:
    """The state of all quotas.

    The ids of the quotas of running completions and of embeddings are quoted from the service; the others follow the
    pattern of the messages that are known (`<quota id>.<rate|count> <rate|gauge> quota limit exceed: allowed <N>
    requests`).

    Args:
        quota: The limits, or `None` for no limits.
        model: How rates are counted.
    """

    def __init__(self, quota: EmulatorQuota | None, model: QuotaModel = "sliding") -> None:
        self._model: QuotaModel = model
        self._limits: dict[str, list[_Limit]] = {}
        self._concurrent = quota.concurrent_completions if quota else None
        self._running = 0
        if quota is None:
            return
        submit, images = (paths.COMPLETION_ASYNC,), (paths.IMAGE_GENERATE,)
        tokenize, classify = (paths.TOKENIZE, paths.TOKENIZE_COMPLETION), (paths.CLASSIFY, paths.FEW_SHOT_CLASSIFY)
        for limit, seconds, name, limited in (
            (quota.get_per_second, _SECOND, "operationGetRequestsPerSecond", (paths.OPERATION_GET,)),
            (quota.submit_per_second, _SECOND, "textGenerationAsyncCompletionRequestsPerSecond", submit),
            (quota.submit_per_hour, _HOUR, "textGenerationAsyncCompletionRequestsPerHour", submit),
            (quota.tokenize_per_second, _SECOND, "textGenerationTokenizeRequestsPerSecond", tokenize),
            (quota.embeddings_per_second, _SECOND, "embeddingsTextEmbeddingRequestsPerSecond", (paths.TEXT_EMBEDDING,)),
            (quota.classification_per_second, _SECOND, "textClassificationRequestsPerSecond", classify),
            (quota.images_per_minute, _MINUTE, "imageGenerationRequestsPerMinute", images),
            (quota.images_per_day, _DAY, "imageGenerationRequestsPerDay", images),
        ):
            self._add(limit, seconds, f"ai.{name}", limited)

    def _add(self, allowed: int | None, seconds: float, name: str, limited: tuple[str, ...]) -> None:
        if allowed is not None:
            limit = _Limit(name, allowed, make_window(self._model, allowed, seconds))
            for path in limited:
                self._limits.setdefault(path, []).append(limit)

    def limits(self, path: str) -> bool:
        """Whether any quota limits these calls."""
        return path in self._limits or (path == paths.COMPLETION and self._concurrent is not None)

    @contextlib.contextmanager
    def admit(self, path: str, now: float) -> Iterator[None]:
        """Admit one call, for as long as the context is open.

        Raises:
            Refusal: RESOURCE_EXHAUSTED, with the service's message and no details, as the service sends it.
        """
        limits = self._limits.get(path, [])
        for limit in limits:
            if limit.window.full(now):
                raise _exhausted(f"{limit.name}.rate rate", limit.allowed)
        is_completion = path == paths.COMPLETION
        if is_completion and self._concurrent is not None and self._running >= self._concurrent:
            raise _exhausted(f"{_CONCURRENT}.count gauge", self._concurrent)
        for limit in limits:
            limit.window.take(now)
        self._running += is_completion
        try:
            yield
        finally:
            self._running -= is_completion

    def use(self, now: float) -> list[QuotaUse]:
        """How much of each quota is used."""
        limits = {limit.name: limit for limits in self._limits.values() for limit in limits}
        found = [QuotaUse(limit.name, limit.window.used(now), limit.allowed) for limit in limits.values()]
        if self._concurrent is not None:
            found.append(QuotaUse(_CONCURRENT, self._running, self._concurrent))
        return found


def _exhausted(quota: str, allowed: int) -> Refusal:
    message = f"{quota} quota limit exceed: allowed {allowed} requests"
    return Refusal(make_status(grpc.StatusCode.RESOURCE_EXHAUSTED, message))

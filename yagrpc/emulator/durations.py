"""Durations: a number of seconds, a distribution that draws the number, or the value that a request sets.

Rules: no clock and no random numbers of its own: a generator is given, so that a seed repeats the drawn numbers.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from yagrpc.emulator.refusal import invalid

__all__ = [
    "DURATION_KEY",
    "Bimodal",
    "Duration",
    "Exponential",
    "Lognormal",
    "Uniform",
    "draw",
    "parse_duration",
    "requested",
]

DURATION_KEY: Final = "x-emulator-duration"
"""The metadata key by which a request sets its own duration, in seconds; `inf` for an operation that never ends."""

Duration: TypeAlias = "float | Callable[[random.Random], float]"
"""Seconds, 0 or more, infinity for an operation that never ends; or a function that draws them, such as
`Lognormal(median=20, sigma=1)`."""


@dataclasses.dataclass(frozen=True)
class Lognormal:
    """Mostly short, with a long tail: half of all durations are below the median."""

    median: float
    """Seconds, above 0."""
    sigma: float
    """Spread: the standard deviation of the logarithm, 0 or more."""

    def __post_init__(self) -> None:
        _require(self, median=self.median > 0, sigma=self.sigma >= 0)

    def __call__(self, rng: random.Random) -> float:
        """Draw a duration."""
        return rng.lognormvariate(math.log(self.median), self.sigma)


@dataclasses.dataclass(frozen=True)
class Exponential:
    """Like the times between independent events: many short, few long."""

    mean: float
    """Seconds, above 0."""

    def __post_init__(self) -> None:
        _require(self, mean=self.mean > 0)

    def __call__(self, rng: random.Random) -> float:
        """Draw a duration."""
        return rng.expovariate(1 / self.mean)


@dataclasses.dataclass(frozen=True)
class Uniform:
    """All durations between two bounds are equally likely."""

    low: float
    """Seconds, 0 or more."""
    high: float
    """Seconds, `low` or more."""

    def __post_init__(self) -> None:
        _require(self, low=self.low >= 0, high=self.high >= self.low)

    def __call__(self, rng: random.Random) -> float:
        """Draw a duration."""
        return rng.uniform(self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Bimodal:
    """Either short or long, as if some requests reach a warm model and others a cold one."""

    short: float
    """Seconds, 0 or more."""
    long: float
    """Seconds, 0 or more."""
    share: float
    """The share of long durations, from 0 to 1."""

    def __post_init__(self) -> None:
        _require(self, short=self.short >= 0, long=self.long >= 0, share=0 <= self.share <= 1)

    def __call__(self, rng: random.Random) -> float:
        """Draw a duration."""
        return self.long if rng.random() < self.share else self.short


_KINDS: Final[Mapping[str, Callable[..., Duration]]] = {
    "lognormal": Lognormal,
    "exponential": Exponential,
    "uniform": Uniform,
    "bimodal": Bimodal,
}


def draw(duration: Duration, rng: random.Random) -> float:
    """The next duration, in seconds.

    Raises:
        ValueError: The duration is negative or not a number.
    """
    seconds = duration(rng) if callable(duration) else duration
    if not seconds >= 0:
        raise ValueError(f"a duration is a number of seconds, 0 or more; got {seconds!r}")
    return seconds


def parse_duration(text: str) -> Duration:
    """Read a duration from a text: seconds, `inf`, or a distribution such as `lognormal:20,1`.

    Raises:
        ValueError: The text is no duration, or a number in it is out of its range.
    """
    kind, colon, numbers = text.partition(":")
    try:
        given = [float(number) for number in (numbers if colon else kind).split(",")]
    except ValueError:
        given = []
    distribution = _KINDS.get(kind)
    expected = 1 if not colon else len(dataclasses.fields(distribution)) if isinstance(distribution, type) else 0
    if len(given) != expected or (colon and distribution is None):
        raise ValueError(
            f"a duration is a number of seconds, 'inf', or one of lognormal:MEDIAN,SIGMA, exponential:MEAN, "
            f"uniform:LOW,HIGH, bimodal:SHORT,LONG,SHARE; got {text!r}"
        )
    duration = distribution(*given) if colon and distribution is not None else given[0]
    if not callable(duration):
        draw(duration, random.Random())
    return duration


def requested(metadata: Mapping[str, str | bytes]) -> float | None:
    """The duration that a request sets in its metadata, in seconds; `None` if it sets none.

    Raises:
        Refusal: INVALID_ARGUMENT: the value is no duration.
    """
    text = metadata.get(DURATION_KEY)
    if text is None:
        return None
    try:
        return draw(float(text), random.Random())
    except ValueError:
        raise invalid(f"{DURATION_KEY}: a number of seconds, 0 or more, is expected; got {text!r}") from None


def _require(distribution: object, **fine: bool) -> None:
    for name, good in fine.items():
        if not good:
            raise ValueError(f"{name} of {distribution!r} is out of its range")

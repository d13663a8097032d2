"""How long things take: a number of seconds, a distribution that draws it, or what a request asks for.

Rules: no clock and no random numbers of its own: a generator is given, so that a seed repeats what is drawn.
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
"""The metadata key by which a request sets how long it takes itself, in seconds; `inf` for ever."""

Duration: TypeAlias = "float | Callable[[random.Random], float]"
"""Seconds, 0 or more, infinity for never; or what draws them, such as `Lognormal(median=20, sigma=1)`."""


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
        """Draw one."""
        return rng.lognormvariate(math.log(self.median), self.sigma)


@dataclasses.dataclass(frozen=True)
class Exponential:
    """As times between independent events: many short, few long."""

    mean: float
    """Seconds, above 0."""

    def __post_init__(self) -> None:
        _require(self, mean=self.mean > 0)

    def __call__(self, rng: random.Random) -> float:
        """Draw one."""
        return rng.expovariate(1 / self.mean)


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Any duration between two, all equally likely."""

    low: float
    """Seconds, 0 or more."""
    high: float
    """Seconds, `low` or more."""

    def __post_init__(self) -> None:
        _require(self, low=self.low >= 0, high=self.high >= self.low)

    def __call__(self, rng: random.Random) -> float:
        """Draw one."""
        return rng.uniform(self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Bimodal:
    """Either short or long, as where some requests meet a warm model and others a cold one."""

    short: float
    """Seconds, 0 or more."""
    long: float
    """Seconds, 0 or more."""
    share: float
    """How many are long, from 0 to 1."""

    def __post_init__(self) -> None:
        _require(self, short=self.short >= 0, long=self.long >= 0, share=0 <= self.share <= 1)

    def __call__(self, rng: random.Random) -> float:
        """Draw one."""
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
        ValueError: It is negative or no number.
    """
    seconds = duration(rng) if callable(duration) else duration
    if not seconds >= 0:
        raise ValueError(f"a duration is a number of seconds, 0 or more; got {seconds!r}")
    return seconds


def parse_duration(text: str) -> Duration:
    """A duration from text: seconds, `inf`, or a distribution such as `lognormal:20,1`.

    Raises:
        ValueError: It is none of these, or a number in it is out of its range.
    """
    kind, colon, numbers = text.partition(":")
    try:
        given = [float(number) for number in (numbers if colon else kind).split(",")]
    except ValueError:
        given = []
    made = _KINDS.get(kind)
    expected = 1 if not colon else len(dataclasses.fields(made)) if isinstance(made, type) else 0
    if len(given) != expected or (colon and made is None):
        raise ValueError(
            f"a duration is a number of seconds, 'inf', or one of lognormal:MEDIAN,SIGMA, exponential:MEAN, "
            f"uniform:LOW,HIGH, bimodal:SHORT,LONG,SHARE; got {text!r}"
        )
    duration = made(*given) if colon and made is not None else given[0]
    if not callable(duration):
        draw(duration, random.Random())
    return duration


def requested(metadata: Mapping[str, str | bytes]) -> float | None:
    """How many seconds a request asks to take, by its metadata; `None` where it does not say.

    Raises:
        Refusal: INVALID_ARGUMENT: it says something that is no duration.
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

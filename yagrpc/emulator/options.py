"""What an emulator can be told: one frozen set of options, and the distributions that a duration can follow."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import random
from collections.abc import Callable, Collection
from typing import TypeAlias

from yagrpc.emulator.auth import check_auth
from yagrpc.emulator.quotas import EmulatorQuota
from yagrpc.emulator.recording import Recording
from yagrpc.emulator.replies import Replies
from yagrpc.emulator.tls import Certificates
from yagrpc.emulator.windows import QUOTA_MODELS, QuotaModel

__all__ = ["Duration", "EmulatorOptions", "Exponential", "Lognormal", "Uniform", "draw"]

Duration: TypeAlias = "float | Callable[[random.Random], float]"
"""Seconds, 0 or more, infinity for never; or what draws them, such as `Lognormal(median=20, sigma=1)`."""


@dataclasses.dataclass(frozen=True)
class Lognormal:
    """Mostly short, with a long tail: half of all durations are below the median."""

    median: float
    """Seconds, above 0."""
    sigma: float
    """Spread: the standard deviation of the logarithm, 0 or more."""

    def __call__(self, rng: random.Random) -> float:
        """Draw one."""
        return rng.lognormvariate(math.log(self.median), self.sigma)


@dataclasses.dataclass(frozen=True)
class Exponential:
    """As times between independent events: many short, few long."""

    mean: float
    """Seconds, above 0."""

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

    def __call__(self, rng: random.Random) -> float:
        """Draw one."""
        return rng.uniform(self.low, self.high)


def draw(duration: Duration, rng: random.Random) -> float:
    """The next duration, in seconds.

    Raises:
        ValueError: It is negative or no number.
    """
    seconds = duration(rng) if callable(duration) else duration
    if not seconds >= 0:
        raise ValueError(f"a duration is a number of seconds, 0 or more; got {seconds!r}")
    return seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmulatorOptions:
    """Options of an emulator.

    Raises:
        ValueError: An option is out of its range.
    """

    host: str = "127.0.0.1"
    """Where to listen: `localhost` or a loopback address. Others are refused: what it accepts as a credential is no
    secret, and without `tls` there is no encryption."""

    port: int = 0
    """The port, or 0 for any free one."""

    duration: Duration = 1.0
    """How long an asynchronous operation runs, on the emulator's clock. With 0 it is done in the first reply."""

    completion_duration: Duration = 0.0
    """How long a synchronous completion takes, on the emulator's clock; a stream's messages are spread over it."""

    seed: int | None = None
    """Makes ids, tokens and durations the same in every run. Without one they differ, so that an id kept from an
    emulator that has ended never names another operation of the next one."""

    replies: Replies | None = None
    """Scripted replies: patterns of the last user text, or a function of the request."""

    auth: str | Collection[str] = "off"
    """`"off"`: nothing is checked. `"present"`: any well-formed credential. A collection such as `{"Api-Key abc"}`:
    these, and the IAM tokens that the emulator issues."""

    quota: EmulatorQuota | None = None
    """Quotas to enforce; `EmulatorQuota()` has the documented ones."""

    quota_model: QuotaModel = "sliding"
    """How calls are counted against quotas: `"sliding"`, `"fixed"` (by the clock's seconds) or `"bucket"`."""

    folder: str | None = None
    """The folder that there is: a model of another one is refused. `None`: any folder will do."""

    tls: bool | Certificates = False
    """Listen with TLS: a throwaway authority is made, whose certificate clients are to trust (`ca_file`); or one that
    was made before is used. Needs the extra `emulator`."""

    recording: Recording | None = None
    """Recorded answers, in place of all others."""

    def __post_init__(self) -> None:
        if not _is_loopback(self.host):
            raise ValueError(f"the emulator listens on loopback only, not on {self.host!r}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"a port is from 0 to 65535, not {self.port!r}")
        for duration in (self.duration, self.completion_duration):
            if not callable(duration):
                draw(duration, random.Random())
        check_auth(self.auth)
        if self.recording is not None and self.replies is not None:
            raise ValueError("replies and a recording exclude each other: a recording answers all there is")
        if self.quota_model not in QUOTA_MODELS:
            raise ValueError(f"quota_model is one of {', '.join(QUOTA_MODELS)}, not {self.quota_model!r}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

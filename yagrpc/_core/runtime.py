"""What the decisions need of the machine, passed by the shells: clocks, random numbers, locks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeAlias

from yagrpc._core.deadline import Clock

MakeLock: TypeAlias = Callable[[], AbstractContextManager[Any]]
"""Makes a reentrant lock."""


class Runtime(NamedTuple):
    """What the decisions take from the machine.

    Args:
        clock: Gives passed time, in seconds.
        wall: Gives the time, in seconds since the epoch.
        uniform: Gives a random number between two.
        make_lock: Makes a reentrant lock.
    """

    clock: Clock
    wall: Clock
    uniform: Callable[[float, float], float]
    make_lock: MakeLock

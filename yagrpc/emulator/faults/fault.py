"""What can be made to go wrong: actions, and the rules that say which calls they befall.

    Fault(Failure(grpc.StatusCode.UNAVAILABLE, "try again"), method="OperationService/Get", calls=[1, 2])
    Fault(LostReply(), method=paths.COMPLETION_ASYNC, probability=0.1, seed=7)
    Fault(NoResult(), operation=3)

Rules: plain data, checked when it is made; `injection` carries it out. The names in `ACTIONS` are those of scripts and
of the control service.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.replies import Failure

__all__ = [
    "ACTIONS",
    "Action",
    "Crash",
    "Delay",
    "DropConnection",
    "EarlyError",
    "ExpireToken",
    "Fault",
    "Garbage",
    "Hang",
    "LostReply",
    "NoResult",
    "Oversize",
    "Take",
    "WrongType",
    "find_paths",
]


@dataclasses.dataclass(frozen=True)
class Delay:
    """The call is looked at so much later."""

    seconds: float
    """Seconds of the emulator's clock, 0 or more."""

    def __post_init__(self) -> None:
        _not_negative("seconds", self.seconds)


@dataclasses.dataclass(frozen=True)
class Take:
    """What the call starts takes so long, whatever the emulator's durations are."""

    seconds: float
    """Seconds of the emulator's clock, 0 or more; infinity for ever."""

    def __post_init__(self) -> None:
        if not self.seconds >= 0:
            raise ValueError(f"seconds is a number, 0 or more; got {self.seconds!r}")


@dataclasses.dataclass(frozen=True)
class Hang:
    """The call is never answered: it ends with its caller's patience."""


@dataclasses.dataclass(frozen=True)
class ExpireToken:
    """Every credential is refused with UNAUTHENTICATED once it is so old, counted from the first call with it."""

    seconds: float
    """Seconds of the emulator's clock, 0 or more."""

    def __post_init__(self) -> None:
        _not_negative("seconds", self.seconds)


@dataclasses.dataclass(frozen=True)
class LostReply:
    """The work is done and the operation started, but the caller does not get to know: UNAVAILABLE, without headers."""

    connection: bool = False
    """Whether the whole connection is lost, and with it all other calls on it, or this one call."""


@dataclasses.dataclass(frozen=True)
class DropConnection:
    """The connection is lost, and with it all other calls on it: the socket is shut."""

    after: int = 0
    """After so many messages of a stream; with 0 before any work is done."""

    def __post_init__(self) -> None:
        _not_negative("after", self.after)


@dataclasses.dataclass(frozen=True)
class Crash:
    """The emulator dies before the call is looked at, all connections are lost, and it starts again."""

    keep: bool = True
    """Whether its operations are there again."""
    down: float = 0.0
    """Seconds of the emulator's clock before it listens again."""

    def __post_init__(self) -> None:
        _not_negative("down", self.down)


@dataclasses.dataclass(frozen=True)
class WrongType:
    """The operation is done, and its result is an empty message of another type."""

    type: str = "google.protobuf.Empty"
    """Full name of the message."""


@dataclasses.dataclass(frozen=True)
class NoResult:
    """The operation is done, with neither a result nor an error."""


@dataclasses.dataclass(frozen=True)
class EarlyError:
    """The operation has an error although it is not done."""

    code: int = 13
    """A code of google.rpc, not 0."""
    message: str = "an error before the end"
    """The error's text."""

    def __post_init__(self) -> None:
        if self.code == 0:
            raise ValueError("code of an error is not 0")


@dataclasses.dataclass(frozen=True)
class Oversize:
    """Every message of the answer is so long, by a field that nobody knows."""

    size: int = 6 * 1024 * 1024
    """Bytes; a message that is longer by itself stays as it is."""

    def __post_init__(self) -> None:
        _not_negative("size", self.size)


@dataclasses.dataclass(frozen=True)
class Garbage:
    """Every message of the answer is replaced with bytes that are none."""

    data: bytes = b"\xff\xff\xff\xff"
    """What is sent."""


Action: TypeAlias = (
    Failure
    | Delay
    | Take
    | Hang
    | ExpireToken
    | LostReply
    | DropConnection
    | Crash
    | WrongType
    | NoResult
    | EarlyError
    | Oversize
    | Garbage
)
"""What befalls a call. A `Failure` ends it with that status, before any work is done."""

ACTIONS: Final[Mapping[str, type]] = {
    "fail": Failure,
    "delay": Delay,
    "take": Take,
    "hang": Hang,
    "expire_token": ExpireToken,
    "lose_reply": LostReply,
    "drop_connection": DropConnection,
    "crash": Crash,
    "wrong_type": WrongType,
    "no_result": NoResult,
    "early_error": EarlyError,
    "oversize": Oversize,
    "garbage": Garbage,
}
"""Actions by the names that they have in scripts and in the control service."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """A rule: what befalls which calls. All its conditions have to hold; without any it befalls every call.

    Of several rules all that fit a call befall it, in their order.

    Raises:
        TypeError: The action is none.
        ValueError: A condition that no call could meet, such as a method that is not served.
    """

    action: Action
    """What happens."""
    _: dataclasses.KW_ONLY
    method: str | None = None
    """Calls of this method: a full path, or its end, such as `OperationService/Get`, or a service, such as
    `OperationService`."""
    calls: int | Collection[int] | None = None
    """Only these of the calls that meet the other conditions, counted from 1 from when the rule was made known."""
    operation: int | str | None = None
    """Only calls that name this operation (Get, Cancel): its id, or which it was in the order of submits, from 1."""
    probability: float = 1.0
    """How likely each of these calls is befallen, from 0 to 1."""
    seed: int | None = None
    """For the probability; without one the emulator's own seed decides."""
    times: int | None = None
    """At most so often; `None` for no limit."""

    def __post_init__(self) -> None:
        if not isinstance(self.action, tuple(ACTIONS.values())):
            raise TypeError(f"an action is one of {', '.join(kind.__name__ for kind in ACTIONS.values())}")
        if self.method is not None and not find_paths(self.method):
            raise ValueError(f"unknown method {self.method!r}; served are {', '.join(sorted(_served()))}")
        numbers = [self.calls] if isinstance(self.calls, int) else list(self.calls or ())
        if self.calls is not None and (not numbers or min(numbers) < 1):
            raise ValueError(f"calls are numbers from 1; got {self.calls!r}")
        if isinstance(self.operation, int) and self.operation < 1:
            raise ValueError(f"an operation is an id, or a number from 1; got {self.operation!r}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"a probability is from 0 to 1; got {self.probability!r}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times is a number from 1, or None; got {self.times!r}")
        if isinstance(self.action, WrongType) and _pb.find_message(self.action.type) is None:
            raise ValueError(f"unknown message type {self.action.type!r}")


def find_paths(method: str) -> frozenset[str]:
    """The paths that a method or service is meant by: a full path, its end, or a service's name."""
    name = method.strip("/")
    return frozenset(
        path
        for path in _served()
        if path == f"/{name}" or path.endswith(f".{name}") or f"/{name}/" in path or f".{name}/" in path
    )


def _served() -> list[str]:
    values = [getattr(paths, name) for name in paths.__all__]
    return [
        value for value in values if isinstance(value, str) and value.startswith(paths.CLOUD) and value != paths.CLOUD
    ]


def _not_negative(name: str, value: float) -> None:
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} is a finite number, 0 or more; got {value!r}")

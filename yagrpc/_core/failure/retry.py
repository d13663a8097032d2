"""Which failed attempts are followed by another, and when: ONE table, and the function that reads it.

Reading twice is free, generating twice is billed twice: a generation is repeated only where it is proved that nothing
was started (see `status`), or where its caller said `resubmit=True`. The tables of docs/reliability.md are printed from
`decide`.

gRPC has retries of its own, which know nothing of this table: every channel that a client opens has them turned off
(`grpc.enable_retries=0`), the transparent ones included.

Rules: pure: neither a clock nor random numbers; the caller passes the jitter.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from yagrpc._core.call.policy import Kind
from yagrpc._core.failure.pauses import LONGEST_HINT, backoff
from yagrpc._core.failure.status import Cause, Failure
from yagrpc.errors import CallError, Code

if TYPE_CHECKING:
    from yagrpc._core.call.policy import Policy

PASSING: Final = frozenset({Code.UNAVAILABLE, Code.INTERNAL, Code.ABORTED})
"""Statuses after which a read is sent again when its cause is MAY_HAVE_RUN.

QUOTA and HUNG are causes of their own, and are not in this set.
"""


class Action(enum.Enum):
    """What follows a failed attempt."""

    FAIL = "its error"
    AMBIGUOUS = "AmbiguousSubmitError"
    RETRY = "sent again after a pause"
    REQUEUE = "sent again once there is a slot under the quota"
    RENEW = "sent again with a new token"


TABLE: Final[dict[Cause, dict[Kind, Action]]] = {
    Cause.QUOTA: {Kind.READ: Action.RETRY, Kind.GENERATION: Action.RETRY, Kind.OTHER: Action.FAIL},
    Cause.UNAUTHENTICATED: dict.fromkeys(Kind, Action.RENEW),
    Cause.HUNG: {Kind.READ: Action.RETRY, Kind.GENERATION: Action.AMBIGUOUS, Kind.OTHER: Action.FAIL},
    Cause.MAY_HAVE_RUN: {Kind.READ: Action.RETRY, Kind.GENERATION: Action.AMBIGUOUS, Kind.OTHER: Action.FAIL},
    Cause.CLOSED: {Kind.READ: Action.FAIL, Kind.GENERATION: Action.AMBIGUOUS, Kind.OTHER: Action.FAIL},
    Cause.NO_CONNECTION: dict.fromkeys(Kind, Action.FAIL),
    Cause.REFUSED: dict.fromkeys(Kind, Action.FAIL),
    Cause.TOO_LARGE: dict.fromkeys(Kind, Action.FAIL),
    Cause.UNREADABLE: dict.fromkeys(Kind, Action.FAIL),
}
"""The action for each cause and each kind of call.

`decide` then applies the limits: attempts, time left, one renewal.
"""

NOTHING_STARTED: Final = frozenset({Cause.QUOTA, Cause.UNAUTHENTICATED, Cause.NO_CONNECTION, Cause.REFUSED})
"""Causes that prove that the attempt started nothing."""


class History:
    """What has happened to one call: the failures of its attempts, counted in one place.

    Attributes:
        repeats: How many attempts followed a pause.
        renewed: Whether it was sent again with a new token.
        unsure: The first failure after which the call may have run. A later attempt does not change that.
        last: The failure of the last attempt.
        hung: Whether an attempt had no answer in time.
        nothing_started: Whether it is proved that no attempt until now has started anything.
    """

    __slots__ = ("hung", "last", "nothing_started", "renewed", "repeats", "unsure")

    def __init__(self) -> None:
        self.repeats = 0
        self.renewed = False
        self.unsure: Failure | None = None
        self.last: Failure | None = None
        self.hung = False
        self.nothing_started = True

    def failed(self, failure: Failure, kind: Kind) -> None:
        """Take note of a failed attempt."""
        self.last = failure
        self.hung = self.hung or failure.cause is Cause.HUNG
        if self.unsure is None and TABLE[failure.cause][kind] is Action.AMBIGUOUS:
            self.unsure = failure
        self.nothing_started = self.unsure is None and failure.cause in NOTHING_STARTED


UNTRIED: Final = History()
"""That of every call that has had no failure."""


class Verdict(NamedTuple):
    """What follows a failed attempt.

    Args:
        action: What.
        pause: Seconds to wait first.
    """

    action: Action
    pause: float = 0.0


def decide(
    policy: Policy,
    history: History,
    *,
    left: float | None,
    jitter: float = 1.0,
    resubmit: bool = False,
    replayable: bool = True,
    queued: bool = False,
    renewable: bool = True,
) -> Verdict:
    """What follows the last failed attempt of a call.

    Args:
        policy: The facts about its rpc.
        history: Its attempts and failures.
        left: Seconds that are left of its timeout; `None` for no limit.
        jitter: What a pause of ours is multiplied by, about 1.
        resubmit: Whether its caller accepts that it is billed twice.
        replayable: Whether its request can be sent again: a stream of requests is used up.
        queued: Whether the client has a queue for a quota of this call.
        renewable: Whether the client obtains the credential of this call, and can obtain another.
    """
    failure = history.last
    assert failure is not None
    action = TABLE[failure.cause][policy.kind]
    passes = failure.cause is not Cause.MAY_HAVE_RUN or policy.kind is not Kind.READ or failure.code in PASSING
    if action is Action.AMBIGUOUS and resubmit and failure.cause is not Cause.CLOSED:
        action = Action.RETRY
    final = Verdict(Action.FAIL if history.unsure is None else Action.AMBIGUOUS)
    if action is Action.RENEW:
        return Verdict(Action.RENEW) if renewable and replayable and not history.renewed else final
    if action is not Action.RETRY or not passes or not replayable:
        return final
    hint = failure.error.retry_after if isinstance(failure.error, CallError) else None
    if hint is None and queued and failure.quota and policy.attempts > 1:
        return Verdict(Action.REQUEUE)
    if hint is not None and hint < 0:
        return final
    pause = min(hint, LONGEST_HINT) if hint is not None else backoff(history.repeats + 2) * jitter
    late = left is not None and left <= pause
    return final if history.repeats + 1 >= policy.attempts or late else Verdict(Action.RETRY, pause)

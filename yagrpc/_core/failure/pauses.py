"""How long an attempt may take, and how long the pause before the next one is.

Rules: pure: neither a clock nor random numbers; the caller multiplies a pause by its jitter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from yagrpc._core.call.policy import READ

if TYPE_CHECKING:
    from yagrpc._core.call.policy import Policy

READ_ATTEMPT: Final = 15.0
"""Seconds for the first attempt of a read, doubled with each; the last has all that is left. A request that hangs
would use up the whole timeout otherwise."""

READ_SHARE: Final = 0.5
"""Part of the time left that an attempt of a read takes at most, until one has hung: whatever the timeout is, there is
time for another."""

LEAST: Final = 0.005
"""Seconds that have to be left for a generation to be sent: no answer comes in less, and it would be billed."""

LONGEST_HINT: Final = 30.0
"""Seconds that a pause asked for by the service is kept to at most: a wrong hint must not hang a call."""

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 5.0
"""Seconds before the second attempt, and at most; the pauses between double."""


def backoff(attempt: int) -> float:
    """Seconds to wait before an attempt (2 is the first repetition), doubling, without jitter."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 2, 30))


def attempt_timeout(policy: Policy, attempt: int, left: float | None, hung: bool = False) -> float | None:
    """Seconds for one attempt, of those that are left for the call.

    Args:
        policy: The facts about its rpc.
        attempt: Which; the first is 1.
        left: Seconds that are left; `None` for no limit.
        hung: Whether an attempt before had no answer in time.
    """
    if policy.kind is not READ or attempt >= policy.attempts:
        return left
    limit = READ_ATTEMPT * 2.0 ** (attempt - 1)
    return limit if left is None else min(limit, left if hung else READ_SHARE * left)

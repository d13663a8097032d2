"""What an agent and a store say to each other: one batch of questions and news, and one answer.

Rules: a store is used by one thread at a time. Times are seconds from the moment of the answer, so that the clocks of
the processes do not have to agree; a store has a clock of its own.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from yagrpc._core.quota.grants import Granted, Later
from yagrpc._core.quota.windows import IN_HAND, Rule
from yagrpc.quotas import Used

LEASE: Final = 10.0
"""Seconds after which a process that has said nothing is taken to be dead, and what runs in it to have ended."""

HORIZON: Final = 10.0
"""Seconds by which a slot may be granted ahead: each process has one at most, so that their shares are even."""

RETRY: Final = 0.05
"""Seconds after which a process asks again for a slot that another process has to give back first."""

PRESENT: Final = 0.5
"""Seconds after which a process that did not ask again has lost its place in the queue for such a slot."""

SLACK: Final = 1.0 / (1.0 - IN_HAND)
"""What the window of a rate is multiplied by, as in a client of its own."""


class Ask(NamedTuple):
    """A question for a slot.

    Args:
        key: A number that no other slot of its process has.
        rules: The quotas.
        again: Whether it was granted ahead, and its time has come.
    """

    key: int
    rules: tuple[Rule, ...]
    again: bool = False


class Refusal(NamedTuple):
    """A refusal of the service.

    Args:
        quota: The quota that is used up.
        seconds: How long no process sends.
        text: What the service said.
    """

    quota: str
    seconds: float
    text: str


class Batch(NamedTuple):
    """What an agent says.

    Args:
        asks: The slots that it asks for.
        counted: Keys of slots that the service may have counted as late as now.
        given_back: Keys of slots that are not used any more.
        refused: What the service has refused.
        held: Keys of the slots of calls that run, with their quotas.
        beat: Whether the agent says that it lives.
    """

    asks: tuple[Ask, ...] = ()
    counted: tuple[int, ...] = ()
    given_back: tuple[int, ...] = ()
    refused: tuple[Refusal, ...] = ()
    held: tuple[tuple[int, str], ...] = ()
    beat: bool = False


class Reply(NamedTuple):
    """What a store answers.

    Args:
        answers: By the key of each slot that was asked for.
        participants: How many processes share the quotas; 0 where that was not counted.
        limits: The quotas of which another process has a smaller one, which counts.
    """

    answers: dict[int, Granted | Later]
    participants: int
    limits: dict[str, float]


class StoreError(Exception):
    """A store can't be reached, or does not work; perhaps it will."""


class Store(Protocol):
    """Keeps the count of one folder's quotas."""

    name: str
    """How errors name it; without a password."""

    def join(self, participant: str, label: str, rules: list[Rule]) -> None:
        """Take part.

        Args:
            participant: A name that no other process has.
            label: A name that a person reads, `host:pid`.
            rules: The quotas of this process; of several processes, the smallest counts.

        Raises:
            StoreError: It can't be reached.
            ConfigError: It never will be.
        """

    def apply(self, participant: str, batch: Batch) -> Reply:
        """Take a batch in one step.

        Raises:
            StoreError: It can't be reached; nothing of the batch counts.
        """
        ...

    def used(self) -> list[Used]:
        """What is used, by whom.

        Raises:
            StoreError: It can't be reached.
        """
        ...

    def leave(self, participant: str) -> None:
        """Take part no longer; what runs has ended.

        Raises:
            StoreError: It can't be reached.
        """

    def close(self) -> None:
        """Close the connection."""

    def forked(self, *, interrupted: bool) -> None:
        """In a forked child: the connection is the parent's, and the next step opens another.

        Args:
            interrupted: Whether a thread of the parent was in a step.
        """


def size_of(limit: float) -> int:
    """How many calls a window has."""
    return max(1, int(limit))


def span_of(seconds: float, limit: float) -> float:
    """How long a slot of a rate is not free after it was counted, in seconds."""
    return seconds * max(1.0, size_of(limit) / (limit or 1.0)) * SLACK  # only a file that was edited has a limit of 0

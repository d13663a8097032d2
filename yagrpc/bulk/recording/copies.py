"""Which rows are copies: equal requests are sent once, where the run is to do so.

Rules: requests are compared by a hash, which the journal has of each that was sent; in memory is only what is not on
the disk yet, and a count for each row that has not ended. A copy is in the journal before anything else sees it; the
journal ends it with the row that it is a copy of, whatever the outcome of that.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from yagrpc.bulk.decisions.rows import digest_of
from yagrpc.bulk.intake.intake import Intake
from yagrpc.bulk.recording.commits import Commits
from yagrpc.bulk.recording.tally import Tally
from yagrpc.journal.changes import Copied, First

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc.journal.changes import Fixed
    from yagrpc.journal.journal import Journal


class Copies:
    """The copies of one run.

    Args:
        dedupe: Whether the run finds copies. Those that the journal has end with their rows in any case.
        journal: The journal, for reading.
        commits: The commits of the run.
        intake: Forgets the ids that the journal has.
        tally: Counts them.
    """

    def __init__(self, dedupe: bool, journal: Journal, commits: Commits, intake: Intake, tally: Tally) -> None:
        self._dedupe = dedupe
        self._journal = journal
        self._intake = intake
        self._commits = commits
        self._tally = tally
        self._waiting: Counter[int] = Counter()
        self._firsts: dict[bytes, int] = {}
        self._ended: dict[int, str] = {}

    @property
    def waiting(self) -> int:
        """How many wait for the end of the row that they are copies of."""
        return self._waiting.total()

    def take_over(self) -> None:
        """Take over what the journal has."""
        self._waiting.update(self._journal.waiting())
        self._tally.copied(self._journal.copies())

    def take(self, fixed: Fixed, request: Message) -> bool:
        """Keep a row, as a copy or as the first with its request, if the run finds copies.

        Args:
            fixed: The row, which is not in the journal.
            request: Its request.

        Returns:
            Whether it is a copy, which is not to be sent.
        """
        if not self._dedupe:
            return False
        digest = digest_of(request)
        first = self._firsts.get(digest)
        if first is None:
            first = self._journal.first_with(digest)
        if first is None:
            self._firsts[digest] = fixed.number
            self._commits.add(First(fixed, digest), lambda _: self._firsts.pop(digest))
            return False
        self._add(Copied(fixed, first, time.time()))
        return True

    def end(self, number: int, outcome: str) -> int:
        """A row has ended; gives how many copies end with it.

        Args:
            number: The row.
            outcome: How it has ended, until `written` from memory: copies that are found meanwhile need it.
        """
        if self._dedupe:
            self._ended[number] = outcome
        return self._waiting.pop(number, 0)

    def written(self, number: int) -> None:
        """The end of a row is on the disk."""
        self._ended.pop(number, None)

    def _add(self, copy: Copied) -> None:
        outcome = self._ended.get(copy.first) or self._journal.outcome(copy.first)
        if outcome is None:
            self._waiting[copy.first] += 1
        else:
            self._tally.end(outcome)
        self._tally.copied(1)
        self._commits.add(copy, lambda _: self._intake.forget_id(copy.fixed))

"""What a run has counted so far, and how far it is by that."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from yagrpc.bulk.decisions.outcomes import RowOutcome
from yagrpc.bulk.decisions.progress import Progress, seconds_left
from yagrpc.journal.changes import State, Totals

if TYPE_CHECKING:
    from yagrpc.quotas import Limit

LATELY: Final = 30.0
"""Seconds over which the pace is taken."""


class Tally:
    """The counts of one run, those of earlier runs of its journal included.

    Args:
        total: Rows of the input; `None` where that is not known.
    """

    def __init__(self, total: int | None) -> None:
        self.outcomes: Counter[str] = Counter()
        self.ended = 0
        self._total = total
        self._resumed = self._repeated = self._doubtful = self._copies = 0
        self._tokens_in = self._tokens_out = 0
        self._cost: float | None = None
        self._unpriced = False
        self._started = time.monotonic()
        self._lately: deque[tuple[float, int]] = deque()
        self._typical = 0.0

    @property
    def failed(self) -> int:
        """Rows that have ended otherwise than done."""
        return self.ended - self.outcomes[RowOutcome.DONE]

    def resume(self, counts: Mapping[tuple[State, str], int], totals: Totals) -> None:
        """Take over what the journal has."""
        self.ended = self._resumed = sum(count for (state, _), count in counts.items() if state is State.ENDED)
        self.outcomes.update({outcome: count for (_, outcome), count in counts.items() if outcome})
        self._tokens_in, self._tokens_out, self._cost = totals.input_tokens, totals.output_tokens, totals.cost
        self._unpriced = totals.cost is None and totals.input_tokens + totals.output_tokens > 0
        self._doubtful, self._repeated = totals.doubtful, totals.repeated

    def use(self, input_tokens: int, output_tokens: int, cost: float | None) -> None:
        """An attempt has used tokens; its cost is `None` where no price is known."""
        self._tokens_in += input_tokens
        self._tokens_out += output_tokens
        if cost is not None:
            self._cost = (self._cost or 0.0) + cost
        elif input_tokens + output_tokens:
            self._unpriced = True

    def end(self, outcome: str, rows: int = 1) -> None:
        """A row has ended, or several that are equal."""
        self.outcomes[outcome] += rows
        self.ended += rows

    def copied(self, rows: int) -> None:
        """Rows are copies of others."""
        self._copies += rows

    def repeat(self, *, doubtful: bool) -> None:
        """An attempt has ended, and another follows."""
        self._repeated += 1
        self._doubtful += doubtful

    def took(self, seconds: float) -> None:
        """An operation that this run submitted has ended."""
        self._typical = 0.95 * self._typical + 0.05 * seconds if self._typical else seconds

    def mark(self) -> None:
        """Note the moment, for the pace; called about once a second."""
        now = time.monotonic()
        self._lately.append((now, self.ended))
        while len(self._lately) > 1 and self._lately[0][0] < now - LATELY:
            self._lately.popleft()

    def progress(
        self, *, running: int, sending: int, waiting: int, limits: tuple[Limit, Limit] | None, note: str
    ) -> Progress:
        """How far the run is.

        Args:
            running: Operations that run.
            sending: Rows that are being sent.
            waiting: Copies that wait for the row that they are copies of.
            limits: The quotas of submits in a second and in an hour; `None` where they do not apply.
            note: What is out of the ordinary.
        """
        now = time.monotonic()
        since, before = self._lately[0] if self._lately else (self._started, self._resumed)
        per_second = (self.ended - before) / max(now - since, 1e-3) if self.ended > before else 0.0
        left = expected = None
        if self._total is not None:
            to_send = max(0, self._total - self.ended - running - waiting)
            left = seconds_left(to_send, running, per_second, limits, self._typical)
            invalid = self.outcomes[RowOutcome.INVALID]
            if self._cost and self.ended > invalid:
                expected = self._cost * (self._total - invalid) / (self.ended - invalid)
        return Progress(
            self._total,
            self.ended,
            self._resumed,
            running,
            sending,
            {name: count for name, count in self.outcomes.items() if count},
            self._repeated,
            self._doubtful,
            self._tokens_in,
            self._tokens_out,
            None if self._unpriced else self._cost,
            None if self._unpriced else expected,
            now - self._started,
            per_second,
            left,
            note,
            self._copies,
        )

"""How attempts end: their outcome and their cost, what is written of them, and whether another one follows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from yagrpc import _pb
from yagrpc.bulk.decisions.outcomes import DOUBTFUL, RowOutcome, better_before, tried_again
from yagrpc.bulk.decisions.plan import Job, Plan, Repeat, Sent
from yagrpc.bulk.decisions.schema import mismatch
from yagrpc.bulk.decisions.spending import Spending
from yagrpc.bulk.intake.intake import Intake
from yagrpc.bulk.recording.commits import Commits
from yagrpc.bulk.recording.copies import Copies
from yagrpc.bulk.recording.reported import ReportedRows
from yagrpc.bulk.recording.tally import Tally
from yagrpc.journal.changes import Again, Change, Ended, Fixed, Kept, Result
from yagrpc.results import Completion

if TYPE_CHECKING:
    from yagrpc.errors import YagrpcError

_MOST_TOKENS: Final = 2**40
"""The most tokens of one answer that are counted: sums of rows stay within what SQLite counts."""


class Endings:
    """Writes how the attempts of one run end.

    Args:
        plan: What the run is to do.
        commits: The commits of the run.
        copies: Rows that end with others.
        tally: Counts them.
        spending: What the run may cost, and how often it may fail.
        intake: Takes the rows that are tried again.
        reported: Reports that rows have ended.
        stop: Called with the reason, where too many rows have failed.
        freed: Called when what a row had reserved is given back, whether it has ended or is tried again.
    """

    def __init__(
        self,
        plan: Plan,
        commits: Commits,
        copies: Copies,
        tally: Tally,
        spending: Spending,
        intake: Intake,
        reported: ReportedRows,
        stop: Callable[[str], object],
        freed: Callable[[], object],
    ) -> None:
        self._plan = plan
        self._commits = commits
        self._copies = copies
        self._tally = tally
        self._spending = spending
        self._intake = intake
        self._reported = reported
        self._stop = stop
        self._freed = freed

    def judge(self) -> None:
        """Stop the run, if more rows have failed than may, in earlier runs too."""
        if self._spending.has_failed_too_often(self._tally.failed, self._tally.ended):
            self._stop(f"{self._tally.failed:,} rows of {self._tally.ended:,} have failed")

    def invalid(self, job: Job, problem: str) -> None:
        """A row can't be sent."""
        fixed = job.planned.fixed
        result = Result(fixed.number, time.time(), RowOutcome.INVALID, None, problem)
        self._end(result, fixed, job.attempt - 1, job.before, sent=False)

    def keep_answer(self, repeat: Repeat, reason: str) -> bool:
        """End a row that is not sent again, if an attempt before has an answer that was paid for.

        Args:
            repeat: The attempt that is not sent.
            reason: Why.

        Returns:
            Whether there was one; else the row is left to a later run.
        """
        if better_before(RowOutcome.FAILED, repeat.before) is None:
            return False
        result = Result(repeat.number, time.time(), RowOutcome.FAILED, None, f"it was not sent: {reason}")
        self._end(result, None, repeat.attempt - 1, repeat.before, sent=False)
        return True

    def answered(self, job: Job, response: Any) -> None:
        """A call was answered that generates nothing."""
        fixed = job.planned.fixed
        tokens = _tokens(response.num_tokens) if self._plan.recipe.task == "embed" else 0  # the tokenizer is free
        self._tally.use(tokens, 0, None)
        result = Result(fixed.number, time.time(), RowOutcome.DONE, response.SerializeToString(), "", tokens)
        self._end(result, fixed, job.attempt, job.before)

    def completed(self, sent: Sent, response: _pb.text_generation_service_pb2.CompletionResponse) -> None:
        """A completion is there."""
        completion = Completion(response)
        outcome, why = RowOutcome.DONE, ""
        if completion.filtered:
            outcome, why = RowOutcome.FILTERED, "the service's content filter stopped the answer"
        elif completion.truncated:
            outcome, why = RowOutcome.TRUNCATED, "the answer was cut off at its limit of tokens"
        elif sent.schema is not None and (found := mismatch(completion.text, sent.schema)):
            outcome, why = RowOutcome.SCHEMA_MISMATCH, found
        self.finish(sent, outcome, None, why, response)

    def finish(
        self,
        sent: Sent,
        outcome: RowOutcome,
        error: YagrpcError | None,
        why: str,
        response: _pb.text_generation_service_pb2.CompletionResponse | None = None,
        *,
        fixed: Fixed | None = None,
    ) -> None:
        """An attempt has ended: its row with it, or another attempt follows.

        Args:
            sent: The attempt.
            outcome: How it ended.
            error: Why it failed, if it did.
            why: The same as text, or what is wrong with the answer.
            response: The answer.
            fixed: The row, where the journal has no intent of it, or no longer, since it was not sent; it is not tried
                again.
        """
        tokens_in = tokens_out = 0
        cost = 0.0 if outcome not in DOUBTFUL else None
        if response is not None:
            tokens_in = _tokens(response.usage.input_text_tokens)
            tokens_out = _tokens(response.usage.completion_tokens)
            cost = self._plan.cost(sent.model, tokens_in, tokens_out)
            self._tally.use(tokens_in, tokens_out, cost)
        self._spending.cost(sent.reserved, cost, tokens_out)
        self._freed()
        kept = None if response is None else response.SerializeToString()
        known = cost if tokens_in + tokens_out else None
        result = Result(sent.number, time.time(), outcome, kept, why, tokens_in, tokens_out, known)
        if fixed is not None or not tried_again(outcome, error, sent.attempt, self._plan.retries):
            self._end(result, fixed, sent.attempt, sent.before, sent=fixed is None)
            return
        doubtful = outcome in DOUBTFUL
        self._tally.repeat(doubtful=doubtful)
        self._commits.add(Again(result, doubtful))
        self._intake.add_repeat(
            Repeat(sent.number, sent.attempt + 1, sent.doubtful + doubtful, (*sent.before, outcome))
        )

    def _end(
        self, result: Result, fixed: Fixed | None, attempts: int, before: tuple[str, ...], *, sent: bool = True
    ) -> None:
        """A row has ended, as its last attempt did, or as an earlier one whose answer is worth more.

        Args:
            result: How its last attempt ended.
            fixed: The row, where the journal may not have it yet.
            attempts: How often it was sent.
            before: The outcomes of the attempts before.
            sent: Whether the last one was sent.
        """
        kept = better_before(result.outcome, before)
        outcome = kept or result.outcome
        change: Change = Ended(result, fixed, attempts)
        if kept is not None:
            change = Kept(result, kept, result.outcome in DOUBTFUL, sent)
        self._tally.end(outcome, 1 + self._copies.end(result.number, outcome))
        self._reported.end(result.number, outcome, attempts, result.error)
        self._commits.add(change, lambda _: self._written(result.number, fixed))
        self.judge()

    def _written(self, number: int, fixed: Fixed | None) -> None:
        self._copies.written(number)
        if fixed is not None:
            self._intake.forget_id(fixed)


def _tokens(said: int) -> int:
    """A number of tokens that a service has said, as a number that can be counted together with others."""
    return max(0, min(said, _MOST_TOKENS))

"""What a run gives: the result of each row, the columns of an output, and a summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from yagrpc import _pb
from yagrpc.bulk.decisions.outcomes import RowOutcome
from yagrpc.bulk.decisions.rows import columns_of
from yagrpc.bulk.wording import counted
from yagrpc.errors import JournalError
from yagrpc.journal.changes import Entry, State, Totals
from yagrpc.results import Completion, Usage

if TYPE_CHECKING:
    from yagrpc.journal.journal import Journal

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "completion": ("text",),
    "embed": ("embedding",),
    "tokenize": ("tokens",),
}
"""The columns of an answer, by task."""

RESULT_COLUMNS: Final = (
    "outcome", "error", "input_tokens", "output_tokens", "cost", "model_version", "operation_id", "attempts",
    "submitted_at", "ended_at",
)  # fmt: skip
"""The columns that follow them."""

PREFIX: Final = "input_"
"""What a column of the input begins with in an output, where a result has its name."""


def renamed(names: Iterable[Any], taken: Collection[str]) -> dict[Any, str]:
    """The new names of those columns of the input that have the name of a result's.

    Args:
        names: The columns of the input.
        taken: Those of the result.
    """
    given = {str(name): name for name in names}
    found = {}
    for name in given.keys() & set(taken):
        new = PREFIX + name
        while new in given or new in taken:  # the input has that column, too
            new = PREFIX + new
        found[given[name]] = new
    return found


class BulkResult:
    """The result of one row.

    Args:
        entry: The row, as the journal has it.
        task: What was done with it.

    Attributes:
        number: Its place in the input, from 0.
        line: Its line in the input, from 1.
        id: The id that its user gave; `None` for none.
        row: The row, as JSON values.
        outcome: How it ended.
        completion: The answer; `None` where there is none.
        embedding: The vector, of task `embed`.
        tokens: The number of tokens, of task `tokenize`.
        error: What went wrong; empty where nothing did.
        usage: What it used, in tokens; a copy of another row has used none.
        cost: What it cost, in roubles; `None` where a price is not known.
        operation_id: The operation that gave the answer; empty where there was none.
        attempts: How often it was sent; a copy was not.
        submitted_at: When it was sent last; `None` where it was not.
        ended_at: When its result came.
    """

    __slots__ = (
        "attempts", "completion", "cost", "embedding", "ended_at", "error", "id", "line", "number", "operation_id",
        "outcome", "row", "submitted_at", "tokens", "usage",
    )  # fmt: skip

    def __init__(self, entry: Entry, task: str = "completion") -> None:
        result = entry.result
        assert result is not None
        self.number, self.id, self.line = entry.fixed.number, entry.fixed.id, entry.fixed.line
        self.row = _value(entry.fixed.source)
        self.error = result.error
        self.completion: Completion | None = None
        self.embedding: list[float] | None = None
        self.tokens: int | None = None
        try:
            self.outcome = RowOutcome(result.outcome)
            if result.response is not None:
                self._unpack(result.response, task)
        except (ValueError, DecodeError):
            raise JournalError(
                f"the result of row {self.number} can't be read: something else than a run has changed the journal;"
                " restore it from a copy"
            ) from None
        total = result.input_tokens + result.output_tokens
        usage = Usage(result.input_tokens, result.output_tokens, total, 0)
        self.usage = usage if self.completion is None or not entry.attempt else self.completion.usage
        self.cost = result.cost
        self.operation_id = entry.operation_id
        self.attempts = entry.attempt
        self.submitted_at = None if entry.submitted is None else _moment(entry.submitted)
        self.ended_at = _moment(result.ended)

    def _unpack(self, response: bytes, task: str) -> None:
        if task == "completion":
            self.completion = Completion(_pb.text_generation_service_pb2.CompletionResponse.FromString(response))
        elif task == "embed":
            vector = _pb.embedding_service_pb2.TextEmbeddingResponse.FromString(response)
            self.embedding = list(vector.embedding)
        else:
            self.tokens = len(_pb.text_generation_service_pb2.TokenizeResponse.FromString(response).tokens)

    @property
    def text(self) -> str | None:
        """The text of the answer; `None` where there is none."""
        return None if self.completion is None else self.completion.text

    def __repr__(self) -> str:
        which = self.number if self.id is None else repr(self.id)
        what = f": {self.error}" if self.error else ""
        return f"<BulkResult {which} {self.outcome.value}{what}>"


class Summary(NamedTuple):
    """A whole run, so far.

    Args:
        rows: Rows that the journal has.
        outcomes: How many have ended how.
        unfinished: Rows that have not ended: planned, waiting for their operation, or for the row they are copies of.
        totals: What all have used.
        refused_submits: How often a request failed and was sent again: the service refused it, or was not reached.
        refused_gets: How often a Get of an operation failed so.
        copies: How many are copies of others, for which nothing was sent.
        refused_codes: How often requests and Gets failed so with which code.
    """

    rows: int
    outcomes: Mapping[str, int]
    unfinished: Mapping[str, int]
    totals: Totals
    refused_submits: int
    refused_gets: int
    copies: int
    refused_codes: Mapping[str, int] = MappingProxyType({})

    def lines(self) -> list[str]:
        """The whole, in lines."""
        found = [counted(self.rows, "row")]
        for counts in (self.outcomes, self.unfinished):
            found += [f"  {count:,} {name}" for name, count in counts.items()]
        if self.copies:
            are = "is a copy, which was" if self.copies == 1 else "are copies, which were"
            found.append(f"{self.copies:,} of them {are} not sent")
        totals = self.totals
        found.append(f"{counted(totals.input_tokens, 'token')} of input, {totals.output_tokens:,} of answers")
        if totals.cost is not None:
            found.append(f"{totals.cost:,.2f} RUB")
        if totals.repeated:
            found.append(f"{counted(totals.repeated, 'attempt')} {'was' if totals.repeated == 1 else 'were'} repeated")
        if totals.doubtful:
            their = "its row" if totals.doubtful == 1 else "their rows"
            found.append(f"{counted(totals.doubtful, 'attempt')} may have been billed without a result, {their} twice")
        if self.refused_submits or self.refused_gets:
            codes = ", ".join(f"{count:,} {code}" for code, count in self.refused_codes.items())
            both = f"{counted(self.refused_submits, 'request')} and {counted(self.refused_gets, 'Get')}"
            found.append(f"{both} failed, and were sent again ({codes})")
        return found


def summary_of(journal: Journal) -> Summary:
    """The summary of a journal."""
    counts = journal.counts()
    outcomes = {outcome: count for (state, outcome), count in sorted(counts.items()) if state is State.ENDED}
    names = {State.PLANNED: "planned", State.SUBMITTING: "submitting", State.SUBMITTED: "running"}
    names[State.WAITING] = "waiting"
    unfinished = {names[state]: count for (state, _), count in sorted(counts.items()) if state in names}
    codes = Counter(code for _, code in journal.refusals())
    for _, code, count in journal.refused_gets():
        codes[code] += count
    return Summary(
        sum(counts.values()),
        outcomes,
        unfinished,
        journal.totals(),
        *journal.refused(),
        journal.copies(),
        dict(codes.most_common()),
    )


def record_of(entry: Entry, task: str, *, table: bool) -> dict[str, Any]:
    """A row with its result, as an output has it: all columns of the input, then those of the result.

    A column of the input that has the name of a result's is written as `input_...`.
    """
    result = BulkResult(entry, task)
    own = result_record(result, task)
    columns = columns_of(entry.fixed, result.row, table=table)
    names = renamed(columns, own)
    record = {names.get(name, name): value for name, value in columns.items()}
    if entry.fixed.id is not None and "id" not in record:
        record = {"id": entry.fixed.id, **record}
    return {**record, **own}


def result_record(result: BulkResult, task: str) -> dict[str, Any]:
    """The columns of a result."""
    answer = {"completion": result.text, "embed": result.embedding, "tokenize": result.tokens}[task]
    return {
        COLUMNS[task][0]: answer,
        "outcome": result.outcome.value,
        "error": result.error or None,
        "input_tokens": result.usage.input_text_tokens,
        "output_tokens": result.usage.completion_tokens,
        "cost": result.cost,
        "model_version": None if result.completion is None else result.completion.model_version,
        "operation_id": result.operation_id or None,
        "attempts": result.attempts,
        "submitted_at": None if result.submitted_at is None else result.submitted_at.isoformat(timespec="seconds"),
        "ended_at": result.ended_at.isoformat(timespec="seconds"),
    }


def _value(source: bytes) -> Any:
    try:
        return json.loads(source)
    except (ValueError, RecursionError):
        return source.decode("utf-8", "replace")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)

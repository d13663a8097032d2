"""The figures of a report, counted from a journal.

Rules: a journal of a million rows is read in one pass each for its rows, its submits and its refusals; of the texts of
rows only those are read that are shown.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import json
import math
import re
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from yagrpc.bulk.decisions.outcomes import RowOutcome
from yagrpc.bulk.recording.notes import notes_of
from yagrpc.bulk.results import BulkResult, Summary, summary_of
from yagrpc.journal.journal import Journal

BINS: Final = 60
"""Columns of a chart over time."""

BARS: Final = 24
"""Columns of a histogram."""

SLOWEST: Final = 10
"""Rows that are listed as the slowest."""

SAMPLES: Final = 3
"""Rows that are shown of each cause of failure."""

CAUSES: Final = 20
"""Causes of failures that are shown, the most frequent ones."""

MOST_CAUSES: Final = 5000
"""Causes that are counted each: where all errors differ, such as those that quote their row, memory has an end."""

OTHERS: Final = "other causes"
"""What all that come after them are counted as."""

PAUSE: Final = 60.0
"""Seconds without anything after which a chart leaves the time out, if that is a good part of the whole."""

HOUR: Final = 3600.0

_EXCERPT: Final = 200
_NUMBERS: Final = re.compile(r"\b\w*\d\w*(?:[,.:-]\w*\d\w*)*")
"""Words with digits: numbers, times, ids."""

ALMOST: Final = frozenset({RowOutcome.TRUNCATED, RowOutcome.FILTERED, RowOutcome.SCHEMA_MISMATCH})
"""Outcomes that have an answer which is not whole, or not what was asked for."""


class Axis:
    """The time of a run without its pauses: from its first to its last moment, in equal bins.

    Args:
        moments: Moments at which something happened, sorted, in seconds since the epoch.
    """

    def __init__(self, moments: Sequence[float]) -> None:
        self.first = moments[0] if moments else 0.0
        self.last = moments[-1] if moments else 0.0
        whole = self.last - self.first
        pairs = itertools.pairwise(moments)
        pauses = [(a, b) for a, b in pairs if b - a > PAUSE and b - a > whole / 20]
        self._pauses = pauses
        self._ends = [end for _, end in pauses]
        self._left_out = [0.0, *itertools.accumulate(end - start for start, end in pauses)]
        self.seconds = max(whole - self._left_out[-1], 1e-3)
        self.pauses = [(self.place(end), end - start) for start, end in pauses]
        """Where each pause is, from 0 to 1, and its seconds."""
        self.span = max(1, math.ceil(self.seconds / BINS))
        """Seconds of a span, a whole number."""
        self.spans = int(self.seconds // self.span) + 1
        """How many spans there are; the last one may end after the whole."""

    def place(self, moment: float) -> float:
        """Where a moment is, from 0 to 1; one in a pause is where that is."""
        before = bisect.bisect_right(self._ends, moment)
        left_out = self._left_out[before]
        if before < len(self._pauses):
            moment = min(moment, self._pauses[before][0])
        return min(1.0, max(0.0, (moment - self.first - left_out) / self.seconds))

    def counts(self, moments: Iterable[float]) -> list[int]:
        """How many moments are in each bin."""
        return self._counts(moments, BINS, self.seconds)

    def counts_in_spans(self, moments: Iterable[float]) -> list[int]:
        """How many moments are in each span of whole seconds: what happens in a second can be compared with a quota."""
        return self._counts(moments, self.spans, self.spans * self.span)

    def _counts(self, moments: Iterable[float], bins: int, seconds: float) -> list[int]:
        counts = [0] * bins
        part = self.seconds / seconds * bins
        for moment in moments:
            counts[min(bins - 1, int(self.place(moment) * part))] += 1
        return counts


def outline(moments: Iterable[float]) -> list[float]:
    """The first and the last moment of each minute, sorted: all that an axis needs of many moments.

    A pause is longer than a minute, so that it is between two of these.

    Args:
        moments: Moments in any order, in seconds since the epoch.
    """
    spans: dict[float, tuple[float, float]] = {}
    for moment in moments:
        minute = moment // PAUSE
        first, last = spans.get(minute, (moment, moment))
        if not first < moment < last:
            spans[minute] = min(first, moment), max(last, moment)
    return sorted(itertools.chain.from_iterable(spans.values()))


class Histogram(NamedTuple):
    """How often values are how large.

    Args:
        counts: How many are in each bar; the last has all that are larger.
        width: The width of a bar.
        median: Half of the values are not larger.
        p90: 90 % are not larger.
        p99: 99 % are not larger.
        largest: The largest.
    """

    counts: list[int]
    width: float
    median: float
    p90: float
    p99: float
    largest: float


class Use(NamedTuple):
    """How much of the quotas the run has used.

    Args:
        accepted: Submits in each span of the axis.
        refused: Refusals in each span.
        busiest_second: The most submits in a second.
        busiest_hour: The most submits in an hour.
        per_second: The quota of a second, as the last run used it; `None` for none.
        per_hour: The quota of an hour; `None` for none.
    """

    accepted: list[int]
    refused: list[int]
    busiest_second: int
    busiest_hour: int
    per_second: float | None
    per_hour: float | None


class Shown(NamedTuple):
    """A row that is shown.

    Args:
        name: Its id, or its line.
        text: The beginning of the row.
        error: What went wrong; empty where nothing did.
        outcome: How it ended.
        seconds: From its last submit to its result; `None` where it was not sent.
        tokens: What it used.
        operation_id: Its operation; empty for none.
    """

    name: str
    text: str
    error: str
    outcome: str
    seconds: float | None
    tokens: int
    operation_id: str


class Failures(NamedTuple):
    """The rows that have failed for one cause.

    Args:
        outcome: How they ended.
        cause: Their error, without its numbers and ids.
        rows: How many.
        samples: Some of them.
    """

    outcome: str
    cause: str
    rows: int
    samples: list[Shown]


class Figures(NamedTuple):
    """All figures of a report.

    Args:
        name: The file of the journal.
        now: When they were counted, in seconds since the epoch.
        options: The options of the run.
        summary: How the rows have ended.
        total: Rows of the input; `None` where that is not known yet.
        finished: Whether the whole input has ended.
        starts: When the run began, and was resumed.
        axis: The time of the run.
        ended: Rows that have ended in each bin: done, almost, failed.
        use: The use of the quotas.
        refusals: Refusals of requests by the name of their code.
        refused_gets: Refusals of Gets by the name of their code.
        latency: Seconds from submit to result; `None` where nothing was sent.
        input_tokens: Tokens of the inputs; `None` where there are none.
        output_tokens: Tokens of the answers; `None` where there are none.
        costs: Rows, tokens of inputs and of answers, and cost, by outcome.
        repeated: Attempts that were not the last of their row, and their cost, by outcome.
        failures: The rows that have failed, by cause.
        causes: How many causes there are.
        slowest: The slowest rows.
    """

    name: str
    now: float
    options: Mapping[str, Any]
    summary: Summary
    total: int | None
    finished: bool
    starts: Sequence[float]
    axis: Axis
    ended: list[list[int]]
    use: Use
    refusals: Mapping[str, int]
    refused_gets: Mapping[str, int]
    latency: Histogram | None
    input_tokens: Histogram | None
    output_tokens: Histogram | None
    costs: list[tuple[str, int, int, int, float | None]]
    repeated: list[tuple[str, int, float | None]]
    failures: list[Failures]
    causes: int
    slowest: list[Shown]


def figures_of(journal: Journal) -> Figures:
    """Count the figures of a journal, as it is at this moment.

    Raises:
        JournalError: It can't be read.
    """
    with journal.snapshot():
        notes = notes_of(journal)
        submits = array("d", journal.submits())
        refused, refusals = array("d"), Counter[str]()
        for at, code in journal.refusals():
            refused.append(at)
            refusals[code] += 1
        refused_gets = Counter[str]()
        for _, code, count in journal.refused_gets():
            refused_gets[code] += count
        ends: dict[str, array[float]] = {"done": array("d"), "almost": array("d"), "failed": array("d")}
        latencies, inputs, outputs = array("d"), array("d"), array("d")
        slowest: list[tuple[float, int]] = []
        for moment in journal.moments():
            kind = "done" if moment.outcome == RowOutcome.DONE else "almost" if moment.outcome in ALMOST else "failed"
            ends[kind].append(moment.ended)
            if moment.submitted is not None:
                seconds = max(0.0, moment.ended - moment.submitted)  # the clock may have been set back
                latencies.append(seconds)
                keep = heapq.heappush if len(slowest) < SLOWEST else heapq.heappushpop
                keep(slowest, (seconds, -moment.number))
            if moment.input_tokens > 0 or moment.output_tokens > 0:
                inputs.append(max(0, moment.input_tokens))
                outputs.append(max(0, moment.output_tokens))
        axis = Axis(outline(itertools.chain(submits, refused, *ends.values())))
        summary = summary_of(journal)
        failures, causes = _failures(journal, notes.task)
        per_second, per_hour = notes.limits
        return Figures(
            journal.path.name,
            time.time(),
            notes.options,
            summary,
            notes.total or notes.expected,
            notes.total is not None and not summary.unfinished,
            notes.starts,
            axis,
            [axis.counts(moments) for moments in ends.values()],
            Use(
                axis.counts_in_spans(submits),
                axis.counts_in_spans(refused),
                busiest(submits, 1.0),
                busiest(submits, HOUR),
                per_second,
                per_hour,
            ),
            refusals,
            refused_gets,
            histogram(latencies),
            histogram(inputs, whole=True),
            histogram(outputs, whole=True),
            list(journal.costs()),
            list(journal.repeated()),
            failures,
            causes,
            [_shown(journal, -number, notes.task) for _, number in sorted(slowest, reverse=True)],
        )


def busiest(moments: Sequence[float], span: float) -> int:
    """The most moments in a span of seconds; they are sorted."""
    most = first = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - span:
            first += 1
        most = max(most, last - first + 1)
    return most


def histogram(values: Iterable[float], *, whole: bool = False) -> Histogram | None:
    """A histogram; `None` where there are no values.

    Args:
        values: The values, none below 0.
        whole: Whether they are whole numbers: a bar has at least one of them.
    """
    found = sorted(values)
    if not found:
        return None
    median, p90, p99 = (found[min(len(found) - 1, int(part * len(found)))] for part in (0.5, 0.9, 0.99))
    width = _round_up(max(p99, 1e-3) * 1.001 / BARS, whole)
    counts = [0] * (min(BARS, int(found[-1] / width) + 1))
    for value in found:
        counts[min(len(counts) - 1, int(value / width))] += 1
    return Histogram(counts, width, median, p90, p99, found[-1])


def _round_up(width: float, whole: bool) -> float:
    """A round number that is not smaller."""
    least = 1e-6
    while True:
        for factor in (1, 2, 2.5, 5):
            step = least * factor
            if step >= width and (not whole or (step >= 1 and step == int(step))):
                return step
        least = round(least * 10, 6)


def _failures(journal: Journal, task: str) -> tuple[list[Failures], int]:
    """The most frequent causes of failures, and how many causes there are."""
    counts: Counter[tuple[str, str]] = Counter()
    samples: dict[tuple[str, str], list[int]] = {}
    for number, outcome, error in journal.errors():
        key = outcome, _NUMBERS.sub("…", error[:_EXCERPT])
        if len(counts) >= MOST_CAUSES and key not in counts:
            key = outcome, OTHERS
        counts[key] += 1
        if len(numbers := samples.setdefault(key, [])) < SAMPLES:
            numbers.append(number)
    found = [
        Failures(*key, count, [_shown(journal, number, task) for number in samples[key]])
        for key, count in counts.most_common(CAUSES)
    ]
    return found, len(counts)


def _shown(journal: Journal, number: int, task: str) -> Shown:
    entry = journal.entry(number)
    assert entry.result is not None
    result = BulkResult(entry, task)
    seconds = None if entry.submitted is None else max(0.0, entry.result.ended - entry.submitted)
    return Shown(
        f"line {result.line}" if result.id is None else result.id,
        _excerpt(result.row),
        _cut(result.error),
        result.outcome.value,
        seconds,
        entry.result.input_tokens + entry.result.output_tokens,
        result.operation_id,
    )


def _excerpt(row: Any) -> str:
    """The beginning of a row: its longest text, or the whole as JSON."""
    texts = list(_texts(row))
    return _cut(max(texts, key=len) if texts else json.dumps(row, ensure_ascii=False))


def _texts(row: Any) -> Iterator[str]:
    if isinstance(row, str):
        yield row
    elif isinstance(row, (dict, list)):
        for value in row.values() if isinstance(row, dict) else row:
            yield from _texts(value)


def _cut(text: str) -> str:
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"

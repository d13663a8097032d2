"""A journal: changes are committed in groups, and rows are read back.

Rules: a commit is on the disk when it returns (`synchronous=FULL`), or nothing of it is. Whatever fails in writing is a
`JournalError`; what was committed before stays.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from yagrpc.errors import JournalError
from yagrpc.hiding import shown, shown_path
from yagrpc.journal import copies
from yagrpc.journal.changes import (
    Accepted,
    Again,
    Change,
    Copied,
    Ended,
    Entry,
    First,
    Fixed,
    GetsRefused,
    Intent,
    Kept,
    Moment,
    Noted,
    Refused,
    Result,
    Retracted,
    State,
    Totals,
)
from yagrpc.journal.file import Lock, broken, connect, wrong_value

_INTENT: Final = (
    "INSERT INTO row VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, '', ?) ON CONFLICT DO UPDATE SET state = 1,"
    " attempt = excluded.attempt, doubtful = excluded.doubtful, request_id = excluded.request_id, operation = '',"
    " submitted = excluded.submitted"
)
_WHOLE: Final = (
    "INSERT INTO row VALUES (?, ?, ?, ?, ?, 3, ?, 0, '', '', NULL) ON CONFLICT DO UPDATE SET state = 3,"
    " attempt = excluded.attempt"
)
_AGAIN: Final = (
    "INSERT INTO attempt SELECT number, attempt, operation, submitted, ?, ?, ?, ?, ?, ?, ? FROM row WHERE number = ?"
)
_BEST: Final = (
    "SELECT rowid, operation, submitted, outcome, response, error, input_tokens, output_tokens, cost FROM attempt"
    " WHERE number = ? AND outcome = ? AND response IS NOT NULL ORDER BY attempt DESC LIMIT 1"
)
_GETS_REFUSED: Final = (
    "INSERT INTO get_refusal VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count"
)
_ENTRY: Final = (
    "SELECT row.number, id, line, fingerprint, source, state, attempt, doubtful, request_id, operation, submitted,"
    " seq, ended, outcome, response, error, input_tokens, output_tokens, cost"
)

_UNFINISHED: Final = Noted("total", "null")
"""Rows are to be sent, whatever an earlier run has noted at its end."""


class Journal:
    """A journal that is read.

    Args:
        path: The file.

    Raises:
        ConfigError: It can't be opened, is no journal, is broken, or is of another version.
    """

    _write = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = connect(path, write=self._write)
        (version,) = next(self._rows("PRAGMA user_version"))
        self._counts_gets = self._keeps_answers = version >= 2

    def check(self) -> None:
        """Check what SQLite does not: that all values are such as a run writes. A writer's are checked before.

        Raises:
            ConfigError: One is not.
        """
        if why := wrong_value(self._rows):
            raise broken(self.path, why)

    def noted(self) -> dict[str, Any]:
        """What is noted about the run, by the names of the notes.

        Raises:
            ConfigError: A note is no JSON.
        """
        found = {}
        for name, value in self._rows("SELECT name, value FROM run"):
            try:
                found[name] = json.loads(value)
            except (ValueError, RecursionError):
                raise broken(self.path, f"its note {shown(name)} is no JSON") from None
        return found

    def fingerprints(self) -> Iterator[tuple[int, bytes]]:
        """The number and the fingerprint of each row, by number."""
        return self._rows("SELECT number, fingerprint FROM row ORDER BY number")

    def has_id(self, row_id: str) -> bool:
        """Whether a row has this id."""
        return next(self._rows("SELECT 1 FROM row WHERE id = ? LIMIT 1", (row_id,)), None) is not None

    def entry(self, number: int) -> Entry:
        """One row, by its number.

        Raises:
            ConfigError: The journal does not have it.
        """
        where = "FROM row LEFT JOIN result USING (number) WHERE row.number = ?"
        for found in self._entries(where, (number,)):
            return found
        raise broken(self.path, f"row {number} is missing")

    def attempts(self, number: int) -> list[str]:
        """The outcomes of the attempts of a row before its last."""
        query = "SELECT outcome FROM attempt WHERE number = ? ORDER BY attempt"
        return [outcome for (outcome,) in self._rows(query, (number,))]

    def in_state(self, *states: State) -> list[Entry]:
        """The rows that are in one of these states, by number."""
        marks = ", ".join("?" * len(states))
        where = f"FROM row LEFT JOIN result USING (number) WHERE state IN ({marks}) ORDER BY row.number"
        return list(self._entries(where, states))

    def ended(self, after: int, limit: int) -> list[Entry]:
        """Rows that have ended, in the order in which they did.

        Args:
            after: The `seq` after which they begin.
            limit: How many, at most.
        """
        where = "FROM result JOIN row USING (number) WHERE seq > ? ORDER BY seq LIMIT ?"
        return list(self._entries(where, (after, limit)))

    def ended_in_order(self, first: int, limit: int) -> list[Entry]:
        """Rows that have ended, in the order of the input.

        Args:
            first: The number of the first.
            limit: How many, at most.
        """
        where = "FROM result JOIN row USING (number) WHERE result.number >= ? ORDER BY result.number LIMIT ?"
        return list(self._entries(where, (first, limit)))

    def settled(self) -> Iterator[int]:
        """The rows that are not sent again: they have ended, or their operation runs, or they are copies; by number."""
        states = f"{int(State.SUBMITTED)}, {int(State.ENDED)}, {int(State.WAITING)}"
        query = f"SELECT number FROM row WHERE state IN ({states}) ORDER BY number"
        return (number for (number,) in self._rows(query))

    def waiting_answers(self) -> Iterator[Entry]:
        """The answers of rows that wait for another attempt, each with its attempt, by number and attempt."""
        if not self._keeps_answers:
            return
        columns = _ENTRY.replace("operation, submitted, seq", "attempt.operation, attempt.submitted, 0")
        columns = columns.replace("state, attempt", "state, attempt.attempt").replace("row.number", "number")
        ended = int(State.ENDED)
        where = f"FROM attempt JOIN row USING (number) WHERE response IS NOT NULL AND state != {ended}"
        for row in self._rows(f"{columns} {where} ORDER BY number, attempt.attempt"):
            yield _entry(row)

    def counts(self) -> dict[tuple[State, str], int]:
        """How many rows there are of each state and outcome (empty where it has not ended)."""
        ended = int(State.ENDED)
        query = (  # not joined: of each of a million rows the result would be sought
            f"SELECT state, '', count(*) FROM row WHERE state != {ended} GROUP BY 1"
            f" UNION ALL SELECT {ended}, outcome, count(*) FROM result GROUP BY 2"
        )
        return {(State(state), outcome): count for state, outcome, count in self._rows(query)}

    def totals(self) -> Totals:
        """What all rows and attempts have used."""
        query = (
            "SELECT coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cost), 0.0),"
            " count(*) - count(cost), count(*) FROM"
        )
        used = "input_tokens + output_tokens > 0"
        parts = [next(self._rows(f"{query} {table} WHERE {used}")) for table in ("result", "attempt")]
        (doubtful,) = next(self._rows("SELECT coalesce(sum(doubtful), 0) FROM row"))
        (attempts,) = next(self._rows("SELECT count(*) FROM attempt"))
        tokens_in, tokens_out, cost, unpriced, used_by = (sum(part) for part in zip(*parts, strict=True))
        priced = not unpriced and bool(used_by)
        return Totals(tokens_in, tokens_out, cost if priced else None, doubtful, attempts)

    def spent(self) -> float:
        """What all rows and attempts have cost whose cost is known, in roubles."""
        parts = [next(self._rows(f"SELECT coalesce(sum(cost), 0.0) FROM {table}")) for table in ("result", "attempt")]
        return sum(float(cost) for (cost,) in parts)

    def without_cost(self, doubtful: Collection[str]) -> Iterator[tuple[int, int, int, int]]:
        """The attempts whose cost is not known: the number of the row, which one it was, and the tokens of both sides.

        Args:
            doubtful: The outcomes of attempts that may have been billed without tokens that are known.
        """
        kinds = ", ".join("?" * len(doubtful))
        where = f"cost IS NULL AND (input_tokens + output_tokens > 0 OR outcome IN ({kinds}))"
        columns = "number, attempt, input_tokens, output_tokens"
        query = f"SELECT {columns} FROM result JOIN row USING (number) WHERE {where} AND attempt > 0"
        return self._rows(f"{query} UNION ALL SELECT {columns} FROM attempt WHERE {where}", [*doubtful, *doubtful])

    def span(self) -> tuple[float | None, float | None, int]:
        """When the first request left and the last result came, and how many came in the minute before that."""
        (first,) = next(self._rows("SELECT min(submitted) FROM row"))
        (last,) = next(self._rows("SELECT max(ended) FROM result"))
        (recent,) = next(self._rows("SELECT count(*) FROM result WHERE ended > ? - 60", (last or 0.0,)))
        return first, last, recent

    def moments(self) -> Iterator[Moment]:
        """What figures over time need of the rows that have ended, in the order in which they did."""
        query = (
            "SELECT number, submitted, ended, outcome, input_tokens, output_tokens FROM result JOIN row USING (number)"
            " ORDER BY seq"
        )
        return map(Moment._make, self._rows(query))

    def submits(self) -> Iterator[float]:
        """When the requests left that were accepted, or of which nothing is known yet."""
        planned = int(State.PLANNED)
        rows = f"SELECT submitted FROM row WHERE submitted IS NOT NULL AND state != {planned}"
        query = f"{rows} UNION ALL SELECT submitted FROM attempt WHERE submitted IS NOT NULL ORDER BY 1"
        return (moment for (moment,) in self._rows(query))

    def refusals(self) -> Iterator[tuple[float, str]]:
        """When requests were refused that were sent again, and with which code."""
        return self._rows("SELECT at, code FROM refusal ORDER BY at")

    def refused_gets(self) -> Iterator[tuple[int, str, int]]:
        """How many Gets were refused in which second, since the epoch, and with which code."""
        if not self._counts_gets:
            return iter(())
        return self._rows("SELECT at, code, count FROM get_refusal ORDER BY at")

    def refused(self) -> tuple[int, int]:
        """How often requests were refused that were sent again, and how often Gets."""
        (submits,) = next(self._rows("SELECT count(*) FROM refusal"))
        gets = "SELECT coalesce(sum(count), 0) FROM get_refusal" if self._counts_gets else "SELECT 0"
        return submits, next(self._rows(gets))[0]

    def repeated(self) -> Iterator[tuple[str, int, float | None]]:
        """How many attempts of each outcome were not the last of their row, and what they cost."""
        return self._rows("SELECT outcome, count(*), sum(cost) FROM attempt GROUP BY 1 ORDER BY 2 DESC")

    def costs(self) -> Iterator[tuple[str, int, int, int, float | None]]:
        """The rows, the tokens of inputs and of answers, and the cost of each outcome."""
        query = "SELECT outcome, count(*), sum(input_tokens), sum(output_tokens), sum(cost) FROM result GROUP BY 1"
        return self._rows(f"{query} ORDER BY 2 DESC")

    def errors(self) -> Iterator[tuple[int, str, str]]:
        """The number, the outcome and the error of each row that has ended otherwise than done."""
        return self._rows("SELECT number, outcome, error FROM result WHERE outcome != 'done' ORDER BY number")

    def first_with(self, digest: bytes) -> int | None:
        """The first row with a request, by its hash; `None` for none. Only where copies are kept."""
        found = next(self._rows("SELECT number FROM first WHERE digest = ?", (digest,)), None)
        return None if found is None else int(found[0])

    def outcome(self, number: int) -> str | None:
        """How a row has ended; `None` where it has not."""
        found = next(self._rows("SELECT outcome FROM result WHERE number = ?", (number,)), None)
        return None if found is None else str(found[0])

    def copies(self) -> int:
        """How many rows are copies of others."""
        return next(self._rows("SELECT count(*) FROM copy"))[0] if copies.exist(self._connection) else 0

    def waiting(self) -> dict[int, int]:
        """How many copies wait for each row that has some."""
        if not copies.exist(self._connection):
            return {}
        state = int(State.WAITING)
        query = f"SELECT first, count(*) FROM row JOIN copy USING (number) WHERE state = {state} GROUP BY first"
        return dict(self._rows(query))

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """In the block, everything that is read is as it was at one moment, while another process writes."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):  # nothing was written, and the first error says more
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _entries(self, where: str, values: Sequence[Any]) -> Iterator[Entry]:
        yield from map(_entry, self._rows(f"{_ENTRY} {where}", values))

    def _rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """What a query gives.

        Raises:
            JournalError: The file can't be read.
            ConfigError: It is broken.
        """
        try:
            yield from self._connection.execute(query, values)
        except sqlite3.OperationalError as error:
            raise JournalError(f"journal {shown_path(str(self.path))} can't be read: {error}") from error
        except sqlite3.DatabaseError:
            raise broken(self.path) from None


def _entry(row: Sequence[Any]) -> Entry:
    """An entry of the columns of `_ENTRY`."""
    result = None if row[11] is None else Result(row[0], *row[12:])
    return Entry._make((Fixed(*row[:5]), State(row[5]), *row[6:11], row[11] or 0, result))


class JournalWriter(Journal):
    """A journal that this process writes, and no other.

    Args:
        path: The file; it is created where it is not there, its folder is not.

    Raises:
        ConfigError: It can't be used, as for `Journal`, or another process writes it.
    """

    _write = True

    def __init__(self, path: Path) -> None:
        self._lock = Lock(path)
        try:
            super().__init__(path)
            try:
                (self._seq,) = next(self._rows("SELECT coalesce(max(seq), 0) FROM result"))
                self._has_copies = copies.exist(self._connection)
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._lock.release()
            raise

    def keep_copies(self) -> None:
        """Have the journal keep which rows are copies of others.

        Raises:
            JournalError: It could not be written.
        """
        with self._writing():
            copies.create(self._connection)
        self._has_copies = True

    def commit(self, changes: Sequence[Change]) -> None:
        """Commit some changes, in their order; they are on the disk once this returns.

        Raises:
            JournalError: They could not be written, and none of them is there.
        """
        seq = self._seq
        try:
            with self._writing():
                for kind, group in _grouped(changes):
                    _APPLY[kind](self, group)
        except BaseException:
            self._seq = seq
            raise

    def numbers_of(self, outcomes: Iterable[str]) -> list[int]:
        """The rows that have ended so."""
        wanted = list(outcomes)
        marks = ", ".join("?" * len(wanted))
        return [number for (number,) in self._rows(f"SELECT number FROM result WHERE outcome IN ({marks})", wanted)]

    def forget_output(self) -> None:
        """Have the output written again from its beginning: rows in it are planned again."""
        output = self.noted()["output"]
        if "offset" in output:
            output["again"] = True
        self.commit([Noted("output", json.dumps(output))])

    def forget_invalid(self) -> int:
        """Forget the rows that could not be sent: the next run reads them anew. Gives how many.

        Those that other rows are copies of, and these copies, stay: their requests could be created.

        Raises:
            JournalError: It could not be written, and none of them is forgotten.
        """
        query = "SELECT number FROM result JOIN row USING (number) WHERE outcome = 'invalid' AND attempt = 0"
        if self._has_copies:
            query += " AND number NOT IN (SELECT number FROM first UNION SELECT number FROM copy)"
        numbers = list(self._rows(query))
        with self._writing():
            self._noted([_UNFINISHED])
            for table in ("result", "row"):
                self._connection.executemany(f"DELETE FROM {table} WHERE number = ?", numbers)
        return len(numbers)

    def reopen(self, numbers: Iterable[int], doubtful: Collection[str]) -> None:
        """Plan ended rows again; their results are kept as attempts. Copies wait again, and had none.

        A row that was not sent is no attempt.

        Args:
            numbers: The rows.
            doubtful: The outcomes of rows that may be billed twice then.

        Raises:
            JournalError: They could not be written, and none of them is planned.
        """
        kinds = ", ".join("?" * len(doubtful))
        own = " AND number NOT IN (SELECT number FROM copy)" if self._has_copies else ""
        sent = " AND (attempt > 0 OR outcome != 'invalid')"
        columns = "ended, outcome, error, input_tokens, output_tokens, cost, response"
        with self._writing():  # all of them at once: copies end as their row does
            self._noted([_UNFINISHED])
            for chunk in _chunks(numbers, 1000):
                marks = ", ".join("?" * len(chunk))
                self._connection.execute(
                    f"INSERT INTO attempt SELECT number, attempt, operation, submitted, {columns}"
                    f" FROM result JOIN row USING (number) WHERE number IN ({marks}){own}{sent}",
                    chunk,
                )
                self._connection.execute(
                    "UPDATE row SET doubtful = doubtful + 1 WHERE number IN"
                    f" (SELECT number FROM result WHERE number IN ({marks}) AND outcome IN ({kinds})){own}",
                    [*chunk, *doubtful],
                )
                self._connection.execute(f"DELETE FROM result WHERE number IN ({marks})", chunk)
                self._connection.execute(f"UPDATE row SET state = 0, operation = '' WHERE number IN ({marks})", chunk)
                if self._has_copies:
                    copies.reopen(self._connection, chunk)

    def close(self) -> None:
        """Close the file, and let another process write it."""
        super().close()
        self._lock.release()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A block that is one commit: it is on the disk after it, or nothing of it is.

        Raises:
            JournalError: It could not be written.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite rolls back by itself where the disk is full
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise JournalError(f"journal {shown_path(str(self.path))} can't be written: {error}") from error

    def _intent(self, changes: list[Intent]) -> None:
        self._connection.executemany(_INTENT, [(*each.fixed, *each[1:]) for each in changes])

    def _retracted(self, changes: list[Retracted]) -> None:
        planned = "UPDATE row SET state = 0, attempt = attempt - 1 WHERE number = ? AND state = 1"
        self._connection.executemany(planned, changes)

    def _refused(self, changes: list[Refused]) -> None:
        self._retracted([Retracted(each.number) for each in changes])
        self._connection.executemany("INSERT INTO refusal VALUES (?, ?, ?)", changes)

    def _gets_refused(self, changes: list[GetsRefused]) -> None:
        self._connection.executemany(_GETS_REFUSED, changes)

    def _accepted(self, changes: list[Accepted]) -> None:
        self._connection.executemany(
            "UPDATE row SET state = 2, operation = ? WHERE number = ?",
            [(each.operation_id, each.number) for each in changes],
        )

    def _ended(self, changes: list[Ended]) -> None:
        whole = [(*each.fixed, each.attempt) for each in changes if each.fixed is not None]
        self._connection.executemany(_WHOLE, whole)
        known = [(each.result.number,) for each in changes if each.fixed is None]
        self._connection.executemany("UPDATE row SET state = 3 WHERE number = ?", known)
        first = self._seq + 1
        self._connection.executemany(
            "INSERT INTO result VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(seq, *each.result) for seq, each in enumerate(changes, first)],
        )
        self._seq += len(changes)
        if self._has_copies:
            self._seq = copies.end(self._connection, (each.result.number for each in changes), self._seq)

    def _first(self, changes: list[First]) -> None:
        copies.add_first(self._connection, changes)

    def _copied(self, changes: list[Copied]) -> None:
        self._seq = copies.add(self._connection, changes, self._seq)

    def _kept(self, changes: list[Kept]) -> None:
        for each in changes:
            last = each.result
            found = next(self._rows(_BEST, (last.number, each.outcome)), None)
            if found is None:  # of an attempt of an earlier version, which kept no answers
                self._ended([Ended(last)])
                continue
            best, operation, submitted, outcome, response, error, *used = found
            if each.sent:
                self._add_attempts([last])
            self._connection.execute("DELETE FROM attempt WHERE rowid = ?", (best,))
            self._connection.execute(
                "UPDATE row SET operation = ?, submitted = ?, doubtful = doubtful + ? WHERE number = ?",
                (operation, submitted, int(each.doubtful), last.number),
            )
            why = f"; a later attempt ended as {last.outcome}: {last.error}"
            self._ended([Ended(Result(last.number, last.ended, outcome, response, f"{error}{why}", *used))])

    def _again(self, changes: list[Again]) -> None:
        self._add_attempts([each.result for each in changes])
        self._connection.executemany(
            "UPDATE row SET state = 0, operation = '', doubtful = doubtful + ? WHERE number = ?",
            [(int(each.doubtful), each.result.number) for each in changes],
        )

    def _add_attempts(self, results: list[Result]) -> None:
        """Keep how the last attempts of rows ended, which are not their results."""
        self._connection.executemany(
            _AGAIN,
            [
                (
                    each.ended,
                    each.outcome,
                    each.error,
                    each.input_tokens,
                    each.output_tokens,
                    each.cost,
                    each.response,
                    each.number,
                )
                for each in results
            ],
        )

    def _noted(self, changes: list[Noted]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO run VALUES (?, ?)", changes)


_APPLY: Final[dict[type, Callable[[JournalWriter, Any], None]]] = {
    Accepted: JournalWriter._accepted,
    Ended: JournalWriter._ended,
    Again: JournalWriter._again,
    Kept: JournalWriter._kept,
    Retracted: JournalWriter._retracted,
    Refused: JournalWriter._refused,
    GetsRefused: JournalWriter._gets_refused,
    First: JournalWriter._first,
    Intent: JournalWriter._intent,
    Copied: JournalWriter._copied,
    Noted: JournalWriter._noted,
}
"""What applies each kind of change, in the order in which those of one row can follow each other."""


def _grouped(changes: Iterable[Change]) -> Iterator[tuple[type, list[Any]]]:
    """Changes by their kind, so that one statement takes many; those of one row stay in their order.

    Within a group of groups, kinds have the order of `_APPLY`; what comes after the intent of its row begins another,
    and so does the end of a row in the commit of its attempt before.
    """
    groups: dict[type, list[Any]] = {kind: [] for kind in _APPLY}
    over: set[int] = set()
    for change in changes:
        if type(change) is Intent:
            over.add(change.fixed.number)
        elif over and _number(change) in over:
            yield from ((kind, group) for kind, group in groups.items() if group)
            groups, over = {kind: [] for kind in _APPLY}, set()
        if type(change) is Again:
            over.add(change.result.number)
        groups[type(change)].append(change)
    yield from ((kind, group) for kind, group in groups.items() if group)


def _number(change: Change) -> int:
    """The row that a change is of; -1 for none."""
    if isinstance(change, (Ended, Kept, Again)):
        return change.result.number
    return change.number if isinstance(change, (Accepted, Retracted, Refused)) else -1


def _chunks(numbers: Iterable[int], size: int) -> Iterator[list[int]]:
    left = iter(numbers)
    while chunk := list(itertools.islice(left, size)):
        yield chunk

"""The copies that a journal has: rows whose requests equal that of an earlier row, and which end as that row does.

Rules: the tables are in the journals of runs that find copies, and in no others. A copy ends in the transaction in
which the row ends that it is a copy of, or in that in which it is found, if that row has ended before. It has used
nothing, and shows the operation that gave its answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from yagrpc.journal.changes import Copied, First, State

TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS first (digest BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS copy (number INTEGER PRIMARY KEY, first INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS copy_first ON copy (first)",
)
_ROW: Final = "INSERT INTO row VALUES (?, ?, ?, ?, ?, ?, 0, 0, '', '', NULL) ON CONFLICT DO NOTHING"
_RESULTS: Final = (
    "INSERT INTO result SELECT ? + row_number() OVER (ORDER BY copy.number), copy.number, max(ended, ?), outcome,"
    " response, error, 0, 0, 0.0 FROM copy JOIN row USING (number) JOIN result ON result.number = copy.first"
    f" WHERE state = {int(State.WAITING)} AND"
)
_ENDED: Final = (
    f"UPDATE row SET state = {int(State.ENDED)}, operation = (SELECT operation FROM copy JOIN row AS other"
    f" ON other.number = copy.first WHERE copy.number = row.number) WHERE state = {int(State.WAITING)} AND number IN"
    " (SELECT copy.number FROM copy JOIN result ON result.number = copy.first WHERE"
)


def create(connection: sqlite3.Connection) -> None:
    """Create the tables, unless they are there."""
    for statement in TABLES:
        connection.execute(statement)


def exist(connection: sqlite3.Connection) -> bool:
    """Whether the tables are there."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'copy'").fetchone() is not None


def add_first(connection: sqlite3.Connection, changes: Sequence[First]) -> None:
    """Keep rows, each as the first with its request."""
    connection.executemany(_ROW, [(*each.fixed, int(State.PLANNED)) for each in changes])
    found = [(each.digest, each.fixed.number) for each in changes]
    connection.executemany("INSERT OR IGNORE INTO first VALUES (?, ?)", found)


def add(connection: sqlite3.Connection, changes: Sequence[Copied], seq: int) -> int:
    """Keep copies, and end those of rows that have ended; `seq` is that of the last row that has. Gives the new one."""
    connection.executemany(_ROW, [(*each.fixed, int(State.WAITING)) for each in changes])
    connection.executemany("INSERT INTO copy VALUES (?, ?)", [(each.fixed.number, each.first) for each in changes])
    for each in changes:
        seq += _end(connection, seq, each.at, "copy.number = ?", each.fixed.number)
    return seq


def end(connection: sqlite3.Connection, firsts: Iterable[int], seq: int) -> int:
    """End the copies of rows that have ended; `seq` is that of the last row that has. Gives the new one."""
    for number in firsts:
        seq += _end(connection, seq, 0.0, "copy.first = ?", number)
    return seq


def reopen(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Have those of some rows wait that are copies: they were planned again, with the rows that they are copies of."""
    marks = ", ".join("?" * len(numbers))
    copy = f"SELECT number FROM copy WHERE number IN ({marks})"
    connection.execute(f"UPDATE row SET state = {int(State.WAITING)} WHERE number IN ({copy})", numbers)


def _end(connection: sqlite3.Connection, seq: int, at: float, which: str, number: int) -> int:
    """End some copies; gives how many."""
    ended = connection.execute(f"{_RESULTS} {which}", (seq, at, number)).rowcount
    if ended:
        connection.execute(f"{_ENDED} {which})", (number,))
    return ended

"""Operation ids from a file of somebody else's: one a line, or a column of CSV or of JSON lines.

Rules: the whole file is checked before anything is asked; what is wrong with it is a `click.ClickException` that names
the file and the line. However long the file is, memory does not grow: the ids are kept in a temporary database, which
SQLite writes to disk and removes by itself.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TextIO

import click

from yagrpc.foreign import is_id
from yagrpc.hiding import has_form_of_secret, shown, shown_name

__all__ = ["Ids", "read_ids"]


class Ids:
    """Ids in their order, each once, with the outcomes that are known."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE ids (id TEXT UNIQUE, outcome TEXT)")

    def add(self, ids: Iterable[str]) -> None:
        """Add ids; one that is there stays where it is."""
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR IGNORE INTO ids (id) VALUES (?)", ((each,) for each in ids))
        self._database.execute("COMMIT")

    def end(self, outcomes: Iterable[tuple[str, str]]) -> None:
        """Note outcomes of ids; of an id that is not there, nothing is noted."""
        pairs = ((outcome, each) for each, outcome in outcomes)
        self._database.execute("BEGIN")
        self._database.executemany("UPDATE ids SET outcome = ? WHERE id = ?", pairs)
        self._database.execute("COMMIT")

    def left(self, most: int, after: int = 0) -> list[tuple[int, str]]:
        """The next ids without an outcome, each with its number; none where there are no more.

        Args:
            most: How many, at most.
            after: The number of the last one that is not asked for again.
        """
        query = "SELECT rowid, id FROM ids WHERE outcome IS NULL AND rowid > ? ORDER BY rowid LIMIT ?"
        return self._database.execute(query, (after, most)).fetchall()

    def outcomes(self) -> Counter[str]:
        """How many ids have each outcome."""
        query = "SELECT outcome, count(*) FROM ids WHERE outcome IS NOT NULL GROUP BY outcome"
        return Counter(dict(self._database.execute(query).fetchall()))

    def __len__(self) -> int:
        (count,) = self._database.execute("SELECT count(*) FROM ids").fetchone()
        return int(count)

    def close(self) -> None:
        """Remove the database."""
        self._database.close()


def read_ids(source: str, column: str | None) -> Iterator[str]:
    """The ids of a file, or of standard input.

    Args:
        source: The path of the file, or `-` for standard input.
        column: The column of a CSV file, or the key of JSON lines; `None` where each line is an id.

    Raises:
        click.ClickException: The file can't be read, something else than an id is in it, or nothing is.
    """
    name = "standard input" if source == "-" else shown_name(source)
    number, empty = 0, True
    try:
        with _opened(source) as file:
            for number, value in _values(file, source, column):
                if not _may_be_id(value, alone=column is None):
                    remedy = "" if column is not None else "; for CSV or JSON lines, name the column with --column"
                    what = "is empty" if value == "" else f"is {shown(value)}, which is no operation's id"
                    subject = "the id" if column is None else f"the column {column!r}"
                    raise click.ClickException(f"{name}, line {number}: {subject} {what}{remedy}")
                yield str(value)
                empty = False
    except OSError as error:
        raise click.ClickException(f"{name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{name}: not UTF-8 after line {number}") from error
    except _ColumnError as error:
        raise click.ClickException(f"{name}{error}") from error
    if empty:  # what should have written them has failed, perhaps
        raise click.ClickException(f"{name}: no ids")


def _may_be_id(value: object, *, alone: bool) -> bool:
    """Whether a value can be an id; one that stands `alone` on its line is no row of a table."""
    if not isinstance(value, str) or not is_id(value) or has_form_of_secret(value):
        return False
    return not alone or not set(value) & set(' ,;"{}')


class _ColumnError(Exception):
    """What is wrong with the file as a table; the text follows the file's name."""


@contextlib.contextmanager
def _opened(source: str) -> Iterator[TextIO]:
    if source != "-":
        # The byte order mark, which some editors write, does not belong to the first id.
        with open(source, encoding="utf-8-sig", newline="") as file:
            yield file
    elif sys.stdin is None:  # Python starts so when stdin is closed
        raise OSError("closed")
    else:
        stdin: TextIO = open(sys.stdin.fileno(), encoding="utf-8-sig", newline="", closefd=False)  # noqa: SIM115
        with stdin:
            yield stdin


def _values(file: TextIO, source: str, column: str | None) -> Iterator[tuple[int, object]]:
    """What stands for each id, with its line; what the last line of a file has after it is not an empty id."""
    if column is None:
        lines = ((number, line.strip(" \t\r\n")) for number, line in enumerate(file, 1))
        yield from ((number, line) for number, line in lines if line)
        return
    head = next(file, "")
    lines_of_file = _chain(head, file)
    if source.endswith((".jsonl", ".ndjson")) or (head.lstrip().startswith("{") and not source.endswith(".csv")):
        yield from _json_values(lines_of_file, column)
    else:
        yield from _csv_values(lines_of_file, column, "\t" if source.endswith(".tsv") else ",")


def _json_values(lines: Iterable[str], column: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise _ColumnError(f", line {number}: not JSON; each line takes an object") from None
        if not isinstance(row, dict) or column not in row:
            raise _ColumnError(f", line {number}: it has no key {column!r}")
        yield number, row[column]


def _csv_values(lines: Iterable[str], column: str, delimiter: str) -> Iterator[tuple[int, object]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        names = next(reader, [])
        if names.count(column) != 1:
            there = ", ".join(map(shown, names[:20])) or "no columns"
            how = "no" if column not in names else "more than one"
            raise _ColumnError(f": it has {how} column {column!r}, but {there}: name one with --column")
        place = names.index(column)
        for row in reader:
            if row:
                yield reader.line_num, row[place].strip() if place < len(row) else ""
    except csv.Error as error:
        raise _ColumnError(f", line {reader.line_num}: not CSV: {error}") from None


def _chain(head: str, rest: Iterable[str]) -> Iterator[str]:
    if head:
        yield head
    yield from rest

"""Results to files.

JSONL grows while the run does. CSV and Parquet are written when the run ends, or is stopped: their columns are known
only then.

Rules: everything is written from the journal, never from memory. Of a file that grows, the journal notes how much of
it is on the disk, and which rows that is; what a killed process wrote after that is cut off and written again, so that
each row is there once. A file that is not this run's is never changed. Files are the user's alone (mode 0600).
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import heapq
import importlib
import io
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from yagrpc.bulk.decisions.outcomes import RowOutcome, better_before
from yagrpc.bulk.files.inputs import load_parquet
from yagrpc.bulk.recording.notes import Left, OutputNote, notes_of
from yagrpc.bulk.results import COLUMNS, RESULT_COLUMNS, record_of
from yagrpc.errors import ConfigError
from yagrpc.hiding import shown_path
from yagrpc.journal.changes import Entry, Noted
from yagrpc.journal.journal import Journal, JournalWriter

PAGE: Final = 500
"""Rows that are read of the journal at once."""

_INT64: Final = 2**63
"""What a column of whole numbers of Parquet stays below."""

_TAIL: Final = 4096
"""Bytes at the end of what was written, by which a file is recognised."""


class GrowingOutput:
    """A JSONL file that grows while the run does.

    Args:
        path: The file.
        task: What the run does with each row.
        table: Whether the rows are those of a table.
        ordered: Whether rows are in the order of the input, or in that in which they ended.
    """

    def __init__(self, path: Path, task: str, *, table: bool, ordered: bool) -> None:
        self._path = path
        self._task = task
        self._table = table
        self._ordered = ordered
        self._after = 0
        self._file: IO[bytes] | None = None
        self._journal: Journal | None = None

    def opened(self, journal: JournalWriter) -> Callable[[], Noted | None]:
        """Open it where the journal says that it was left; gives what writes the rows that have ended since.

        Raises:
            ConfigError: It is not of this run, or can't be written.
        """
        noted = _noted(journal, self._path)
        left = None if noted is None else noted.left
        if left is None:
            check_free(self._path)
            left = Left(0, 0, "", again=False)
        file = _opened(self._path)
        try:
            offset, self._after, again = left.offset, left.after, left.again
            if self._path.stat().st_size < offset or (offset and _tail(file, offset) != left.tail):
                if self._path.stat().st_size:
                    raise ConfigError(
                        f"output {shown_path(str(self._path))} is not as this run has left it: move it away, and it is"
                        " written again from the journal"
                    )
                again = True
            if again or (noted is not None and noted.ordered != self._ordered):  # it is written from its beginning
                offset = self._after = 0
            journal.commit([self._note(offset, self._after, _tail(file, offset))])
            file.truncate(offset)
            file.seek(offset)
        except BaseException:
            file.close()
            raise
        self._file, self._journal = file, Journal(journal.path)
        return self.write

    def write(self) -> Noted | None:
        """Write the rows that have ended; gives what the journal is to note, `None` where there were none.

        Raises:
            OSError: It can't be written.
        """
        assert self._file is not None
        wrote = False
        while page := self._page():
            self._file.writelines(_line(_record(entry, self._task, self._table)) for entry in page)
            self._after = page[-1].fixed.number + 1 if self._ordered else page[-1].seq
            wrote = True
        if not wrote:
            return None
        self._file.flush()
        os.fsync(self._file.fileno())
        offset = self._file.seek(0, os.SEEK_CUR)
        return self._note(offset, self._after, _tail(self._file, offset))

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):  # a full disk was reported where it was written
            if self._file is not None:
                self._file.close()
        if self._journal is not None:
            self._journal.close()

    def _page(self) -> list[Entry]:
        assert self._journal is not None
        if not self._ordered:
            return self._journal.ended(self._after, PAGE)
        page = self._journal.ended_in_order(self._after, PAGE)
        return [entry for place, entry in enumerate(page, self._after) if entry.fixed.number == place]

    def _note(self, offset: int, after: int, tail: str) -> Noted:
        noted = {"path": _name(self._path), "offset": offset, "after": after, "tail": tail, "ordered": self._ordered}
        return Noted("output", json.dumps(noted))


class FinalOutput:
    """A CSV or Parquet file, which is written when the run ends.

    Args:
        path: The file.
        kind: `csv` or `parquet`.
        task: What the run does with each row.
        table: Whether the rows are those of a table.

    Attributes:
        mine: Whether the file is the run's, and may be written.
    """

    def __init__(self, path: Path, kind: str, task: str, *, table: bool) -> None:
        self._path = path
        self._kind = kind
        self._task = task
        self._table = table
        self.mine = False

    def opened(self, journal: JournalWriter) -> Callable[[], Noted | None]:
        """Check that it may be written, and note that it is this run's.

        Raises:
            ConfigError: It is there, and is not of this run.
        """
        if _noted(journal, self._path) is None:
            check_free(self._path)
            journal.commit([Noted("output", json.dumps({"path": _name(self._path), "ordered": True}))])
        self.mine = True
        return lambda: None

    def close(self) -> None:
        """Nothing is open."""

    def write(self, journal: Journal) -> None:
        """Write all rows that have ended.

        Raises:
            OSError: It can't be written; what was there before stays.
        """
        export(journal, self._path, self._kind, self._task, table=self._table)


def export(journal: Journal, path: Path, kind: str, task: str, *, table: bool) -> int:
    """Write all rows of a journal that have ended to a file, in the order of the input; gives how many.

    A row that waits for another attempt, and has an answer of an earlier one, is there with that.

    Args:
        journal: The journal.
        path: The file; it takes the place of what is there once it is whole.
        kind: `jsonl`, `csv` or `parquet`.
        task: What the run does with each row.
        table: Whether the rows are those of a table.

    Raises:
        OSError: It can't be written; what was there before stays.
    """
    with written(path) as file, journal.snapshot():  # another process may write it
        return _WRITERS[kind](journal, file, task, table)


@contextlib.contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of another once it is whole, for its user alone.

    Raises:
        OSError: It can't be written; what was there before stays.
    """
    part = path.with_name(f"{path.name}.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def check_free(path: Path) -> None:
    """Check that a file can be there: it is not yet, or is empty, and its folder is.

    Raises:
        ConfigError: It can't.
    """
    with checked_output(path):
        if path.stat().st_size or not path.is_file():
            raise ConfigError(
                f"output {shown_path(str(path))} exists, and is not of this run: name another, or remove it"
            )


@contextlib.contextmanager
def checked_output(path: Path) -> Iterator[None]:
    """A block that reads what is there of a file that will be written; it ends where nothing is.

    Raises:
        ConfigError: There can be no such file.
    """
    try:
        yield
    except FileNotFoundError as error:
        if not path.absolute().parent.is_dir():
            raise _unwritable(path, "its folder is not there") from error
    except OSError as error:
        raise _unwritable(path, error.strerror) from error


def _write_jsonl(journal: Journal, file: IO[bytes], task: str, table: bool) -> int:
    count = 0
    for record in _records(journal, task, table):
        count += 1
        file.write(_line(record))
    return count


def _write_csv(journal: Journal, file: IO[bytes], task: str, table: bool) -> int:
    columns = [*_columns(journal, task, table)]
    text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="", write_through=True)
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    count = 0
    for record in _records(journal, task, table):
        count += 1
        writer.writerow({name: _cell(value) for name, value in record.items()})
    text.detach()
    return count


def _write_parquet(journal: Journal, file: IO[bytes], task: str, table: bool) -> int:
    parquet = load_parquet()
    pyarrow: Any = importlib.import_module("pyarrow")

    kinds = _columns(journal, task, table)
    names: dict[type | None, str] = {str: "string", int: "int64", float: "float64", bool: "bool_"}
    types = {name: getattr(pyarrow, names.get(kind, "string"))() for name, kind in kinds.items()}
    if "embedding" in types:
        types["embedding"] = pyarrow.list_(pyarrow.float64())
    schema = pyarrow.schema(list(types.items()))
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        batch: list[dict[str, Any]] = []
        for record in _records(journal, task, table):
            count += 1
            batch.append({name: _fitting(record.get(name), kinds[name], name) for name in kinds})
            if len(batch) == PAGE:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
                batch = []
        writer.write_table(pyarrow.Table.from_pylist(batch, schema))
    return count


_WRITERS: Final[Mapping[str, Callable[[Journal, IO[bytes], str, bool], int]]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "parquet": _write_parquet,
}


def _records(journal: Journal, task: str, table: bool) -> Iterator[dict[str, Any]]:
    entries = heapq.merge(_ended(journal), _waiting(journal), key=lambda entry: entry.fixed.number)
    return (_record(entry, task, table) for entry in entries)


def _ended(journal: Journal) -> Iterator[Entry]:
    first = 0
    while page := journal.ended_in_order(first, PAGE):
        yield from page
        first = page[-1].fixed.number + 1


def _waiting(journal: Journal) -> Iterator[Entry]:
    """Rows that wait for another attempt, each with its best answer so far."""
    for _, group in itertools.groupby(journal.waiting_answers(), key=lambda entry: entry.fixed.number):
        entries = list(group)
        outcomes = [entry.result.outcome for entry in entries if entry.result is not None]
        best = better_before(outcomes[-1], outcomes[:-1]) or outcomes[-1]
        entry = entries[len(outcomes) - 1 - outcomes[::-1].index(best)]
        assert entry.result is not None
        why = "; ".join(filter(None, (entry.result.error, "the row is to be sent again")))
        yield entry._replace(result=entry.result._replace(error=why))


def _record(entry: Entry, task: str, table: bool) -> dict[str, Any]:
    """A row with its result; the error of one that can't be sent begins with its line: it may have no other name."""
    record = record_of(entry, task, table=table)
    if record["outcome"] == RowOutcome.INVALID.value:
        record["error"] = f"line {entry.fixed.line}: {record['error']}"
    return record


def _line(record: dict[str, Any]) -> bytes:
    """A record as a line of JSON, which has no NaN and no infinity."""
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(record), ensure_ascii=False)
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _finite(value: Any) -> Any:
    """A value with null for each number that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _columns(journal: Journal, task: str, table: bool) -> dict[str, type | None]:
    """All columns, those of the input first, each with the type of its values; `None` where they are of several."""
    fixed: dict[str, type | None] = {
        "text": str, "embedding": list, "tokens": int, "outcome": str, "error": str, "input_tokens": int,
        "output_tokens": int, "cost": float, "model_version": str, "operation_id": str, "attempts": int,
        "submitted_at": str, "ended_at": str,
    }  # fmt: skip
    own = [*COLUMNS[task], *RESULT_COLUMNS]
    seen: dict[str, set[type]] = {}
    for record in _records(journal, task, table):
        for name, value in record.items():
            kinds = seen.setdefault(name, set())
            if value is not None:
                kinds.add(_kind(value))
    found = {name: _one(kinds) for name, kinds in seen.items() if name not in own}
    return {**found, **{name: fixed[name] for name in own}}


def _kind(value: Any) -> type:
    """The type of a value in a column; `object` where no column has it but as a text."""
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        return object
    return type(value) if isinstance(value, (str, int, float)) else object


def _one(kinds: set[type]) -> type | None:
    """The type of a column, of the types of its values."""
    if kinds == {int, float}:
        return float
    (kind,) = kinds if len(kinds) == 1 else {object if kinds else str}
    return None if kind is object else kind


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value


def _fitting(value: Any, kind: type | None, name: str) -> Any:
    """A value as its column takes it."""
    if value is None or name == "embedding":
        return value
    if kind is None:
        kind, value = str, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    fitting = kind(value)
    return fitting.encode("utf-8", "backslashreplace").decode() if isinstance(fitting, str) else fitting


def _noted(journal: Journal, path: Path) -> OutputNote | None:
    """What the journal has noted of an output; `None` where it has not."""
    found = notes_of(journal).output
    return found if found is not None and found.path == _name(path) else None


def _name(path: Path) -> str:
    return str(path.absolute())


def _opened(path: Path) -> IO[bytes]:
    try:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        return open(os.open(path, flags, 0o600), "r+b")
    except OSError as error:
        raise _unwritable(path, error.strerror) from None


def _unwritable(path: Path, why: str | None) -> ConfigError:
    return ConfigError(f"output {shown_path(str(path))} can't be written: {why}")


def _tail(file: IO[bytes], offset: int) -> str:
    """A hash of the bytes before an offset."""
    place = file.seek(0, os.SEEK_CUR)
    file.seek(max(0, offset - _TAIL))
    tail = file.read(min(offset, _TAIL))
    file.seek(place)
    return _digest(tail)


def _digest(tail: bytes) -> str:
    return hashlib.blake2b(tail, digest_size=12).hexdigest()

"""Rows from files: by the ending of the name, JSONL, CSV or Parquet."""

from __future__ import annotations

import codecs
import contextlib
import csv
import importlib
import io
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from yagrpc.bulk.decisions.rows import Raw, source_of
from yagrpc.bulk.wording import counted
from yagrpc.errors import ConfigError
from yagrpc.hiding import shown_path

FORMATS: Final = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
}  # fmt: skip
"""The formats, by the ending of a file's name."""

LONGEST_LINE: Final = 16 * 1024 * 1024
"""Bytes of a line at most: no larger request can be sent."""

SEPARATORS: Final = (",", ";", "\t", "|")

_BOMS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))

_CHUNK: Final = 1024 * 1024

_SAMPLE: Final = 64 * 1024

_MIXED: Final = 10
"""A file is of two encodings where one of so many lines that are not ASCII is UTF-8; a word of cp1251 may be, too."""

_JUDGED: Final = 20
"""Records of a CSV by which its separator is found out."""

_NUL: Final = "it holds a NUL character"

_LIMIT: Final = threading.Lock()
"""Held while the limit of csv, which is that of the whole process, is another for a moment."""


class Input(NamedTuple):
    """A file of rows.

    Args:
        rows: Gives its rows, from the first.
        total: How many there are.
        table: Whether they have columns.
        columns: The columns of a table; empty for JSONL.
        found: What was found out about it, to be said; empty for nothing.
    """

    rows: Callable[[], Iterator[Raw]]
    total: int
    table: bool
    columns: tuple[str, ...] = ()
    found: str = ""


def format_of(path: Path, given: str | None = None) -> str:
    """The format of a file.

    Raises:
        ConfigError: Its name does not say it.
    """
    if given is not None:
        return given
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise ConfigError(f"{shown_path(str(path))}: its name ends in none of {', '.join(FORMATS)}: give its format")
    return found


def open_input(path: Path, kind: str, *, encoding: str | None = None, separator: str | None = None) -> Input:
    """A file of rows, checked as far as it can be without a request.

    Args:
        path: The file.
        kind: Its format.
        encoding: The encoding of a CSV; `None` to find it out.
        separator: What separates its columns; `None` to find it out.

    Raises:
        ConfigError: It can't be read, or is of another format.
    """
    with _reading(path):
        if kind == "jsonl":
            found = _open_jsonl(path)
        elif kind == "csv":
            found = _open_csv(path, encoding, separator)
        else:
            found = _open_parquet(path)
    return found._replace(rows=lambda: _read(path, found.rows()))


def _read(path: Path, rows: Iterator[Raw]) -> Iterator[Raw]:
    """Rows that are read while the run is on.

    Raises:
        ConfigError: They can't be read.
    """
    with _reading(path):
        yield from rows


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{shown_path(str(path))} can't be read: {error.strerror or error}") from None
    except UnicodeError as error:
        raise ConfigError(f"{shown_path(str(path))} is in another encoding: {error}") from None


# JSONL


def _open_jsonl(path: Path) -> Input:
    with open(path, "rb") as file:
        head = file.read(4)
        file.seek(0)
        total = sum(1 for line in _lines(file, head) if line[1].strip())
    return Input(lambda: _jsonl_rows(path), total, table=False)


def _jsonl_rows(path: Path) -> Iterator[Raw]:
    with open(path, "rb") as file:
        head = file.read(4)
        file.seek(0)
        for number, line in _lines(file, head):
            source = line.strip()
            if len(source) > LONGEST_LINE:
                yield Raw(number, source[:100], f"the line has more than {LONGEST_LINE // 1024**2} MiB")
            elif source:
                yield Raw(number, source)


def _lines(file: IO[bytes], head: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, each with its number: in UTF-8, whatever it was in; one that is too long is cut."""
    encoding = next((encoding for bom, encoding in _BOMS if head.startswith(bom)), "")
    if encoding == "utf-16":
        text = io.TextIOWrapper(file, encoding, newline="\n", errors="surrogateescape")
        try:
            yield from ((number, line.encode("utf-8", "surrogatepass")) for number, line in enumerate(text, 1))
        finally:
            text.detach()  # who opened the file closes it
        return
    if encoding:
        file.seek(len(codecs.BOM_UTF8))
    number = 0
    while line := file.readline(LONGEST_LINE + 2):
        number += 1
        yield number, line
        while len(line) > LONGEST_LINE and not line.endswith(b"\n") and (line := file.readline(_CHUNK)):
            line = line if line.endswith(b"\n") else line + bytes(LONGEST_LINE)


# CSV


def _open_csv(path: Path, encoding: str | None, separator: str | None) -> Input:
    name = shown_path(str(path))
    with open(path, "rb") as file:
        sample = file.read(_SAMPLE)
        if not sample.strip():
            raise ConfigError(f"{name} is empty")
        found_encoding = encoding or _encoding_of(file, sample, name)
    try:
        text = sample.decode(found_encoding, "replace")
    except LookupError:
        raise ConfigError(f"{name}: there is no encoding {found_encoding!r}") from None
    found_separator = separator or _separator_of(text)
    if len(found_separator) != 1 or found_separator in '"\r\n':
        raise ConfigError(f"{name}: separator {found_separator!r} has to be one character, no quote and no line end")
    with _csv_file(path, found_encoding) as opened:
        lines = _Lines(opened)
        try:
            header = next(csv.reader(lines, delimiter=found_separator, strict=True))
        except (csv.Error, StopIteration) as error:
            raise ConfigError(f"{name}: its first line, which names the columns, can't be read: {error}") from None
        columns = [column.strip() for column in header]
        if len(set(columns)) < len(columns) or not all(columns):
            raise ConfigError(f"{name}: its first line has to name each column once: {', '.join(columns)[:200]}")
        total = sum(1 for _ in _csv_records(lines, found_separator, len(columns)))
    shown = {"\t": "a tab"}.get(found_separator, repr(found_separator))
    said = f"{name}: read as {found_encoding.removesuffix('-sig')}, separated by {shown}"
    return Input(lambda: _csv_rows(path, found_encoding, found_separator, columns), total, True, tuple(columns), said)


def _csv_rows(path: Path, encoding: str, separator: str, columns: list[str]) -> Iterator[Raw]:
    with _csv_file(path, encoding) as file:
        lines = _Lines(file)
        next(csv.reader(lines, delimiter=separator, strict=True))
        for line, cells, problem in _csv_records(lines, separator, len(columns)):
            record: Any = dict(zip(columns, cells, strict=False))
            if not problem and len(cells) != len(columns):
                problem = f"it has {counted(len(cells), 'column')}, and the first line names {len(columns)}"
            if not problem and any("\0" in cell for cell in cells):
                problem = _NUL
            if not problem and any(_is_escaped(cell) for cell in cells):
                problem = f"it is not {encoding.removesuffix('-sig')}"
            yield Raw(line, source_of(record), problem)


class _Lines:
    """The lines of a CSV; those of the last record can be put back.

    Args:
        file: The file, whose lines keep their ends.

    Attributes:
        number: How many lines are read.
    """

    def __init__(self, file: IO[str]) -> None:
        self.number = 0
        self._file = file
        self._taken: list[str] = []
        self._back: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._file)
        self._taken.append(line)
        self.number += 1
        return line

    def begin(self) -> None:
        """Begin a record."""
        self._taken.clear()

    def put_back(self, keep: int = 0) -> int:
        """Put the lines of the record back, but for the first ones; gives how many it had.

        Args:
            keep: How many lines stay read.
        """
        had = len(self._taken)
        self._back += reversed(self._taken[keep:])
        self.number -= had - keep
        del self._taken[keep:]
        return had


def _csv_records(lines: _Lines, separator: str, width: int) -> Iterator[tuple[int, list[str], str]]:
    """The records of a CSV: the line where each begins, its cells, and why it can't be read.

    Args:
        lines: Its lines, from the second.
        separator: What separates its columns.
        width: How many columns it has.
    """
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        line = lines.number + 1
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = "a quote that opens in it is never closed" if "end of data" in str(error) else str(error)
            if "field limit" in reason:
                if cells := _long_record(lines, separator, width):
                    yield line, cells, ""
                    continue
                reason = f"a column has over {csv.field_size_limit():,} characters: a quote may never be closed"
            elif "contains NUL" in reason:  # Python 3.10 does not read it
                reason = _NUL
            yield line, [], reason
            continue
        if cells:
            yield line, cells, ""


def _long_record(lines: _Lines, separator: str, width: int) -> list[str]:
    """Read a record again, now with cells of up to 16 MiB; empty, and nothing more is read, where it is none.

    A quote that is never closed makes a cell of all rows that follow: it rarely ends as a record of all columns.
    """

    def bounded() -> Iterator[str]:
        left = LONGEST_LINE
        for line in lines:
            left -= sys.getsizeof(line)  # many short lines take more memory than their characters
            if left < 0:
                return
            yield line

    before = lines.put_back()
    with _LIMIT:
        limit = csv.field_size_limit(LONGEST_LINE)
        try:
            cells = next(csv.reader(bounded(), delimiter=separator, strict=True), [])
        except csv.Error:
            cells = []
        finally:
            csv.field_size_limit(limit)
    if len(cells) == width:
        return cells
    lines.put_back(before)
    return []


def _csv_file(path: Path, encoding: str) -> IO[str]:
    return open(path, encoding=encoding, errors="surrogateescape", newline="")


def _odd(cell: str) -> str:
    return "" if cell.isascii() else cell


def _encoding_of(file: IO[bytes], sample: bytes, name: str) -> str:
    """The encoding of a CSV: by its byte order mark, else UTF-8 if the whole file is, else cp1251.

    Raises:
        ConfigError: A part of it is UTF-8 that is not ASCII, and another part is not.
    """
    for bom, encoding in _BOMS:
        if sample.startswith(bom):
            return encoding
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) > len(sample) // 8 and min(even, odd) * 8 < max(even, odd):
        return "utf-16-le" if odd > even else "utf-16-be"
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    file.seek(0)
    line, right, wrong, first = 1, 0, 0, 0
    while piece := file.readline(_CHUNK):
        text = decoder.decode(piece)
        if _is_escaped(text):
            wrong, first = wrong + 1, first or line
        elif not text.isascii():
            right += 1
        line += piece.endswith(b"\n")
    if not wrong and not _is_escaped(decoder.decode(b"", final=True)):
        return "utf-8"
    if right * _MIXED > wrong:  # as cp1251, its lines in UTF-8 would be paid for as nonsense
        raise ConfigError(f"{name}: line {first or line} is not UTF-8, and others are: repair it, or give the encoding")
    return "cp1251"


def _is_escaped(text: str) -> bool:
    """Whether a text has bytes of another encoding than it was decoded by."""
    return any("\udc80" <= character <= "\udcff" for character in _odd(text))


def _separator_of(text: str) -> str:
    """What separates the columns: that of the usual characters by which most records have the columns of the first.

    Args:
        text: The beginning of the file.
    """

    def score(separator: str) -> tuple[float, int]:
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
            records = [record for record in itertools.islice(reader, _JUDGED) if record]
        except csv.Error:
            return 0.0, 0
        width = len(records[0]) if records else 0
        return (sum(len(record) == width for record in records) / len(records) if width > 1 else 0.0), width

    return max(SEPARATORS, key=score)


# Parquet


def _open_parquet(path: Path) -> Input:
    parquet = load_parquet()
    name = shown_path(str(path))
    try:
        with parquet.ParquetFile(path) as file:
            total, columns = file.metadata.num_rows, tuple(file.schema_arrow.names)
    except OSError:
        raise
    except Exception as error:  # of pyarrow's own kinds
        raise ConfigError(f"{name} is no Parquet file that can be read: {error}") from None
    if len(set(columns)) < len(columns):
        raise ConfigError(f"{name}: it has to have each column once: {', '.join(columns)[:200]}")
    return Input(lambda: _parquet_rows(path), total, True, columns)


def _parquet_rows(path: Path) -> Iterator[Raw]:
    with load_parquet().ParquetFile(path) as file:
        batches = file.iter_batches(batch_size=1000)
        before = 0
        while True:
            try:
                batch = next(batches, None)
                records = None if batch is None else batch.to_pylist()
            except OSError:
                raise
            except Exception as error:  # of pyarrow's own kinds
                raise ConfigError(f"{shown_path(str(path))} can't be read after row {before:,}: {error}") from None
            if records is None:
                return
            yield from (Raw(line, source_of(record)) for line, record in enumerate(records, before + 1))
            before += len(records)


def load_parquet() -> Any:
    """The module of pyarrow that reads and writes Parquet.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ConfigError("Parquet needs pyarrow: pip install 'yagrpc[parquet]'") from error

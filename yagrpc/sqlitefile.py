"""A SQLite file of the package's own: created for its user alone, and recognised when it is opened again.

Rules: a file of something else, or of another version, is refused before anything in it is changed, and so is one in
which something else has written values that its columns do not declare.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from yagrpc.errors import ConfigError

_FITS: Final[Mapping[str, tuple[str, str, float | None]]] = {
    "INTEGER": ("a whole number", "integer", 2**53),
    "REAL": ("a number or a time before the year 10000", "real", 253402300799),
    "TEXT": ("a text", "text", None),
    "BLOB": ("bytes", "blob", None),
}
"""What a column of each declared type holds: as errors say it, as SQLite's `typeof` does, and how large it is at most.

2^53 is the largest whole number up to which a float holds all, 253402300799 the last second that a `datetime` can be.
"""

_LARGEST: Final = 1.7976931348623157e308
"""The largest float."""


class Format(NamedTuple):
    """What a file holds.

    Args:
        whose: Whose file it is, as errors say it.
        application: What marks such a file (SQLite's `application_id`).
        version: The version of the schema.
        schema: The statements that create its tables.
        users: Who has to use the same version, as errors say it.
    """

    whose: str
    application: int
    version: int
    schema: tuple[str, ...]
    users: str = "all processes"


def open_file(
    path: Path, subject: str, form: Format, *, busy: float, alone: bool = False, synchronous: str
) -> sqlite3.Connection:
    """Open a file, and create it where it is not there; its folder has to be there.

    Args:
        path: The file.
        subject: The setting that names it, as errors begin.
        form: What it holds.
        busy: Seconds to wait for its lock.
        alone: Whether no other process may have it open as long as this one does.
        synchronous: SQLite's setting: `NORMAL`, where a crash of the system may lose what came last, or `FULL`.

    Raises:
        ConfigError: It can't be used: its folder is not there or can't be written to, it is something else, of another
            version, or in use.
    """
    check_file(path, subject, create=True)
    try:
        connection = sqlite3.connect(path, timeout=busy, isolation_level=None, check_same_thread=False)
        try:
            if alone:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            with transaction(connection) as cursor:
                _check(cursor, subject, form)
            with contextlib.suppress(sqlite3.OperationalError):  # another process is doing the same just now
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError as error:
        if alone and "locked" in str(error):
            raise ConfigError(f"{subject} is in use by another process: give each process a file of its own") from None
        raise ConfigError(f"{subject} can't be used: {error}") from None
    except sqlite3.DatabaseError:
        raise _other(subject, form) from None
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    """A block that is one transaction, with the lock from its beginning."""
    cursor = connection.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    try:
        yield cursor
        cursor.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # the first error says more
            cursor.execute("ROLLBACK")
        raise
    finally:
        cursor.close()


def unfit(
    rows: Callable[[str], Iterable[Any]], *, nullable: Collection[str] = (), unbounded: Collection[str] = ()
) -> str:
    """Which column has a value of another type than it declares, in words; empty where none has.

    SQLite itself takes any value in any column. This is one scan of each table.

    Args:
        rows: What a query gives.
        nullable: The columns that may be empty (NULL).
        unbounded: The columns whose numbers may have any size: another side has said them.
    """
    for (table,) in list(rows("SELECT name FROM sqlite_master WHERE type = 'table'")):
        named = _quoted(table, '"')
        kinds = {name: declared for _, name, declared, *_ in rows(f"PRAGMA table_info({named})") if declared in _FITS}
        tests = []
        for name, declared in kinds.items():
            column = _quoted(name, '"')
            _, kind, most = _FITS[declared]
            test = f"typeof({column}) = '{kind}'"
            if most is not None:
                most = _LARGEST if name in unbounded else most
                test += f" AND {column} BETWEEN {-most!r} AND {most!r}"
            filled = f"{column} IS NOT NULL AND " if name in nullable else ""
            tests.append(f"WHEN {filled}NOT ({test}) THEN {_quoted(name, chr(39))}")
        query = f"SELECT CASE {' '.join(tests)} END AS found FROM {named}"
        for (name,) in rows(f"SELECT found FROM ({query}) WHERE found IS NOT NULL LIMIT 1") if tests else ():
            return f"a value in column {name} of table {table} is not {_FITS[kinds[name]][0]}"
    return ""


def _quoted(name: str, quote: str) -> str:
    return quote + name.replace(quote, 2 * quote) + quote


def check_file(path: Path, subject: str, *, create: bool) -> os.stat_result:
    """Refuse what is not a file of its own; create it for its user alone.

    A file that is there is not opened: closing it again would release the locks that SQLite has on it in this process,
    and another process would then take it for closed, and remove what it has not taken over yet.

    Args:
        path: The file.
        subject: The setting that names it, as errors begin.
        create: Whether it is created where it is not there.

    Returns:
        What the system says of the file.

    Raises:
        ConfigError: It is a link or no file, or its folder is not there or can't be written to.
    """
    try:
        if create:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))  # O_EXCL follows no link
        found = os.lstat(path)
    except OSError as error:
        raise ConfigError(f"{subject} can't be used: {error.strerror}") from None
    except ValueError:  # a NUL, or half of a surrogate pair
        raise ConfigError(f"{subject} can't be used: no file has such a name") from None
    if stat.S_ISLNK(found.st_mode):
        raise ConfigError(f"{subject} can't be used: it is a link, which is never followed")
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{subject} can't be used: it is no file")
    return found


def _check(cursor: sqlite3.Cursor, subject: str, form: Format) -> None:
    (application,) = cursor.execute("PRAGMA application_id").fetchone()
    (version,) = cursor.execute("PRAGMA user_version").fetchone()
    (tables,) = cursor.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not application:
        for statement in form.schema:
            cursor.execute(statement)
        cursor.execute(f"PRAGMA application_id = {form.application}")
        cursor.execute(f"PRAGMA user_version = {form.version}")
    elif application != form.application:
        raise _other(subject, form)
    elif version != form.version:
        raise ConfigError(
            f"{subject} was written by another version of yagrpc (its format is {version}, this version knows"
            f" {form.version}): name another file, or use the same version in {form.users}"
        )
    elif why := unfit(cursor.execute):
        raise ConfigError(
            f"{subject} is broken ({why}): restore it from a copy, or name another, which is then created"
        )


def _other(subject: str, form: Format) -> ConfigError:
    return ConfigError(f"{subject} is no {form.whose} file: name another, which is then created")

"""A SQLite file of the package's own: created for its user alone, and recognised when it is opened again.

Rules: a file of something else, or of another version, is refused before anything in it is changed, and so is one in
which something else has written values that its columns do not declare.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from yagrpc.errors import ConfigError

_KINDS: Final = {"INTEGER": "integer", "REAL": "real", "TEXT": "text", "BLOB": "blob"}
"""What SQLite's `typeof` says of a value of a column, by the type that the column declares."""

_NAMES: Final = {"INTEGER": "a whole number up to 2^53", "REAL": "a finite number", "TEXT": "a text", "BLOB": "bytes"}
"""What such a column holds, as errors say it. 2^53 is the largest number up to which a float holds all whole ones."""

_BOUNDS: Final = {"INTEGER": (-(2**53), 2**53), "REAL": (-sys.float_info.max, sys.float_info.max)}
LAST_SECOND: Final = 253402300799
"""The end of the year 9999, in seconds since the epoch: no `datetime` is after it."""


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
            raise ConfigError(
                f"{subject} is in use, by another process or in this one: give each a file of its own"
            ) from None
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
    rows: Callable[[str], Iterable[Any]],
    schema: Iterable[str],
    *,
    nullable: Collection[str] = (),
    times: Collection[str] = (),
) -> str:
    """Which column has a value that it does not declare, in words; empty where none has.

    SQLite itself takes any value in any column. This is one scan of each table. Tables and columns that others have
    added are not read, and those of later versions not missed.

    Args:
        rows: What a query gives.
        schema: The statements that create the tables.
        nullable: The columns that may be empty (NULL).
        times: The columns that are times, in seconds since the epoch.
    """
    with contextlib.closing(sqlite3.connect(":memory:")) as model:
        for statement in schema:
            model.execute(statement)
        tables = [name for (name,) in model.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        declared = {table: {row[1]: row[2] for row in model.execute(f"PRAGMA table_info({table})")} for table in tables}
    for table, types in declared.items():
        there = [row[1] for row in rows(f"PRAGMA table_info({table})") if row[1] in types]
        cases = " ".join(
            f"WHEN NOT ({_test(name, types[name], empty=name in nullable, time=name in times)}) THEN '{name}'"
            for name in there
        )
        query = f"SELECT found FROM (SELECT CASE {cases} END AS found FROM {table}) WHERE found IS NOT NULL LIMIT 1"
        for (name,) in rows(query) if there else ():
            fitting = "a time from 1970 to 9999, in seconds" if name in times else _NAMES[types[name]]
            return f"a value in column {name} of table {table} is not {fitting}"
    return ""


def _test(name: str, declared: str, *, empty: bool, time: bool) -> str:
    """Whether a value fits its column, in SQL."""
    test = f"typeof({name}) = '{_KINDS[declared]}'"
    if declared in _BOUNDS:
        least, most = (0, LAST_SECOND) if time else _BOUNDS[declared]
        test += f" AND {name} BETWEEN {least!r} AND {most!r}"
    return f"{name} IS NULL OR {test}" if empty else test


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
    elif why := unfit(cursor.execute, form.schema):
        raise ConfigError(
            f"{subject} is broken ({why}): restore it from a copy, or name another, which is then created"
        )


def _other(subject: str, form: Format) -> ConfigError:
    return ConfigError(f"{subject} is no {form.whose} file: name another, which is then created")

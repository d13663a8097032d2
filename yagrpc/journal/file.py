"""The file of a journal: created for its user alone, checked before it is used, and written by one process at a time.

Rules: links are never followed. The lock is the system's own, on a file beside the journal: it ends with its process,
however that ends.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from yagrpc.errors import ConfigError, JournalInUseError
from yagrpc.hiding import shown_path
from yagrpc.journal import copies
from yagrpc.journal.changes import State
from yagrpc.sqlitefile import check_file, unfit

APPLICATION: Final = 0x7961676A
"""What marks a file as a journal (SQLite's `application_id`)."""

VERSION: Final = 2
"""The version of the schema. A writer brings a journal of an earlier one to this; a reader reads it as it is."""

BUSY: Final = 10.0
"""Seconds to wait for SQLite's own lock: a reader holds it for milliseconds."""

_GETS: Final = (
    "CREATE TABLE get_refusal (at INTEGER NOT NULL, code TEXT NOT NULL, count INTEGER NOT NULL,"
    " PRIMARY KEY (at, code)) WITHOUT ROWID"
)

SCHEMA: Final = (
    "CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE row (number INTEGER PRIMARY KEY, id TEXT, line INTEGER NOT NULL, fingerprint BLOB NOT NULL,"
    " source BLOB NOT NULL, state INTEGER NOT NULL, attempt INTEGER NOT NULL, doubtful INTEGER NOT NULL,"
    " request_id TEXT NOT NULL, operation TEXT NOT NULL, submitted REAL)",
    "CREATE INDEX row_id ON row (id) WHERE id IS NOT NULL",
    "CREATE TABLE result (seq INTEGER PRIMARY KEY, number INTEGER NOT NULL, ended REAL NOT NULL, outcome TEXT NOT NULL,"
    " response BLOB, error TEXT NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost REAL)",
    "CREATE UNIQUE INDEX result_number ON result (number)",
    "CREATE TABLE attempt (number INTEGER NOT NULL, attempt INTEGER NOT NULL, operation TEXT NOT NULL, submitted REAL,"
    " ended REAL NOT NULL, outcome TEXT NOT NULL, error TEXT NOT NULL, input_tokens INTEGER NOT NULL,"
    " output_tokens INTEGER NOT NULL, cost REAL, response BLOB)",
    "CREATE INDEX attempt_number ON attempt (number)",
    "CREATE TABLE refusal (number INTEGER NOT NULL, at REAL NOT NULL, code TEXT NOT NULL)",
    _GETS,
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)

_NULLABLE: Final = ("id", "submitted", "response", "cost")
_TIMES: Final = ("submitted", "ended", "at")
"""The columns that may be empty, and those that are times."""

UPGRADES: Final = {1: (_GETS, "ALTER TABLE attempt ADD COLUMN response BLOB", f"PRAGMA user_version = {VERSION}")}
"""What brings a journal of an earlier version to this one."""


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open a journal; to write, it is created where it is not there.

    Args:
        path: The file.
        write: Whether this process is the one that writes.

    Raises:
        ConfigError: It can't be opened, is no journal, is broken, or is of another version.
    """
    name = shown_path(str(path))
    found = check_file(path, f"journal {name}", create=write)
    if write and found.st_mode & 0o077 and sys.platform != "win32":
        _make_private(path, name)
    try:
        # A reader, too: the last one that closes it removes SQLite's own files beside it.
        uri = f"{path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise ConfigError(f"journal {name} can't be opened: {error}") from None
    try:
        if write:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            _check_content(connection, name, create=True)
            connection.execute("COMMIT")
        else:
            connection.execute("PRAGMA query_only = ON")
            _check_content(connection, name, create=False)
    except sqlite3.OperationalError as error:
        connection.close()
        raise ConfigError(f"journal {name} can't be used: {error}") from None
    except sqlite3.DatabaseError:
        connection.close()
        raise broken(path) from None
    except BaseException:
        connection.close()
        raise
    return connection


def broken(path: Path, why: str = "") -> ConfigError:
    """The error of a file that SQLite can't read, or that something else than a run has changed.

    Args:
        path: The file.
        why: What is wrong with it; empty where that is not known.
    """
    return _broken(shown_path(str(path)), why)


def _broken(name: str, why: str) -> ConfigError:
    what = f"is broken ({why})" if why else "is broken, or no journal"
    return ConfigError(
        f"journal {name} {what}: restore it from a copy, or name another file, which is then created (what it has paid"
        " for is paid again)"
    )


def _check_content(connection: sqlite3.Connection, name: str, *, create: bool) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not application and create:
        for statement in SCHEMA:
            connection.execute(statement)
    elif not tables and not application:
        raise ConfigError(f"journal {name} is empty, or is just being created: ask again once its run has started")
    elif application != APPLICATION:
        raise ConfigError(f"journal {name} is no journal: name another file, which is then created")
    elif version not in (VERSION, *UPGRADES):
        raise ConfigError(
            f"journal {name} was written by another version of yagrpc (its format is {version}, this version knows"
            f" {VERSION}): use that version, or name another file"
        )
    elif create:
        if why := wrong_value(connection.execute):  # before it is changed
            raise _broken(name, why)
        for statement in UPGRADES.get(version, ()):
            connection.execute(statement)


def wrong_value(rows: Callable[[str], Iterable[Any]]) -> str:
    """Which value of a journal no run writes, in words; empty where there is none.

    Args:
        rows: What a query gives.
    """
    if why := unfit(rows, (*SCHEMA, *copies.TABLES), nullable=_NULLABLE, times=_TIMES):
        return why
    for _ in rows(f"SELECT 1 FROM row WHERE state NOT BETWEEN 0 AND {max(State):d} LIMIT 1"):
        return f"a value in column state of table row is not a state from 0 to {max(State):d}"
    return ""


def _make_private(path: Path, name: str) -> None:
    """It holds prompts and answers."""
    try:
        os.chmod(path, 0o600)
    except OSError as error:
        raise ConfigError(f"journal {name} can't be used: {error.strerror}") from None


class Lock:
    """The right to write a journal, of one process at a time.

    Args:
        path: The journal's file; the lock is a file beside it.

    Raises:
        ConfigError: Another process has it; the message says which.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.lock")
        name = shown_path(str(path))
        while True:
            try:
                flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
                self._descriptor = os.open(self._path, flags, 0o600)
            except FileNotFoundError:
                raise ConfigError(f"journal {name} can't be locked: its folder is not there") from None
            except OSError as error:
                raise ConfigError(f"journal {name} can't be locked: {error.strerror}") from None
            except ValueError:  # a NUL, or half of a surrogate pair
                raise ConfigError(f"journal {name} can't be used: no file has such a name") from None
            if not _try_lock(self._descriptor):
                os.lseek(self._descriptor, 1, os.SEEK_SET)  # Windows keeps the locked byte from others
                holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip("\0 \n")
                os.close(self._descriptor)
                raise JournalInUseError(
                    f"journal {name} is in use by process {holder or '(unknown)'}: wait for its end, or end it first"
                )
            if self._is_there():
                break
            os.close(self._descriptor)  # the process that had it has removed it meanwhile
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f" {os.getpid()}\n".encode())

    def release(self) -> None:
        """Give the right back. Doing that twice does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):  # Windows removes no open file; an empty lock that stays locks nothing
                self._path.unlink()
            os.close(descriptor)

    def _is_there(self) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        mine = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _try_lock(descriptor: int) -> bool:
    """Lock a file, if no other process has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

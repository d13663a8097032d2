"""The file that keeps an emulator's operations when it crashes or stops: SQLite, one row for each operation.

Rules: the row of an operation is written before its reply is sent, in a transaction of its own: SIGKILL loses no
accepted operation. The disk is not waited for (WAL, `synchronous=NORMAL`): a power cut may lose the last ones. One
emulator at a time uses the file. Only its owner may read it, because it contains prompts. A file that is not understood
completely is refused, and not changed: neither its bytes nor its mode. Links are never followed: a link, a device, a
pipe or a file with a second name is refused before it is opened.
"""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError, Message

from yagrpc import _pb
from yagrpc.emulator.clock import END

__all__ = ["FORMAT", "Kept", "StateFile", "StateFileError"]

FORMAT: Final = 1
"""Version of the tables, in `user_version`."""

_APPLICATION: Final = 0x79616745
"""`yagE`: marks the files of emulators among SQLite's."""

_FOREIGN: Final = "state file {}: it belongs to another program; name a file of its own"

_NO_FOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""How a path is opened that may have become a link or a pipe since it was checked; Windows has neither flag."""

_TABLES: Final = """
CREATE TABLE operation (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created REAL NOT NULL,
    ends REAL NOT NULL,
    request_type TEXT NOT NULL,
    request BLOB NOT NULL,
    scripted_type TEXT NOT NULL,
    scripted BLOB NOT NULL,
    done BLOB
);
CREATE INDEX operation_created ON operation (created);
CREATE TABLE clock (ahead REAL NOT NULL);
INSERT INTO clock VALUES (0);
"""


_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_APPLICATION_AT: Final = slice(68, 72)
"""Where SQLite's header has the application's id (https://sqlite.org/fileformat.html)."""

_FURTHEST: Final = END - 1_577_836_800
"""How many seconds a clock can be ahead of the real one: it is at its end, and the file was written in 2020 or later.
When the file is read, time has passed: the real time with that offset may be beyond the end, where the clock stops."""

_SIDE_FILES: Final = ("-wal", "-shm", "-journal")
"""What SQLite adds to the name of its file for files of its own."""

_open: Final[set[tuple[int, int]]] = set()
"""Device and inode of the files that this process has open: opening one again and closing it would release the lock."""


class StateFileError(ValueError):
    """A state file that can't be used; the text says why, and what to do."""


class Kept(NamedTuple):
    """An operation as the file keeps it."""

    number: int
    """Its number in the order of submits, from 1."""
    id: str
    """Its id."""
    created: float
    """When it was submitted, in seconds since the epoch."""
    ends: float
    """When it is done, likewise."""
    request: Message
    """The request."""
    scripted: str | Message | None
    """The scripted reply to it."""
    done: bytes | None
    """The serialized operation, if it did not end by itself."""


class StateFile:
    """The file, open.

    Args:
        path: The path of the file; a file that does not exist is created.

    Raises:
        StateFileError: The file is of another version or of another program, broken, in use, or not writable.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()  # the clock is advanced in any thread
        self._closed = False
        try:
            self._identity = self._create_or_check()
            self._connection = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise StateFileError(f"state file {self.path}: it can't be opened: {error}") from error
        _open.add(self._identity)
        try:
            self._prepare()
        except BaseException as error:
            self._close()
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise StateFileError(f"state file {self.path}: another emulator has it") from error
            if isinstance(error, sqlite3.Error):
                raise StateFileError(f"state file {self.path}: broken, or none of an emulator: {error}") from error
            raise

    def load(self) -> list[Kept]:
        """All operations, in the order of their submits.

        Raises:
            StateFileError: An operation is not understood.
        """
        rows = "SELECT number, id, created, ends, request_type, request, scripted_type, scripted, done FROM operation"
        try:
            return list(self._decode(self._connection.execute(f"{rows} ORDER BY number")))
        except (sqlite3.Error, DecodeError, UnicodeDecodeError) as error:
            raise StateFileError(f"state file {self.path}: broken: {error}") from error

    def add(self, kept: Kept) -> None:
        """Add a new operation."""
        scripted_type, scripted = _encode(kept.scripted)
        with self._lock:
            self._connection.execute(
                "INSERT INTO operation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    kept.number,
                    kept.id,
                    kept.created,
                    kept.ends,
                    kept.request.DESCRIPTOR.full_name,
                    kept.request.SerializeToString(),
                    scripted_type,
                    scripted,
                    kept.done,
                ),
            )

    def end(self, operation_id: str, ends: float, done: bytes) -> None:
        """Write how an operation was ended."""
        with self._lock:
            self._connection.execute("UPDATE operation SET ends = ?, done = ? WHERE id = ?", (ends, done, operation_id))

    def forget(self, created: float) -> None:
        """Remove operations that were created at that time or before, in seconds since the epoch."""
        with self._lock:
            self._connection.execute("DELETE FROM operation WHERE created <= ?", (created,))

    @property
    def ahead(self) -> float:
        """How far the emulator's clock was ahead of the real one, in seconds.

        Raises:
            StateFileError: That is no number, or leads beyond the end of the clock.
        """
        (ahead,) = self._connection.execute("SELECT ahead FROM clock").fetchone()
        if not isinstance(ahead, float) or not math.isfinite(ahead):
            raise StateFileError(f"state file {self.path}: broken: the offset of its clock is not a number of seconds")
        if ahead > _FURTHEST:
            raise StateFileError(
                f"state file {self.path}: broken: the offset of its clock, {ahead!r} s, leads beyond the year 9999"
            )
        return ahead

    @ahead.setter
    def ahead(self, seconds: float) -> None:
        with self._lock:
            if not self._closed:  # its emulator may stop while another thread advances its clock
                self._connection.execute("UPDATE clock SET ahead = ?", (seconds,))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
            self._close()

    def _close(self) -> None:
        self._connection.close()
        _open.discard(self._identity)

    def _create_or_check(self) -> tuple[int, int]:
        """Create the file, or check the file that is there without changing it; returns its device and inode.

        Raises:
            StateFileError: It is no file of an emulator.
            OSError: It can't be created or read.
        """
        for ending in _SIDE_FILES:
            self._check_kind(Path(f"{self.path}{ending}"))
        here = self._check_kind(self.path)
        if here is None:
            # Created here: SQLite would let other users read it. One that appears meanwhile is refused.
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o600)
        elif _identity(here) in _open:
            raise StateFileError(f"state file {self.path}: another emulator has it")
        else:
            file = os.open(self.path, os.O_RDWR | _NO_FOLLOW)
        try:
            header = os.read(file, _HEADER_BYTES)
            application = int.from_bytes(header[_APPLICATION_AT], "big")
            # Before SQLite opens it, which would change its log. An emulator that was killed has its mark there only.
            if header.startswith(_MAGIC) and application not in (0, _APPLICATION):
                raise StateFileError(_FOREIGN.format(self.path))
            return _identity(os.fstat(file))
        finally:
            os.close(file)

    def _check_kind(self, path: Path) -> os.stat_result | None:
        """What is known of a path without opening it; `None` if there is nothing.

        Raises:
            StateFileError: It is not a regular file with one name.
        """
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(found.st_mode):
            raise StateFileError(f"state file {path}: it is a link, which is not followed; name the file itself")
        if not stat.S_ISREG(found.st_mode):
            raise StateFileError(f"state file {path}: it can't be opened: it is no regular file")
        if found.st_nlink > 1:
            raise StateFileError(
                f"state file {path}: the file has other names too (hard links); name a file of its own"
            )
        return found

    def _keep_private(self) -> None:
        """Let only its owner read the file, which is known to be an emulator's by now.

        Raises:
            StateFileError: The path leads to another file than before.
        """
        found = self._check_kind(self.path)
        if found is None or _identity(found) != self._identity:
            raise StateFileError(f"state file {self.path}: it was replaced while it was opened")
        if found.st_mode & 0o077:
            os.chmod(self.path, 0o600)

    def _prepare(self) -> None:
        execute = self._connection.execute
        # Held while the file is open, and released by the system when the process ends.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        fresh = application == version == tables == 0
        if not fresh and application != _APPLICATION:
            raise StateFileError(_FOREIGN.format(self.path))
        if not fresh and version != FORMAT:
            raise StateFileError(
                f"state file {self.path}: it is of version {version}, and this emulator reads version {FORMAT}; "
                "use the emulator that wrote it, or move the file away"
            )
        self._keep_private()
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        if fresh:
            header = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {FORMAT};"
            self._connection.executescript(f"BEGIN EXCLUSIVE; {header} {_TABLES} COMMIT;")
        (fault,) = execute("PRAGMA quick_check(1)").fetchone()
        if fault != "ok":
            raise StateFileError(f"state file {self.path}: broken: {' '.join(fault.split())}")

    def _decode(self, rows: sqlite3.Cursor) -> Iterator[Kept]:
        for number, name, created, ends, request_type, request, scripted_type, scripted, done in rows:
            fitting = {
                "id": isinstance(name, str),
                "created": isinstance(created, float) and abs(created) <= END,
                # It may be never, but for an operation that has ended.
                "ends": isinstance(ends, float) and ends > -math.inf and (done is None or ends <= END),
                "request_type": isinstance(request_type, str),
                "request": isinstance(request, bytes),
                "scripted_type": isinstance(scripted_type, str),
                "scripted": isinstance(scripted, bytes),
                "done": done is None or isinstance(done, bytes),
            }
            for column, fits in fitting.items():
                if not fits:
                    raise StateFileError(f"state file {self.path}: broken: column {column} of operation {number}")
            if done is not None:
                _pb.operation_pb2.Operation.FromString(done)  # raises here, not in a Get
            message = self._message(request_type, request)
            reply: str | Message | None = None
            if scripted_type:
                reply = scripted.decode() if scripted_type == "text" else self._message(scripted_type, scripted)
            yield Kept(number, name, created, ends, message, reply, done)

    def _message(self, full_name: str, body: bytes) -> Message:
        found = _pb.find_message(full_name)
        if found is None:
            raise StateFileError(f"state file {self.path}: broken: a message of unknown type {full_name!r}")
        return found.FromString(body)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _encode(scripted: str | Message | None) -> tuple[str, bytes]:
    if scripted is None:
        return "", b""
    if isinstance(scripted, str):
        return "text", scripted.encode()
    return scripted.DESCRIPTOR.full_name, scripted.SerializeToString()

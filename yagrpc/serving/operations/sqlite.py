"""Operations in a SQLite file, for the one process that serves them.

Rules: each change is one transaction that is on the disk when the method returns. The process keeps the file's lock as
long as it has the file open, so that no second one takes the operations for those of a dead process.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final

from yagrpc.errors import ConfigError
from yagrpc.hiding import shown, shown_path
from yagrpc.serving.operations.records import StoredOperation
from yagrpc.sqlitefile import Format, open_file, transaction

FORMAT: Final = Format(
    whose="server's",
    application=0x7961676F,
    version=1,
    schema=(
        "CREATE TABLE operation (id TEXT PRIMARY KEY, handler TEXT, proto BLOB, modified REAL, done INTEGER,"
        " request BLOB, model_operation_id TEXT) WITHOUT ROWID",
        "CREATE INDEX ended ON operation (done, modified)",
    ),
    users="this server",
)

BUSY: Final = 0.5
"""Seconds to wait for the file's lock: a process that was just killed may not have left yet."""


class SqliteOperations:
    """An `OperationStore` in a file.

    Args:
        path: The file; it is created where it is not there (mode 0600), its folder is not.

    Raises:
        ConfigError: The file can't be used: its folder is not there or can't be written to, it is something else, of
            another version, or another process has it open.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigError(f"store is {shown(path)}: it takes a file's path, or the methods of OperationStore")
        file = Path(os.fsdecode(path))
        subject = f"store={shown_path(str(file))}"
        self._connection = open_file(file, subject, FORMAT, busy=BUSY, alone=True, synchronous="FULL")
        self._lock = threading.Lock()

    def add(self, operation: StoredOperation) -> None:
        """Store an operation."""
        with self._lock, transaction(self._connection) as cursor:
            cursor.execute("INSERT INTO operation VALUES (?, ?, ?, ?, ?, ?, ?)", operation)

    def get(self, operation_id: str) -> StoredOperation | None:
        """An operation; `None` where there is none of that id."""
        with self._lock:
            row = self._connection.execute("SELECT * FROM operation WHERE id = ?", (operation_id,)).fetchone()
        return None if row is None else _stored(row)

    def follow(self, operation_id: str, model_operation_id: str) -> bool:
        """Note the model's operation that an operation waits for, unless it has ended."""
        statement = "UPDATE operation SET model_operation_id = ? WHERE id = ? AND NOT done"
        with self._lock, transaction(self._connection) as cursor:
            return cursor.execute(statement, (model_operation_id, operation_id)).rowcount == 1

    def end(self, operation_id: str, proto: bytes, modified: float) -> bool:
        """End an operation, unless it has ended before."""
        statement = "UPDATE operation SET proto = ?, modified = ?, done = 1, request = x'' WHERE id = ? AND NOT done"
        with self._lock, transaction(self._connection) as cursor:
            return cursor.execute(statement, (proto, modified, operation_id)).rowcount == 1

    def running(self) -> list[StoredOperation]:
        """The operations that have not ended, in the order of their last change."""
        with self._lock:
            rows = self._connection.execute("SELECT * FROM operation WHERE NOT done ORDER BY modified").fetchall()
        return [_stored(row) for row in rows]

    def forget(self, before: float) -> None:
        """Remove the operations that ended before a moment."""
        with self._lock, transaction(self._connection) as cursor:
            cursor.execute("DELETE FROM operation WHERE done AND modified < ?", (before,))

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        with self._lock:
            self._connection.close()


def _stored(row: tuple[Any, ...]) -> StoredOperation:
    """An operation, of its row."""
    found = StoredOperation(*row)
    return found._replace(done=bool(found.done))

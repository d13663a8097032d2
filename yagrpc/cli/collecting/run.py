"""The outcomes of many operations, written to a file as they become known: a run that can be stopped and continued.

Rules: a row is written once for each id, and only for an end; it is whole or, after a crash, the last one, which is
removed and asked for again. A file that has other rows is never written to.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from yagrpc.cli.collecting.ids import Ids
from yagrpc.cli.io.output import Waiting, note
from yagrpc.cli.io.render import to_json
from yagrpc.errors import (
    Code,
    InvalidArgumentError,
    OperationCancelledError,
    OperationError,
    OperationExpiredError,
    OperationFailedError,
    OperationNotFoundError,
    OperationResultError,
    PermissionDeniedError,
)
from yagrpc.files import check_regular
from yagrpc.hiding import shown_name

if TYPE_CHECKING:
    from yagrpc import Client, Operation

__all__ = ["AT_ONCE", "DONE", "POLLED_AT_ONCE", "Rows", "collect", "row_of", "tally"]

AT_ONCE: Final = 10_000
"""Operations that are waited for at a time: enough for the pace of Gets, and about 20 MB."""

POLLED_AT_ONCE: Final = 500
"""Operations that are polled between two writes where each is polled once: 10 seconds under the quota of Gets."""

DONE: Final = "done"
"""The outcome of an operation with its whole result."""

_START: Final = b'{"id": '
"""What each row begins with."""

_OUTCOMES: Final[tuple[tuple[type[OperationError], str], ...]] = (
    (OperationExpiredError, "expired"),
    (OperationNotFoundError, "not_found"),
    (OperationCancelledError, "cancelled"),
    (OperationFailedError, "failed"),
    (OperationResultError, "unusable"),
)


class Rows:
    """A file of rows, which one process writes.

    Args:
        path: The file; it is created where it is not there.

    Raises:
        click.ClickException: It can't be written, something else is in it, or another process writes it.
    """

    def __init__(self, path: str) -> None:
        self.name = shown_name(path)
        if path == "-":
            raise click.ClickException("--output takes a file, and not '-': from it a second run knows what is there")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            try:
                check_regular(descriptor)  # what was written is read again, and may be cut
            except OSError:
                os.close(descriptor)
                raise
            self._file: BinaryIO = os.fdopen(descriptor, "r+b")
        except OSError as error:
            raise click.ClickException(f"{self.name}: {error.strerror}") from error
        try:
            import fcntl
        except ModuleNotFoundError:  # Windows, where two runs at once are not noticed
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise click.ClickException(f"{self.name}: another run writes it; wait for it, or name another") from error

    def outcomes(self) -> Iterator[tuple[str, str]]:
        """The id and the outcome of each row; in the end, what follows the last whole row is removed.

        Raises:
            click.ClickException: Something else is in it.
        """
        size = 0
        for number, line in enumerate(self._file, 1):
            found = _parsed(line)
            torn = not line.endswith(b"\n")
            if torn and (line.startswith(_START) or _START.startswith(line)) and (found is None or found[1]):
                break
            if torn or found is None or not found[1]:
                raise click.ClickException(
                    f"{self.name}, line {number}: no row of 'yagrpc operation collect'; name another file with -o"
                )
            size += len(line)
            yield found
        self._file.seek(size)
        self._file.truncate()

    def write(self, row: dict[str, Any]) -> None:
        """Add a row.

        Raises:
            OSError: It can't be written.
        """
        self._file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; what was written is then on the disk."""
        with self._file:
            os.fsync(self._file.fileno())


def collect(client: Client, ids: Ids, rows: Rows, timeout: float | None) -> bool:
    """Write a row for each operation that has ended, as it ends; gives whether all have a row now.

    Args:
        client: The client that polls, under its quota of Gets.
        ids: Which; outcomes are noted there.
        rows: Where to.
        timeout: Seconds for all of them; 0 polls each once, `None` is no limit.

    Raises:
        YagrpcError: No operation can be asked for, as with a credential that is refused.
        OSError: A row can't be written.
    """
    total, left = len(ids), len(ids) - sum(ids.outcomes().values())
    ended = _each_once(client, ids) if timeout == 0 else _each(client, ids, timeout)
    with Waiting(f"{total - left} of {total} operations collected") as show, contextlib.closing(ended):
        for operation in ended:
            try:
                row = row_of(operation)
            except (PermissionDeniedError, InvalidArgumentError) as error:  # about this id, and no end: asked again
                note(f"yagrpc: operation {operation.id} is left out: {error}")
                continue
            rows.write(row)
            ids.end([(row["id"], row["outcome"])])
            left -= 1
            show(f"{total - left} of {total} operations collected")
    return left == 0


def tally(ids: Ids) -> str:
    """How many operations have which outcome, for people."""
    outcomes, total = ids.outcomes(), len(ids)
    counts = [f"{count} {outcome.replace('_', ' ')}" for outcome, count in sorted(outcomes.items())]
    if running := total - sum(outcomes.values()):
        counts.append(f"{running} not collected")
    return f"{total} operation{'' if total == 1 else 's'}: {', '.join(counts) or 'none'}"


def row_of(operation: Operation[Any]) -> dict[str, Any]:
    """The row of an operation that has ended.

    Raises:
        YagrpcError: It could not be asked for; this says nothing of the operation.
    """
    from yagrpc.results import Completion, CompletionStatus

    row: dict[str, Any] = {
        "id": operation.id,
        "outcome": DONE,
        "text": None,
        "error": None,
        "usage": None,
        "model_version": None,
    }
    try:
        result = operation.result(0)
    except OperationError as error:
        outcome = next((outcome for kind, outcome in _OUTCOMES if isinstance(error, kind)), None)
        if outcome is None:
            raise
        if outcome == "unusable" and (response := operation.response) is not None:  # no completion: an image, perhaps
            row["response"] = to_json(response)
            return row
        code = Code.of(error.code) if error.code is not None else None
        named = code.name if isinstance(code, Code) else code
        return {**row, "outcome": outcome, "error": {"code": named, "message": error.message}}
    assert isinstance(result, Completion)
    status = result.status
    if status in (CompletionStatus.CONTENT_FILTER, CompletionStatus.TRUNCATED_FINAL):
        row["outcome"] = "filtered" if result.filtered else "truncated"
    elif status == CompletionStatus.TOOL_CALLS:
        row["response"] = to_json(result.proto)
    return {**row, "text": result.text, "usage": result.usage._asdict(), "model_version": result.model_version}


def _each_once(client: Client, ids: Ids) -> Generator[Operation[Any], None, None]:
    """Those of the operations that have ended, each polled once."""
    last = 0
    while found := ids.left(POLLED_AT_ONCE, last):
        last = found[-1][0]
        yield from client.poll([operation_id for _, operation_id in found])


def _each(client: Client, ids: Ids, timeout: float | None) -> Generator[Operation[Any], None, None]:
    """The operations as they end, within some seconds; as many are waited for as the pace of Gets can use."""
    from yagrpc._grpc.waits.signals import next_item

    deadline = None if timeout is None else time.monotonic() + timeout
    ended: queue.SimpleQueue[Operation[Any]] = queue.SimpleQueue()
    last, waited = 0, 0
    while True:
        if waited <= AT_ONCE // 2:
            found = ids.left(AT_ONCE - waited, last)
            for _, operation_id in found:
                client.operation(operation_id).add_done_callback(ended.put)
            waited += len(found)
            last = found[-1][0] if found else last
        if not waited:
            return
        try:
            operation = next_item(ended, None if deadline is None else max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return
        waited -= 1
        yield operation


def _parsed(line: bytes) -> tuple[str, str] | None:
    """The id and the outcome of a line, which are empty where it has none; `None` for what is no JSON object."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    values = row.get("id"), row.get("outcome")
    return (values[0], values[1]) if all(isinstance(each, str) for each in values) else ("", "")  # type: ignore[return-value]

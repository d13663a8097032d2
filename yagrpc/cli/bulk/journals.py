"""`yagrpc bulk status|export|report|retry|cancel`: what is done with a journal, while its run is on or after it."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Collection
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yagrpc.bulk.decisions.outcomes import DOUBTFUL, RowOutcome
from yagrpc.bulk.files.outputs import check_free, checked_output, export, written
from yagrpc.bulk.recording.notes import Notes, notes_of
from yagrpc.bulk.report.figures import figures_of
from yagrpc.bulk.report.page import MARK, page
from yagrpc.bulk.results import Summary, summary_of
from yagrpc.bulk.wording import counted
from yagrpc.cli.io.output import note, print_json, print_text
from yagrpc.errors import ConfigError, YagrpcError
from yagrpc.hiding import shown_path
from yagrpc.journal.changes import State
from yagrpc.journal.journal import Journal, JournalWriter

if TYPE_CHECKING:
    from yagrpc.cli.options import Connection

__all__ = ["cancel_operations", "export_journal", "retry_rows", "show_status", "write_report"]


def show_status(path: Path, *, as_json: bool) -> None:
    """Print how far a run is.

    Raises:
        ConfigError: There is no journal, or it can't be read.
    """
    with contextlib.closing(_opened(path)) as journal:
        summary, (first, last, recent), notes = summary_of(journal), journal.span(), notes_of(journal)
    if as_json:
        print_json(_as_json(summary, first, last, recent, notes))
        return
    options = notes.options
    print_text(f"{options.get('task', '?')} with {options.get('model', '?')}, mode {options.get('mode', '?')}")
    lines = summary.lines()
    if notes.expected is not None and summary.rows < notes.expected:
        lines[0] = f"{summary.rows:,} of {counted(notes.expected, 'row')}"
    for line in lines:
        print_text(line)
    if first is not None and last is not None:
        print_text(f"from {_time(first)} to {_time(last)}, {counted(recent, 'row')} in the last minute of that")
    print_text("finished" if notes.total is not None and not summary.unfinished else "not finished")


def export_journal(path: Path, output: Path, kind: str) -> None:
    """Write the rows of a journal that have ended to a file.

    Raises:
        ConfigError: The journal can't be read, or the file exists.
        OSError: The file can't be written.
    """
    with contextlib.closing(_opened(path)) as journal:
        notes = notes_of(journal)
        check_free(output)
        count = export(journal, output, kind, notes.task, table=bool(notes.options.get("table")))
    note(f"yagrpc: {counted(count, 'row')} written to {output}")


def write_report(path: Path, output: Path) -> None:
    """Write the report of a run; it takes the place of an earlier one.

    Raises:
        ConfigError: The journal can't be read, or the file exists and is no report.
        OSError: The file can't be written; what was there before stays.
    """
    with contextlib.closing(_opened(path)) as journal:
        _check_replaceable(output)
        text = page(figures_of(journal))
    with written(output) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
    note(f"yagrpc: report written to {output}")


def _check_replaceable(output: Path) -> None:
    mark = MARK.encode()
    with checked_output(output), open(output, "rb") as file:
        if file.read(len(mark)) not in (b"", mark):
            raise ConfigError(f"output {shown_path(str(output))} exists, and is no report: name another, or remove it")


def retry_rows(path: Path, outcomes: Collection[str]) -> None:
    """Plan rows again that have ended so: the next run sends them.

    Raises:
        ConfigError: The journal can't be used.
    """
    _check_there(path)
    with contextlib.closing(JournalWriter(path)) as journal:
        has_output = notes_of(journal).output is not None
        count = journal.forget_invalid() if RowOutcome.INVALID in outcomes else 0
        numbers = journal.numbers_of(outcomes)
        journal.reopen(numbers, DOUBTFUL)
        count += len(numbers)
        if has_output and count:  # it holds their old results: it is written again
            journal.forget_output()
    which, them = ("row is", "it") if count == 1 else ("rows are", "them")
    note(f"yagrpc: {count:,} {which} planned again: run the command of the run again to send {them}")


def cancel_operations(path: Path, connection: Connection) -> int:
    """Ask the service to cancel the operations of a run that is not on; gives how many it refused.

    Raises:
        ConfigError: The journal can't be used, or its run is on.
    """
    _check_there(path)
    refused = 0
    with contextlib.closing(JournalWriter(path)) as journal, connection.client() as client:
        running = [client.operation(entry.operation_id) for entry in journal.in_state(State.SUBMITTED)]
        for operation in running:
            try:
                operation.cancel()
            except YagrpcError as error:
                refused += 1
                note(f"yagrpc: {error}")
    asked = len(running) - refused
    were, they = ("was", "it") if asked == 1 else ("were", "they")
    note(f"yagrpc: {counted(asked, 'operation')} {were} asked to stop; the next run gets how {they} ended")
    return refused


def _opened(path: Path) -> Journal:
    _check_there(path)
    journal = Journal(path)
    try:
        journal.check()
    except BaseException:
        journal.close()
        raise
    return journal


def _check_there(path: Path) -> None:
    name = shown_path(str(path))
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"journal {name} is not there: a run creates it beside its output, as OUTPUT.journal"
        ) from None
    except OSError as error:
        raise ConfigError(f"journal {name} can't be used: {error.strerror}") from None
    if stat.S_ISREG(found.st_mode) and not found.st_size:
        raise ConfigError(f"journal {name} is empty: a run writes it beside its output, as OUTPUT.journal")


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def _as_json(summary: Summary, first: float | None, last: float | None, recent: int, notes: Notes) -> dict[str, Any]:
    return {
        "rows": summary.rows,
        "expected": notes.expected,
        "outcomes": dict(summary.outcomes),
        "unfinished": dict(summary.unfinished),
        "copies": summary.copies,
        **summary.totals._asdict(),
        "refused_submits": summary.refused_submits,
        "refused_gets": summary.refused_gets,
        "refused_codes": dict(summary.refused_codes),
        "first_submitted_at": None if first is None else _time(first),
        "last_ended_at": None if last is None else _time(last),
        "in_last_minute": recent,
        "finished": notes.total is not None and not summary.unfinished,
    }

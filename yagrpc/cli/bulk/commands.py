"""The commands of `yagrpc bulk` that take a journal: what they do is in `journals.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from yagrpc.cli.options import Connection, connection_options, examples, json_option

__all__ = ["JOURNAL_COMMANDS"]

AGAIN: Final = ("truncated", "filtered", "schema_mismatch", "failed", "expired", "ambiguous", "invalid")
"""The outcomes of rows that may be sent again."""


@click.command(
    epilog=examples("yagrpc bulk status answers.jsonl.journal", "yagrpc bulk status answers.jsonl.journal --json")
)
@click.argument("journal", type=click.Path())
@json_option("Print it as JSON.")
def status(journal: str, as_json: bool) -> None:
    """Show how far a run is, while it is on or after it."""
    from yagrpc.cli.bulk.journals import show_status

    show_status(Path(journal), as_json=as_json)


@click.command(epilog=examples("yagrpc bulk export answers.jsonl.journal -o answers.csv"))
@click.argument("journal", type=click.Path())
@click.option(
    "-o", "--output", required=True, metavar="OUTPUT", type=click.Path(), help="JSONL, CSV or Parquet, by its name."
)
def export(journal: str, output: str) -> None:
    """Write the rows that have ended to a file, in the order of the input."""
    from yagrpc.bulk.files.inputs import format_of
    from yagrpc.cli.bulk.journals import export_journal

    export_journal(Path(journal), Path(output), format_of(Path(output)))


@click.command(epilog=examples("yagrpc bulk report answers.jsonl.journal -o report.html"))
@click.argument("journal", type=click.Path())
@click.option("-o", "--output", metavar="FILE.html", type=click.Path(), help="The file.  [default: JOURNAL.html]")
def report(journal: str, output: str | None) -> None:
    """Write what happened in a run as one HTML file, while it is on or after it.

    It has charts of the progress, of times, tokens and the use of quotas, the failures by cause, and the slowest rows.
    It loads nothing, and holds parts of rows: share it as you would share them.
    """
    from yagrpc.cli.bulk.journals import write_report

    write_report(Path(journal), Path(f"{journal}.html" if output is None else output))


@click.command(epilog=examples("yagrpc bulk retry answers.jsonl.journal --only failed --only filtered"))
@click.argument("journal", type=click.Path())
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(AGAIN),
    help="Outcomes; may be repeated.  [default: failed, expired, ambiguous]",
)
def retry(journal: str, only: tuple[str, ...]) -> None:
    """Plan rows again that are not done; the command of the run then sends them.

    Invalid rows that were not sent are read anew, so they may be repaired in the input before.
    """
    from yagrpc.cli.bulk.journals import retry_rows

    retry_rows(Path(journal), only or ("failed", "expired", "ambiguous"))


@click.command(epilog=examples("yagrpc bulk cancel answers.jsonl.journal"))
@click.argument("journal", type=click.Path())
@connection_options("Seconds to wait for each answer.  [default: 60]", request_id=False)
def cancel(connection: Connection, journal: str) -> None:
    """Ask the service to cancel the operations of a run that was interrupted.

    They may still finish, and may be billed.
    """
    from yagrpc.cli.bulk.journals import cancel_operations

    click.get_current_context().exit(1 if cancel_operations(Path(journal), connection) else 0)


JOURNAL_COMMANDS: Final = (status, report, export, retry, cancel)

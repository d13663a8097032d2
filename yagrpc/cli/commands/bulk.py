"""`yagrpc bulk`: many requests from file to file, under the quotas, in a run that survives its process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from yagrpc.cli.bulk.options import run_options
from yagrpc.cli.groups import Group
from yagrpc.cli.options import Connection, Generation, connection_options, examples, json_option

__all__ = ["bulk"]

AGAIN: Final = ("truncated", "filtered", "schema_mismatch", "failed", "expired", "ambiguous")
"""The outcomes of rows that may be sent again; what is wrong with an invalid row is in the input."""


@click.group(
    cls=Group,
    epilog=examples(
        "yagrpc bulk run reviews.csv -o answers.jsonl --system 'Classify'", "yagrpc bulk status answers.jsonl.journal"
    ),
)
def bulk() -> None:
    """Run many requests from file to file."""


@bulk.command(
    epilog=examples(
        "yagrpc bulk run reviews.csv -o answers.jsonl --text-column review --system 'Classify'",
        "yagrpc bulk run catalogue.jsonl -o out.csv --template 'Translate: {text}' --max-cost 100",
        "yagrpc bulk run texts.jsonl -o vectors.parquet --task embed",
    )
)
@run_options
def run(
    connection: Connection,
    generation: Generation,
    source: str,
    output: str,
    journal: str | None,
    input_format: str | None,
    encoding: str | None,
    separator: str | None,
    quota: str | None,
    ordered: bool,
    strict: bool,
    dry_run: bool,
    **given: Any,
) -> None:
    """Send each row of INPUT, and write its result to OUTPUT.

    INPUT is JSONL (a text, an object with text or messages, a whole request on each line), CSV, Parquet, or '-' for
    JSONL by standard input. OUTPUT has all columns of the input, and text, outcome, error, tokens, cost and times.

    A run that ends early is resumed by the same command: what was sent is not sent again. Exit codes: 0 every row is
    done, 1 some are not, or the run stopped.
    """
    from yagrpc.cli.bulk.running import Files, parse_quota, parse_retry_on, read_prices, run_bulk

    given["text"], given["key"] = given.pop("text_column"), given.pop("id_column")
    given["retry_on"], given["prices"] = parse_retry_on(given["retry_on"]), read_prices(given["prices"])
    parameters = {name: value for name, value in given.items() if value is not None}
    run_bulk(
        Files(source, output, journal, input_format, encoding, separator),
        connection,
        {**generation.parameters(), **parameters},
        quota=parse_quota(quota),
        ordered=ordered,
        strict=strict,
        dry_run=dry_run,
    )


@bulk.command(
    epilog=examples("yagrpc bulk status answers.jsonl.journal", "yagrpc bulk status answers.jsonl.journal --json")
)
@click.argument("journal", type=click.Path())
@json_option("Print it as JSON.")
def status(journal: str, as_json: bool) -> None:
    """Show how far a run is, while it is on or after it."""
    from yagrpc.cli.bulk.journals import show_status

    show_status(Path(journal), as_json=as_json)


@bulk.command(epilog=examples("yagrpc bulk export answers.jsonl.journal -o answers.csv"))
@click.argument("journal", type=click.Path())
@click.option(
    "-o", "--output", required=True, metavar="OUTPUT", type=click.Path(), help="JSONL, CSV or Parquet, by its name."
)
def export(journal: str, output: str) -> None:
    """Write the rows that have ended to a file, in the order of the input."""
    from yagrpc.bulk.files.inputs import format_of
    from yagrpc.cli.bulk.journals import export_journal

    export_journal(Path(journal), Path(output), format_of(Path(output)))


@bulk.command(epilog=examples("yagrpc bulk report answers.jsonl.journal -o report.html"))
@click.argument("journal", type=click.Path())
@click.option("-o", "--output", metavar="FILE.html", type=click.Path(), help="The file.  [default: JOURNAL.html]")
def report(journal: str, output: str | None) -> None:
    """Write what happened in a run as one HTML file, while it is on or after it.

    It has charts of the progress, of times, tokens and the use of quotas, the failures by cause, and the slowest rows.
    It loads nothing, and holds parts of rows: share it as you would share them.
    """
    from yagrpc.cli.bulk.journals import write_report

    write_report(Path(journal), Path(f"{journal}.html" if output is None else output))


@bulk.command(epilog=examples("yagrpc bulk retry answers.jsonl.journal --only failed --only filtered"))
@click.argument("journal", type=click.Path())
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(AGAIN),
    help="Outcomes; may be repeated.  [default: failed, expired, ambiguous]",
)
def retry(journal: str, only: tuple[str, ...]) -> None:
    """Plan rows again that are not done; the command of the run then sends them."""
    from yagrpc.cli.bulk.journals import retry_rows

    retry_rows(Path(journal), only or ("failed", "expired", "ambiguous"))


@bulk.command(epilog=examples("yagrpc bulk cancel answers.jsonl.journal"))
@click.argument("journal", type=click.Path())
@connection_options("Seconds to wait for each answer.  [default: 60]", request_id=False)
def cancel(connection: Connection, journal: str) -> None:
    """Ask the service to cancel the operations of a run that was interrupted.

    They may still finish, and may be billed.
    """
    from yagrpc.cli.bulk.journals import cancel_operations

    click.get_current_context().exit(1 if cancel_operations(Path(journal), connection) else 0)

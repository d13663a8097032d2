"""`yagrpc bulk`: many requests from file to file, under the quotas, in a run that survives its process."""

from __future__ import annotations

from typing import Any

import click

from yagrpc.cli.bulk.commands import JOURNAL_COMMANDS
from yagrpc.cli.bulk.options import run_options
from yagrpc.cli.groups import Group
from yagrpc.cli.options import Connection, Generation, examples

__all__ = ["bulk"]


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


for command in JOURNAL_COMMANDS:
    bulk.add_command(command)

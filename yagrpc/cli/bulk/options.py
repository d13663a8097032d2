"""The options of `yagrpc bulk run`, in the order of its help."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import click

from yagrpc.cli.options import FILE, Text, connection_options, generation_options

__all__ = ["run_options"]

_OPTIONS: Final[tuple[Callable[[Callable[..., None]], Callable[..., None]], ...]] = (
    click.argument("source", metavar="INPUT", type=FILE),
    click.option(
        "-o", "--output", required=True, metavar="OUTPUT", type=click.Path(), help="JSONL, CSV or Parquet, by its name."
    ),
    click.option("--journal", metavar="FILE", type=click.Path(), help="What keeps the run.  [default: OUTPUT.journal]"),
    click.option(
        "--task",
        type=click.Choice(["completion", "embed", "tokenize"]),
        help="What is done with each row.  [default: completion]",
    ),
    click.option(
        "--mode",
        type=click.Choice(["async", "sync"]),
        help="Operations at half the price, or answers at once.  [default: async]",
    ),
    click.option("--model", metavar="NAME", type=Text(), help="A name, or a whole URI.  [default: yandexgpt]"),
    generation_options,
    click.option("--template", metavar="TEXT", type=Text(), help="What is sent, such as 'Translate: {text}'."),
    click.option(
        "--text-column", metavar="NAME", type=Text(), help="The column of a table with the texts.  [default: text]"
    ),
    click.option("--id-column", metavar="NAME", type=Text(), help="The column with the ids.  [default: id, in JSONL]"),
    click.option("--input-format", type=click.Choice(["jsonl", "csv", "parquet"]), help="By default by its name."),
    click.option("--encoding", metavar="NAME", help="The encoding of a CSV.  [default: found out]"),
    click.option("--separator", metavar="CHARACTER", help="What separates the columns of a CSV.  [default: found out]"),
    click.option(
        "--concurrency", type=click.IntRange(1), metavar="N", help="Requests sent at once.  [default: 64; sync 10]"
    ),
    click.option("--ordered", is_flag=True, help="Write rows in the order of the input."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Take so many rows of the input at most."),
    click.option("--dedupe", is_flag=True, help="Send equal requests once; all their rows get the answer."),
    click.option("--max-cost", type=float, metavar="RUB", help="Send no row by which the run could cost more."),
    click.option("--max-failures", metavar="N|N%", help="Stop when more rows have failed."),
    click.option(
        "--on-ambiguous",
        type=click.Choice(["resubmit", "fail"]),
        help="Where a row may be billed without a result: send it again, --retries times, or not.  [default: resubmit]",
    ),
    click.option("--retries", type=click.IntRange(0), metavar="N", help="How often a row is repeated.  [default: 2]"),
    click.option(
        "--retry-on",
        multiple=True,
        metavar="OUTCOME[:CHANGES]",
        help="Such as truncated:max_tokens=x2; may be repeated.  [default: failed]",
    ),
    click.option(
        "--prices",
        metavar="FILE",
        type=FILE,
        help="Prices, as JSON: {MODEL: {MODE: [INPUT, OUTPUT]}}, in RUB for 1,000 tokens.",
    ),
    click.option("--quota", metavar="NAME=N,...", help="Quotas that support has raised, such as submit_per_second=50."),
    click.option("--strict", is_flag=True, help="Send nothing if a row is invalid."),
    click.option("--dry-run", is_flag=True, help="Check the rows, and estimate tokens and cost; generate nothing."),
    connection_options(
        "Seconds for each request, its wait for the quota included.  [default: 60 once it has its slot]",
        request_id=False,
    ),
)


def run_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a run."""
    return functools.reduce(lambda command, option: option(command), reversed(_OPTIONS), function)

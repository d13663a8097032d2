"""`yagrpc operation`: gets an operation by its id, waits for it, or cancels it; collects the results of many."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import click

from yagrpc.cli.collecting.ids import Ids, read_ids
from yagrpc.cli.collecting.run import DONE, Rows, tally
from yagrpc.cli.collecting.run import collect as collect_into
from yagrpc.cli.groups import Group
from yagrpc.cli.io.failures import FAILED, TIMED_OUT, InterruptedByUser, reporting_ids
from yagrpc.cli.io.output import note, print_text
from yagrpc.cli.io.render import summary
from yagrpc.cli.io.results import print_operation, wait_and_print, wait_and_print_each
from yagrpc.cli.options import FILE, Connection, Text, connection_options, examples, json_option
from yagrpc.errors import YagrpcError

if TYPE_CHECKING:
    from yagrpc import Operation

__all__ = ["operation"]


@click.group(cls=Group, epilog=examples("yagrpc operation get d7q...", "yagrpc operation wait d7q... --timeout 600"))
def operation() -> None:
    """Show operations, wait for them, or cancel them."""


@operation.command(epilog=examples("yagrpc operation get d7q...", "yagrpc operation get d7q... --json | jq .done"))
@click.argument("operation_id", metavar="ID")
@json_option("Print the operation with its response as JSON, as the REST API does.")
@connection_options("Seconds to wait for the answer.  [default: 10]", request_id=False)
def get(connection: Connection, operation_id: str, as_json: bool) -> None:
    """Get an operation once, and print its state in one line."""
    timeout = {} if connection.timeout is None else {"timeout": connection.timeout}
    with connection.client() as client:
        found = client.operation(operation_id).refresh(**timeout)
    _show(found, as_json)


@operation.command(
    epilog=examples(
        "yagrpc operation wait d7q... > answer.txt",
        "yagrpc operation wait d7q... --timeout 600 --json",
        "yagrpc operation wait $(cat ids.txt) --json > operations.jsonl",
    )
)
@click.argument("operation_ids", metavar="ID...", nargs=-1, required=True)
@json_option("Print the whole operation with its response as JSON, instead of its text; one of several on a line.")
@connection_options("Seconds to wait, for all of them; 0 polls once.  [default: no limit]", request_id=False)
def wait(connection: Connection, operation_ids: tuple[str, ...], as_json: bool) -> None:
    """Wait until operations are done, and print their texts.

    Of several operations, each is printed as soon as it is done, under a line with its id. One that fails does not end
    the wait for the others: it is reported on standard error, and the exit code is 1 in the end. The operations do not
    depend on this command: you can stop waiting, and wait again later.
    """
    with connection.client() as client:
        found = [client.operation(each) for each in dict.fromkeys(operation_ids)]
        if len(found) > 1:
            click.get_current_context().exit(wait_and_print_each(found, connection.timeout, as_json=as_json))
        with reporting_ids([found[0].id]):
            wait_and_print(found[0], connection.timeout, as_json=as_json)


@operation.command(
    epilog=examples(
        "yagrpc operation collect --ids ids.txt -o results.jsonl",
        "yagrpc operation collect --ids jobs.csv --column operation_id -o results.jsonl --timeout 3600",
        "psql -Atc 'SELECT operation_id FROM jobs' | yagrpc operation collect --ids - -o results.jsonl",
    )
)
@click.option(
    "--ids", metavar="FILE", type=FILE, required=True, help="The ids, one on a line; '-' is standard input (UTF-8)."
)
@click.option("--column", metavar="NAME", type=Text(), help="The column of a CSV file, or key of JSON lines, with ids.")
@click.option(
    "-o", "--output", metavar="OUT", type=click.Path(), required=True, help="The file of results, as JSON lines."
)
@connection_options("Seconds to wait, for all of them; 0 polls each once.  [default: no limit]", request_id=False)
def collect(connection: Connection, ids: str, column: str | None, output: str) -> None:
    """Write the results of many operations to a file.

    Anybody may have submitted them; each is written as soon as it ends. Each has one row: its id, outcome (done,
    failed, cancelled, expired, not_found, filtered, truncated, unusable), text, error, usage and model_version. A
    second run with the same file continues: it skips the operations that are there. Several runs can't write to one
    file at once.

    Exit codes: 0 all are done, 1 some failed, 2 there are no ids, 3 some have not ended in time.
    """
    if ids != "-" and os.path.exists(output) and os.path.exists(ids) and os.path.samefile(ids, output):
        raise click.UsageError("--ids and --output are the same file.")
    with contextlib.closing(Ids()) as wanted:
        wanted.add(read_ids(ids, column))
        with contextlib.closing(Rows(output)) as rows:
            wanted.end(rows.outcomes())
            click.get_current_context().exit(_collected(connection, wanted, rows))


@operation.command(epilog=examples("yagrpc operation cancel d7q..."))
@click.argument("operation_id", metavar="ID")
@json_option("Print the operation as JSON, as the REST API does.")
@connection_options("Seconds to wait for the answer.  [default: 60]")
def cancel(connection: Connection, operation_id: str, as_json: bool) -> None:
    """Ask the service to cancel an operation, and print its state.

    The operation may still finish, and may be billed.
    """
    with connection.client() as client:
        found = client.operation(operation_id)
        found.cancel(**connection.call_parameters())
    _show(found, as_json)


def _collected(connection: Connection, ids: Ids, rows: Rows) -> int:
    """Collect what is left, and say how far that went; gives the exit code."""
    again = "run the same command again to continue"
    try:
        with connection.client() as client:
            complete = collect_into(client, ids, rows, connection.timeout)
    except KeyboardInterrupt:
        raise InterruptedByUser(f"interrupted; {again} ({tally(ids)})") from None
    except YagrpcError:
        note(f"yagrpc: {again} ({tally(ids)})")
        raise
    note(f"yagrpc: {tally(ids)}")
    if not complete:
        return TIMED_OUT
    return FAILED if ids.outcomes().keys() - {DONE} else 0


def _show(found: Operation[Any], as_json: bool) -> None:
    if as_json:
        print_operation(found)
    else:
        print_text(summary(found))

"""`yagrpc operation`: gets an operation by its id, waits for it, or cancels it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from yagrpc.cli.groups import Group
from yagrpc.cli.io.failures import reporting_ids
from yagrpc.cli.io.output import print_text
from yagrpc.cli.io.render import summary
from yagrpc.cli.io.results import print_operation, wait_and_print, wait_and_print_each
from yagrpc.cli.options import Connection, connection_options, examples, json_option

if TYPE_CHECKING:
    from yagrpc import Operation

__all__ = ["operation"]


@click.group(cls=Group, epilog=examples("yagrpc operation get d7q...", "yagrpc operation wait d7q... --timeout 600"))
def operation() -> None:
    """Show an operation, wait for its result, or cancel it."""


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


def _show(found: Operation[Any], as_json: bool) -> None:
    if as_json:
        print_operation(found)
    else:
        print_text(summary(found))

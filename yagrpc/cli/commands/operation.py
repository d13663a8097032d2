"""Commands about operations that were submitted before: `operation get`, `wait`, `cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from yagrpc.cli.groups import Group
from yagrpc.cli.io.failures import about
from yagrpc.cli.io.output import print_json, print_text
from yagrpc.cli.io.render import operation_json, summary
from yagrpc.cli.io.results import deliver
from yagrpc.cli.options import Connection, connection_options, examples, json_option

if TYPE_CHECKING:
    from yagrpc import Operation

__all__ = ["operation"]


@click.group(cls=Group, epilog=examples("yagrpc operation get d7q...", "yagrpc operation wait d7q... --timeout 600"))
def operation() -> None:
    """Look at an operation, wait for its result, or cancel it."""


@operation.command(epilog=examples("yagrpc operation get d7q...", "yagrpc operation get d7q... --json | jq .done"))
@click.argument("operation_id", metavar="ID")
@json_option("Print the operation as JSON, its response included, as the REST API has it.")
@connection_options("Seconds to wait for the answer.  [default: 10]", request_id=False)
def get(connection: Connection, operation_id: str, as_json: bool) -> None:
    """Ask once how an operation is, and print that in one line."""
    timeout = {} if connection.timeout is None else {"timeout": connection.timeout}
    with connection.client() as client:
        found = client.operation(operation_id).refresh(**timeout)
    _show(found, as_json)


@operation.command(
    epilog=examples("yagrpc operation wait d7q... > answer.txt", "yagrpc operation wait d7q... --timeout 600 --json")
)
@click.argument("operation_id", metavar="ID")
@json_option("Print the operation as JSON, its response included, in place of the text.")
@connection_options("Seconds to wait; 0 is one look.  [default: for ever]", request_id=False)
def wait(connection: Connection, operation_id: str, as_json: bool) -> None:
    """Wait until an operation is done, and print its text.

    The operation goes on whatever happens to this command, and can be waited for again.
    """
    with connection.client() as client:
        awaited = client.operation(operation_id)
        with about(operation_id):
            deliver(awaited, connection.timeout, as_json=as_json)


@operation.command(epilog=examples("yagrpc operation cancel d7q..."))
@click.argument("operation_id", metavar="ID")
@json_option("Print the operation as JSON, as the REST API has it.")
@connection_options("Seconds to wait for the answer.  [default: 60]")
def cancel(connection: Connection, operation_id: str, as_json: bool) -> None:
    """Ask the service to stop an operation, and print how it is then.

    It may finish all the same, and may be billed.
    """
    with connection.client() as client:
        found = client.operation(operation_id)
        found.cancel(**connection.call_parameters())
    _show(found, as_json)


def _show(found: Operation[Any], as_json: bool) -> None:
    if as_json:
        print_json(operation_json(found.proto))
    else:
        print_text(summary(found))

"""Commands about operations that were submitted before: `operation get`, `wait`, `cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from yagrpc.cli.connection import Connection, connected
from yagrpc.cli.failures import about
from yagrpc.cli.groups import Group
from yagrpc.cli.options import examples, json_option
from yagrpc.cli.output import print_json, print_text, waiting
from yagrpc.cli.render import note_status, operation_json, summary
from yagrpc.errors import OperationError

if TYPE_CHECKING:
    from yagrpc import Operation

__all__ = ["deliver", "operation"]


@click.group(cls=Group, epilog=examples("yagrpc operation get d7q...", "yagrpc operation wait d7q... --timeout 600"))
def operation() -> None:
    """Look at an operation, wait for its result, or cancel it."""


@operation.command(epilog=examples("yagrpc operation get d7q...", "yagrpc operation get d7q... --json | jq .done"))
@click.argument("operation_id", metavar="ID")
@json_option("Print the operation as JSON, its response included, as the REST API has it.")
@connected("Seconds to wait for the answer.  [default: 10]", request_id=False)
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
@connected("Seconds to wait; 0 is one look.  [default: for ever]", request_id=False)
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
@connected("Seconds to wait for the answer.  [default: 60]")
def cancel(connection: Connection, operation_id: str, as_json: bool) -> None:
    """Ask the service to stop an operation, and print how it is then.

    It may finish all the same, and may be billed.
    """
    with connection.client() as client:
        found = client.operation(operation_id)
        found.cancel(**connection.calling())
    _show(found, as_json)


def deliver(awaited: Operation[Any], timeout: float | None, *, as_json: bool) -> None:
    """Wait for an operation of a text completion, and print its text or, as JSON, all of it.

    As JSON, an operation that failed is printed too, before the failure is raised, and one that has another result
    than a completion is as good as any.
    """
    from yagrpc import methods
    from yagrpc.results import Completion

    # Loaded before anything is waited for: an interrupt in the middle of an import leaves warnings behind.
    _ = methods.OperationService.Get.request_type
    try:
        with waiting(f"waiting for operation {awaited.id}"):
            result = awaited.result(timeout)
    except OperationError:
        if as_json and awaited.proto.done:
            print_json(operation_json(awaited.proto))
            if awaited.proto.HasField("response"):
                return
        raise
    if as_json:
        print_json(operation_json(awaited.proto))
        return
    answer = result if isinstance(result, Completion) else Completion(result)
    print_text(answer.text)
    note_status(answer)


def _show(found: Operation[Any], as_json: bool) -> None:
    if as_json:
        print_json(operation_json(found.proto))
    else:
        print_text(summary(found))

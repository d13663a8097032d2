"""`yagrpc call`: calls any method of the service, with request and response in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import click

from yagrpc.cli.io.failures import reporting_ids
from yagrpc.cli.io.inputs import parse_request
from yagrpc.cli.io.output import print_json, print_text
from yagrpc.cli.io.render import to_json
from yagrpc.cli.io.results import print_operation
from yagrpc.cli.options import FILE, Connection, Text, connection_options, examples
from yagrpc.hiding import shown

if TYPE_CHECKING:
    from yagrpc.method import OperationMethod, StreamMethod, UnaryMethod

    Method: TypeAlias = UnaryMethod[Any, Any] | StreamMethod[Any, Any] | OperationMethod[Any, Any, Any]

__all__ = ["call"]


def _offered(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The methods that begin so, for the shell: by their paths after a slash."""
    from yagrpc.named import named_methods

    known = named_methods()
    names = [method.path for method in known.values()] if incomplete.startswith("/") else list(known)
    return [name for name in names if name.startswith(incomplete)]


@click.command(
    epilog=examples(
        "yagrpc call --list",
        "yagrpc call TokenizerService/Tokenize --request body.json",
        """echo '{"operationId": "d7q..."}' | yagrpc call OperationService/Get --request -""",
    )
)
@click.argument("method", required=False, type=Text(), shell_complete=_offered)
@click.option(
    "--request",
    "source",
    metavar="PATH",
    type=FILE,
    help="A file with the request in JSON, or '-' for standard input.  [default: {}]",
)
@click.option("--list", "listed", is_flag=True, help="List all methods with their paths, and call nothing.")
@connection_options("Seconds to wait.  [default: 60; for a stream 180]")
def call(connection: Connection, method: str | None, source: str | None, listed: bool) -> None:
    """Call any METHOD: Service/Method, or a full gRPC path.

    The command prints the response as JSON: of a stream, one message on each line; of a long-running method, its
    operation.
    """
    if listed:
        from yagrpc.named import named_methods

        known = named_methods()
        width = max(map(len, known))
        for name, each in known.items():
            print_text(f"{name:{width}}  {each.path}")
        return
    if method is None:
        raise click.ClickException("METHOD is missing: see 'yagrpc call --list'.")
    found = _find(method)
    request = found.request_type() if source is None else parse_request(found.request_type, source)
    _call(connection, found, request)


def _call(connection: Connection, method: Method, request: Any) -> None:
    from yagrpc.method import OperationMethod, StreamMethod

    if isinstance(method, OperationMethod):
        with connection.submitting() as client:
            operation = client.call(method, request, **connection.call_parameters())
            with reporting_ids([operation.id]):
                print_operation(operation)
        return
    with connection.client() as client:
        if isinstance(method, StreamMethod):
            with client.call(method, request, **connection.call_parameters()) as responses:
                for response in responses:
                    print_json(to_json(response), one_line=True)
        else:
            print_json(to_json(client.call(method, request, **connection.call_parameters())))


def _find(name: str) -> Method:
    """Find a method by its short name or its path."""
    from yagrpc.method import OperationMethod, StreamMethod, UnaryMethod
    from yagrpc.named import find_method, similar_names

    found = find_method(name)
    if isinstance(found, (UnaryMethod, StreamMethod, OperationMethod)):
        return found
    close = similar_names(name)
    remedy = f"did you mean {' or '.join(close)}?" if close else "see 'yagrpc call --list'"
    raise click.ClickException(f"Unknown method {shown(name)}: {remedy}")

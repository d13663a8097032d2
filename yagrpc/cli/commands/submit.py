"""`yagrpc submit`: a request in asynchronous mode."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from yagrpc.cli.io.failures import about, submitting
from yagrpc.cli.io.inputs import parse_request
from yagrpc.cli.io.output import print_json, print_text, waiting
from yagrpc.cli.io.render import operation_json
from yagrpc.cli.io.results import deliver
from yagrpc.cli.options import (
    Connection,
    Generation,
    Prompt,
    completion_parameters,
    connection_options,
    examples,
    generation_options,
    json_option,
    prompt_options,
)

if TYPE_CHECKING:
    from yagrpc import Client, Operation

__all__ = ["submit"]


@click.command(
    epilog=examples(
        "yagrpc submit 'To be, or not to be' --system 'Translate into Russian'",
        "yagrpc submit --request body.json",
        "id=$(yagrpc submit --id --file question.txt); yagrpc operation wait $id",
    )
)
@prompt_options
@generation_options
@click.option(
    "--request",
    "source",
    metavar="PATH",
    help="Send the request in this file, or '-': the JSON body of the service's REST guide. Without a prompt.",
)
@click.option("--id", "only_id", is_flag=True, help="Print the operation's id alone.")
@click.option("--wait", is_flag=True, help="Wait until it is done, and print the text.")
@json_option("With --wait: print the whole operation, its response included, in place of the text.")
@connection_options("Seconds to wait, with --wait for submit and result together.  [default: 60 for the submit]")
def submit(
    connection: Connection,
    prompt: Prompt,
    generation: Generation,
    source: str | None,
    only_id: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Submit a request, to be answered later.

    That is the service's asynchronous mode, at half the price. The operation is printed as JSON. Its result is kept
    for three days, and its id is the only way to it. A request is never submitted twice.
    """
    if only_id and (wait or as_json):
        raise click.UsageError("--id prints the id alone: leave --wait and --json out.")
    if source is not None and (prompt.given or generation.given):
        raise click.UsageError("--request is the whole request: leave the prompt and its options out.")
    started = time.monotonic()
    with connection.client() as client:
        operation = _submitted(client, connection, prompt, generation, source)
        with about(operation.id):
            if only_id:
                print_text(operation.id)
            elif not wait:
                print_json(operation_json(operation.proto))
            else:
                # At once, whatever happens to this process later: nothing else keeps the id.
                click.echo(f"yagrpc: operation {operation.id} accepted", err=True)
                left = connection.timeout
                if left is not None:
                    left = max(0.0, left - (time.monotonic() - started))
                deliver(operation, left, as_json=as_json)


def _submitted(
    client: Client, connection: Connection, prompt: Prompt, generation: Generation, source: str | None
) -> Operation[Any]:
    from yagrpc import _pb, methods
    from yagrpc._core.requests import check_completion

    if source is not None:
        request = parse_request(_pb.text_generation_service_pb2.CompletionRequest, source)
        check_completion(request)
        with submitting(), waiting("submitting"):
            return client.call(methods.TextGenerationAsyncService.Completion, request, **connection.call_parameters())
    text, parameters = prompt.text(), completion_parameters(connection, prompt, generation)
    with submitting(), waiting("submitting"):
        return client.completion_async(text, **parameters)

"""`yagrpc submit`: starts an operation in the service's asynchronous mode."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from yagrpc.cli.io.failures import reporting_ids
from yagrpc.cli.io.inputs import parse_request
from yagrpc.cli.io.output import Waiting, note, print_text
from yagrpc.cli.io.results import print_operation, wait_and_print
from yagrpc.cli.options import (
    FILE,
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
    type=FILE,
    help="A file with the whole request, or '-': the JSON body of the service's REST guide. It replaces the prompt.",
)
@click.option("--id", "only_id", is_flag=True, help="Print only the operation's id.")
@click.option("--wait", is_flag=True, help="Wait until the operation is done, and print its text.")
@json_option("With --wait: print the whole operation with its response, instead of its text.")
@connection_options(
    "Seconds to wait; with --wait, for the submit and the result together.  [default: 60 for the submit]"
)
def submit(
    connection: Connection,
    prompt: Prompt,
    generation: Generation,
    source: str | None,
    only_id: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Submit a request; the answer comes later.

    This is the service's asynchronous mode, at half the price. The command prints the operation as JSON. The service
    keeps the result for three days; to get it, you need the operation's id. A request is never submitted twice.
    """
    if only_id and (wait or as_json):
        raise click.UsageError("--id prints only the id: remove --wait and --json.")
    if source is not None and (prompt.given or generation.given):
        raise click.UsageError("--request is the whole request: remove the prompt and its options.")
    started = time.monotonic()
    with connection.submitting() as client:
        operation = _submit(client, connection, prompt, generation, source)
        with reporting_ids([operation.id]):
            if only_id:
                print_text(operation.id)
            elif not wait:
                print_operation(operation)
            else:
                # Before the wait, since this process may be killed: nothing else keeps the id.
                note(f"yagrpc: operation {operation.id} accepted")
                remaining = connection.timeout
                if remaining is not None:
                    remaining = max(0.0, remaining - (time.monotonic() - started))
                wait_and_print(operation, remaining, as_json=as_json)


def _submit(
    client: Client, connection: Connection, prompt: Prompt, generation: Generation, source: str | None
) -> Operation[Any]:
    from yagrpc import _pb, methods
    from yagrpc._core.call.requests import check_completion

    if source is not None:
        request = parse_request(_pb.text_generation_service_pb2.CompletionRequest, source)
        check_completion(request)
        with Waiting("submitting"):
            return client.call(methods.TextGenerationAsyncService.Completion, request, **connection.call_parameters())
    text, parameters = prompt.text(), completion_parameters(connection, prompt, generation)
    with Waiting("submitting"):
        return client.completion_async(text, **parameters)

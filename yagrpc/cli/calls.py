"""Commands that ask a model: `completion`, `stream`, `submit`, `tokenize`."""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from yagrpc.cli.connection import Connection, connected
from yagrpc.cli.failures import about, submitting
from yagrpc.cli.growing import GrowingText
from yagrpc.cli.inputs import parse_request
from yagrpc.cli.operations import deliver
from yagrpc.cli.options import Generation, Prompt, examples, generating, json_option, prompted
from yagrpc.cli.output import print_json, print_text, waiting
from yagrpc.cli.render import note_status, operation_json, to_json
from yagrpc.errors import ResultError

if TYPE_CHECKING:
    from yagrpc import Client, CompletionParameters, ModelParameters, Operation

__all__ = ["completion", "stream", "submit", "tokenize"]

_COMPLETION_TIMEOUT = "Seconds to wait for the whole answer.  [default: 180]"


@click.command(
    epilog=examples(
        "yagrpc completion 'To be, or not to be' --system 'Translate into Russian'",
        "git diff | yagrpc completion --model yandexgpt/rc --system 'Write a commit message' -",
    )
)
@prompted
@generating
@json_option("Print the whole response as JSON, as the REST API has it.")
@connected(_COMPLETION_TIMEOUT)
def completion(connection: Connection, prompt: Prompt, generation: Generation, as_json: bool) -> None:
    """Generate an answer and print it.

    The prompt is TEXT (several words are joined by spaces), '-' for standard input, or --file.
    """
    text, parameters = prompt.text(), _parameters(connection, prompt, generation)
    with connection.client() as client, waiting("waiting for the answer"):
        answer = client.completion(text, **parameters)
    if as_json:
        print_json(to_json(answer.proto))
    else:
        print_text(answer.text)
        note_status(answer)


@click.command(
    epilog=examples(
        "yagrpc stream 'Tell me a story'",
        "yagrpc stream --json --file question.txt | jq .usage.totalTokens",
    )
)
@prompted
@generating
@json_option("Print every message of the stream as JSON, one on a line; each repeats the text so far.")
@connected(_COMPLETION_TIMEOUT)
def stream(connection: Connection, prompt: Prompt, generation: Generation, as_json: bool) -> None:
    """Generate an answer and print it as it grows.

    The service may change text that it has given before. A terminal then gets the text anew, in its place; in a
    pipe, which gets only what is new otherwise, the whole text begins again on a new line.
    """
    text, parameters = prompt.text(), _parameters(connection, prompt, generation)
    with connection.client() as client, client.completion_stream(text, **parameters) as chunks:
        with waiting("waiting for the answer"):
            first = next(chunks, None)
        if first is None:
            raise ResultError("the service answered without a completion")
        if as_json:
            for chunk in chain((first,), chunks):
                print_json(to_json(chunk.proto), one_line=True)
            return
        last = first
        with GrowingText() as growing:
            for last in chain((first,), chunks):
                growing.show(last)
        note_status(last)


@click.command(
    epilog=examples(
        "yagrpc submit 'To be, or not to be' --system 'Translate into Russian'",
        "yagrpc submit --request body.json",
        "id=$(yagrpc submit --id --file question.txt); yagrpc operation wait $id",
    )
)
@prompted
@generating
@click.option(
    "--request",
    "source",
    metavar="PATH",
    help="Send the request in this file, or '-': the JSON body of the service's REST guide. Without a prompt.",
)
@click.option("--id", "only_id", is_flag=True, help="Print the operation's id alone.")
@click.option("--wait", is_flag=True, help="Wait until it is done, and print the text.")
@json_option("With --wait: print the whole operation, its response included, in place of the text.")
@connected("Seconds to wait, with --wait for submit and result together.  [default: 60 for the submit]")
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
    from yagrpc._core.call.requests import check_completion

    if source is not None:
        request = parse_request(_pb.text_generation_service_pb2.CompletionRequest, source)
        check_completion(request)
        with submitting(), waiting("submitting"):
            return client.call(methods.TextGenerationAsyncService.Completion, request, **connection.calling())
    text, parameters = prompt.text(), _parameters(connection, prompt, generation)
    with submitting(), waiting("submitting"):
        return client.completion_async(text, **parameters)


def _parameters(connection: Connection, prompt: Prompt, generation: Generation) -> CompletionParameters:
    return {**generation.parameters(), **prompt.modelling(), **connection.calling()}


@click.command(
    epilog=examples(
        "yagrpc tokenize 'To be, or not to be'",
        "yagrpc tokenize --completion --system 'Translate into Russian' --file question.txt",
    )
)
@prompted
@click.option("--completion", "whole", is_flag=True, help="Count as a whole request: what its input is billed as.")
@click.option("--system", metavar="TEXT", help="With --completion: a system message, put before the prompt.")
@json_option("Print the tokens themselves as JSON, as the REST API has it.")
@connected("Seconds to wait.  [default: 60]")
def tokenize(connection: Connection, prompt: Prompt, whole: bool, system: str | None, as_json: bool) -> None:
    """Print how many tokens a text has; free of charge."""
    if system is not None and not whole:
        raise click.UsageError("--system is a part of whole requests: give --completion too.")
    text = prompt.text()
    with connection.client() as client:
        parameters: ModelParameters = {**prompt.modelling(), **connection.calling()}
        if whole:
            tokens = client.tokenize_completion(text, system=system, **parameters)
        else:
            tokens = client.tokenize(text, **parameters)
    if as_json:
        print_json(to_json(tokens.proto))
    else:
        print_text(str(len(tokens)))

"""`yagrpc stream`: prints an answer while the model generates it."""

from __future__ import annotations

from itertools import chain

import click

from yagrpc.cli.io.growing import GrowingText
from yagrpc.cli.io.output import Waiting, print_json
from yagrpc.cli.io.render import to_json
from yagrpc.cli.io.results import check_answer
from yagrpc.cli.options import (
    COMPLETION_TIMEOUT_HELP,
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

__all__ = ["stream"]


@click.command(
    epilog=examples(
        "yagrpc stream 'Tell me a story'",
        "yagrpc stream --json --file question.txt | jq .usage.totalTokens",
    )
)
@prompt_options
@generation_options
@json_option("Print every message of the stream as JSON, one on a line; each has the whole text so far.")
@connection_options(COMPLETION_TIMEOUT_HELP)
def stream(connection: Connection, prompt: Prompt, generation: Generation, as_json: bool) -> None:
    """Generate an answer and print it while it grows.

    The service may change text that it has already sent. A terminal then shows the new text in place of the old one.
    A pipe gets the whole text again, on a new line. The command fails if the model did not finish the answer.
    """
    text, parameters = prompt.text(), completion_parameters(connection, prompt, generation)
    with connection.client() as client, client.completion_stream(text, **parameters) as chunks:
        with Waiting("waiting for the answer"):
            first = next(chunks)  # a stream without any is a ResultError
        last = first
        if as_json:
            for last in chain((first,), chunks):
                print_json(to_json(last.proto), one_line=True)
        else:
            with GrowingText() as growing:
                for last in chain((first,), chunks):
                    growing.show(last)
        check_answer(last, as_json=as_json)

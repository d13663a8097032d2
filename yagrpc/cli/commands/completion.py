"""`yagrpc completion`: prints an answer when it is complete."""

from __future__ import annotations

import click

from yagrpc.cli.io.output import Waiting, print_json
from yagrpc.cli.io.render import to_json
from yagrpc.cli.io.results import check_answer, print_answer
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

__all__ = ["completion"]


@click.command(
    epilog=examples(
        "yagrpc completion 'To be, or not to be' --system 'Translate into Russian'",
        "git diff | yagrpc completion --model yandexgpt/rc --system 'Write a commit message' -",
    )
)
@prompt_options
@generation_options
@json_option("Print the whole response as JSON, as the REST API does.")
@connection_options(COMPLETION_TIMEOUT_HELP)
def completion(connection: Connection, prompt: Prompt, generation: Generation, as_json: bool) -> None:
    """Generate an answer and print it.

    The prompt is TEXT (several words are joined with spaces), '-' for standard input, or --file. The command fails if
    the model did not finish the answer; it is printed all the same.
    """
    text, parameters = prompt.text(), completion_parameters(connection, prompt, generation)
    with connection.client() as client, Waiting("waiting for the answer"):
        answer = client.completion(text, **parameters)
    if as_json:
        print_json(to_json(answer.proto))
        check_answer(answer, as_json=True)
    else:
        print_answer(answer)

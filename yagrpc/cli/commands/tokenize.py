"""`yagrpc tokenize`: counts the tokens of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yagrpc.cli.io.output import print_json, print_text
from yagrpc.cli.io.render import to_json
from yagrpc.cli.options import Connection, Prompt, Text, connection_options, examples, json_option, prompt_options

if TYPE_CHECKING:
    from yagrpc import ModelParameters

__all__ = ["tokenize"]


@click.command(
    epilog=examples(
        "yagrpc tokenize 'To be, or not to be'",
        "yagrpc tokenize --completion --system 'Translate into Russian' --file question.txt",
    )
)
@prompt_options
@click.option("--completion", "whole", is_flag=True, help="Count the whole input of a completion, as it is billed.")
@click.option(
    "--system", metavar="TEXT", type=Text(), help="With --completion: a system message, put before the prompt."
)
@json_option("Print the tokens as JSON, as the REST API does.")
@connection_options("Seconds to wait.  [default: 60]")
def tokenize(connection: Connection, prompt: Prompt, whole: bool, system: str | None, as_json: bool) -> None:
    """Count the tokens of a text; free of charge."""
    if system is not None and not whole:
        raise click.UsageError("--system needs --completion: a text alone has no system message.")
    text = prompt.text()
    with connection.client() as client:
        parameters: ModelParameters = {**prompt.model_parameters(), **connection.call_parameters()}
        if whole:
            tokens = client.tokenize_completion(text, system=system, **parameters)
        else:
            tokens = client.tokenize(text, **parameters)
    if as_json:
        print_json(to_json(tokens.proto))
    else:
        print_text(str(len(tokens)))

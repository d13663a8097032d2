"""`yagrpc embed`: prints the vector of a text, or of each line of a text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click

from yagrpc.cli.io.output import Waiting, print_json, print_text
from yagrpc.cli.io.render import to_json
from yagrpc.cli.options import (
    EMBEDDING_MODELS,
    Connection,
    Prompt,
    connection_options,
    examples,
    json_option,
    prompt_options_for,
)
from yagrpc.errors import YagrpcError

if TYPE_CHECKING:
    from yagrpc import EmbeddingParameters

__all__ = ["embed"]

_NUMBERED: Final = re.compile(r"^texts\[(\d+)\]")
"""How an error names one of several texts, which are lines here."""


@click.command(
    epilog=examples(
        "yagrpc embed 'Where does the platypus live?' --model text-embeddings-v2-query",
        "yagrpc embed --lines --dim 768 --json --file passages.txt > vectors.jsonl",
    )
)
@prompt_options_for("text-embeddings-v2-doc", EMBEDDING_MODELS)
@click.option("--dim", type=int, metavar="N", help="Numbers in a vector: 256 or 768; models v2 only.  [default: 256]")
@click.option("--lines", is_flag=True, help="Embed each line of the text, in place of the whole text.")
@json_option("Print the responses as JSON, as the REST API does; with --lines, one on each line.")
@connection_options(
    "Seconds to wait, for all texts together.  [default: 60 for each text, its wait for the quota apart]"
)
def embed(connection: Connection, prompt: Prompt, dim: int | None, lines: bool, as_json: bool) -> None:
    """Turn a text into a vector, for search by meaning.

    The text is TEXT (several words are joined with spaces), '-' for standard input, or --file. The command prints the
    numbers of a vector on one line, with spaces between. With --lines, vectors come in the order of the lines, when
    all are there.
    """
    text = prompt.text()
    texts = [line.removesuffix("\r") for line in text.split("\n")] if lines else [text]
    for number, line in enumerate(texts, start=1):
        if not line.strip():
            raise click.ClickException(f"Line {number} is empty: there is no vector of it; remove the line.")
    given: Any = {"dim": dim, **prompt.model_parameters(), **connection.call_parameters()}
    parameters: EmbeddingParameters = given
    with connection.client() as client, Waiting("waiting for the vectors" if lines else "waiting for the vector"):
        try:
            embeddings = client.text_embedding(texts if lines else text, **parameters)
        except YagrpcError as error:
            error.message = _NUMBERED.sub(lambda found: f"line {int(found[1]) + 1}", error.message)
            raise
    for vector, proto in zip(embeddings, embeddings.protos, strict=True):
        if as_json:
            print_json(to_json(proto), one_line=lines)
        else:
            print_text(" ".join(map(repr, vector)))

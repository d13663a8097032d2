"""The options of prompts and of their answers, and the objects that they become.

Rules: as for a connection: what is not given is not passed on, and what the client checks is not checked here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from yagrpc.cli.inputs import read_json, read_text

if TYPE_CHECKING:
    from yagrpc import CompletionParameters, ModelParameters

__all__ = ["Generation", "Prompt", "examples", "generating", "json_option", "prompted", "with_options"]

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


@dataclass(frozen=True)
class Prompt:
    """The prompt as the command line gives it."""

    words: tuple[str, ...]
    file: str | None
    model: str | None

    @property
    def given(self) -> bool:
        """Whether there is any of it."""
        return bool(self.words or self.file is not None or self.model is not None)

    def text(self) -> str:
        """The prompt itself.

        Raises:
            click.UsageError: There is none, or two.
            click.ClickException: A file can't be read.
        """
        if self.words and self.file is not None:
            raise click.UsageError("Give the prompt as TEXT or by --file, not both.")
        if not self.words and self.file is None:
            raise click.UsageError("There is no prompt: give TEXT, '-' for standard input, or --file PATH.")
        if self.file is not None:
            text = read_text(self.file)
        else:
            text = read_text("-") if self.words == ("-",) else " ".join(self.words)
        if not text.strip():
            raise click.UsageError("The prompt is empty.")
        return text

    def modelling(self) -> ModelParameters:
        """Which model, if that is given."""
        return {} if self.model is None else {"model": self.model}


def prompted(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a prompt; it takes them as `prompt`."""

    @functools.wraps(function)
    def command(*args: Any, words: tuple[str, ...], file: str | None, model: str | None, **kwargs: Any) -> None:
        function(*args, prompt=Prompt(words, file, model), **kwargs)

    return with_options(
        command,
        click.argument("words", metavar="[TEXT]...", nargs=-1),
        click.option("--file", metavar="PATH", help="Read the prompt from a file (UTF-8), or from '-'."),
        click.option(
            "--model", metavar="NAME", help="NAME, NAME/BRANCH, or a whole URI with '://'.  [default: yandexgpt]"
        ),
    )


@dataclass(frozen=True)
class Generation:
    """How an answer is to be generated."""

    system: str | None
    temperature: float | None
    max_tokens: int | None
    reasoning_mode: str | None
    json_object: bool
    json_schema: str | None

    @property
    def given(self) -> bool:
        """Whether anything of it is said."""
        return self != Generation(None, None, None, None, False, None)

    def parameters(self) -> CompletionParameters:
        """What is given of it, as parameters of a completion.

        Raises:
            click.ClickException: The schema's file can't be read.
        """
        schema = None if self.json_schema is None else read_json(self.json_schema)
        named: Any = {
            "system": self.system,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "reasoning_mode": self.reasoning_mode,
            "json_object": self.json_object or None,
            "json_schema": schema,
        }
        given: Any = {name: value for name, value in named.items() if value is not None}
        parameters: CompletionParameters = given
        return parameters


def generating(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a generation; it takes them as `generation`."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> None:
        generation = Generation(**{name: kwargs.pop(name) for name in Generation.__dataclass_fields__})
        function(*args, generation=generation, **kwargs)

    return with_options(
        command,
        click.option("--system", metavar="TEXT", help="A system message, put before the prompt."),
        click.option("--temperature", type=float, help="From 0 to 1.  [default: the service's, 0.3]"),
        click.option("--max-tokens", type=int, help="The longest answer, in tokens."),
        click.option(
            "--reasoning-mode",
            type=click.Choice(["DISABLED", "ENABLED_HIDDEN"], case_sensitive=False),
            metavar="DISABLED|ENABLED_HIDDEN",
            help="Whether the model reasons first, at the price of more tokens.",
        ),
        click.option("--json-object", is_flag=True, help="Make the answer a JSON object; ask for it in the text too."),
        click.option(
            "--json-schema", metavar="PATH", help="A file with the JSON schema that the answer has to follow."
        ),
    )


def json_option(text: str) -> Decorator:
    """The option that makes a command's output JSON; the command takes it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def examples(*lines: str) -> str:
    """The epilog of a command: examples, each on its line as it stands."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def with_options(command: Callable[..., None], *options: Decorator) -> Callable[..., None]:
    """A command with several options, shown in its help in their order."""
    for option in reversed(options):
        command = option(command)
    return command

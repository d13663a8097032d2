"""The options of prompts and of their answers, and the objects that they become.

Rules: as for a connection: what is not given is not passed on, and what the client checks is not checked here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec

import click

from yagrpc.cli.io.inputs import read_json, read_text

if TYPE_CHECKING:
    from yagrpc import CallParameters, Client, CompletionParameters, ModelParameters

__all__ = [
    "COMPLETION_TIMEOUT",
    "Connection",
    "Generation",
    "Prompt",
    "completion_parameters",
    "connected",
    "examples",
    "generating",
    "json_option",
    "prompted",
    "with_options",
]

Decorator = Callable[[Callable[..., None]], Callable[..., None]]
P = ParamSpec("P")

COMPLETION_TIMEOUT: Final = "Seconds to wait for the whole answer.  [default: 180]"


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


LONGEST: Final = 10_000_000.0
"""Seconds that a timeout may have, 115 days: far above the three days for which results are kept, and far below
what overflows a clock."""


def _seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 <= value <= LONGEST:  # written so that NaN is refused too
        raise click.BadParameter(f"{value} is not a number of seconds from 0 to {LONGEST:.0f}.", ctx, param)
    return value


@dataclass(frozen=True)
class Connection:
    """Where calls go, and how."""

    folder_id: str | None
    endpoint: str | None
    operation_endpoint: str | None
    plaintext: bool
    timeout: float | None
    data_logging: bool | None
    request_id: str | None

    def client(self) -> Client:
        """A client, with credentials from the environment."""
        from yagrpc import Client  # with gRPC, which takes long to import and help needs not

        return Client(
            folder_id=self.folder_id,
            endpoint=self.endpoint,
            operation_endpoint=self.operation_endpoint,
            plaintext=self.plaintext,
            data_logging=self.data_logging,
        )

    def calling(self) -> CallParameters:
        """Parameters of each call."""
        given: CallParameters = {}
        if self.timeout is not None:
            given["timeout"] = self.timeout
        if self.request_id is not None:
            given["request_id"] = self.request_id
        return given


def connected(
    timeout_help: str, *, request_id: bool = True
) -> Callable[[Callable[Concatenate[Connection, P], None]], Callable[..., None]]:
    """Give a command the options of its connection; it takes them as a `Connection`, its first argument.

    Args:
        timeout_help: What the timeout is over, and its default.
        request_id: Whether a request id of the user's own can be sent along.
    """

    def decorate(function: Callable[Concatenate[Connection, P], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(
            *args: Any,
            folder_id: str | None,
            endpoint: str | None,
            operation_endpoint: str | None,
            plaintext: bool,
            timeout: float | None,
            no_data_logging: bool,
            request_id: str | None = None,
            **kwargs: Any,
        ) -> None:
            data_logging = False if no_data_logging else None
            connection = Connection(
                folder_id, endpoint, operation_endpoint, plaintext, timeout, data_logging, request_id
            )
            function(connection, *args, **kwargs)

        options = [
            click.option("--folder-id", metavar="ID", help="The folder of short model names.  [default: YC_FOLDER_ID]"),
            click.option(
                "--endpoint", metavar="HOST:PORT", help="The model service's endpoint, in place of Yandex Cloud's."
            ),
            click.option(
                "--operation-endpoint", metavar="HOST:PORT", help="The operation service's endpoint, likewise."
            ),
            click.option("--plaintext", is_flag=True, help="Connect without TLS; to loopback only."),
            click.option("--timeout", type=float, callback=_seconds, metavar="SECONDS", help=timeout_help),
            click.option("--no-data-logging", is_flag=True, help="Ask the service not to store requests and answers."),
        ]
        if request_id:
            text = "Sent as x-client-request-id.  [default: a new UUID]"
            options.append(click.option("--request-id", metavar="ID", help=text))
        return with_options(command, *options)

    return decorate


def completion_parameters(connection: Connection, prompt: Prompt, generation: Generation) -> CompletionParameters:
    """The parameters of a completion that are given on the command line."""
    return {**generation.parameters(), **prompt.modelling(), **connection.calling()}


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

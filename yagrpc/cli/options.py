"""The options that several commands share, and the objects that commands take them as.

Rules: an option that is not given is not passed on, so that the client's own default holds; what the client checks is
not checked here. There is no option for a credential: other users of a machine can read its command lines.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import click

from yagrpc.cli.io.inputs import read_bytes, read_json, read_text
from yagrpc.cli.io.output import check_output

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from yagrpc import CallParameters, Client, CompletionParameters, Events, ModelParameters

    _ParamType = click.ParamType[str, Any]
else:
    _ParamType = click.ParamType  # generic since click 8.5

__all__ = [
    "COMPLETION_TIMEOUT_HELP",
    "EMBEDDING_MODELS",
    "FILE",
    "Connection",
    "Generation",
    "Prompt",
    "Text",
    "completion_parameters",
    "connection_options",
    "examples",
    "generation_options",
    "json_option",
    "prompt_options",
    "prompt_options_for",
]

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

COMPLETION_TIMEOUT_HELP: Final = "Seconds to wait for the whole answer.  [default: 180]"

MODELS: Final = ("yandexgpt", "yandexgpt/rc", "yandexgpt-lite", "yandexgpt-lite/rc", "aliceai-llm")
"""Models that the shell offers; the service has others, and they are taken too."""

EMBEDDING_MODELS: Final = (
    "text-embeddings-v2-doc",
    "text-embeddings-v2-query",
    "text-search-doc",
    "text-search-query",
)

MAX_TIMEOUT: Final = 10_000_000.0
"""The longest timeout in seconds, 115 days: far above the three days for which results are kept, and far below what
overflows a clock."""


class Text(_ParamType):
    """A text, which is UTF-8 whatever the locale says: its bytes are, in all but old terminals.

    Bytes that are no UTF-8 are read as the locale says.
    """

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text of an argument.

        Raises:
            click.BadParameter: The bytes are neither UTF-8 nor text in the locale's encoding.
        """
        if sys.getfilesystemencoding() != "utf-8":
            with contextlib.suppress(UnicodeError):
                value = os.fsencode(value).decode("utf-8")
        if any("\ud800" <= character <= "\udfff" for character in value):
            self.fail("it is not UTF-8.", param, ctx)
        return value


class OneOf(Text):
    """A text for which the shell offers some values; any other is taken too.

    Args:
        offered: The values that the shell offers.
    """

    def __init__(self, offered: Sequence[str]) -> None:
        self._offered = offered

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """The values that begin so."""
        from click.shell_completion import CompletionItem  # only the shell needs it

        return [CompletionItem(each) for each in self._offered if each.startswith(incomplete)]


FILE: Final = click.Path(allow_dash=True)
"""A path of a file, for which the shell offers names; what reads it says whether it can be read."""


@dataclass(frozen=True)
class Prompt:
    """The prompt, and the model that answers it."""

    words: tuple[str, ...]
    file: str | None
    model: str | None

    @property
    def given(self) -> bool:
        """Whether any of these options is given."""
        return self != Prompt((), None, None)

    def text(self) -> str:
        """Read the prompt.

        Raises:
            click.UsageError: There is no prompt, or there are two.
            click.ClickException: The file can't be read.
        """
        if self.words and self.file is not None:
            raise click.UsageError("Give the prompt as TEXT or with --file, not both.")
        if not self.words and self.file is None:
            raise click.UsageError("The prompt is missing: give TEXT, '-' for standard input, or --file PATH.")
        if self.file is not None:
            text = read_text(self.file)
        else:
            text = read_text("-") if self.words == ("-",) else " ".join(self.words)
        if not text.strip():
            raise click.UsageError("The prompt is empty.")
        return text

    def model_parameters(self) -> ModelParameters:
        """The model as a parameter of a call, if it is given."""
        return {} if self.model is None else {"model": self.model}


@dataclass(frozen=True)
class Generation:
    """How an answer is generated."""

    system: str | None
    temperature: float | None
    max_tokens: int | None
    reasoning_mode: str | None
    json_object: bool
    json_schema: str | None

    @property
    def given(self) -> bool:
        """Whether any of these options is given."""
        return self != Generation(None, None, None, None, False, None)

    def parameters(self) -> CompletionParameters:
        """The options that are given, as parameters of a completion.

        Raises:
            click.ClickException: The file with the schema can't be read.
        """
        schema = None if self.json_schema is None else read_json(self.json_schema)
        values: Any = {
            "system": self.system,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "reasoning_mode": self.reasoning_mode,
            "json_object": self.json_object or None,
            "json_schema": schema,
        }
        given: Any = {name: value for name, value in values.items() if value is not None}
        parameters: CompletionParameters = given
        return parameters


@dataclass(frozen=True)
class Connection:
    """Which endpoints are called, and with which settings."""

    folder_id: str | None
    endpoint: str | None
    operation_endpoint: str | None
    plaintext: bool
    timeout: float | None
    data_logging: bool | None
    ca: str | None = None
    request_id: str | None = None

    def client(self, events: Events | None = None) -> Client:
        """A client with these settings, and with credentials from the environment.

        Args:
            events: What it reports to.

        Raises:
            click.ClickException: The file with the certificates can't be read.
            ConfigError: The settings can't work.
            OSError: stdout can't be written: nothing is sent then, since the answer may be billed, and would be lost.
        """
        from yagrpc import Client  # this loads gRPC, which is slow and which help does not need

        check_output()
        return Client(**self.settings(), events=events)

    def settings(self) -> dict[str, Any]:
        """The settings of a client, of either kind.

        Raises:
            click.ClickException: The file with the certificates can't be read.
        """
        return {
            "folder_id": self.folder_id,
            "endpoint": self.endpoint,
            "operation_endpoint": self.operation_endpoint,
            "plaintext": self.plaintext,
            "root_certificates": None if self.ca is None else read_bytes(self.ca),
            "data_logging": self.data_logging,
        }

    def submitting(self) -> contextlib.AbstractContextManager[Client]:
        """A client for a submit: if the block ends without the operation, what is known of it is reported.

        Raises:
            Exception: What `client` raises.
            InterruptedByUser: Ctrl-C was pressed in the block.
        """
        from yagrpc.cli.io.submits import submitting

        return submitting(self.client)

    def call_parameters(self) -> CallParameters:
        """The options that are given, as parameters of a call."""
        given: CallParameters = {}
        if self.timeout is not None:
            given["timeout"] = self.timeout
        if self.request_id is not None:
            given["request_id"] = self.request_id
        return given


def completion_parameters(connection: Connection, prompt: Prompt, generation: Generation) -> CompletionParameters:
    """All parameters of a completion that are given.

    Raises:
        click.ClickException: The file with the schema can't be read.
    """
    return {**generation.parameters(), **prompt.model_parameters(), **connection.call_parameters()}


def prompt_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a prompt; the command takes them as `prompt`."""
    return prompt_options_for("yandexgpt", MODELS)(function)


def prompt_options_for(model: str, offered: Sequence[str]) -> Decorator:
    """The same, for a command that has models of its own.

    Args:
        model: The default.
        offered: The models that the shell offers.
    """
    model_help = f"NAME, NAME/BRANCH, or a whole URI with '://'.  [default: {model}]"
    options = (
        click.argument("words", metavar="[TEXT]...", nargs=-1, type=Text()),
        click.option(
            "--file", metavar="PATH", type=FILE, help="Read the prompt from a file (UTF-8); '-' is standard input."
        ),
        click.option("--model", metavar="NAME", type=OneOf(offered), help=model_help),
    )
    return lambda function: _as_one_object(function, "prompt", Prompt, *options)


def generation_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a generation; the command takes them as `generation`."""
    return _as_one_object(
        function,
        "generation",
        Generation,
        click.option("--system", metavar="TEXT", type=Text(), help="A system message, put before the prompt."),
        click.option("--temperature", type=float, help="From 0 to 1.  [default: the service's, 0.3]"),
        click.option("--max-tokens", type=int, help="The maximum length of the answer, in tokens."),
        click.option(
            "--reasoning-mode",
            type=click.Choice(["DISABLED", "ENABLED_HIDDEN"], case_sensitive=False),
            metavar="DISABLED|ENABLED_HIDDEN",
            help="Whether the model reasons before it answers; reasoning costs more tokens.",
        ),
        click.option(
            "--json-object", is_flag=True, help="Make the answer a JSON object; ask for JSON in the prompt too."
        ),
        click.option(
            "--json-schema",
            metavar="PATH",
            type=FILE,
            help="A file with the JSON schema that the answer must follow.",
        ),
    )


def connection_options(timeout_help: str, *, request_id: bool = True) -> Decorator:
    """Give a command the options of a connection; the command takes them as `connection`.

    Args:
        timeout_help: What the timeout covers, and its default.
        request_id: Whether the command sends a request id that the user may choose.
    """
    options = [
        click.option("--folder-id", metavar="ID", help="The folder of short model names.  [default: YC_FOLDER_ID]"),
        click.option(
            "--endpoint", metavar="HOST:PORT", help="The model service's endpoint.  [default: Yandex Cloud's]"
        ),
        click.option(
            "--operation-endpoint",
            metavar="HOST:PORT",
            help="The operation service's endpoint.  [default: Yandex Cloud's]",
        ),
        click.option("--plaintext", is_flag=True, help="Connect without TLS; only to loopback."),
        click.option(
            "--ca",
            metavar="FILE",
            type=FILE,
            help="Certificates to trust (PEM), such as that of 'yagrpc emulator --tls'.  [default: gRPC's list]",
        ),
        click.option("--timeout", type=float, callback=_seconds, metavar="SECONDS", help=timeout_help),
        click.option(
            "--no-data-logging",
            "data_logging",
            is_flag=True,
            callback=_unless_set,
            help="Ask the service not to store requests and answers.",
        ),
    ]
    if request_id:
        text = "The request's id, sent as x-client-request-id.  [default: a new UUID]"
        options.append(click.option("--request-id", metavar="ID", help=text))
    return lambda function: _as_one_object(function, "connection", Connection, *options)


def json_option(text: str) -> Decorator:
    """The option --json; the command takes it as `as_json`.

    Args:
        text: What the command prints with this option.
    """
    return click.option("--json", "as_json", is_flag=True, help=text)


def examples(*lines: str) -> str:
    """The end of a command's help: examples, one on a line."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def _as_one_object(
    function: Callable[..., None], name: str, kind: Callable[..., Any], *options: Decorator
) -> Callable[..., None]:
    """Give a command several options, in their order in its help; the command takes them as one object.

    Args:
        function: The command.
        name: The parameter of the command that takes the object.
        kind: The dataclass of the object; its fields are named as the options are.
        options: The options.
    """
    names: set[str] = {field.name for field in fields(kind)}  # type: ignore[arg-type]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        own = {option: values.pop(option) for option in names & values.keys()}
        function(**{name: kind(**own)}, **values)

    decorated: Callable[..., None] = command
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def _seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 <= value <= MAX_TIMEOUT:  # written so that NaN is refused too
        raise click.BadParameter(f"{value} is not a number of seconds from 0 to {MAX_TIMEOUT:.0f}.", ctx, param)
    return value


def _unless_set(ctx: click.Context, param: click.Parameter, value: bool) -> bool | None:
    """The setting that a flag `--no-...` turns off; without the flag, it is not given."""
    return False if value else None

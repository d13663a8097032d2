"""What a command reads: texts and JSON from files and standard input, and requests made of JSON.

Rules: whatever can't be read is a `click.ClickException` that names the file and, in JSON, the place.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["parse_request", "read_json", "read_text"]

MessageT = TypeVar("MessageT", bound="Message")

LEVELS: Final = 100
"""How deeply JSON may be nested: as deeply as protobuf reads messages, whose JSON it nests at least as deeply."""

_IN_FIELD: Final = re.compile(r"Failed to parse (\w+) field: (.*)")
"""How protobuf begins its messages about a field, once for every level."""


def read_text(source: str) -> str:
    """The text of a file, or of standard input for `-`; UTF-8. A newline at its end is the file's, not the text's.

    Raises:
        click.ClickException: It can't be read, or is not UTF-8.
    """
    name = _name(source)
    try:
        # A byte order mark, as some editors write it, is no part of the text either.
        text = _read(source).decode("utf-8-sig")
    except OSError as error:
        raise click.ClickException(f"{name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{name}: not UTF-8, from byte {error.start} on") from error
    return text.removesuffix("\n").removesuffix("\r")


def read_json(source: str) -> dict[str, Any]:
    """The JSON object in a file, or on standard input for `-`.

    Raises:
        click.ClickException: It can't be read, or is not a JSON object.
    """
    name = _name(source)
    try:
        value = json.loads(read_text(source), object_pairs_hook=_without_repetition)
        if _deeper(value, LEVELS):
            raise RecursionError
    except RecursionError as error:
        raise click.ClickException(f"{name}: nested too deeply") from error
    except ValueError as error:
        raise click.ClickException(f"{name}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise click.ClickException(f"{name}: a JSON object is needed, not {json.dumps(value)[:40]}")
    return value


def parse_request(message_type: type[MessageT], source: str) -> MessageT:
    """A request message from proto JSON, as the service's REST API takes it.

    Args:
        message_type: The request's class.
        source: A file, or `-`.

    Raises:
        click.ClickException: It can't be read, or is no such request.
    """
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    value = read_json(source)
    try:
        request = json_format.ParseDict(value, message_type())
        # What is nested more deeply than protobuf reads can be written all the same.
        return message_type.FromString(request.SerializeToString())
    except json_format.ParseError as error:
        raise click.ClickException(f"{_name(source)}: {_place(error)}") from error
    except DecodeError as error:
        raise click.ClickException(f"{_name(source)}: nested too deeply for a request") from error


def _read(source: str) -> bytes:
    if source != "-":
        with open(source, "rb") as file:
            return file.read()
    if sys.stdin is None:  # that is how Python starts where stdin is closed
        raise OSError("closed")
    return sys.stdin.buffer.read()


def _name(source: str) -> str:
    return "standard input" if source == "-" else source


def _deeper(value: object, levels: int) -> bool:
    """Whether a JSON value is nested more deeply than so many levels."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _deeper(one, levels - 1) for one in inner)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; one key twice, of which protobuf would silently take the second, is a mistake."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return made


def _place(error: Exception) -> str:
    """Protobuf's message with the path of the field in front."""
    text = " ".join(str(error).split())
    path = []
    while match := _IN_FIELD.fullmatch(text):
        path.append(match[1])
        text = match[2]
    text = text.rstrip(".")
    return f"{'.'.join(path)}: {text}" if path else text

"""What a command reads: text and JSON from files and standard input, and request messages from JSON.

Rules: input that can't be read is a `click.ClickException` that names the file and, in JSON, the field.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from yagrpc.hiding import shown_name

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["MAX_BYTES", "parse_request", "read_bytes", "read_json", "read_text"]

MessageT = TypeVar("MessageT", bound="Message")

MAX_BYTES: Final = 64 * 1024 * 1024
"""The most that is read of a file or of standard input, in bytes: no larger request can be sent. Some files, such as
devices and pipes, have no end."""

MAX_DEPTH: Final = 100
"""How deeply JSON may be nested: protobuf reads messages of this depth, and their JSON is at least as deep."""

_IN_FIELD: Final = re.compile(r"Failed to parse (\w+) field: (.*)")
"""The start of protobuf's messages about a field, repeated for every level."""


def read_text(source: str) -> str:
    """Read text, in UTF-8. A newline at the end belongs to the file, not to the text.

    Args:
        source: The path of a file, or `-` for standard input.

    Raises:
        click.ClickException: The source can't be read, or is not UTF-8.
    """
    try:
        # The byte order mark, which some editors write, does not belong to the text either.
        text = read_bytes(source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{_name(source)}: not UTF-8 at byte {error.start}") from error
    return text.removesuffix("\n").removesuffix("\r")


def read_bytes(source: str) -> bytes:
    """Read a file, or standard input.

    Args:
        source: The path of a file, or `-` for standard input.

    Raises:
        click.ClickException: The source can't be read, or is longer than `MAX_BYTES`.
    """
    name = _name(source)
    try:
        if source != "-":
            with open(source, "rb") as file:
                content = file.read(MAX_BYTES + 1)
        elif sys.stdin is None:  # Python starts so when stdin is closed
            raise OSError("closed")
        else:
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
    except OSError as error:
        raise click.ClickException(f"{name}: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise click.ClickException(f"{name}: longer than {MAX_BYTES // 1024**2} MiB, the most that is read")
    return content


def read_json(source: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        source: The path of a file, or `-` for standard input.

    Raises:
        click.ClickException: The source can't be read, or is not a JSON object.
    """
    name = _name(source)
    try:
        value = json.loads(read_text(source), object_pairs_hook=_with_unique_keys)
        if _is_deeper(value, MAX_DEPTH):
            raise RecursionError
    except RecursionError as error:
        raise click.ClickException(f"{name}: nested too deeply") from error
    except ValueError as error:
        raise click.ClickException(f"{name}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise click.ClickException(f"{name}: a JSON object is needed, not {json.dumps(value)[:40]}")
    return value


def parse_request(message_type: type[MessageT], source: str) -> MessageT:
    """Read a request message from proto JSON, the form that the service's REST API takes.

    Args:
        message_type: The request's class.
        source: The path of a file, or `-` for standard input.

    Raises:
        click.ClickException: The source can't be read, or is not a request of this class.
    """
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    value = read_json(source)
    try:
        request = json_format.ParseDict(value, message_type())
        # protobuf also writes messages that are nested more deeply than it reads.
        return message_type.FromString(request.SerializeToString())
    except json_format.ParseError as error:
        raise click.ClickException(f"{_name(source)}: {_message(error)}") from error
    except SystemError as error:  # what protobuf raises for such a name
        raise click.ClickException(f"{_name(source)}: it holds half of a surrogate pair, which is no text") from error
    except (DecodeError, RecursionError) as error:
        raise click.ClickException(f"{_name(source)}: nested too deeply for a request") from error


def _name(source: str) -> str:
    return "standard input" if source == "-" else shown_name(source)


def _is_deeper(value: object, levels: int) -> bool:
    """Whether a JSON value is nested more deeply than a number of levels."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _is_deeper(each, levels - 1) for each in inner)


def _with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that is given twice is an error, since protobuf would silently take the second value."""
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return value


def _message(error: Exception) -> str:
    """Protobuf's message, with the path of the field first."""
    text = " ".join(str(error).split())
    path = []
    while match := _IN_FIELD.fullmatch(text):
        path.append(match[1])
        text = match[2]
    text = text.rstrip(".")
    return f"{'.'.join(path)}: {text}" if path else text

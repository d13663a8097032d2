"""The emulator's tokenizer: deterministic, of about the service's density, and the source of every token count.

`Tokenize`, `TokenizeCompletion` and every usage figure use it, so they agree with each other. They do not agree with a
real model's counts, which differ from model to model; "ping" gives 15 tokens, as in the service's recorded answer,
because the chat template has the same parts.

Rules: the pieces joined are the text; a cut after any piece leaves the pieces before it unchanged.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from yagrpc import _pb
from yagrpc.emulator.answers.values import to_python

__all__ = ["Piece", "content", "pieces", "prompt", "text_pieces", "to_token"]

_PIECES: Final = re.compile(r"\n| ?\w{1,6}| ?[^\w\s]|\s")

_SPECIAL_IDS: Final = {"<s>": 1, "[NL]": 3, "[SEP]": 4}
_FIRST_ID: Final = 5
_VOCABULARY: Final = 129_000

_ROLES: Final = {"system": "Система", "user": "Пользователь", "assistant": "Ассистент"}


class Piece(NamedTuple):
    """A token: the text that it covers, or the name of a special one."""

    text: str
    special: bool = False


def pieces(text: str) -> list[str]:
    """Cut a text into tokens: a line break, up to six letters, one sign; a space goes with what follows it."""
    return _PIECES.findall(text)


def text_pieces(text: str) -> Iterator[Piece]:
    """The tokens of a text; a line break is the special token `[NL]`."""
    for match in _PIECES.finditer(text):  # not all at once: a text may have 64 MiB
        piece = match[0]
        yield Piece("[NL]", True) if piece == "\n" else Piece(piece)


def prompt(request: _pb.text_generation_service_pb2.CompletionRequest) -> Iterator[Piece]:
    """The tokens that a model receives for a request: the chat template around tools, schema and messages.

    Tools and the schema of a structured answer are counted, as JSON. Recorded usage shows that tools are counted.
    """
    yield Piece("<s>", True)
    for tool in request.tools:
        function = tool.function
        yield from _block(" Функция: ", _json([function.name, function.description, to_python(function.parameters)]))
    if request.WhichOneof("ResponseFormat") == "json_schema":
        yield from _block(" Схема: ", _json(to_python(request.json_schema.schema)))
    for message in request.messages:
        yield from _block(f" {_ROLES.get(message.role, message.role)}: ", content(message))
    yield from text_pieces("Ассистент: [EDITORS]")
    yield Piece("[SEP]", True)


def _block(heading: str, text: str) -> Iterator[Piece]:
    # Separately: the first piece of a text must not depend on the heading before it.
    yield from text_pieces(heading.rstrip())
    yield from text_pieces(f" {text}")
    yield Piece("[NL]", True)
    yield Piece("[NL]", True)


def content(message: _pb.text_common_pb2.Message) -> str:
    """The content of a message as text: its text, or its tool calls or results as JSON."""
    kind = message.WhichOneof("Content")
    if kind == "tool_call_list":
        calls = [call.function_call for call in message.tool_call_list.tool_calls]
        return _json([[call.name, to_python(call.arguments)] for call in calls])
    if kind == "tool_result_list":
        results = [result.function_result for result in message.tool_result_list.tool_results]
        return _json([[result.name, result.content] for result in results])
    return message.text


def to_token(piece: Piece) -> _pb.text_common_pb2.Token:
    """A piece as the tokenizer service returns it: a space shows as U+2581, ids are stable, not unique."""
    if piece.special:
        return _pb.text_common_pb2.Token(id=_SPECIAL_IDS[piece.text], text=piece.text, special=True)
    number = _FIRST_ID + zlib.crc32(piece.text.encode()) % (_VOCABULARY - _FIRST_ID)
    return _pb.text_common_pb2.Token(id=number, text=piece.text.replace(" ", "\u2581"))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))

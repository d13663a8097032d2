"""Texts of the package, which is written for programs, in the terms of the command: options and variables.

Rules: only texts of yagrpc's own are changed, in whole phrases; what the service said is left as it is. A text that no
rule fits is shown as it is: it is true, but in Python's terms. Tests go over the texts that a command can show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["PHRASES", "in_options"]

_NAMES: Final[Mapping[str, str]] = {
    **{
        name: f"--{name.replace('_', '-')}"
        for name in (
            "dim", "endpoint", "folder_id", "json_object", "json_schema", "max_tokens", "model", "operation_endpoint",
            "plaintext", "prices", "reasoning_mode", "request_id", "system", "temperature", "timeout",
        )
    },
    "root_certificates": "--ca",
}  # fmt: skip
"""The options of the client's arguments; the others have none."""

PHRASES: Final[Mapping[str, str]] = {
    "Set YC_API_KEY, or give credentials=ApiKey(...)": "Set YC_API_KEY",
    "has the form of an IAM token: use IamToken(...)": "has the form of an IAM token: set YC_IAM_TOKEN in its place",
    "has the form of an API key: use ApiKey(...)": "has the form of an API key: set YC_API_KEY in its place",
    "has the form of an OAuth token: use OAuthToken(...)": (
        "has the form of an OAuth token: set YC_OAUTH_TOKEN in its place"
    ),
    "plaintext is True without an endpoint: give endpoint='127.0.0.1:PORT', or leave it out": (
        "--plaintext needs --endpoint 127.0.0.1:PORT: give it, or leave --plaintext out"
    ),
    "leave plaintext out to use TLS": "leave --plaintext out to use TLS",
    "leave plaintext out, and give": "leave --plaintext out, and give",
    "takes plaintext=True, or YAGRPC_EMULATOR_HOST": "takes --plaintext, or YAGRPC_EMULATOR_HOST",
    "it takes the bytes of a file that has BEGIN CERTIFICATE in it": "it takes a file that has BEGIN CERTIFICATE in it",
    "leave it out, or plaintext": "leave it out, or --plaintext",
    "give folder_id or set YC_FOLDER_ID": "give --folder-id or set YC_FOLDER_ID",
    "give json_object or json_schema, not both": "give --json-object or --json-schema, not both",
}
"""What the package says, and what the command says in its place."""

_CHANNEL_OPTION: Final = re.compile(r", which channel_options=\[\('[\w.]+', BYTES\)\] raises")
"""What a message says that is too large; the command has no such option."""

_ARGUMENT: Final = re.compile(rf"(?<![\w-])({'|'.join(_NAMES)})=(?=[\s,;:.]|$)")
"""An argument as a text names it, such as `folder_id=`."""

_SUBJECT: Final = re.compile(rf"^({'|'.join(_NAMES)})(?= is )")
"""The argument that a message about its value begins with."""


def in_options(text: str) -> str:
    """A message or a hint of yagrpc's, in the terms of the command."""
    from yagrpc._core.failure.hints import HINTS

    for row in HINTS:
        if row.command:
            text = text.replace(row.hint, row.command)
    for phrase, ours in PHRASES.items():
        text = text.replace(phrase, ours)
    text = _CHANNEL_OPTION.sub(", which a program can raise, and this command can't", text)
    text = _SUBJECT.sub(lambda found: _NAMES[found[1]], text)
    return _ARGUMENT.sub(lambda found: _NAMES[found[1]], text)

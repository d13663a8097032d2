"""What the package says in Python's terms is said in those of the command: options and variables."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import yagrpc
from yagrpc._core.failure.connection import ROWS
from yagrpc.cli.io.wording import PHRASES, in_options
from yagrpc.emulator import Emulator

if TYPE_CHECKING:
    from tests.cli.conftest import Command

PACKAGE = Path(yagrpc.__file__).parent

PYTHON = re.compile(r"\b[a-z]\w*=|[A-Z]\w+\(")
"""Arguments and classes, as messages for programs name them."""


def test_every_phrase_is_one_that_the_package_says() -> None:
    """A message that is reworded takes its phrase along."""
    texts = [
        node.value
        for file in PACKAGE.rglob("*.py")
        if "cli" not in file.relative_to(PACKAGE).parts
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [phrase for phrase in PHRASES if not any(phrase in text for text in texts)]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("YC_API_KEY", "t1.x", "the API key has the form of an IAM token: set YC_IAM_TOKEN in its place"),
        ("YC_API_KEY", "y0_x", "the API key has the form of an OAuth token: set YC_OAUTH_TOKEN in its place"),
        ("YC_IAM_TOKEN", "AQVNx", "the IAM token has the form of an API key: set YC_API_KEY in its place"),
        ("YC_IAM_TOKEN", "y0_x", "the IAM token has the form of an OAuth token: set YC_OAUTH_TOKEN in its place"),
        ("YC_OAUTH_TOKEN", "AQVNx", "the OAuth token has the form of an API key: set YC_API_KEY in its place"),
        ("YC_OAUTH_TOKEN", "t1.x", "the OAuth token has the form of an IAM token: set YC_IAM_TOKEN in its place"),
        ("YC_SERVICE_ACCOUNT_KEY_FILE", "/nowhere", "the service account key file '/nowhere' can't be read: No such"),
        ("YC_METADATA_ADDR", "127.0.0.1:1", "no credentials: YC_API_KEY, "),
    ],
)
def test_credentials_are_named_by_their_variables(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with Emulator() as emulator:
        line = command.fails(2, "tokenize", "hi", "--endpoint", emulator.address, "--plaintext", "--folder-id", "b1g")
    assert line.startswith(f"{name}: {expected}" if "has the form" in expected else expected)
    assert not PYTHON.findall(line.replace("{'", "").partition(" (method")[0]), line


def test_a_message_that_is_too_large_names_no_argument() -> None:
    error = yagrpc.MessageTooLargeError(9, 5, "grpc.max_receive_message_length")
    assert "which a program can raise, and this command can't" in in_options(str(error))


def test_what_the_service_says_is_left_as_it_is() -> None:
    text = "INVALID_ARGUMENT: model is 'x': endpoint=https://a, timeout=5 and ApiKey(...)"
    assert in_options(text) == text


@pytest.mark.parametrize("remedy", [row.remedy for row in ROWS])
def test_what_to_do_about_a_connection_names_options(remedy: str) -> None:
    assert not PYTHON.findall(in_options(remedy))

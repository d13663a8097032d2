"""`call`: any method, with its request and response in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from yagrpc import methods
from yagrpc.emulator import Emulator, paths

if TYPE_CHECKING:
    from tests.cli.conftest import Command

TOKENIZE = '{"modelUri": "gpt://b1g/yandexgpt", "text": "hello world"}'


@pytest.mark.parametrize("method", ["TokenizerService/Tokenize", paths.TOKENIZE, paths.TOKENIZE.removeprefix("/")])
def test_a_method_is_called_by_its_short_name_or_its_path(command: Command, emulator: Emulator, method: str) -> None:
    response = json.loads(command.done("call", method, "--request", "-", stdin=TOKENIZE))
    assert len(response["tokens"]) == 2


def test_without_a_request_an_empty_one_is_sent(command: Command, emulator: Emulator) -> None:
    assert json.loads(command.done("call", "ApiEndpointService/List"))["endpoints"]


def test_every_message_of_a_stream_is_a_line(command: Command, emulator: Emulator, body: Path) -> None:
    streamed = json.loads(body.read_text(encoding="utf-8"))
    streamed["completionOptions"]["stream"] = True
    out = command.done("call", "TextGenerationService/Completion", "--request", "-", stdin=json.dumps(streamed))
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) > 2
    assert all("alternatives" in line for line in lines)


def test_a_long_running_method_gives_its_operation(command: Command, slow: Emulator, body: Path) -> None:
    operation = json.loads(command.done("call", "TextGenerationAsyncService/Completion", "--request", str(body)))
    assert operation["done"] is False
    slow.advance(3600)
    request = json.dumps({"operationId": operation["id"]})
    done = json.loads(command.done("call", "OperationService/Get", "--request", "-", stdin=request))
    assert done["response"]["alternatives"]


def test_all_methods_are_listed(command: Command) -> None:
    lines = [line.split() for line in command.done("call", "--list").splitlines()]
    assert all(path.endswith(f".{name}") for name, path in lines)
    assert {name.partition("/")[0] for name, _ in lines} == set(dir(methods))


def test_an_unknown_method_is_reported_with_similar_names(command: Command, emulator: Emulator) -> None:
    line = command.fails(2, "call", "TokenizerService/Tokenise")
    assert line.startswith("Unknown method 'TokenizerService/Tokenise': did you mean TokenizerService/Tokenize")
    path = "/yandex.cloud.operation.OperationService/Gett"
    assert "yandex.cloud.operation.OperationService/Get" in command.fails(2, "call", path)
    assert command.fails(2, "call", "zzz") == "Unknown method 'zzz': see 'yagrpc call --list'"
    assert command.fails(2, "call") == "METHOD is missing: see 'yagrpc call --list'."
    assert not emulator.calls

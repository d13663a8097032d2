"""`embed`: what it sends, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc.emulator import EmulatorQuota, Failure, paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Command
    from yagrpc.emulator import Emulator


def sent(emulator: Emulator) -> list[Any]:
    return [call.request for call in emulator.requests]


def numbers(line: str) -> list[float]:
    return [float(number) for number in line.split(" ")]


def test_a_text_gives_one_line_of_numbers(command: Command, emulator: Emulator) -> None:
    out = command.done("embed", "To be,", "or not", "--folder-id", "b1g")
    assert out.count("\n") == 1
    assert len(numbers(out.removesuffix("\n"))) == 256
    (request,) = sent(emulator)
    assert (request.text, request.model_uri) == ("To be, or not", "emb://b1g/text-embeddings-v2-doc/latest")
    assert not request.HasField("dim")


def test_model_and_dimension_are_sent(command: Command, emulator: Emulator) -> None:
    options = ["--model", "text-embeddings-v2-query", "--dim", "768", "--request-id", "mine", "--timeout", "20"]
    assert len(numbers(command.done("embed", "hi", *options).strip())) == 768
    (request,) = sent(emulator)
    assert request.model_uri.endswith("/text-embeddings-v2-query/latest")
    assert request.dim.value == 768
    assert dict(emulator.requests[-1].metadata)["x-client-request-id"] == "mine"


def test_a_whole_text_keeps_its_lines(command: Command, emulator: Emulator) -> None:
    command.done("embed", "-", stdin="first\n\nsecond\n")
    assert [request.text for request in sent(emulator)] == ["first\n\nsecond"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n"])
def test_each_line_has_a_vector_in_order(
    command: Command, emulator: Emulator, tmp_path: Path, ending: str, last: str
) -> None:
    lines = [f"строка\u2028номер {number}" for number in range(12)]
    path = tmp_path / "lines.txt"
    path.write_bytes((ending.join(lines) + last).encode())
    out = command.done("embed", "--lines", "--file", str(path)).splitlines()
    assert sorted(request.text for request in sent(emulator)) == sorted(lines)
    assert out == [command.done("embed", line).rstrip("\n") for line in lines]


def test_json_is_what_the_rest_api_answers(command: Command, emulator: Emulator) -> None:
    printed = command.done("embed", "hello", "--json")
    assert printed.count("\n") > 256, "for people, over several lines"
    answer = json.loads(printed)
    assert (len(answer["embedding"]), answer["numTokens"]) == (256, "3")
    assert answer["modelVersion"]
    assert answer["embedding"] == numbers(command.done("embed", "hello"))


def test_json_of_lines_has_one_on_each(command: Command, emulator: Emulator) -> None:
    out = command.done("embed", "--lines", "--json", "-", stdin="a\nb b\n")
    assert [json.loads(line)["numTokens"] for line in out.splitlines()] == ["3", "4"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["hi", "--dim", "5"], "--dim is 5: text-embeddings-v2-doc takes 256 or 768"),
        (["hi", "--dim", "256", "--model", "text-search-doc"], "--dim is 256: text-search-doc always has 256 numbers"),
        (["hi", "--dim", "many"], "Invalid value for '--dim': 'many' is not a valid integer"),
        (["hi", "--model", "gpt://f/yandexgpt/latest"], "--model is 'gpt://f/yandexgpt/latest': it takes NAME"),
        (["--lines", "-"], "Line 2 is empty: there is no vector of it; remove the line."),
    ],
)
def test_a_wrong_argument_is_reported(
    command: Command, emulator: Emulator, arguments: list[str], expected: str
) -> None:
    assert command.fails(2, "embed", *arguments, stdin="a\n \nb").startswith(expected)
    assert not emulator.calls


def test_a_line_that_is_refused_is_named(command: Command, emulate: Callable[..., Emulator]) -> None:
    emulate(replies={"wrong": Failure(grpc.StatusCode.INVALID_ARGUMENT, "not that")})
    assert command.fails(1, "embed", "--lines", "-", stdin="a\nwrong\nc").startswith(
        "INVALID_ARGUMENT: line 2: not that"
    )
    assert command.fails(1, "embed", "wrong").startswith("INVALID_ARGUMENT: not that")


def test_a_line_that_can_not_be_sent_is_named(command: Command, emulator: Emulator) -> None:
    long = "a " * 3000
    assert command.fails(1, "embed", "--lines", "-", stdin=f"a\nb\n{long}").startswith("INVALID_ARGUMENT: line 3: ")


def test_a_quota_that_is_used_up_is_a_timeout(command: Command, emulate: Callable[..., Emulator]) -> None:
    emulator = emulate(quota=EmulatorQuota(embeddings_per_second=0))
    line = command.fails(3, "embed", "--lines", "-", "--timeout", "0.3", stdin="a\nb")
    assert "no slot under quota.embeddings_per_second in 0.3 s" in line
    assert line.startswith("line ")
    assert emulator.calls[paths.TEXT_EMBEDDING] <= 2

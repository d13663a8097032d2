"""What both type checkers say of the installed package, as a user of it meets it: its types, and what they refuse."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

CASES = Path(__file__).parent / "cases"


class Told(NamedTuple):
    """What a checker says of a line."""

    line: int
    error: bool
    text: str


def mypy(file: Path) -> list[Told]:
    """Mypy, strict, without any of this repository's settings."""
    pytest.importorskip("mypy")
    settings = ["--strict", "--config-file=", f"--cache-dir={CASES.parents[2] / '.mypy_cache/types'}", "--output=json"]
    done = _run("mypy", *settings, file.name, folder=file.parent)
    found = map(json.loads, done.stdout.splitlines())
    return [Told(one["line"], one["severity"] == "error", one["message"]) for one in found]


def basedpyright(file: Path) -> list[Told]:
    """Basedpyright with the settings of the plain one, without any of this repository's."""
    pytest.importorskip("basedpyright")
    (file.parent / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}', "utf-8")
    done = _run("basedpyright", "--pythonpath", sys.executable, "--outputjson", file.name, folder=file.parent)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [
        Told(one["range"]["start"]["line"] + 1, one["severity"] == "error", one["message"])
        for one in found
        if one["severity"] in ("error", "information")
    ]


@pytest.fixture(params=[mypy, basedpyright], ids=lambda checker: checker.__name__)
def checked(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], list[Told]]:
    """What a checker says of a case, in a folder in which nothing but the installed package is found."""

    def check(name: str) -> list[Told]:
        copied = tmp_path / name
        copied.write_text((CASES / name).read_text("utf-8"), "utf-8")
        told: list[Told] = request.param(copied)
        return told

    return check


def test_types_are_what_they_have_to_be(checked: Callable[[str], list[Told]]) -> None:
    expected = {number: text for number, line, text in _marked("revealed.py") if line.startswith("reveal_type(")}
    assert len(expected) > 25
    told = checked("revealed.py")
    assert not [one for one in told if one.error]
    assert {one.line: _short(one.text) for one in told} == expected


def test_what_is_wrong_is_refused_and_nothing_else(checked: Callable[[str], list[Told]]) -> None:
    expected = [number for number, _, text in _marked("refused.py") if text == "refused"]
    assert len(expected) > 20
    assert sorted({one.line for one in checked("refused.py") if one.error}) == expected


def _marked(name: str) -> Iterator[tuple[int, str, str]]:
    """The lines of a case that end in a comment: number, text and comment."""
    for number, line in enumerate((CASES / name).read_text("utf-8").splitlines(), 1):
        text, mark, comment = line.strip().partition("  # ")
        if mark:
            yield number, text, comment


def _short(text: str) -> str:
    """The type that was revealed, without the modules that its parts come from, and as a union with bars."""
    found = re.search(r'(?:Revealed type is |Type of .* is )"(.*)"$', text, re.DOTALL)
    assert found is not None, text
    return re.sub(r"(?:\w+\.)+(\w+)", r"\1", found[1])


def _run(program: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", program, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

"""The README is executed: its session prints what it says, its journal works, and all its blocks are valid Python."""

from __future__ import annotations

import ast
import contextlib
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc.emulator import Emulator, Failure, Fault

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
DOCS = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))
PYTHON_BLOCKS = re.findall(
    r"```python\n(.*?)```", "".join([README, *(each.read_text("utf-8") for each in DOCS)]), re.DOTALL
)


def test_the_session_prints_what_it_says(tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", README, re.DOTALL)
    assert found is not None
    session, output = found.groups()
    command = [sys.executable, "-W", "error", "-c", session]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == output


def test_the_journal_records_the_id_of_each_submit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"<!-- A test runs this class. -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    monkeypatch.chdir(tmp_path)
    with Emulator() as emulator:
        monkeypatch.setenv("YAGRPC_EMULATOR_HOST", emulator.address)
        names: dict[str, Any] = {}
        exec(found[1], names)
        with names["client"] as client:
            operation = client.completion_async("ping", request_id="mine")
            client.completion("ping")
            with pytest.raises(sqlite3.IntegrityError):
                client.completion_async("ping", request_id="mine")
            emulator.faults.add(Fault(Failure(grpc.StatusCode.PERMISSION_DENIED, "no"), times=1))
            with pytest.raises(yagrpc.PermissionDeniedError):
                client.completion_async("ping", request_id="refused")
        assert emulator.calls[yagrpc.methods.TextGenerationAsyncService.Completion.path] == 2
    with contextlib.closing(sqlite3.connect("submits.db")) as database:
        rows = database.execute("SELECT client_request_id, operation_id FROM submits").fetchall()
    assert rows == [("mine", operation.id)]


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_every_block_is_python(block: str) -> None:
    compile(block, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_what_the_readme_names_is_there() -> None:
    root = Path(__file__).parents[2]
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (root / link).exists(), link
    for name in {*re.findall(r"yagrpc\.([A-Z]\w+)", README), "convert", "methods", "emulator"}:
        assert hasattr(yagrpc, name), name


def test_nothing_is_installed_from_a_release_that_is_not_there() -> None:
    assert "There is no release on PyPI yet" in README
    for text in (README, *(each.read_text("utf-8") for each in DOCS)):
        assert not re.findall(r"pip install '?yagrpc", text)


def test_the_readme_names_every_logger() -> None:
    sources = Path(yagrpc.__file__).parent.rglob("*.py")
    names = {name for each in sources for name in re.findall(r'getLogger\("([\w.]+)"\)', each.read_text("utf-8"))}
    assert names
    assert not [name for name in names if f"| `{name}` |" not in README]

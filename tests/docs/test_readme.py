"""The README is executed: its session prints what it says, and its other blocks are valid Python."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_every_block_is_python(block: str) -> None:
    compile(block, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_what_the_readme_names_is_there() -> None:
    root = Path(__file__).parents[2]
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (root / link).exists(), link
    import yagrpc

    for name in {*re.findall(r"yagrpc\.([A-Z]\w+)", README), "convert", "methods", "emulator"}:
        assert hasattr(yagrpc, name), name

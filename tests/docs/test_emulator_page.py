"""docs/emulator.md is true: each test that it names exists, and its code runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from yagrpc.emulator import parse_script
from yagrpc.emulator.faults.fault import ACTIONS
from yagrpc.emulator.faults.schema import CONDITIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "emulator.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
ROWS = [line for line in PAGE.splitlines() if line.startswith("|") and "tests/" in line]
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def names_in(file: str) -> set[str]:
    """The names of the tests in a file."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions) and node.name.startswith("test_")}


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    assert name in names_in(file)


def test_every_row_names_a_behaviour_a_source_and_a_test() -> None:
    assert len(ROWS) > 50
    for row in ROWS:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert len(cells) == 3, row
        assert all(cells), row
        assert re.fullmatch(r"(`tests/[\w/]+\.py::test_\w+`(, )?)+", cells[2]), row


def test_everything_in_backticks_with_a_path_is_a_test() -> None:
    assert len(NAMED) == PAGE.count("`tests/")


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_every_block_runs(block: str, tmp_path: Path) -> None:
    """The pytest example by pytest, the other one as it is."""
    (tmp_path / "test_block.py").write_text(block, "utf-8")
    command = [sys.executable, "-W", "error", "test_block.py"]
    if "import pytest" in block:
        (tmp_path / "pytest.ini").write_text(
            "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
        )
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_script_is_one() -> None:
    (script,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    read = parse_script(script)
    assert len(read.faults) == 3
    assert read.replies is not None


def test_every_action_is_described() -> None:
    expected = dict(re.findall(r"^\| `(\w+):[^`]*` \| `(\w+)` \|", PAGE, re.MULTILINE))
    assert expected == {name: kind.__name__ for name, kind in ACTIONS.items()}


def test_every_condition_is_described() -> None:
    table = PAGE.partition("| condition |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert tuple(re.findall(r"`(\w+)`", "".join(rows))) == CONDITIONS

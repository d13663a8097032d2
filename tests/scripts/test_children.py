"""Every interpreter that the project starts leaves out the working folder: what lies there is not to be imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

IN_A_FOLDER_OF_ITS_OWN = {
    "yagrpc/codegen/environment.py": "run_python runs its children in a folder of the generator's",
    "examples/emulator_process.py": "the emulator runs in the folder of the interpreter",
}
"""Files that start an interpreter with the user's path, and where: `-I` would lose packages that are on PYTHONPATH."""

ON_PURPOSE = {
    'sys.executable, "-c", _ONE_SERVICE': "imports the package that the benchmark has generated in that folder",
    'sys.executable, "-m", "mypy", "--strict", "--config-file=", "-p", "bench_stubs"': "checks that package",
    'python, "-W", "error", "-m", "pytest", "-W", "error", *tests': "runs in a folder that the script has made",
}
"""Commands that need the folder that they run in, and why."""


def commands(path: Path) -> Iterator[str]:
    """The lists in a Python file that begin an interpreter's command line with a module or a program text."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.List) and node.elts:
            options = [element.value for element in node.elts if isinstance(element, ast.Constant)]
            first = ast.unparse(node.elts[0])
            if {"-m", "-c"} & set(options) and re.search("python|executable|interpreter|candidate|program", first):
                yield ast.unparse(node)[1:-1].replace("'", '"')


@pytest.mark.parametrize("folder", ["yagrpc", "scripts", "benchmarks", "examples"])
def test_interpreters_that_python_starts_are_isolated(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        if path.relative_to(ROOT).as_posix() in IN_A_FOLDER_OF_ITS_OWN:
            continue
        for command in commands(path):
            assert '"-I"' in command or command in ON_PURPOSE, path


@pytest.mark.parametrize("name", ["Makefile", *(path.name for path in (ROOT / "scripts").glob("*.sh"))])
def test_interpreters_that_the_shell_starts_are_isolated(name: str) -> None:
    text = (ROOT / name if name == "Makefile" else ROOT / "scripts" / name).read_text("utf-8")
    started = [line for line in text.splitlines() if re.search(r"(?i)python\S* .*-[mc]\b", line) and line[0] != "#"]
    assert started
    assert [line for line in started if " -I " not in line] == []


def test_such_commands_are_found() -> None:
    assert any("_DESCRIBE" in command for command in commands(ROOT / "scripts/matrix.py"))
    assert any('"ruff"' in command for command in commands(ROOT / "scripts/make_sync.py"))

"""How the emulator holds together: imports point one way, and no two files import each other.

Imports that only the type checker reads count too: they are what a reader has to follow.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import yagrpc.emulator

PACKAGE = Path(yagrpc.emulator.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

PARTS = [
    "paths",
    "refusal",
    "clock",
    "durations",
    "received",
    "replies",
    "tls",
    "statefile",
    "connections",
    "answers",
    "cloud",
    "faults",
    "scripting",
    "options",
    "state",
    "rpc",
    "services",
    "control",
    "http",
    "server",
    "emulator",
    "__init__",
]
"""From the ground up: a file imports its own part and parts above it in this list, nothing else of the emulator."""


def part_of(path: Path) -> str:
    """The part of the emulator that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    """The name under which a file is imported."""
    return ".".join(["yagrpc.emulator", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


FILES = {name_of(path): path for path in MODULES}


def imports(path: Path) -> Iterator[str]:
    """The modules and names of this project that a file imports, wherever the import stands in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "yagrpc")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "yagrpc":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_imported(path: Path) -> set[str]:
    """The emulator's files that a file imports."""
    found = set()
    for name in imports(path):
        if name.startswith("yagrpc.emulator"):
            file = name if name in FILES else name.rpartition(".")[0]
            assert file in FILES, f"{path}: {name}"
            found.add(file)
    return found - {name_of(path)}


def test_every_part_is_in_the_list() -> None:
    assert {part_of(path) for path in MODULES} == set(PARTS)
    assert len(PARTS) == len(set(PARTS))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_to_the_ground(path: Path) -> None:
    part = part_of(path)
    above = {name for name in files_imported(path) if PARTS.index(part_of(FILES[name])) > PARTS.index(part)}
    assert not above


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_of_the_project_only_the_generated_modules_are_imported(path: Path) -> None:
    others = {name for name in imports(path) if not name.startswith("yagrpc.emulator")}
    assert {name for name in others if not name.startswith("yagrpc.rest")} <= {
        "yagrpc._pb",
        "yagrpc.files.read_file",
        "yagrpc.method.StreamMethod",
    }


def test_no_files_import_each_other() -> None:
    graph = {name: files_imported(path) for name, path in FILES.items()}
    left = dict(graph)
    while ready := [name for name, wanted in left.items() if not wanted & left.keys()]:
        for name in ready:
            del left[name]
    assert not left, f"a circle is among {sorted(left)}"


def test_a_sub_package_stays_readable() -> None:
    for part in {part_of(path) for path in MODULES if path.parent != PACKAGE}:
        lines = sum(len(path.read_text("utf-8").splitlines()) for path in (PACKAGE / part).rglob("*.py"))
        assert lines <= 800, part

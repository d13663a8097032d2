"""CONTRIBUTING.md is true: its paths exist, and the names of its glossary are names of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PACKAGE = ROOT / "yagrpc"
CODE = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its first two lines."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


LAYOUT, GLOSSARY = rows("How the code is laid out"), rows("Words")


@pytest.mark.parametrize("cell", [row[0] for row in LAYOUT])
def test_the_layout_names_what_there_is(cell: str) -> None:
    folders = [ROOT, PACKAGE]
    for name in re.findall(r"`([^`]+)`", cell):
        found = next((folder / name for folder in folders if (folder / name).exists()), None)
        assert found is not None, name
        folders.append(found.parent)  # the names after the first one in a cell are beside it


def test_the_layout_has_every_part_of_the_package() -> None:
    named = {name.removeprefix("yagrpc/") for row in LAYOUT for name in re.findall(r"`([^`]+)`", row[0])}
    for path in [*PACKAGE.iterdir(), *(PACKAGE / "_core").iterdir(), *(PACKAGE / "emulator").iterdir()]:
        name = f"{path.relative_to(PACKAGE).as_posix()}/"
        if path.is_dir() and path.name != "__pycache__":
            assert {name, name.removeprefix("emulator/")} & named, name


def test_every_module_in_the_order_of_a_call_exists() -> None:
    section = PAGE.partition("## How to follow one call\n")[2].partition("\n## ")[0]
    modules = re.findall(r"`([\w/]+\.py)`", section)
    assert len(modules) > 15
    for module in modules:
        assert (PACKAGE / module).exists(), module


@pytest.mark.parametrize(("term", "meaning", "names"), GLOSSARY)
def test_a_term_of_the_glossary_is_a_name_of_the_code(term: str, meaning: str, names: str) -> None:
    assert meaning
    for name in re.findall(r"`([^`]+)`", names):
        if name.endswith("/"):
            assert (PACKAGE / name).exists() or (PACKAGE / "_core" / name).exists(), name
            continue
        for part in name.split("."):
            assert re.search(rf"\b{part}\b", CODE), name


def test_the_glossary_is_sorted_and_says_each_term_once() -> None:
    terms = [row[0] for row in GLOSSARY]
    assert terms == sorted(set(terms))

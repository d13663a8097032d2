"""docs/frameworks.md is true: its code is that of the examples, which tests run, and its figures are real."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest

from tests.test_structure import code_lines

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "frameworks.md").read_text("utf-8")
BLOCKS = re.findall(r"<!-- (\S+) -->\n```python\n(.*?)```", PAGE, re.DOTALL)
BACKEND = (ROOT / "examples" / "backend" / "app.py").read_text("utf-8")


def source_of(name: str) -> str:
    """The code of an example; of a notebook, that of its cells."""
    text = (ROOT / name).read_text("utf-8")
    if not name.endswith(".ipynb"):
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")


def single_spaced(text: str) -> str:
    """A text without the blank lines that a formatter adds or removes."""
    return re.sub(r"\n\n+", "\n\n", text.strip("\n"))


def test_every_block_is_named() -> None:
    assert len(BLOCKS) == PAGE.count("```python\n")


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_a_block_is_a_part_of_its_example(name: str, block: str) -> None:
    source = single_spaced(source_of(name))
    assert any(textwrap.indent(single_spaced(block), " " * depth) in source for depth in (0, 4))


def test_the_backend_has_at_most_40_lines() -> None:
    lines = code_lines(BACKEND)
    assert lines <= 40
    assert f"without\nblank lines, comments and docstrings they are {lines}" in PAGE
    assert single_spaced(BACKEND.partition('"""\n\n')[2]) in single_spaced(PAGE), "the page has all of its lines"


def test_every_section_of_the_table_is_there() -> None:
    anchors = re.findall(r"\]\(#([^)]+)\)", PAGE)
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert anchors == [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_what_the_page_names_is_there() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link

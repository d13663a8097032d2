"""What users and contributors read is in plain words, and one thing has one name."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READ = sorted(
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "examples/**/*.md",
        "examples/**/*.py",
        "examples/**/*.proto",
        "proto/yagrpc/**/*.proto",
        "benchmarks/**/*.py",
        "scripts/*",
        "Makefile",
        "pyproject.toml",
    )
    for path in ROOT.glob(pattern)
    if path.is_file() and "generated" not in path.parts
)
MODULES = sorted((ROOT / "yagrpc").rglob("*.py"))

NOT_OURS = re.compile(
    r"\b(told|looks?|looked|looking|rouse[ds]?|rousing|befalls?|befell|befallen|"
    r"carr(y|ies|ied|ying)\s+on|the\s+way|made|begun|goe?s?\s+on|went\s+on|whoever|to\s+be\s+had)\b",
    re.IGNORECASE,
)
"""Words with a plainer, or a standard, word in their place: poll, notify, continue, create, start, anyone who."""

NOT_IN_CODE = re.compile(
    NOT_OURS.pattern + r"|\b(tells?|telling|in\s+vain|carr(y|ies|ied|ying)\s+out)\b", re.IGNORECASE
)
"""The package has some more of them."""

ALLOWED = {
    "Tell me a story": "a prompt, as a user would write it",
}
"""Texts of the package that may have such words, each with the reason."""


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_and_scripts_use_plain_words(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    found = [f"{number}: {line.strip()}" for number, line in enumerate(lines, 1) if NOT_OURS.search(line)]
    assert not found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_package_uses_plain_words(path: Path) -> None:
    """Docstrings, texts of errors, logs and help, comments, and names."""
    assert other_words(path.read_text("utf-8")) == []


def test_every_text_of_a_module_is_checked() -> None:
    source = '''"""The module is told.

It looks; it carries
on."""
def rouse(begun: int) -> None:  # whoever
    """A made thing."""
    self._looked_at = f"carried on {1} in vain"
    call("Tell me a story", befell=1, tell="the wayside")
class Looking: ...
'''
    assert other_words(source) == [
        (1, "told"),
        (3, "looks"),
        (3, "carries\non"),
        (5, "rouse"),
        (5, "begun"),
        (5, "whoever"),
        (6, "made"),
        (7, "looked"),
        (7, "carried on"),
        (7, "in vain"),
        (8, "befell"),
        (8, "tell"),
        (9, "Looking"),
    ]


def other_words(source: str) -> list[tuple[int, str]]:
    """The words of a module that the package does not use, each with its line."""
    found = []
    for place, text in texts(source):
        for allowed in ALLOWED:
            text = text.replace(allowed, "")
        line, column = place
        for word in NOT_IN_CODE.finditer(text):
            found.append((line + text.count("\n", 0, word.start()), column + word.start(), word[0]))
    return [(line, word) for line, _, word in sorted(found)]


def texts(source: str) -> Iterator[tuple[tuple[int, int], str]]:
    """Every text that a module's reader or user meets, with its line and column: strings, comments and names."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    yield from (((node.lineno, node.col_offset), node.value) for node in nodes if isinstance(node.value, str))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start, token.string
        elif token.type == tokenize.NAME:
            yield token.start, token.string.replace("_", " ")

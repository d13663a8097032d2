"""What a user or contributor reads outside the package is in plain words, and has one name for one thing."""

from __future__ import annotations

import re
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
        "benchmarks/**/*.py",
        "scripts/*",
        "Makefile",
        "pyproject.toml",
    )
    for path in ROOT.glob(pattern)
    if path.is_file() and "generated" not in path.parts
)

NOT_OURS = re.compile(
    r"\b(told|looks?|looked|looking|rouse[ds]?|rousing|befalls?|befell|carry on|carries on|the way|made|begun|"
    r"goe?s? on|went on|whoever|to be had)\b",
    re.IGNORECASE,
)
"""Words with a plainer, or a standard, word in their place: poll, notify, continue, create, start, anyone who."""


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_and_scripts_use_plain_words(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    found = [f"{number}: {line.strip()}" for number, line in enumerate(lines, 1) if NOT_OURS.search(line)]
    assert not found

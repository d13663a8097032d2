"""docs/reliability.md says what the code decides: its tables are those that are printed from it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yagrpc._core.call.policy import ATTEMPTS
from yagrpc._core.failure.pauses import FIRST_PAUSE, LONGEST_HINT, LONGEST_PAUSE
from yagrpc._core.failure.retry import TABLE, Action
from yagrpc._core.failure.status import Cause

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"


@pytest.fixture(scope="module")
def tables(script: Callable[[str], Any]) -> Any:
    """The script that prints the tables."""
    return script("retry_tables")


def test_the_tables_are_those_that_are_printed(
    tables: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["retry_tables.py", "--check"])
    assert tables.main() == 0, capsys.readouterr().out


def test_another_table_is_found_and_mended(
    tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "reliability.md"
    text = PAGE.read_text("utf-8")
    copy.write_text(text.replace("sent again after a pause", "its error", 1), "utf-8")
    monkeypatch.setattr(tables, "PAGE", copy)
    monkeypatch.setattr(sys, "argv", ["retry_tables.py", "--check"])
    assert tables.main() == 1
    assert "+| a quota of the service is used up |" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["retry_tables.py"])
    assert tables.main() == 0
    assert copy.read_text("utf-8") == text


def test_a_page_without_markers_is_refused(tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "reliability.md"
    copy.write_text("nothing", "utf-8")
    monkeypatch.setattr(tables, "PAGE", copy)
    monkeypatch.setattr(sys, "argv", ["retry_tables.py"])
    with pytest.raises(SystemExit, match="no markers"):
        tables.main()


def test_every_cause_and_what_follows_it_is_on_the_page(tables: Any) -> None:
    printed = tables.printed()
    assert all(f"| {cause.value} |" in printed for cause in Cause)
    assert all(action.value in printed for action in Action)


def test_a_table_follows_the_code(tables: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables.printed()
    monkeypatch.setitem(TABLE, Cause.CLOSED, dict.fromkeys(TABLE[Cause.CLOSED], Action.RETRY))
    assert tables.printed() != before


def test_the_figures_in_the_text_are_those_of_the_code() -> None:
    text = " ".join(PAGE.read_text("utf-8").split())
    assert f"Pauses grow from {FIRST_PAUSE:g} s to {LONGEST_PAUSE:g} s" in text
    assert f"wins, up to {LONGEST_HINT:g} s" in text
    (attempts,) = set(re.findall(r"\| (\d+), and one with a new token \|", text)) - {"1"}
    assert int(attempts) == ATTEMPTS

"""docs/bulk.md is true: its code runs, and its names exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas  # type: ignore[import-untyped]
import pytest

import yagrpc
from yagrpc.bulk.parameters import BulkParameters
from yagrpc.bulk.results import COLUMNS, RESULT_COLUMNS
from yagrpc.cli.commands.bulk import bulk, run
from yagrpc.emulator import Emulator
from yagrpc.prices import PRICES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bulk.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("text", [PAGE, README], ids=["docs", "readme"])
def test_a_frame_becomes_a_frame_in_few_lines(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = [each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "client.bulk(" in each]
    monkeypatch.chdir(tmp_path)
    pandas.DataFrame({"review": ["good", "bad"], "stars": [5, 1]}).to_csv("reviews.csv", index=False)
    with Emulator(duration=0) as emulator:
        monkeypatch.setenv("YAGRPC_EMULATOR_HOST", emulator.address)
        names: dict[str, Any] = {}
        exec(block, names)
    assert pandas.read_csv("answers.csv")["outcome"].tolist() == ["done", "done"]


def test_its_options_and_commands_exist() -> None:
    commands = (run, bulk.commands["status"], bulk.commands["retry"])
    options = {option for command in commands for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"(--[a-z][a-z-]+)", PAGE)) <= options
    assert set(re.findall(r"yagrpc bulk ([a-z]+)", PAGE)) <= set(bulk.commands)


def test_its_arguments_exist() -> None:
    assert set(re.findall(r"`([a-z_]+)=", PAGE)) <= {*BulkParameters.__annotations__, "share"}


def test_it_has_every_outcome_and_column_and_price() -> None:
    for name in [*(outcome.value for outcome in yagrpc.RowOutcome), *COLUMNS["completion"], *RESULT_COLUMNS]:
        assert f"`{name}`" in PAGE, name
    assert {model for model, _ in PRICES} <= set(re.findall(r"`([\w.-]+)`", PAGE))

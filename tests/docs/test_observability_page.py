"""docs/observability.md is true: it has the names of the code, all of them, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from yagrpc._core.failure.status import Cause
from yagrpc.emulator import Emulator
from yagrpc.integrations import conventions

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text("utf-8")
NAMES = {value for name, value in vars(conventions).items() if name.isupper() and isinstance(value, str)}
QUOTED = set(re.findall(r"`([^`\n]+)`", PAGE))


def test_each_name_of_the_page_is_one_of_the_code() -> None:
    modules = {"yagrpc.integrations.otel", "yagrpc.serving", "yagrpc.deferred", "yagrpc.Events"}
    named = {each for each in QUOTED if re.fullmatch(r"(yagrpc|gen_ai|rpc|server|error)\.[a-z_.]+", each)} - modules
    assert len(named) > 30
    assert named <= NAMES


def test_each_name_of_the_code_is_on_the_page() -> None:
    without = {name for name in NAMES if name.startswith(("gen_ai.usage.", "https://"))}
    values = {conventions.CHAT, conventions.EMBEDDINGS, conventions.GENERATE, conventions.GRPC}
    assert "`gen_ai.usage.*`" in PAGE
    assert sorted(NAMES - without - values - QUOTED) == []


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_is_on_the_page(cause: Cause) -> None:
    assert f"`{cause.name.lower()}`" in PAGE


def test_the_example_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    block = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    with Emulator() as emulator:
        monkeypatch.setenv("YAGRPC_EMULATOR_HOST", emulator.address)
        exec(block[1], names)
        with names["client"] as client:
            assert client.completion("hello").text

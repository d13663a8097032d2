"""What every test gets: an environment without settings of the machine's own."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("live") is not None:
        return
    for name in [name for name in os.environ if name.startswith(("YC_", "YAGRPC_EMULATOR_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("YC_METADATA_ADDR", "127.0.0.1:1")  # nobody is there, and nobody elsewhere is asked

"""What every test gets: an environment without settings of the machine's own, and the scripts as modules."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("live") is not None:
        return
    for name in [name for name in os.environ if name.startswith(("YC_", "YAGRPC_EMULATOR_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """Loads a file of `scripts/` by its name: the folder is on nobody's path."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / f"scripts/{name}.py")
        assert spec is not None
        assert spec.loader is not None
        # Its dataclasses look their annotations up in the module by its name.
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load

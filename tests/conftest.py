"""What every test gets: an environment without settings of the machine's own; and environments of official packages."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["yagrpc.pytest_plugin"]

CACHE = Path(__file__).parents[1] / ".cache" / "official"
"""Environments of official packages, kept in between runs; YAGRPC_OFFICIAL_VENVS names another folder."""

UNREACHABLE = "after connection broken by"
"""What pip prints with each retry of a connection, whatever broke it."""


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("live") is not None:
        return
    for name in [name for name in os.environ if name.startswith(("YC_", "YAGRPC_EMULATOR_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("YC_METADATA_ADDR", "127.0.0.1:1")  # nobody is there, and nobody elsewhere is asked


class OfficialEnvironment:
    """An environment that has the newest version of an official package, and nothing of ours.

    Args:
        package: Its name on the package index.
    """

    def __init__(self, package: str) -> None:
        folder = Path(os.environ.get("YAGRPC_OFFICIAL_VENVS", CACHE)) / package
        self._python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        if not self._python.exists():
            venv.create(folder, with_pip=True)
        said = f"import importlib.metadata as m; print(m.version('{package}'))"
        install = self.run("-m", "pip", "install", "--upgrade", "--retries", "1", package)
        if install.returncode and UNREACHABLE in install.stderr + install.stdout:
            # An environment kept from an earlier run serves offline too.
            if self.run("-c", said).returncode:
                pytest.skip(f"pip cannot reach a package index to install {package}")
        elif install.returncode:
            pytest.fail(f"pip install {package}: {install.stderr}")
        self.version = self.run("-c", said).stdout.strip()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its interpreter."""
        # The tests' own settings must not leak in: it has to see its own packages alone.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "YC_"))}
        return subprocess.run(
            [str(self._python), *arguments], capture_output=True, text=True, env=environment, check=False, timeout=600
        )


@pytest.fixture(scope="session")
def official() -> Callable[[str], OfficialEnvironment]:
    """Makes the environment of an official package, once."""
    made: dict[str, OfficialEnvironment] = {}

    def make(package: str) -> OfficialEnvironment:
        if package not in made:
            made[package] = OfficialEnvironment(package)
        return made[package]

    return make

"""The installed package beside the official one, of several versions, in one process and in either import order."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import OfficialEnvironment

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our package, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (built,) = folder.glob("*.whl")
    return built


# The first has the gencode of protobuf 3, the second that of 5; `make matrix QUICK=1` runs the newest alone.
@pytest.mark.parametrize("version", ["0.295.0", "0.380.0", "newest"])
def test_both_clients_talk(version: str, official: Callable[[str], OfficialEnvironment], wheel: Path) -> None:
    environment = official("yandexcloud" if version == "newest" else f"yandexcloud=={version}")
    # Dependencies stay as the official package has them; pip says if that is outside of our range.
    installed = environment.run("-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel)
    assert installed.returncode == 0, installed.stderr
    checked = environment.run("-m", "pip", "check")
    assert checked.returncode == 0, checked.stdout
    for order in (["official", "yagrpc"], ["yagrpc", "official"]):
        done = environment.run("-W", "error", Path(__file__).with_name("beside_official.py"), *order)
        assert done.returncode == 0, (environment.version, done.stderr)
        assert done.stdout == f"both clients talk, imported {' before '.join(order)}\n"

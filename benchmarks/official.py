"""Environments for packages that pin other versions than ours: one each, created at its first use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / ".cache"
CLOUD, STUDIO, PLOT = "yandexcloud", "yandex-ai-studio-sdk", "matplotlib"


def installed(package: str) -> bool:
    """Whether a package's environment exists."""
    return (ROOT / f"bench-{package}" / ".installed").exists()


def python(package: str, *more: str) -> str:
    """The interpreter of a package's own environment.

    Args:
        package: The package, as pip takes it.
        more: What its environment has, too.
    """
    environment = ROOT / f"bench-{package}"
    program = environment / "bin" / "python"
    if not installed(package):
        subprocess.run([sys.executable, "-I", "-m", "venv", environment], check=True)
        subprocess.run([program, "-I", "-m", "pip", "install", "--quiet", package, *more], check=True)
        (environment / ".installed").touch()
    return str(program)

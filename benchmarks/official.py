"""An environment of the benchmarks' own with the official packages, which pin other versions than ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ENVIRONMENT = Path(".venv-official")
PACKAGES = ("yandexcloud", "yandex-ai-studio-sdk")


def python() -> str:
    """The interpreter of that environment, which is made at first."""
    program = ENVIRONMENT / "bin" / "python"
    done = ENVIRONMENT / ".installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        subprocess.run([program, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        done.touch()
    return str(program)

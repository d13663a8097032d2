"""What the tests of the examples share: where they are, and the environment that they run in as programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

GENERATED = EXAMPLES / "proofreading" / "generated"

LIMIT_SECONDS = 60.0
"""For one program: far more than any takes, so that one which hangs is ended."""


class Programs:
    """Runs the examples as their readers do, with the package that the tests run on."""

    def __init__(self) -> None:
        paths = [str(GENERATED), os.environ.get("PYTHONPATH", "")]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUTF8": "1"}

    def command(self, name: str, *arguments: str) -> list[str]:
        """The command line of one."""
        return [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]

    def run(self, name: str, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one to its end, from any folder."""
        return subprocess.run(
            self.command(name, *arguments),
            cwd=cwd,
            env={**self.environment, **environment},
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=LIMIT_SECONDS,
        )


@pytest.fixture
def programs() -> Programs:
    """The examples as programs, without settings of the machine's own."""
    return Programs()

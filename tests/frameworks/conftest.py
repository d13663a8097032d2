"""What the tests of frameworks share: an emulator whose clock only a test moves, and groups of real processes.

The frameworks are in pyproject's group `frameworks`, which `make frameworks` installs; without them the tests are
skipped, and say so.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from yagrpc.emulator import Emulator, EmulatorQuota

EXAMPLES = Path(__file__).parents[2] / "examples"

SOON = 60.0
"""Seconds in which what a test waits for has to happen; it takes a few at most."""

HOUR = 3600.0


def eventually(condition: Callable[[], bool], what: Callable[[], object] = str) -> None:
    """Wait until a condition holds; `what` is shown where it never does."""
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.005)


class Processes:
    """A program and all that it starts, as one group of processes, with its output in a file.

    Args:
        command: The command line, after the interpreter.
        folder: Where it runs, and where its output is.
        environment: Further variables.
        inherits: Descriptors that it gets.
    """

    def __init__(
        self, *command: str, folder: Path, environment: dict[str, str], inherits: tuple[int, ...] = ()
    ) -> None:
        self._log = folder / f"output-{time.monotonic_ns()}.txt"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=folder,
                env={**os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=inherits,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    @property
    def output(self) -> str:
        """All that was printed by now."""
        return self._log.read_text("utf-8", "replace")

    def expect(self, pattern: str, times: int = 1) -> list[str]:
        """Wait until something was printed so often; gives what its group matched."""
        eventually(lambda: len(re.findall(pattern, self.output)) >= times or self._ended(), lambda: self.output)
        found = re.findall(pattern, self.output)
        assert len(found) >= times, self.output
        return found

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to every process of the group."""
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """End every process at once."""
        with contextlib.suppress(ProcessLookupError):  # they have ended
            self.signal_all(signal.SIGKILL)
        self._process.wait(SOON)

    def wait(self) -> int:
        """Wait until the program ends by itself; gives its exit code."""
        try:
            return self._process.wait(SOON)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.output) from None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the program to stop; gives its exit code."""
        os.kill(self.pid, number)
        return self.wait()

    def _ended(self) -> bool:
        return self._process.poll() is not None


Starter = Callable[..., Processes]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """The service, with its documented quotas; what it is asked to generate takes an hour of its own clock."""
    with Emulator(duration=HOUR, completion_duration=HOUR, quota=EmulatorQuota(), seed=1) as found:
        yield found


@pytest.fixture
def start(emulator: Emulator, tmp_path: Path) -> Iterator[Starter]:
    """Starts programs that use the emulator, from a folder of the test's own, and ends them."""
    started: list[Processes] = []

    def start(*command: str, inherits: tuple[int, ...] = (), **environment: str) -> Processes:
        settings = {
            "YAGRPC_EMULATOR_HOST": emulator.address,
            "YC_FOLDER_ID": "folder",
            "HOME": str(tmp_path),
            "XDG_CACHE_HOME": str(tmp_path),
            **environment,
        }
        started.append(Processes(*command, folder=tmp_path, environment=settings, inherits=inherits))
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that listens on a free port; servers inherit it, so that it outlives them."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as found:
        yield found

"""What the tests of bulk runs share: clients that need not wait, and runs in processes that may be killed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import yagrpc
from yagrpc.emulator import Emulator
from yagrpc.journal.journal import Journal

FREE: Any = dict.fromkeys(yagrpc.Quota._fields)
QUICK = yagrpc.Polling(first=0.01, shortest=0.01, longest=0.05)

QUOTA = ",".join(f"{name}=none" for name in yagrpc.Quota._fields)
"""No limits, for the command."""


def settings(emulator: Emulator, **given: Any) -> dict[str, Any]:
    """The settings of a client of an emulator, which waits for no quota."""
    own = {"endpoint": emulator.address, "plaintext": True, "quota": yagrpc.Quota(**FREE), "polling": QUICK}
    return {"folder_id": "folder", "credentials": yagrpc.NoCredentials(), **own, **given}


def leave(client: Any, rows: Any, **parameters: Any) -> None:
    """Start a run, and leave it once all its rows are submitted."""
    submitted = threading.Event()

    def seen(progress: yagrpc.Progress) -> None:
        if progress.running == len(rows):
            submitted.set()

    bulk = client.bulk(rows, progress=seen, **parameters)

    def stop() -> None:
        submitted.wait(60)
        bulk._thread.call(bulk._bulk.abort)

    thread = threading.Thread(target=stop)
    thread.start()
    bulk.run()
    thread.join()


@pytest.fixture
def connect() -> Iterator[Callable[..., yagrpc.Client]]:
    """Makes blocking clients."""
    with contextlib.ExitStack() as stack:
        yield lambda emulator, **given: stack.enter_context(yagrpc.Client(**settings(emulator, **given)))


class Runs:
    """Runs of the command in processes, which are killed at the end of the test if they still run.

    Args:
        folder: Where their files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "out.jsonl"
        self.journal = folder / "out.jsonl.journal"
        self._started: list[subprocess.Popen[str]] = []

    def start(self, address: str, source: Path, *options: str) -> subprocess.Popen[str]:
        """Start a run."""
        command = [sys.executable, "-W", "error", "-m", "yagrpc", "bulk", "run", str(source), "-o", str(self.output)]
        process = subprocess.Popen(
            [*command, *options],
            env={**os.environ, "YAGRPC_EMULATOR_HOST": address},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self._started.append(process)
        return process

    def end(self, address: str, source: Path, *options: str) -> tuple[int, str]:
        """Run to the end; gives the exit code, and what was said."""
        process = self.start(address, source, *options)
        _, said = process.communicate(timeout=300)
        return process.returncode, said

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the output."""
        return [json.loads(line) for line in self.output.read_text("utf-8").splitlines()]

    def journal_read(self) -> contextlib.AbstractContextManager[Journal]:
        """The journal."""
        return contextlib.closing(Journal(self.journal))

    def close(self) -> None:
        """Kill those that still run."""
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    found = Runs(tmp_path)
    yield found
    found.close()

"""The proofreader with operations of its own, as two programs: a killed server corrects each text once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yagrpc.emulator import Emulator, paths

SOON = 20.0

HOUR = 3600.0

SERVER, CALLER = "proofreading/server_operations.py", "proofreading/caller_operations.py"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(duration=HOUR, seed=1) as found:
        yield found


@contextlib.contextmanager
def serving(programs: Any, emulator: Emulator, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server as a program, and its address."""
    environment = {**programs.environment, "YAGRPC_EMULATOR_HOST": emulator.address}
    with subprocess.Popen(
        programs.command(SERVER, "--store", "operations.db"),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()
            process.communicate(timeout=SOON)


def test_a_server_that_is_killed_corrects_each_text_once(programs: Any, emulator: Emulator, tmp_path: Path) -> None:
    def call(*arguments: str) -> str:
        ran = programs.run(CALLER, *arguments, cwd=tmp_path)
        assert (ran.returncode, ran.stderr) == (0, "")
        return str(ran.stdout).strip()

    with serving(programs, emulator, tmp_path) as (process, address):
        ids = {text: call(address, "--text", text) for text in ("малоко", "хлеп")}
        while emulator.calls[paths.OPERATION_GET] < len(ids):  # the ids of the model's operations are stored then
            os.sched_yield()
        process.send_signal(signal.SIGKILL)
    emulator.advance(HOUR)
    with serving(programs, emulator, tmp_path) as (process, address):
        for text, operation_id in ids.items():
            assert call(address, "--id", operation_id).startswith(f'You wrote: "{text}".')
        missing = programs.run(CALLER, address, "--id", "nothing", cwd=tmp_path)
        assert missing.returncode == 1
        assert "no such operation" in missing.stderr
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=SOON)
        assert (process.returncode, output, errors) == (0, "stopped\n", "")
    assert emulator.generations == {paths.COMPLETION_ASYNC: len(ids)}
    assert set(emulator.deliveries.values()) == {1}


def test_a_refusal_of_the_model_is_the_error_of_the_operation(
    programs: Any, emulator: Emulator, tmp_path: Path
) -> None:
    with serving(programs, emulator, tmp_path) as (_, address):
        operation_id = programs.run(CALLER, address, "--text", "", cwd=tmp_path).stdout.strip()
        failed = programs.run(CALLER, address, "--id", operation_id, cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"failed: operation {operation_id} failed: INVALID_ARGUMENT: ")

"""Completions on real local clusters of Ray, Dask and Daft: Parquet in and out, and a process that is killed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pyarrow  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

from yagrpc import methods
from yagrpc.emulator import Emulator, EmulatorQuota

PYTHON = os.environ.get("YAGRPC_RAY_PYTHON")
DRIVER = Path(__file__).with_name("engines_driver.py")
SUBMIT = methods.TextGenerationAsyncService.Completion.path
ROWS = 200

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(900),  # a cluster starts slowly on a busy machine
    pytest.mark.skipif(PYTHON is None, reason="make ray gives an environment with engines"),
]


@pytest.mark.parametrize("engine", ["ray", "dask", "daft"])
def test_a_process_that_is_killed_costs_no_row(engine: str, tmp_path: Path, share: str) -> None:
    assert PYTHON is not None
    source, output, mark = tmp_path / "source", tmp_path / "output", tmp_path / "died"
    source.mkdir()
    for part in range(2):
        numbers = range(part * ROWS // 2, (part + 1) * ROWS // 2)
        table = pyarrow.table({"number": list(numbers), "review": [f"review {number}" for number in numbers]})
        pyarrow.parquet.write_table(table, source / f"{part}.parquet")
    command = [PYTHON, str(DRIVER), engine, *map(str, [source, output, tmp_path / "journals", share, mark])]
    with Emulator(duration=3, quota=EmulatorQuota()) as emulator:
        environment = {**os.environ, "YAGRPC_EMULATOR_HOST": emulator.address, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
        runs = 0
        written = False
        while not written:  # Daft does not replace a process: its program runs again
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False, timeout=280)
            written = b"written" in done.stdout
            runs += 1
            assert written or (engine == "daft" and runs == 1), done.returncode
        generations, refused = emulator.generations[SUBMIT], emulator.calls[SUBMIT] - emulator.generations[SUBMIT]
        print(f"{engine}: {runs} runs, {generations} generations, {refused} refused submits")
    assert mark.exists()
    answers = pyarrow.parquet.read_table(output).to_pylist()
    assert sorted(row["number"] for row in answers) == list(range(ROWS))
    assert {row["outcome"] for row in answers} == {"done"}
    assert all(f'"{row["review"]}"' in row["text"] for row in answers)
    doubtful = sum(row["attempts"] for row in answers) - ROWS
    assert doubtful <= 10  # those on their way when it was killed: as many as the quota of a second lets go
    assert ROWS <= generations <= ROWS + doubtful
    assert refused <= doubtful  # all processes share one quota

"""Completions on a real local cluster of Ray: Parquet in and out, and an actor that is killed in the middle."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pyarrow  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

import yagrpc
from yagrpc import methods
from yagrpc.emulator import Emulator, EmulatorQuota

PYTHON = os.environ.get("YAGRPC_RAY_PYTHON")
DRIVER = Path(__file__).with_name("ray_driver.py")
SUBMIT = methods.TextGenerationAsyncService.Completion.path
ROWS = 200

pytestmark = [pytest.mark.ray, pytest.mark.skipif(PYTHON is None, reason="make ray gives an environment with Ray")]


def test_an_actor_that_is_killed_costs_no_row(tmp_path: Path, share: str) -> None:
    assert PYTHON is not None
    source, output, mark = tmp_path / "source", tmp_path / "output", tmp_path / "died"
    source.mkdir()
    for part in range(2):
        numbers = range(part * ROWS // 2, (part + 1) * ROWS // 2)
        table = pyarrow.table({"number": list(numbers), "review": [f"review {number}" for number in numbers]})
        pyarrow.parquet.write_table(table, source / f"{part}.parquet")
    root = Path(yagrpc.__file__).parents[1]
    with Emulator(duration=3, quota=EmulatorQuota()) as emulator:
        environment = {**os.environ, "YAGRPC_EMULATOR_HOST": emulator.address, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
        environment["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "generated")])
        given = [source, output, tmp_path / "journals", share, mark]
        subprocess.run([PYTHON, str(DRIVER), *map(str, given)], env=environment, check=True, timeout=220)
        generations, refused = emulator.generations[SUBMIT], emulator.calls[SUBMIT] - emulator.generations[SUBMIT]
    assert mark.exists()
    answers = pyarrow.parquet.read_table(output).to_pylist()
    assert sorted(row["number"] for row in answers) == list(range(ROWS))
    assert {row["outcome"] for row in answers} == {"done"}
    assert all(f'"{row["review"]}"' in row["text"] for row in answers)
    doubtful = sum(row["attempts"] for row in answers) - ROWS
    assert doubtful <= 10  # those on their way when it was killed: as many as the quota of a second lets go
    assert ROWS <= generations <= ROWS + doubtful
    assert refused <= doubtful  # both actors share one quota

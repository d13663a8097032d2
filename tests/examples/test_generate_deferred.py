"""`generate_deferred` and its asyncio twin, as a reader runs them: two answers, delivered by an emulator's process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from yagrpc.emulator import Emulator, paths

NUMBER = r"\d+"
TWINS = ["generate_deferred.py", "generate_deferred_aio.py"]


def fields(output: str, name: str) -> list[str]:
    """The values that were printed under a name; a long one is folded over several lines."""
    found = re.findall(rf"^  {name:<11}(.*(?:\n {{13}}.*)*)", output, re.MULTILINE)
    return [" ".join(value.split()) for value in found]


@pytest.mark.parametrize("name", TWINS)
def test_two_answers_are_delivered_without_an_account(name: str, programs: Any, tmp_path: Path) -> None:
    done = programs.run(name, "--duration", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    _two_answers(done.stdout, seconds=1.0)
    assert "Without YC_API_KEY and YC_FOLDER_ID in the environment, the service is emulated" in done.stdout
    assert "Stopping the emulator." in done.stdout


def test_nothing_in_the_working_folder_is_run(programs: Any, tmp_path: Path) -> None:
    for module in ("types", "runpy", "ast"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('this was run')\n", "utf-8")
    done = programs.run(TWINS[0], "--duration", "0.5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", TWINS)
def test_the_gets_are_counted_as_the_emulator_counts_them(name: str, programs: Any, tmp_path: Path) -> None:
    with Emulator(duration=0.5) as emulator:
        done = programs.run(name, cwd=tmp_path, YAGRPC_EMULATOR_HOST=emulator.address)
        assert done.returncode == 0, done.stderr
        assert emulator.calls[paths.COMPLETION_ASYNC] == 2
        assert emulator.calls[paths.OPERATION_GET] == sum(map(int, fields(done.stdout, "Gets")))
    _two_answers(done.stdout, seconds=0.5)


@pytest.mark.parametrize("name", TWINS)
def test_a_failure_is_one_line_and_an_exit_code(name: str, programs: Any, tmp_path: Path) -> None:
    with Emulator(auth="present") as emulator:
        done = programs.run(name, cwd=tmp_path, YAGRPC_EMULATOR_HOST=emulator.address)
    assert done.returncode == 1
    assert done.stderr.startswith("failed: UNAUTHENTICATED: ")
    assert done.stderr.count("\n") == 1
    assert "delivered" not in done.stdout


@pytest.mark.parametrize("name", TWINS)
def test_an_emulator_that_does_not_start_is_a_failure_too(name: str, programs: Any, tmp_path: Path) -> None:
    done = programs.run(name, "--duration", "-1", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("failed: the emulator did not start: ")
    assert done.stderr.count("\n") == 1


def _two_answers(output: str, *, seconds: float) -> None:
    sent, delivered = fields(output, "sent"), fields(output, "delivered")
    assert len(sent) == len(delivered) == 2
    assert all(text in answer for text, answer in zip(sent, delivered, strict=True))
    ids = fields(output, "operation")
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"d7q[0-9a-z]{17}", operation_id) for operation_id in ids)
    assert all(int(gets) >= 1 for gets in fields(output, "Gets"))
    waited = [float(text.removesuffix(" s")) for text in fields(output, "waited")]
    assert len(waited) == 2
    assert all(time >= seconds - 0.1 for time in waited)
    assert len(re.findall(rf"tokens +{NUMBER} in \+ {NUMBER} out = {NUMBER}\n", output)) == 2
    assert fields(output, "model") == ["yagrpc-emulator"] * 2
    assert "Two completions were delivered." in output

"""A run that is killed at any moment, again and again, pays for each row once, and writes it once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from yagrpc import methods
from yagrpc.bulk.results import summary_of
from yagrpc.emulator import Control, Emulator
from yagrpc.journal.changes import State

if TYPE_CHECKING:
    from tests.bulk.conftest import Runs

SUBMIT = methods.TextGenerationAsyncService.Completion.path

OPTIONS = ("--concurrency", "1", "--on-ambiguous", "resubmit")
"""One submit at a time, as under the documented quota: so each kill leaves one at most of which nothing is known."""


def write_rows(path: Path, count: int) -> Path:
    """A JSONL of that many rows."""
    path.write_text("".join(json.dumps({"text": f"row {n}", "id": f"r{n}"}) + "\n" for n in range(count)), "utf-8")
    return path


def killed(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill a process after some seconds; gives whether it still ran."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=seconds)
        return False
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return True


def check_output(runs: Runs, count: int) -> int:
    """Check that each row is there once, with its own answer; gives how many may have been billed twice."""
    rows = runs.rows()
    assert sorted(row["id"] for row in rows) == sorted(f"r{n}" for n in range(count))
    assert all(f'"{row["input_text"]}"' in row["text"] for row in rows)
    with runs.journal_read() as journal:
        summary = summary_of(journal)
        assert {state for state, _ in journal.counts()} == {State.ENDED}
    assert summary.outcomes == {"done": count}
    return summary.totals.doubtful


def quota(per_second: int) -> tuple[str, str]:
    """The quotas of a run: submits are slow enough to be killed among them."""
    return "--quota", f"submit_per_second={per_second},submit_per_hour=none,get_per_second=none"


@pytest.mark.parametrize(
    ("count", "kills", "longest"), [(300, 5, 2.0), pytest.param(5000, 20, 12.0, marks=pytest.mark.slow)]
)
def test_a_run_killed_at_random_moments_pays_for_each_row_once(
    runs: Runs, tmp_path: Path, count: int, kills: int, longest: float
) -> None:
    rng, source, hits = random.Random(count), write_rows(tmp_path / "rows.jsonl", count), 0
    with Emulator(duration=0.3) as emulator:
        for _ in range(kills):
            process = runs.start(emulator.address, source, *OPTIONS, *quota(200))
            hits += killed(process, rng.uniform(0.5, longest))
        code, said = runs.end(emulator.address, source, *OPTIONS, *quota(1000))
        assert code == 0, said
        doubtful = check_output(runs, count)
        assert hits
        assert doubtful <= kills
        assert count <= emulator.generations[SUBMIT] <= count + doubtful
        unfetched = {each.id for each in emulator.operations} - set(emulator.deliveries)
        assert len(unfetched) <= doubtful
        again, _ = runs.end(emulator.address, source, *OPTIONS)
        assert again == 0
        assert emulator.generations[SUBMIT] <= count + doubtful
    check_output(runs, count)


class Service:
    """An emulator in a process, which is killed and started again on the same port with its operations."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state.db"
        self._port = "0"
        self._process: subprocess.Popen[str] | None = None
        self.address = ""
        self.generations = 0

    def start(self) -> None:
        command = [sys.executable, "-m", "yagrpc", "emulator", "--port", self._port, "--state", str(self._state)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("YAGRPC_EMULATOR")}
        self._process = subprocess.Popen(
            [*command, "--control", "--duration", "0.3"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        self._port = self.address.rpartition(":")[2]

    def accepted(self) -> int:
        """The operations that it has, of all its lives."""
        with Control(self.address) as control:
            return len(control.operations())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    found = Service(tmp_path)
    found.start()
    yield found
    found.kill()


@pytest.mark.parametrize("both", [False, True])
def test_a_service_that_is_killed_costs_no_row(runs: Runs, service: Service, tmp_path: Path, both: bool) -> None:
    count, rng = 200, random.Random(7)
    source, kills = write_rows(tmp_path / "rows.jsonl", count), 3
    process = runs.start(service.address, source, *OPTIONS, *quota(100))
    for _ in range(kills):
        ended = not killed(process, rng.uniform(0.8, 1.6)) if both else False
        if not both:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=rng.uniform(0.5, 1.0))
                break
        service.kill()
        service.start()
        if both and not ended:
            process = runs.start(service.address, source, *OPTIONS, *quota(100))
    process.communicate(timeout=200)
    code, said = runs.end(service.address, source, *OPTIONS, *quota(1000))
    assert code == 0, said
    doubtful = check_output(runs, count)
    assert doubtful <= 2 * kills
    assert count <= service.accepted() <= count + doubtful


def test_two_runs_share_a_folder(tmp_path: Path) -> None:
    from tests.bulk.conftest import Runs

    with Emulator(duration=0.2) as emulator, contextlib.ExitStack() as stack:
        both = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            runs = Runs(tmp_path / name)
            stack.callback(runs.close)
            source = write_rows(tmp_path / name / "rows.jsonl", 100)
            both.append((runs, source, runs.start(emulator.address, source, *OPTIONS, *quota(100))))
        for runs, source, process in both:
            killed(process, 1.0)
            code, said = runs.end(emulator.address, source, *OPTIONS, *quota(1000))
            assert code == 0, said
        doubtful = sum(check_output(runs, 100) for runs, _, _ in both)
        assert 200 <= emulator.generations[SUBMIT] <= 200 + doubtful

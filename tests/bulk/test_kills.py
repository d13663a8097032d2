"""A run that is killed at any moment, again and again, pays for each row once, and writes it once.

What may be billed twice is counted: the requests that were on their way at the moment of a kill, and nothing else. The
service's own list of operations shows which of them it had in fact started. Quotas are ten times the documented ones,
in the client and in the service, and operations take a tenth of the time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import yagrpc
from tests.bulk.conftest import Runs
from yagrpc import methods
from yagrpc.bulk.decisions.outcomes import RESUBMITS
from yagrpc.bulk.parameters import CONCURRENCY
from yagrpc.bulk.results import summary_of
from yagrpc.emulator import Control, Emulator, EmulatorQuota
from yagrpc.emulator.cloud.operations import OperationRecord
from yagrpc.journal.changes import State
from yagrpc.journal.journal import JournalWriter

SUBMIT = methods.TextGenerationAsyncService.Completion.path
GET = methods.OperationService.Get.path

QUOTA = "submit_per_second=100,submit_per_hour=50000,get_per_second=500"
DURATION = 0.6

ONE_BY_ONE = ("--concurrency", "1")
"""One submit at a time: so each kill leaves one at most of which nothing is known."""


EARLY = 0.25
"""The part of processes that are killed while they start, or compare their journal with the input."""


def write_rows(path: Path, count: int, word: str = "row", texts: int | None = None) -> Path:
    """A JSONL of that many rows, each with a text of its own.

    Args:
        path: The file.
        count: How many.
        word: What their texts begin with.
        texts: How many texts they have: every second row is then a copy of the one before it, or both of an earlier
            one; `None` for one each.
    """
    numbers = (n if texts is None else n // 2 % texts for n in range(count))
    rows = ({"text": f"{word} {number}", "id": f"r{n}"} for n, number in enumerate(numbers))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def killed(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill a process after some seconds; gives whether it still ran."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=seconds)
        return False
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return True


def wait_for(process: subprocess.Popen[str], generated: Callable[[], int], count: int) -> None:
    """Wait until the service has accepted so many generations, while a process runs."""
    while generated() < count:
        with contextlib.suppress(subprocess.TimeoutExpired):
            _, said = process.communicate(timeout=0.005)
            raise AssertionError(f"the run has ended before the service had {count} generations: {said}")


@dataclasses.dataclass
class Killed:
    """A run whose process is killed again and again.

    Args:
        runs: Its files and processes.
        address: The service.
        source: The input.
        count: Its rows.
        options: What the command gets.
        rng: Draws the moments.
        copies: How many of the rows are copies.

    Attributes:
        kills: How often it was killed.
        unknown: The attempts that a kill has left on their way, by row and attempt.
        most: The most that one kill has left so.
    """

    runs: Runs
    address: str
    source: Path
    count: int
    options: Sequence[str]
    rng: random.Random
    copies: int = 0
    kills: int = 0
    unknown: set[tuple[int, int]] = dataclasses.field(default_factory=set)
    most: int = 0
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, unless it runs; some are killed at once, and started again."""
        while self.process is None:
            self.process = self.runs.start(self.address, self.source, *self.options)
            if self.rng.random() < EARLY:
                self.kill(self.rng.uniform(0.1, 1.5))

    def kill_after(self, generated: Callable[[], int], count: int) -> None:
        """Start it, and kill it a moment after the service has accepted so many generations."""
        self.start()
        assert self.process is not None
        wait_for(self.process, generated, count)
        self.kill(self.rng.uniform(0.0, 0.1))

    def kill(self, seconds: float) -> None:
        """Kill it after some seconds, if it still runs, and note what that leaves on its way.

        It runs on where a row could be killed once too often: after `RESUBMITS` attempts that may have been billed, the
        row is left as ambiguous. A slow machine has the same rows on their way at each kill.
        """
        assert self.process is not None
        if self._most_attempts() >= RESUBMITS - 1:
            return
        self.kills += killed(self.process, seconds)
        self.process = None
        left = self._left()
        self.unknown |= left
        self.most = max(self.most, len(left))

    def end(self) -> None:
        """Run it to its end; a process that was not killed runs still."""
        process = self.process or self.runs.start(self.address, self.source, *self.options)
        self.process = None
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said

    def _most_attempts(self) -> int:
        """The most attempts of a row that has no operation yet."""
        try:
            with self.runs.journal_read() as journal:
                rows = journal.in_state(State.PLANNED, State.SUBMITTING)
        except yagrpc.ConfigError:  # the first process has not created it, or was killed while it did
            return 0
        return max((each.attempt for each in rows), default=0)

    def _left(self) -> set[tuple[int, int]]:
        # Of a copy: the next process is to find the journal as the killed one has left it.
        with tempfile.TemporaryDirectory() as folder:
            for path in self.runs.folder.glob(f"{self.runs.journal.name}*"):
                shutil.copy(path, folder)
            with contextlib.closing(JournalWriter(Path(folder, self.runs.journal.name))) as journal:
                return {(each.fixed.number, each.attempt) for each in journal.in_state(State.SUBMITTING)}

    def check_rows(self) -> dict[str, int]:
        """Check that each row is in the output once, with its own answer, and known to the journal with its operation.

        Returns:
            The texts of the rows of which an attempt may have been billed without a result, with the number of those.
        """
        rows = self.runs.rows()
        assert sorted(row["id"] for row in rows) == sorted(f"r{n}" for n in range(self.count))
        assert all(f'"{row["input_text"]}"' in row["text"] for row in rows)
        with self.runs.journal_read() as journal:
            assert {state for state, _ in journal.counts()} == {State.ENDED}
            summary, entries = summary_of(journal), journal.in_state(State.ENDED)
        assert summary.outcomes == {"done": self.count}
        assert summary.copies == self.copies
        found = {json.loads(each.fixed.source)["text"]: each.doubtful for each in entries if each.doubtful}
        assert sum(found.values()) == summary.totals.doubtful
        return found


def check_paid(
    runs: Sequence[Killed], operations: Sequence[OperationRecord], deliveries: Counter[str] | None = None
) -> tuple[int, int]:
    """Check what the service has generated against what the runs know and count.

    Every operation that the service has is the one that gave a row its result, or that of an attempt that its run
    counts as one that may have been billed without a result. The former were all fetched.

    Args:
        runs: The runs, after their ends.
        operations: All operations of the service.
        deliveries: How often each end was fetched; `None` where that is not known.

    Returns:
        How many were paid for without a result, and how many are counted as perhaps that.
    """
    counted, known = Counter[str](), set[str]()
    for run in runs:
        counted.update(run.check_rows())
        known |= {row["operation_id"] for row in run.runs.rows()}
    sent = sum(run.count - run.copies for run in runs)
    assert len(known) == sent
    lost = [each for each in operations if each.id not in known]
    assert len(operations) == sent + len(lost)
    assert Counter(each.words for each in lost) <= counted
    if deliveries is not None:
        assert deliveries.keys() == known
    return len(lost), counted.total()


def report(what: str, runs: Sequence[Killed], kills: str, lost: int, counted: int, refused: int | str) -> None:
    """Print the figures of a test."""
    rows, most = sum(run.count for run in runs), max(run.most for run in runs)
    sent = rows - sum(run.copies for run in runs)
    print(
        f"{what}: {rows} rows, {sent} sent, {kills}, {sent + lost} generations, {counted} counted as perhaps billed"
        f" twice (by one kill at most {most}), {refused} submits refused"
    )


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    quota = EmulatorQuota(submit_per_second=100, submit_per_hour=50_000, get_per_second=500)
    with Emulator(duration=DURATION, quota=quota) as found:
        yield found


def options(*own: str) -> tuple[str, ...]:
    """The options of a run."""
    return ("--quota", QUOTA, "--on-ambiguous", "resubmit", *own)


@pytest.mark.parametrize("concurrency", [1, CONCURRENCY["async"]])
@pytest.mark.parametrize(("count", "kills"), [(200, 5), pytest.param(5000, 20, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_pays_for_each_row_once(
    runs: Runs, emulator: Emulator, tmp_path: Path, count: int, kills: int, concurrency: int
) -> None:
    rng, source = random.Random(count + concurrency), write_rows(tmp_path / "rows.jsonl", count)
    own = ONE_BY_ONE if concurrency == 1 else ()
    run = Killed(runs, emulator.address, source, count, options(*own), rng)
    for moment in sorted(rng.sample(range(count), kills)):
        run.kill_after(lambda: emulator.generations[SUBMIT], moment)
    run.end()
    lost, counted = check_paid([run], emulator.operations, emulator.deliveries)
    assert emulator.generations[SUBMIT] == count + lost
    assert counted == len(run.unknown)
    assert run.kills
    assert run.most <= concurrency
    refused = sum(number for (path, _), number in emulator.refusals.items() if path == SUBMIT)
    report(f"concurrency {concurrency}", [run], f"{run.kills} kills", lost, counted, refused)
    run.end()
    assert emulator.generations[SUBMIT] == count + lost
    run.check_rows()


@pytest.mark.parametrize(("count", "kills"), [(400, 3), pytest.param(20_000, 20, marks=pytest.mark.slow)])
def test_a_run_with_copies_that_is_killed_pays_for_each_text_once(
    runs: Runs, emulator: Emulator, tmp_path: Path, count: int, kills: int
) -> None:
    texts, rng = count // 4, random.Random(count)
    source = write_rows(tmp_path / "rows.jsonl", count, texts=texts)
    own = options("--dedupe", *ONE_BY_ONE)
    run = Killed(runs, emulator.address, source, count, own, rng, copies=count - texts)
    for moment in sorted(rng.sample(range(texts), kills)):
        run.kill_after(lambda: emulator.generations[SUBMIT], moment)
    run.end()
    lost, counted = check_paid([run], emulator.operations, emulator.deliveries)
    assert emulator.generations[SUBMIT] == texts + lost
    assert counted == len(run.unknown)
    refused = sum(number for (path, _), number in emulator.refusals.items() if path == SUBMIT)
    report("with copies", [run], f"{run.kills} kills", lost, counted, refused)


class Service:
    """An emulator in a process, which is killed and started again on the same port with its operations."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state.db"
        self._port = "0"
        self._process: subprocess.Popen[str] | None = None
        self.address = ""

    def start(self) -> None:
        command = [sys.executable, "-m", "yagrpc", "emulator", "--port", self._port, "--state", str(self._state)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("YAGRPC_EMULATOR")}
        self._process = subprocess.Popen(
            [*command, "--control", "--duration", str(DURATION), "--quota", QUOTA],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        self._port = self.address.rpartition(":")[2]

    def operations(self) -> list[OperationRecord]:
        """The operations that it has, of all its lives."""
        with Control(self.address) as control:
            return control.operations()

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


@pytest.mark.parametrize("both", [False, True], ids=["service", "both"])
@pytest.mark.parametrize(("count", "kills"), [(200, 3), pytest.param(5000, 20, marks=pytest.mark.slow)])
def test_a_service_that_is_killed_costs_no_row(
    runs: Runs, service: Service, tmp_path: Path, count: int, kills: int, both: bool
) -> None:
    rng, source = random.Random(count + both), write_rows(tmp_path / "rows.jsonl", count)
    run = Killed(runs, service.address, source, count, options(*ONE_BY_ONE), rng)
    for moment in sorted(rng.sample(range(count), kills)):
        run.start()
        assert run.process is not None
        wait_for(run.process, lambda: len(service.operations()), moment)
        if both:
            run.kill(rng.uniform(0.0, 0.1))
        service.kill()
        service.start()
    if run.process is not None:
        run.process.communicate(timeout=600)
    run.end()
    lost, counted = check_paid([run], service.operations())
    # Of each kill of the run, those that its journal shows. Of each kill of the service, that which is on its way, and
    # perhaps the next one: gRPC shows the connection as ready for a moment after that.
    assert len(run.unknown) <= counted <= len(run.unknown) + 2 * kills
    report("service killed", [run], f"{run.kills} kills and {kills} of the service", lost, counted, "?")


def sent_by(emulator: Emulator, run: Killed) -> int:
    """How many generations of a run a service has accepted, by the words of its rows."""
    return sum(each.words.startswith(run.source.parent.name) for each in emulator.operations)


@pytest.mark.parametrize(("count", "kills"), [(100, 3), pytest.param(2500, 10, marks=pytest.mark.slow)])
def test_two_runs_of_a_folder_that_are_killed_pay_for_each_row_once(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, kills: int
) -> None:
    monkeypatch.setenv("YAGRPC_SHARE", str(tmp_path / "share.db"))
    rng = random.Random(count)
    with contextlib.ExitStack() as stack:
        both = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            runs = Runs(tmp_path / name)
            stack.callback(runs.close)
            source = write_rows(tmp_path / name / "rows.jsonl", count, name)
            both.append(Killed(runs, emulator.address, source, count, options(*ONE_BY_ONE), rng))
        moments = [(moment, run) for run in both for moment in rng.sample(range(count), kills)]
        for moment, victim in sorted(moments, key=lambda each: each[0]):
            for run in both:
                run.start()
            victim.kill_after(functools.partial(sent_by, emulator, victim), moment)
        for run in both:
            if run.process is not None:
                run.process.communicate(timeout=300)
            run.end()
    lost, counted = check_paid(both, emulator.operations, emulator.deliveries)
    assert counted == sum(len(run.unknown) for run in both)
    refused = sum(number for (path, _), number in emulator.refusals.items() if path == SUBMIT)
    report("two runs", both, f"{sum(run.kills for run in both)} kills", lost, counted, refused)

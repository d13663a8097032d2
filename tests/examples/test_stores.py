"""The recipes of docs/stores.md, as programs that are killed at any moment, on real databases and over real gRPC."""

from __future__ import annotations

import contextlib
import re
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

import yagrpc
from yagrpc.emulator import Emulator, Failure, Fault, paths

ROOT = Path(__file__).parents[2]

SOON = 20.0
"""Seconds in which what a test waits for has to happen; it takes milliseconds."""

HOUR = 3600.0

PROMPTS = [f"Вопрос {number}" for number in range(12)]


class Recipe(NamedTuple):
    """A recipe and its database.

    Args:
        program: The program, below `examples/`.
        database: The database, as the program takes it.
        rows: Gives the rows of a query.
        at_once: How many jobs it submits at once.
    """

    program: str
    database: str
    rows: Callable[[str], list[tuple[Any, ...]]]
    at_once: int = 1

    def jobs(self) -> list[tuple[Any, ...]]:
        """All jobs: prompt, state, operation id, result."""
        return self.rows("SELECT prompt, state, operation_id, result FROM jobs ORDER BY prompt")

    def states(self) -> Counter[str]:
        """How many jobs are in each state."""
        return Counter(state for _, state, _, _ in self.jobs())


@pytest.fixture(params=["sqlite", "sqlalchemy", "asyncpg"])
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Recipe:
    program = f"stores/jobs_{request.param}.py"
    if request.param == "sqlite":
        path = str(tmp_path / "jobs.db")

        def rows_of_sqlite(query: str) -> list[tuple[Any, ...]]:
            with contextlib.closing(sqlite3.connect(path)) as database:
                return database.execute(query).fetchall()

        return Recipe(program, path, rows_of_sqlite)
    import psycopg

    url = request.getfixturevalue("postgres_server").create()

    def rows(query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url) as connection:
            return connection.execute(query.encode()).fetchall()

    if request.param == "sqlalchemy":
        pytest.importorskip("sqlalchemy")
        return Recipe(program, url.replace("postgresql:", "postgresql+psycopg:"), rows)
    pytest.importorskip("asyncpg")
    return Recipe(program, url, rows, at_once=10)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(duration=HOUR, seed=1) as found:
        yield found


@contextlib.contextmanager
def started(
    programs: Any, recipe: Recipe, emulator: Emulator, tmp_path: Path, *prompts: str
) -> Iterator[subprocess.Popen[str]]:
    """A worker; it is killed at the end of the block."""
    with subprocess.Popen(
        programs.command(recipe.program, recipe.database, *prompts, "--every", "0.05"),
        cwd=tmp_path,
        env={**programs.environment, "YAGRPC_EMULATOR_HOST": emulator.address},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=SOON)


def accepted(process: subprocess.Popen[str], count: int) -> None:
    """Wait until so many operations were accepted and recorded."""
    assert process.stdout is not None
    for _ in range(count):
        assert process.stdout.readline().startswith("accepted ")


def finish(programs: Any, recipe: Recipe, emulator: Emulator, tmp_path: Path) -> str:
    """Run the worker to its end; gives what it printed."""
    ran = programs.run(
        recipe.program, recipe.database, "--every", "0.05", cwd=tmp_path, YAGRPC_EMULATOR_HOST=emulator.address
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return str(ran.stdout)


def test_a_worker_killed_between_submit_and_end_delivers_each_once(
    recipe: Recipe, emulator: Emulator, programs: Any, tmp_path: Path
) -> None:
    with started(programs, recipe, emulator, tmp_path, *PROMPTS) as worker:
        accepted(worker, len(PROMPTS))
    assert recipe.states() == {"running": len(PROMPTS)}
    emulator.advance(HOUR)
    assert finish(programs, recipe, emulator, tmp_path) == ""
    assert [(prompt, state) for prompt, state, _, _ in recipe.jobs()] == [(each, "done") for each in sorted(PROMPTS)]
    assert all(f'"{prompt}"' in result for prompt, _, _, result in recipe.jobs())
    assert emulator.generations == {paths.COMPLETION_ASYNC: len(PROMPTS)}
    assert emulator.deliveries == Counter(operation for _, _, operation, _ in recipe.jobs())


def test_a_worker_killed_while_it_submits_sends_no_job_twice(
    recipe: Recipe, emulator: Emulator, programs: Any, tmp_path: Path
) -> None:
    with started(programs, recipe, emulator, tmp_path, *PROMPTS) as worker:
        accepted(worker, 5)
    before = recipe.states()
    unsure = before["sending"]
    assert unsure <= recipe.at_once
    assert before["new"] + unsure + before["running"] == len(PROMPTS)
    with started(programs, recipe, emulator, tmp_path) as worker:
        assert worker.stdout is not None
        said = [worker.stdout.readline() for _ in range(unsure)]
        assert all("it is not sent again" in line for line in said)
        accepted(worker, before["new"])
        emulator.advance(HOUR)
        assert worker.wait(SOON) == 0
    assert recipe.states() == Counter(done=len(PROMPTS) - unsure, sending=unsure)
    requests: list[Any] = emulator.requests
    sent = Counter(each.request.messages[0].text for each in requests if each.path == paths.COMPLETION_ASYNC)
    assert max(sent.values()) == 1
    assert emulator.deliveries == Counter(operation for _, _, operation, _ in recipe.jobs() if operation)


def test_a_job_that_may_have_been_accepted_stays_in_doubt(
    recipe: Recipe, emulator: Emulator, programs: Any, tmp_path: Path
) -> None:
    fault = Failure(grpc.StatusCode.INTERNAL, "broken")
    emulator.faults.add(Fault(fault, method=paths.COMPLETION_ASYNC, calls=1))
    with started(programs, recipe, emulator, tmp_path, "one") as worker:
        assert worker.stdout is not None
        assert "may have been accepted, and stays 'sending'" in worker.stdout.readline()
        assert worker.wait(SOON) == 0
    assert recipe.states() == {"sending": 1}


def test_a_get_that_is_refused_is_no_end_of_its_job(
    recipe: Recipe, emulator: Emulator, programs: Any, tmp_path: Path
) -> None:
    with started(programs, recipe, emulator, tmp_path, "one", "two") as worker:
        accepted(worker, 2)
    emulator.advance(HOUR)
    fault = Failure(grpc.StatusCode.PERMISSION_DENIED, "a role was taken away")
    emulator.faults.add(Fault(fault, method="OperationService", calls=1))
    printed = finish(programs, recipe, emulator, tmp_path)
    assert printed.count("stays 'running': PERMISSION_DENIED") == 1
    assert recipe.states() == {"done": 2}


class Work(NamedTuple):
    """A recipe of the blocking client, in this process.

    Args:
        module: The example.
        jobs: What its functions take for the database.
        events: Records its submits.
        change: Changes the table.
        states: Gives the states of the jobs.
    """

    module: Any
    jobs: Any
    events: yagrpc.Events
    change: Callable[[str], object]
    states: Callable[[], list[str]]


@pytest.fixture(params=["sqlite", "sqlalchemy"])
def work(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Work]:
    """One new job, in a SQLite file."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("jobs", ROOT / f"examples/stores/jobs_{request.param}.py")
    assert spec is not None
    assert spec.loader is not None
    if request.param == "sqlalchemy":
        pytest.importorskip("sqlalchemy")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path = tmp_path / "jobs.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as database:

        def states() -> list[str]:
            return [state for (state,) in database.execute("SELECT state FROM jobs ORDER BY id")]

        if request.param == "sqlite":
            jobs = events = module.Jobs(str(path))
        else:
            jobs = module.sa.create_engine(f"sqlite:///{path}")
            module.METADATA.create_all(jobs)
            events = module.Journal(jobs)
        database.execute("INSERT INTO jobs (id, prompt, state) VALUES ('one', 'ping', 'new')")
        yield Work(module, jobs, events, database.execute, states)
        if request.param == "sqlalchemy":
            jobs.dispose()


@contextlib.contextmanager
def opened(emulator: Emulator, *events: yagrpc.Events) -> Iterator[yagrpc.Client]:
    """A client of the emulator."""
    settings: Any = {"endpoint": emulator.address, "plaintext": True, "folder_id": "folder"}
    with yagrpc.Client(credentials=yagrpc.NoCredentials(), events=events, **settings) as client:
        yield client


def test_what_was_sent_before_is_stopped_before_it_is_sent_again(work: Work, emulator: Emulator) -> None:
    """The claim in `submitting` is what stops it, also where another worker took the job meanwhile."""
    with opened(emulator, work.events) as client:
        client.completion_async("ping", request_id="one")
        with pytest.raises(work.module.TakenError, match="job one was sent before"):
            client.completion_async("ping", request_id="one")
    assert emulator.calls[paths.COMPLETION_ASYNC] == 1


def test_of_two_workers_the_slower_one_goes_on(work: Work, emulator: Emulator) -> None:
    work.change("INSERT INTO jobs (id, prompt, state) VALUES ('two', 'pong', 'new')")

    class Other(yagrpc.Events):
        """Another worker, which takes the first job after this one has read that it is new."""

        def call_started(self, call: yagrpc.Call[Any, Any]) -> None:
            work.change("UPDATE jobs SET state = 'sending' WHERE id = 'one'")

    with opened(emulator, Other(), work.events) as client:
        work.module.submit(client, work.jobs)
    assert work.states() == ["sending", "running"]
    assert emulator.calls[paths.COMPLETION_ASYNC] == 1


def test_a_worker_that_fails_does_not_write_over_the_job_of_another(work: Work, emulator: Emulator) -> None:
    class Broken(yagrpc.FetchedCredentials):
        """Credentials of this worker that can't be had, while another one takes its job."""

        def fetch(self, timeout: float) -> yagrpc.AccessToken:
            work.change("UPDATE jobs SET state = 'running', operation_id = 'd7qother'")
            raise yagrpc.ConfigError("no token")

    settings: Any = {"endpoint": emulator.address, "plaintext": True, "folder_id": "folder"}
    with yagrpc.Client(credentials=Broken(), events=work.events, **settings) as client:
        work.module.submit(client, work.jobs)
    assert work.states() == ["running"]


def test_a_refused_job_has_failed(work: Work, emulator: Emulator) -> None:
    fault = Failure(grpc.StatusCode.INVALID_ARGUMENT, "no such model")
    emulator.faults.add(Fault(fault, method=paths.COMPLETION_ASYNC))
    with opened(emulator, work.events) as client:
        work.module.submit(client, work.jobs)
    assert work.states() == ["failed"]


def test_the_page_shows_what_runs() -> None:
    page = (ROOT / "docs" / "stores.md").read_text("utf-8")
    shown = re.findall(r"<!-- (examples/stores/\w+\.py) -->\n```python\n(.*?)```", page, re.DOTALL)
    assert {name for name, _ in shown} == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "examples" / "stores").glob("*.py")
    }
    for name, block in shown:
        assert block in (ROOT / name).read_text("utf-8"), name

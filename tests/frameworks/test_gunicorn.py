"""FastAPI under gunicorn with four workers: the backend of the examples is killed as a whole, and reloaded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.frameworks.conftest import EXAMPLES, HOUR, SOON, Processes, Starter, eventually
from yagrpc.emulator import Emulator, Fault, Hang, paths

pytest.importorskip("gunicorn", reason="the group `frameworks` of pyproject.toml is not installed")
pytest.importorskip("uvicorn_worker", reason="the group `frameworks` of pyproject.toml is not installed")

BACKEND = EXAMPLES / "backend"
WORKERS = 4
JOBS = 60
AGAIN = frozenset({429, 503, 504})
"""Statuses after which a caller asks again."""


class Server:
    """gunicorn with four workers, on a socket that outlives it.

    Args:
        start: Starts programs.
        listening: The socket.
    """

    def __init__(self, start: Starter, listening: socket.socket) -> None:
        self._start = start
        self._listening = listening
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def run(self, app: str, folder: Path, *options: str) -> Processes:
        """Start it, and wait until all workers serve."""
        worker = ("--worker-class", "uvicorn_worker.UvicornWorker", "--workers", str(WORKERS))
        bind = ("--bind", f"fd://{self._listening.fileno()}", "--pythonpath", str(folder))
        processes = self._start("-m", "gunicorn", *worker, *bind, *options, app, inherits=(self._listening.fileno(),))
        processes.expect("Application startup complete", WORKERS)
        return processes

    def caller(self) -> httpx.AsyncClient:
        """A caller with as many connections as it wants."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        return httpx.AsyncClient(base_url=self.url, timeout=SOON, trust_env=False, limits=limits)


@pytest.fixture
def server(start: Starter, listening: socket.socket) -> Server:
    return Server(start, listening)


class Table:
    """The table of jobs, as the backend has it by now."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "jobs.sqlite3"

    def rows(self) -> list[tuple[str, str | None, str | None]]:
        """Id, operation and text of all jobs."""
        with contextlib.closing(sqlite3.connect(self._path, timeout=0)) as database:
            return database.execute("SELECT id, operation, text FROM jobs").fetchall()

    def settled(self) -> int | None:
        """How many jobs were accepted; `None` where one is just being sent, or the table is just being written."""
        try:
            rows = self.rows()
        except sqlite3.OperationalError:
            return None
        return None if any(operation is None for _, operation, _ in rows) else len(rows)


async def ask(caller: httpx.AsyncClient, method: str, path: str, **content: object) -> httpx.Response:
    """Ask until there is an answer that is final, as any caller of a server that restarts does."""
    while True:
        try:
            answer = await caller.request(method, path, **content)  # type: ignore[arg-type]
        except httpx.TransportError:
            await asyncio.sleep(0.05)
            continue
        if answer.status_code not in AGAIN:
            return answer


async def deliver(caller: httpx.AsyncClient, name: str) -> str:
    """Have one job done; gives its text."""
    accepted = await ask(caller, "POST", "/jobs", json={"id": name, "text": f"text of {name}"})
    assert accepted.status_code == 202, accepted.text
    done = await ask(caller, "GET", f"/jobs/{name}")
    assert done.status_code == 200, done.text
    text = done.json()
    assert isinstance(text, str)
    return text


def kill_between(processes: Processes, table: Table, *, least: int) -> int:
    """Kill all processes once some jobs were accepted, and none is just being sent; gives how many were."""
    found: int | None = None

    def stopped() -> bool:
        nonlocal found
        if (table.settled() or 0) < least:
            return False
        processes.signal_all(signal.SIGSTOP)  # nothing is sent while the table is read
        found = table.settled()
        processes.signal_all(signal.SIGKILL if found is not None else signal.SIGCONT)
        return found is not None

    eventually(stopped, lambda: processes.output)
    assert found is not None
    return found


def test_jobs_survive_that_all_processes_are_killed(server: Server, emulator: Emulator, tmp_path: Path) -> None:
    """It runs without --preload first, and with it after that."""
    table = Table(tmp_path)
    names = [f"job-{number}" for number in range(JOBS)]

    async def run() -> list[str]:
        processes = server.run("app:app", BACKEND)
        async with server.caller() as caller:
            callers = [asyncio.create_task(deliver(caller, name)) for name in names]
            accepted = await asyncio.to_thread(kill_between, processes, table, least=JOBS // 3)
            assert accepted < JOBS
            restarted = await asyncio.to_thread(server.run, "app:app", BACKEND, "--preload")
            await asyncio.to_thread(eventually, lambda: table.settled() == JOBS, lambda: restarted.output)
            emulator.advance(HOUR)
            texts = await asyncio.gather(*callers)
        assert restarted.stop() == 0, restarted.output
        return texts

    texts = asyncio.run(run())
    assert all(f'"text of {name}"' in text for name, text in zip(names, texts, strict=True))
    assert emulator.generations == Counter({paths.COMPLETION_ASYNC: JOBS})
    assert not [path for path, _ in emulator.refusals if path == paths.COMPLETION_ASYNC]
    assert len(emulator.deliveries) == JOBS
    assert [text is not None for *_, text in table.rows()] == [True] * JOBS


def test_a_job_whose_id_nobody_could_ask_for_is_not_sent(server: Server, emulator: Emulator) -> None:
    """The client would give a request without an id one of its own, and a slash ends the id in the path of the GET."""
    processes = server.run("app:app", BACKEND)
    with httpx.Client(base_url=server.url, timeout=SOON, trust_env=False) as caller:
        for name in ("", "a/b"):
            assert caller.post("/jobs", json={"id": name, "text": "text"}).status_code == 422
    assert processes.stop() == 0, processes.output
    assert not emulator.generations


def test_workers_are_replaced_while_requests_run(server: Server, emulator: Emulator, tmp_path: Path) -> None:
    """SIGHUP replaces them once they have answered; those that die are replaced too, and forget nothing."""
    processes = server.run("app:app", BACKEND, "--preload")
    once = httpx.Limits(max_keepalive_connections=0)
    with (
        httpx.Client(base_url=server.url, timeout=SOON, trust_env=False, limits=once) as caller,
        ThreadPoolExecutor(1) as pool,
    ):
        assert caller.post("/jobs", json={"id": "first", "text": "one"}).status_code == 202
        waiting = pool.submit(caller.get, "/jobs/first")
        eventually(lambda: bool(emulator.calls[paths.OPERATION_GET]), lambda: processes.output)
        os.kill(processes.pid, signal.SIGHUP)
        workers = processes.expect(r"Started server process \[(\d+)\]", 2 * WORKERS)[WORKERS:]
        processes.expect("Application startup complete", 2 * WORKERS)
        assert not waiting.done()
        emulator.advance(HOUR)
        assert '"one"' in waiting.result(SOON).json()
        processes.expect("Finished server process", WORKERS)  # until then, old workers may take requests

        emulator.faults.add(Fault(Hang(), method=paths.COMPLETION_ASYNC, times=1))
        lost = pool.submit(caller.post, "/jobs", json={"id": "second", "text": "two"})
        eventually(lambda: emulator.calls[paths.COMPLETION_ASYNC] == 2, lambda: processes.output)
        for worker in workers:
            os.kill(int(worker), signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            lost.result(SOON)
        processes.expect("Application startup complete", 3 * WORKERS)
        assert caller.post("/jobs", json={"id": "second", "text": "two"}).status_code == 202
        assert caller.get("/jobs/second").status_code == 409
        assert emulator.calls[paths.COMPLETION_ASYNC] == 2
        refused = caller.post("/jobs", json={"id": "third", "text": ""})
        assert (refused.status_code, refused.json()["reason"]) == (400, "INVALID_REQUEST")
        assert caller.get("/jobs/third").status_code == 404
    assert processes.stop() == 0, processes.output
    assert Table(tmp_path).rows()[1] == ("second", None, None)

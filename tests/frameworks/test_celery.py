"""Celery's prefork workers: a task whose processes are killed runs again, and is generated once."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from typing import Any

import pytest

from tests.frameworks.conftest import EXAMPLES, HOUR, SOON, Processes, Starter, eventually
from tests.stores import RedisServer
from yagrpc.emulator import Emulator, paths

celery = pytest.importorskip("celery", reason="the group `frameworks` of pyproject.toml is not installed")

RECEIVED = r"Task tasks\.generate\[\S+\] received"


class Workers:
    """Workers of the example, and a caller of its tasks."""

    def __init__(self, start: Starter, url: str) -> None:
        self._start = start
        self._url = url
        self._app = celery.Celery("caller", broker=url, backend=url)

    def run(self, *, soft_limit: float = HOUR) -> Processes:
        """Start a worker with two processes. What a killed worker had may run again at once.

        A worker asks for such tasks when it starts, and then every 100 seconds only.
        """
        options = ("--concurrency", "2", "--loglevel", "info", "--without-gossip", "--without-mingle")
        settings = {"TASKS_REDIS": self._url, "TASKS_VISIBILITY": "0", "TASKS_SOFT_LIMIT": str(soft_limit)}
        tasks = str(EXAMPLES / "tasks")
        found = self._start("-m", "celery", "--workdir", tasks, "--app", "tasks", "worker", *options, **settings)
        found.expect(r"celery@\S+ ready")
        return found

    def send(self, text: str) -> Any:
        """Send a task; gives its result to come."""
        return self._app.send_task("tasks.generate", [text])


@pytest.fixture
def workers(start: Starter, own_redis_server: RedisServer) -> Workers:
    return Workers(start, own_redis_server.url)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    with open(f"/proc/{pid}/task/{pid}/children") as listed:
        return [int(each) for each in listed.read().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="the processes of the pool are found in /proc")
def test_a_task_whose_worker_is_killed_runs_again_and_is_generated_once(workers: Workers, emulator: Emulator) -> None:
    worker = workers.run()
    result = workers.send("малоко")
    eventually(lambda: bool(emulator.calls[paths.OPERATION_GET]), lambda: worker.output)
    for child in children(worker.pid):
        os.kill(child, signal.SIGKILL)
    worker.expect(RECEIVED, 2)
    asked = emulator.calls[paths.OPERATION_GET]
    eventually(lambda: emulator.calls[paths.OPERATION_GET] > asked, lambda: worker.output)
    worker.kill()

    worker = workers.run(soft_limit=1.0)
    worker.expect(RECEIVED)
    worker.expect("Retry in 0s")  # its process was free again after a second
    emulator.advance(HOUR)
    assert 'You wrote: "малоко".' in result.get(timeout=SOON)
    assert emulator.generations == Counter({paths.COMPLETION_ASYNC: 1})
    assert worker.stop() == 0, worker.output

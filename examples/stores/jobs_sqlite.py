"""Jobs in a SQLite file: each prompt is submitted once, and its result is collected after any number of restarts.

python examples/stores/jobs_sqlite.py jobs.db "Where do platypuses live?"    # adds a job, and works
python examples/stores/jobs_sqlite.py jobs.db                                # continues after a crash
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import time
import uuid
from collections.abc import Iterator
from typing import Any

import yagrpc

TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,                  -- also the request's id: x-client-request-id
    prompt TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'new',    -- new, sending, running, done, failed
    operation_id TEXT,
    result TEXT
)
"""


class TakenError(Exception):
    """The job was sent before, or another worker has it."""


class Jobs(yagrpc.Events):
    """The table of jobs; as `Client(events=Jobs(...))` it records each submit and the id of its operation.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.write(TABLE)

    def submitting(self, call: yagrpc.Call[Any, Any]) -> None:
        """Record the intent; an exception here stops the call, and nothing is sent."""
        if self.write("UPDATE jobs SET state = 'sending' WHERE id = ? AND state = 'new'", call.client_request_id) != 1:
            raise TakenError(f"job {call.client_request_id} was sent before, or by another worker")

    def accepted(self, call: yagrpc.Call[Any, Any], operation: Any) -> None:
        """Record the id; this is another thread than the caller's."""
        values = operation.id, call.client_request_id
        self.write("UPDATE jobs SET state = 'running', operation_id = ? WHERE id = ?", *values)
        print("accepted", call.client_request_id, operation.id, flush=True)

    def not_started(self, call: yagrpc.Call[Any, Any]) -> None:
        """Take the intent back: the submit has failed, and it is proved that nothing was started."""
        self.write("UPDATE jobs SET state = 'new' WHERE id = ? AND state = 'sending'", call.client_request_id)

    def write(self, statement: str, *values: str) -> int:
        """Change the table in a transaction of its own; gives the number of rows."""
        with self.connection() as database:
            return database.execute(statement, values).rowcount

    def read(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self.connection() as database:
            return database.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection of this thread's own; the block is a transaction."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=10)) as database, database:
            yield database


def submit(client: yagrpc.Client, jobs: Jobs) -> None:
    """Submit the new jobs."""
    for job, prompt in jobs.read("SELECT id, prompt FROM jobs WHERE state = 'new'"):
        try:
            client.completion_async(prompt, request_id=job)
        except TakenError:
            continue
        except yagrpc.AmbiguousSubmitError as error:
            print(f"job {job} may have been accepted, and stays 'sending': {error}")
        except yagrpc.YagrpcError as error:  # nothing was started here; if another worker has the job, it is not 'new'
            jobs.write("UPDATE jobs SET state = 'failed', result = ? WHERE id = ? AND state = 'new'", str(error), job)


def collect(client: yagrpc.Client, jobs: Jobs) -> int:
    """Store the results of the operations that have ended; gives how many still run."""
    running = [operation for (operation,) in jobs.read("SELECT operation_id FROM jobs WHERE state = 'running'")]
    left = len(running)
    for operation in client.poll(running):
        try:
            state, result = "done", operation.result(0).text
        except (yagrpc.OperationError, yagrpc.ResultError) as error:
            state, result = "failed", str(error)
        except yagrpc.YagrpcError as error:  # a refused Get says nothing of the operation: it is asked for again
            print(f"operation {operation.id} stays 'running': {error}")
            continue
        jobs.write(
            "UPDATE jobs SET state = ?, result = ? WHERE operation_id = ? AND state = 'running'",
            *(state, result, operation.id),
        )
        left -= 1
    return left


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the jobs of a SQLite file.")
    parser.add_argument("path", help="the file")
    parser.add_argument("prompts", nargs="*", help="prompts to add as jobs")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two collections (default 5)")
    options = parser.parse_args()
    jobs = Jobs(options.path)
    for prompt in options.prompts:
        jobs.write("INSERT INTO jobs (id, prompt) VALUES (?, ?)", str(uuid.uuid4()), prompt)
    for job, _ in jobs.read("SELECT id, prompt FROM jobs WHERE state = 'sending'"):
        print(f"job {job} may have been accepted when an earlier process ended: it is not sent again")
    with yagrpc.Client(events=jobs) as client:
        submit(client, jobs)
        while collect(client, jobs):
            time.sleep(options.every)


if __name__ == "__main__":
    main()

"""Jobs in PostgreSQL through SQLAlchemy, for the blocking client: submitted once, collected after any restart.

pip install sqlalchemy 'psycopg[binary]'
python examples/stores/jobs_sqlalchemy.py postgresql+psycopg://localhost/app "Where do platypuses live?"
python examples/stores/jobs_sqlalchemy.py postgresql+psycopg://localhost/app      # continues after a crash
"""

from __future__ import annotations

import argparse
import time
import uuid
from typing import Any

import sqlalchemy as sa

import yagrpc

METADATA = sa.MetaData()

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),  # also the request's id: x-client-request-id
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, default="new"),  # new, sending, running, done, failed
    sa.Column("operation_id", sa.Text, unique=True),
    sa.Column("result", sa.Text),
)


class TakenError(Exception):
    """The job was sent before, or another worker has it."""


class Journal(yagrpc.Events):
    """Records each submit and the id of its operation; an engine may be used from any thread, a `Session` may not.

    Args:
        engine: The database.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def submitting(self, call: yagrpc.Call[Any, Any]) -> None:
        """Record the intent; an exception here stops the call, and nothing is sent."""
        row = (JOBS.c.id == call.client_request_id) & (JOBS.c.state == "new")
        with self.engine.begin() as database:
            if database.execute(sa.update(JOBS).where(row).values(state="sending")).rowcount != 1:
                raise TakenError(f"job {call.client_request_id} was sent before, or by another worker")

    def accepted(self, call: yagrpc.Call[Any, Any], operation: Any) -> None:
        """Record the id; this is another thread than the caller's, so it has a connection of its own."""
        row = JOBS.c.id == call.client_request_id
        with self.engine.begin() as database:
            database.execute(sa.update(JOBS).where(row).values(state="running", operation_id=operation.id))
        print("accepted", call.client_request_id, operation.id, flush=True)

    def not_started(self, call: yagrpc.Call[Any, Any]) -> None:
        """Take the intent back: the submit has failed, and it is proved that nothing was started."""
        row = (JOBS.c.id == call.client_request_id) & (JOBS.c.state == "sending")
        with self.engine.begin() as database:
            database.execute(sa.update(JOBS).where(row).values(state="new"))


def submit(client: yagrpc.Client, engine: sa.Engine) -> None:
    """Submit the new jobs; no transaction is open while a call waits for its slot and its answer."""
    with engine.connect() as database:
        new = database.execute(sa.select(JOBS.c.id, JOBS.c.prompt).where(JOBS.c.state == "new")).all()
    for job, prompt in new:
        try:
            client.completion_async(prompt, request_id=job)
        except TakenError:
            continue
        except yagrpc.AmbiguousSubmitError as error:
            print(f"job {job} may have been accepted, and stays 'sending': {error}")
        except yagrpc.YagrpcError as error:  # nothing was started here; if another worker has the job, it is not 'new'
            row = (JOBS.c.id == job) & (JOBS.c.state == "new")
            with engine.begin() as database:
                database.execute(sa.update(JOBS).where(row).values(state="failed", result=str(error)))


def collect(client: yagrpc.Client, engine: sa.Engine) -> int:
    """Store the results of the operations that have ended; gives how many still run."""
    with engine.connect() as database:
        running = database.scalars(sa.select(JOBS.c.operation_id).where(JOBS.c.state == "running")).all()
    left = len(running)
    for operation in client.poll(running):
        try:
            state, result = "done", operation.result(0).text
        except (yagrpc.OperationError, yagrpc.ResultError) as error:
            state, result = "failed", str(error)
        except yagrpc.YagrpcError as error:  # a refused Get says nothing of the operation: it is asked for again
            print(f"operation {operation.id} stays 'running': {error}")
            continue
        row = (JOBS.c.operation_id == operation.id) & (JOBS.c.state == "running")  # once, however many poll it
        with engine.begin() as database:
            database.execute(sa.update(JOBS).where(row).values(state=state, result=result))
        left -= 1
    return left


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the jobs of a database.")
    parser.add_argument("url", help="the database, as SQLAlchemy names it")
    parser.add_argument("prompts", nargs="*", help="prompts to add as jobs")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two collections (default 5)")
    options = parser.parse_args()
    engine = sa.create_engine(options.url)
    METADATA.create_all(engine)
    with engine.begin() as database:
        for prompt in options.prompts:
            database.execute(sa.insert(JOBS).values(id=str(uuid.uuid4()), prompt=prompt))
        for job in database.scalars(sa.select(JOBS.c.id).where(JOBS.c.state == "sending")):
            print(f"job {job} may have been accepted when an earlier process ended: it is not sent again")
    with yagrpc.Client(events=Journal(engine)) as client:
        submit(client, engine)
        while collect(client, engine):
            time.sleep(options.every)
    engine.dispose()


if __name__ == "__main__":
    main()

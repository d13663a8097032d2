"""A backend that generates texts: jobs in a table, four worker processes, and nothing paid twice; 40 lines of code.

    pip install fastapi gunicorn uvicorn-worker
    cd examples/backend
    gunicorn --workers 4 --worker-class uvicorn_worker.UvicornWorker app:app

    curl -d '{"id": "job-1", "text": "Малоко"}' -H 'content-type: application/json' http://127.0.0.1:8000/jobs
    curl http://127.0.0.1:8000/jobs/job-1

`POST /jobs` answers once the service has accepted the job. After any failure it is safe to send it again: an id that is
in the table is not submitted a second time. `GET /jobs/{id}` waits for the answer, at most 30 s; any worker can, and so
can the workers after a restart. It answers 409 where the processes were killed between sending a job and learning its
operation: it may have started. All other failures are `application/problem+json`, by the table of docs/serving.md.
"""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException

import yagrpc
from yagrpc import serving


def sql(statement: str, *values: str) -> list[Any]:
    """Run one statement, on a connection of its own, which no fork and no thread can break."""
    with contextlib.closing(sqlite3.connect("jobs.sqlite3", isolation_level=None)) as database:
        return database.execute(statement, values).fetchall()


class Jobs(yagrpc.Events):
    """Keeps the table true: a job is there before it is sent, and its operation as soon as it is accepted."""

    def submitting(self, call: yagrpc.Call[Any, Any]) -> None:
        sql("INSERT INTO jobs (id) VALUES (?)", call.client_request_id)  # fails for a known id: then nothing is sent

    def accepted(self, call: yagrpc.Call[Any, Any], operation: Any) -> None:
        sql("UPDATE jobs SET operation = ? WHERE id = ?", operation.id, call.client_request_id)

    def not_started(self, call: yagrpc.Call[Any, Any]) -> None:
        sql("DELETE FROM jobs WHERE id = ?", call.client_request_id)


sql("CREATE TABLE IF NOT EXISTS jobs (id PRIMARY KEY, operation, text)")
client = yagrpc.AsyncClient(share="auto", events=Jobs())  # it opens nothing before its first call, in a worker


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the client when the worker ends."""
    async with client:
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(serving.Middleware, timeout=30)


@app.post("/jobs", status_code=202)
async def submit(id: Annotated[str, Body(pattern="^[^/]+$")], text: Annotated[str, Body()]) -> None:
    """Submit a job, unless it was."""
    with contextlib.suppress(sqlite3.IntegrityError):  # the id is in the table
        await client.completion_async(text, request_id=id)


@app.get("/jobs/{id}")
async def answer(id: str) -> str:
    """The text that was generated; it is kept in the table, since the service deletes it after three days."""
    for operation, text in sql("SELECT operation, text FROM jobs WHERE id = ?", id):
        if operation is None:
            raise HTTPException(409, "the job may have started; it is not sent again")
        if text is None:
            text = (await client.operation(operation).result()).text
            sql("UPDATE jobs SET text = ? WHERE id = ?", text, id)
        return str(text)
    raise HTTPException(404, "there is no such job")

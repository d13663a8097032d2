"""Jobs in PostgreSQL through asyncpg, for the asyncio client: submitted once, collected after any restart.

pip install asyncpg
python examples/stores/jobs_asyncpg.py postgresql://localhost/app "Where do platypuses live?"
python examples/stores/jobs_asyncpg.py postgresql://localhost/app      # continues after a crash
"""

from __future__ import annotations

import argparse
import asyncio
import uuid

import asyncpg

import yagrpc

TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,                  -- also the request's id: x-client-request-id
    prompt TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'new',    -- new, sending, running, done, failed
    operation_id TEXT UNIQUE,
    result TEXT
)
"""

AT_ONCE = 10
"""Jobs that are submitted at once: as many may be in doubt if the process is killed."""


class Jobs:
    """The table of jobs, and the client that runs them.

    Args:
        pool: The database.
        client: The client.
    """

    def __init__(self, pool: asyncpg.Pool, client: yagrpc.AsyncClient) -> None:
        self.pool = pool
        self.client = client
        self.sending: set[asyncio.Task[None]] = set()

    async def submit(self) -> None:
        """Submit the new jobs, some at once."""
        rows = iter(await self.pool.fetch("SELECT id, prompt FROM jobs WHERE state = 'new'"))

        async def worker() -> None:
            for job, prompt in rows:
                # In a task of its own: where this one is cancelled, an id that comes is recorded all the same.
                task = asyncio.create_task(self.send(job, prompt))
                self.sending.add(task)
                task.add_done_callback(self.sending.discard)
                await asyncio.shield(task)

        try:
            await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        finally:
            await asyncio.gather(*self.sending)

    async def send(self, job: str, prompt: str) -> None:
        """Record the intent, submit, and record the id; an exception of the first stops the rest."""
        claim = "UPDATE jobs SET state = 'sending' WHERE id = $1 AND state = 'new'"
        if await self.pool.execute(claim, job) != "UPDATE 1":
            return  # another worker has it
        try:
            operation = await self.client.completion_async(prompt, request_id=job)
        except yagrpc.AmbiguousSubmitError as error:
            print(f"job {job} may have been accepted, and stays 'sending': {error}")
        except yagrpc.YagrpcError as error:  # nothing was started
            await self.pool.execute("UPDATE jobs SET state = 'failed', result = $2 WHERE id = $1", job, str(error))
        else:
            found = "UPDATE jobs SET state = 'running', operation_id = $2 WHERE id = $1"
            await self.pool.execute(found, job, operation.id)
            print("accepted", job, operation.id, flush=True)

    async def collect(self) -> int:
        """Store the results of the operations that have ended; gives how many still run."""
        rows = await self.pool.fetch("SELECT operation_id FROM jobs WHERE state = 'running'")
        left = len(rows)
        for operation in await self.client.poll(row["operation_id"] for row in rows):
            try:
                state, result = "done", (await operation.result(0)).text
            except (yagrpc.OperationError, yagrpc.ResultError) as error:
                state, result = "failed", str(error)
            except yagrpc.YagrpcError as error:  # a refused Get says nothing of the operation: it is asked for again
                print(f"operation {operation.id} stays 'running': {error}")
                continue
            save = "UPDATE jobs SET state = $2, result = $3 WHERE operation_id = $1 AND state = 'running'"
            await self.pool.execute(save, operation.id, state, result)
            left -= 1
        return left


async def run(url: str, prompts: list[str], every: float) -> None:
    """Add jobs, and work until none is running."""
    async with asyncpg.create_pool(url) as pool:
        await pool.execute(TABLE)
        for prompt in prompts:
            await pool.execute("INSERT INTO jobs (id, prompt) VALUES ($1, $2)", str(uuid.uuid4()), prompt)
        for row in await pool.fetch("SELECT id FROM jobs WHERE state = 'sending'"):
            print(f"job {row['id']} may have been accepted when an earlier process ended: it is not sent again")
        async with yagrpc.AsyncClient() as client:
            jobs = Jobs(pool, client)
            await jobs.submit()
            while True:
                if not await jobs.collect():
                    break
                await asyncio.sleep(every)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the jobs of a database.")
    parser.add_argument("url", help="the database, as libpq names it")
    parser.add_argument("prompts", nargs="*", help="prompts to add as jobs")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two collections (default 5)")
    options = parser.parse_args()
    asyncio.run(run(options.url, options.prompts, options.every))


if __name__ == "__main__":
    main()

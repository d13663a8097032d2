"""The tasks that send rows, each one row after the other, as many as may run at once.

Rules: they are in the context (`contextvars`) of the run: not in that of the Get after which they start.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING

from yagrpc.bulk.engine.operations import Operations
from yagrpc.bulk.engine.sending import Sender
from yagrpc.bulk.engine.stopping import Stopping
from yagrpc.bulk.intake.intake import Intake

if TYPE_CHECKING:
    from yagrpc.bulk.decisions.plan import Job


class Workers:
    """The workers of one run.

    Args:
        most: How many rows are sent at once.
        intake: Gives the rows.
        sender: Sends one.
        operations: Says whether there is room for another.
        stopping: Says whether rows are still sent, and learns when nothing is left.
    """

    def __init__(self, most: int, intake: Intake, sender: Sender, operations: Operations, stopping: Stopping) -> None:
        self._most = most
        self._intake = intake
        self._sender = sender
        self._operations = operations
        self._stopping = stopping
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = contextvars.copy_context()

    @property
    def sending(self) -> int:
        """How many rows are being sent."""
        return len(self._tasks)

    def advance(self) -> None:
        """Start what may run: waits for operations of earlier runs, and workers while there are rows."""
        self._operations.attach()
        while self._may_send() and len(self._tasks) < self._most:
            job = self._take()
            if job is None:
                break
            self._context.run(self._start, job)
        self.check_over()

    def check_over(self) -> None:
        """See whether the run is over."""
        if not self._tasks:
            self._stopping.check(running=self._operations.running, unattached=self._operations.unattached)

    async def cancel(self) -> None:
        """Cancel the tasks, and wait for their end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, job: Job) -> None:
        task = asyncio.get_running_loop().create_task(self._work(job), name="yagrpc-row")
        self._tasks.add(task)
        task.add_done_callback(self._worked)

    def _may_send(self) -> bool:
        return not self._stopping.reason and not self._operations.full

    def _take(self) -> Job | None:
        """The next row that is to be sent; `None` where there is none now."""
        try:
            return self._intake.next_job()
        except Exception as error:  # the rows are the user's, and may raise anything
            self._stopping.fail(error)
            return None

    async def _work(self, job: Job | None) -> None:
        """Send rows, one after the other, while there are any."""
        while job is not None:
            try:
                await self._sender.send(job)
            except Exception as error:  # of any kind: it must not be lost with its task
                self._stopping.fail(error)
                return
            job = self._take() if self._may_send() else None

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.advance()

"""What happens about once a second while a run is on: how far it is is reported, and the output is written."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from yagrpc.bulk.engine.stopping import Stopping
from yagrpc.bulk.recording.commits import Commits

if TYPE_CHECKING:
    from yagrpc.journal.changes import Noted

EVERY: Final = 1.0
"""Seconds."""


class Heartbeat:
    """The reports and the output of one run.

    Args:
        report: Reports how far it is.
        sink: Writes the rows that have ended to an output, in a thread; gives what the journal is to note of that.
        commits: The commits of the run.
        stopping: Ends the run where one of both fails.
    """

    def __init__(
        self,
        report: Callable[[], object],
        sink: Callable[[], Noted | None] | None,
        commits: Commits,
        stopping: Stopping,
    ) -> None:
        self._report: Callable[[], object] | None = report
        self._sink = sink
        self._commits = commits
        self._stopping = stopping
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._beat(), name="yagrpc-bulk")

    async def stop(self) -> None:
        """End; what is being written is written whole."""
        self._closing.set()
        if self._task is not None:
            await self._task

    def report(self) -> None:
        """Report how far it is, unless that has failed before; may raise whatever the user's callback raises."""
        if self._report is not None:
            self._report()

    async def drain(self) -> None:
        """Write the rows that have ended to the output; where that fails the run ends, and the journal has them."""
        if self._sink is None:
            return
        try:
            noted = await asyncio.get_running_loop().run_in_executor(None, self._sink)
        except Exception as error:
            self._sink = None
            self._stopping.fail(error)
            return
        if noted is not None:
            self._commits.add(noted)

    async def _beat(self) -> None:
        while not self._closing.is_set():
            try:
                self.report()
            except Exception as error:  # the callback is the user's
                self._report = None
                self._stopping.fail(error)
            await self.drain()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), EVERY)

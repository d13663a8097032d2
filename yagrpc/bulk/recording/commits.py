"""Group commits: what many tasks change in a journal at once is one commit, in a thread of its own.

Each commit takes the CPU time of a row, and a write to the disk. So they begin some milliseconds apart, unless many
rows wait for one.

Rules: changes are committed in the order in which they came. So the id of an operation is on the disk before any
request leaves whose intent was added after it. Where a commit fails, the intents in it fail, and nothing is sent for
them; what is known of requests that were sent is kept, and written as soon as that is possible.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from yagrpc._grpc.loops import settle
from yagrpc.bulk.wording import counted
from yagrpc.errors import JournalError
from yagrpc.journal.changes import Accepted, Change, Ended, Intent, Kept
from yagrpc.journal.journal import JournalWriter

Done = Callable[[JournalError | None], object]
"""Called once a change is on the disk, or with the reason why it is not."""

PATIENCE: Final = 60.0
"""Seconds for which a commit that fails is tried again while the run ends; what it holds may be paid for."""

NAMED: Final = 10
"""Operations that the message of an error names; the error has all."""

_PAUSE: Final = 1.0

MOST: Final = 1000
"""Changes that wait for the disk before rows that are not sent wait as well: they come as fast as they are read."""

APART: Final = 0.005
"""Seconds from the start of a commit to that of the next."""

_CHANGES: Final = 3
"""Changes of a row in a commit, mostly: its intent, its operation, and its end."""


class Commits:
    """The commits of one run, in one event loop.

    Args:
        journal: The journal.
        at_once: Requests that are sent at once: a commit for a quarter of them begins as soon as it can.
        committed: Called with the number of rows that ended in a commit, after it.
        failed: Called when a commit fails.
        riders: Gives changes that are no reason for a commit, and go with the next one.
    """

    def __init__(
        self,
        journal: JournalWriter,
        at_once: int,
        committed: Callable[[int], object],
        failed: Callable[[JournalError], object],
        riders: Callable[[], list[Change]] = list,
    ) -> None:
        self._journal = journal
        self._many = at_once * _CHANGES // 4
        self._committed = committed
        self._failed = failed
        self._riders = riders
        self._queue: list[tuple[Change, Done | None]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="yagrpc-journal")
        self._flushing: asyncio.Task[None] | None = None
        self._gathering: asyncio.Future[None] | None = None
        self._next = 0.0
        self._closed = False
        self._error: JournalError | None = None

    def add(self, change: Change, done: Done | None = None) -> None:
        """Commit a change soon; called in the event loop.

        After the run nothing is written: a submit that is answered so late stays one of which nothing is known.
        """
        if self._closed:
            return
        self._queue.append((change, done))
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush(), name="yagrpc-journal")
        elif self._gathering is not None and len(self._queue) >= self._many:
            settle(self._gathering)

    async def room(self) -> None:
        """Wait while many changes wait for the disk, so that memory does not grow with what is read."""
        while self._flushing is not None and len(self._queue) >= MOST:
            await asyncio.shield(self._flushing)

    async def settle(self) -> None:
        """Wait until everything is on the disk.

        Raises:
            JournalError: It can't be written; the error has the operations whose ids are lost with it.
        """
        for change in self._riders():
            self.add(change)
        until = time.monotonic() + PATIENCE
        while True:
            while self._flushing is not None:
                await asyncio.shield(self._flushing)
            if not self._queue:
                return
            if time.monotonic() > until:
                break
            await asyncio.sleep(_PAUSE)
            self._flushing = asyncio.get_running_loop().create_task(self._flush(), name="yagrpc-journal")
        lost = [change.operation_id for change, _ in self._queue if isinstance(change, Accepted)]
        more = f" and {len(lost) - NAMED:,} more" if len(lost) > NAMED else ""
        ids = f"; it does not have the operations {', '.join(lost[:NAMED])}{more}" if lost else ""
        raise JournalError(
            f"{self._error}: {counted(len(self._queue), 'change')} could not be written in {PATIENCE:.0f} s{ids}",
            operation_ids=lost,
        )

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._thread.shutdown()

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                if len(self._queue) < self._many and (left := self._next - loop.time()) > 0:
                    await self._gather(loop, left)
                self._next = loop.time() + APART
                batch, self._queue = [*self._queue, *((change, None) for change in self._riders())], []
                try:
                    await loop.run_in_executor(self._thread, self._journal.commit, [change for change, _ in batch])
                except Exception as error:  # of any kind, as where the system starts no more threads: rows wait for it
                    self._not_written(batch, error)
                    return
                for _, done in batch:
                    if done is not None:
                        done(None)
                if ended := sum(isinstance(change, (Ended, Kept)) for change, _ in batch):
                    self._committed(ended)
        finally:
            self._flushing = None

    async def _gather(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Wait for more changes, for some seconds at most."""
        self._gathering = loop.create_future()
        timer = loop.call_later(seconds, settle, self._gathering)
        try:
            await self._gathering
        finally:
            timer.cancel()
            self._gathering = None

    def _not_written(self, batch: list[tuple[Change, Done | None]], cause: Exception) -> None:
        error = cause
        if not isinstance(error, JournalError):
            error = JournalError(f"the journal can't be written: {cause}")
            error.__cause__ = cause
        intents = [done for change, done in batch if isinstance(change, Intent)]
        self._queue = [each for each in batch if not isinstance(each[0], Intent)] + self._queue
        for done in intents:
            if done is not None:
                done(error)
        self._error = error
        self._failed(error)

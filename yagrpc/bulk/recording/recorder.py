"""What records the attempts of a row in the journal; see `_core.call.recorder`."""

from __future__ import annotations

import time
from collections.abc import Callable

from yagrpc.bulk.decisions.plan import Job
from yagrpc.bulk.recording.commits import Commits
from yagrpc.errors import JournalError
from yagrpc.journal.changes import Accepted, Intent, Refused, Retracted


class RowRecorder:
    """Records one call of a row: its intent before it leaves, and its operation.

    Args:
        commits: The commits of the run.
        job: The row.
        request_id: What the request is known by to the service.
        leaves: Called when the attempt is about to leave.
        durable: Called when its intent is on the disk.
    """

    __slots__ = ("_commits", "_error", "_job", "_leaves", "_on_disk", "_request_id", "wake", "woken")

    def __init__(
        self,
        commits: Commits,
        job: Job,
        request_id: str,
        *,
        leaves: Callable[[], object],
        durable: Callable[[], object],
    ) -> None:
        self.woken = False
        self.wake: Callable[[], object] | None = None
        self._commits = commits
        self._job = job
        self._request_id = request_id
        self._leaves = leaves
        self._on_disk = durable
        self._error: JournalError | None = None

    def begin(self) -> RowRecorder:
        """Add the intent; gives itself, which is woken once that is on the disk."""
        self.woken = False
        self._leaves()
        job = self._job
        intent = Intent(job.planned.fixed, job.attempt, job.doubtful, self._request_id, time.time())
        self._commits.add(intent, self._durable)
        return self

    def check(self) -> None:
        """Check that the intent is on the disk.

        Raises:
            JournalError: It is not.
        """
        if self._error is not None:
            raise self._error

    def refused(self, code: str) -> None:
        """Nothing has started, and another attempt follows."""
        self._commits.add(Refused(self._job.planned.fixed.number, time.time(), code))

    def retracted(self) -> None:
        """Nothing has left."""
        self._commits.add(Retracted(self._job.planned.fixed.number))

    def accepted(self, operation_id: str) -> None:
        """Keep the operation's id."""
        self._commits.add(Accepted(self._job.planned.fixed.number, operation_id))

    def _durable(self, error: JournalError | None) -> None:
        self._error = error
        self._on_disk()
        self.woken = True
        if self.wake is not None:
            self.wake()

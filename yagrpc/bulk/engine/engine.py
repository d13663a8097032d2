"""A run, its parts put together: started, stopped, and how far it is.

Rules: a row's failure is its outcome; what is wrong with every row, such as a credential, ends the run, and so does a
journal that can't be written. Whatever ends a run, what is known of requests that were sent is on the disk after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from yagrpc.bulk.decisions.plan import Plan
from yagrpc.bulk.decisions.progress import Progress
from yagrpc.bulk.decisions.rows import Raw
from yagrpc.bulk.decisions.spending import Spending
from yagrpc.bulk.engine.budget import Budget
from yagrpc.bulk.engine.heartbeat import Heartbeat
from yagrpc.bulk.engine.news import News
from yagrpc.bulk.engine.operations import Operations
from yagrpc.bulk.engine.outage import Outage
from yagrpc.bulk.engine.reconcile import rows_without_entry, take_up
from yagrpc.bulk.engine.sending import Sender
from yagrpc.bulk.engine.stopping import Stopping
from yagrpc.bulk.engine.workers import Workers
from yagrpc.bulk.intake.intake import Intake
from yagrpc.bulk.intake.numbered import NumberedRows
from yagrpc.bulk.recording.commits import Commits
from yagrpc.bulk.recording.copies import Copies
from yagrpc.bulk.recording.endings import Endings
from yagrpc.bulk.recording.gets import RefusedGets
from yagrpc.bulk.recording.reported import ReportedRows
from yagrpc.bulk.recording.tally import Tally
from yagrpc.journal.changes import Noted

if TYPE_CHECKING:
    from yagrpc._aio.client import AsyncClient
    from yagrpc.journal.journal import Journal, JournalWriter


class Engine:
    """One run, in one event loop.

    Args:
        client: Sends everything.
        journal: What the run writes.
        reader: The same journal, for reading.
        rows: The rows of the input, in order.
        plan: What is to be done.
        spending: What it may cost, and how often it may fail.
        report: Called about once a second with how far it is; `None` for nothing.
        committed: Called when rows that have ended are in the journal.
        sink: Writes the rows that have ended to an output, in a thread; gives what the journal is to note of that.
    """

    def __init__(
        self,
        client: AsyncClient,
        journal: JournalWriter,
        reader: Journal,
        rows: Iterator[Raw],
        plan: Plan,
        spending: Spending,
        report: Callable[[Progress], object] | None = None,
        committed: Callable[[], object] = lambda: None,
        sink: Callable[[], Noted | None] | None = None,
    ) -> None:
        self._client = client
        self._reader = reader
        self._plan = plan
        self._spending = spending
        self._on_report = report
        self._on_commit = committed
        self._reconciling: asyncio.Task[Any] | None = None
        self._tally = Tally(plan.total)
        self._outage = Outage()
        self._news = News()
        self._reported = reported = ReportedRows(client._core.events)
        self._rows = NumberedRows(rows, plan.limit)
        self._intake = Intake(self._rows, reader, plan)
        self._stopping = stopping = Stopping(self._stopped)
        self._gets = RefusedGets(lambda operation_id: self._operations.waits_for(operation_id))
        self._commits = commits = Commits(journal, plan.concurrency, self._committed, stopping.fail, self._gets.take)
        self._copies = copies = Copies(plan.dedupe, reader, commits, self._intake, self._tally)
        self._budget = budget = Budget(client, plan, spending, stopping)
        self._endings = Endings(
            plan,
            commits,
            copies,
            self._tally,
            spending,
            self._intake,
            reported,
            lambda reason: stopping.stop(reason, finish=True),
            budget.wake,
        )
        self._operations = operations = Operations(
            client,
            reader,
            plan,
            budget,
            self._endings,
            reported,
            self._tally,
            self._outage,
            stopping,
            self._operation_ended,
        )
        self._sender = Sender(
            client,
            plan,
            self._intake,
            commits,
            self._endings,
            copies,
            reported,
            operations,
            budget,
            self._outage,
            stopping,
        )
        self._workers = Workers(plan.concurrency, self._intake, self._sender, operations, stopping)
        self._heartbeat = Heartbeat(self._report, sink, commits, stopping)

    @property
    def stopped(self) -> str:
        """Why no more rows are sent; empty while they are."""
        return self._stopping.reason

    async def run(self) -> None:
        """Run to the end, or until it is stopped.

        Raises:
            YagrpcError: What is wrong with every row, or with the journal.
        """
        try:
            self._reconciling = asyncio.current_task()
            await self._reconcile()
            self._reconciling = None
            self._heartbeat.start()
            take_up(self._reader, self._intake, self._operations, self._endings)
            self._client._core.events.add(self._gets)
            self._operations.attach()
            self._endings.judge()
            self._workers.advance()
            await self._stopping.wait()
            self._workers.check_over()
            await self._stopping.wait_for_rest()
            if self._stopping.limited:
                for repeat in self._intake.repeats():
                    self._endings.keep_answer(repeat, self.stopped)
        finally:
            self._client._core.events.remove(self._gets)
            await self._heartbeat.stop()
            await self._close()
        self._heartbeat.report()
        if self._stopping.error is not None:
            raise self._stopping.error

    def stop(self, reason: str, *, finish: bool = False) -> None:
        """Send no more rows.

        Args:
            reason: Why.
            finish: Whether all operations that run are waited for; else those that are near their end.
        """
        self._stopping.stop(reason, finish=finish)

    def abort(self) -> None:
        """End at once; operations continue to run, and a later run waits for them."""
        self._stopping.abort()
        if self._reconciling is not None:  # nothing is sent yet
            self._reconciling.cancel()

    def news(self) -> asyncio.Future[None]:
        """A future that is done once further rows have ended, or the run has."""
        return self._news.wait()

    def progress(self) -> Progress:
        """How far it is."""
        limits = None
        if self._plan.mode == "async":
            use = self._client.limits
            limits = (use.submit_per_second, use.submit_per_hour)
        return self._tally.progress(
            running=self._operations.running + self._operations.unattached,
            sending=self._workers.sending,
            waiting=self._copies.waiting,
            limits=limits,
            note=self._outage.note or (f"stopping: {self.stopped}" if self.stopped else ""),
        )

    async def _reconcile(self) -> None:
        """Take over what the journal has, before anything is sent.

        Raises:
            ConfigError: It is of another input.
        """
        self._intake.add_gaps(await rows_without_entry(self._reader, self._rows))
        totals = self._reader.totals()
        self._tally.resume(self._reader.counts(), totals)
        self._copies.take_over()
        await self._budget.take_over(self._reader)

    def _report(self) -> None:
        self._tally.mark()
        if self._on_report is not None:
            self._on_report(self.progress())

    def _stopped(self) -> None:
        self._sender.cancel_unsent()
        self._budget.wake()
        self._workers.check_over()

    def _operation_ended(self) -> None:
        self._workers.advance()

    def _committed(self, ended: int) -> None:
        self._outage.progressed()
        self._news.wake()
        self._on_commit()

    async def _close(self) -> None:
        await self._workers.cancel()
        await self._client._transport.settle_submits()  # what is accepted meanwhile is recorded
        self._operations.close()
        self._reported.close()
        try:
            if not self.stopped and not self._operations.running and not self._operations.unattached:
                self._commits.add(Noted("total", str(self._rows.count)))
            await self._commits.settle()
            await self._heartbeat.drain()
            await self._commits.settle()
        finally:
            self._commits.close()
            self._news.wake()

"""One row: its request, its call, and what follows where the call fails.

Rules: a row has an intent on the disk before its request leaves, after its wait for a slot (see `_core.send`), so that
a killed process leaves few of which nobody knows whether they were sent. A row's failure is its outcome; what is wrong
with every row, such as a credential, ends the run.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from yagrpc import methods
from yagrpc._aio.stream import AsyncStream
from yagrpc._services.text import CompletionReader
from yagrpc.bulk.decisions.outcomes import RowOutcome, is_outage, outcome_of_error, stops_run
from yagrpc.bulk.decisions.plan import Job, Plan, Repeat, Sent
from yagrpc.bulk.engine.budget import Budget
from yagrpc.bulk.engine.operations import Operations
from yagrpc.bulk.engine.outage import Outage, pauses
from yagrpc.bulk.engine.stopping import Stopping
from yagrpc.bulk.intake.intake import Intake
from yagrpc.bulk.recording.commits import Commits
from yagrpc.bulk.recording.copies import Copies
from yagrpc.bulk.recording.endings import Endings
from yagrpc.bulk.recording.recorder import RowRecorder
from yagrpc.bulk.recording.reported import ReportedRows
from yagrpc.errors import ClientClosedError, DeadlineExceededError, InvalidArgumentError, RequestError, YagrpcError
from yagrpc.journal.changes import Retracted

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc._aio.client import AsyncClient
    from yagrpc._core.call.call import Call


class Sender:
    """Sends the rows of one run.

    Args:
        client: Sends the requests.
        plan: What the run is to do.
        intake: Forgets the ids of rows that nothing has any longer.
        commits: The commits of the run.
        endings: Writes how rows end.
        copies: Says which rows are not sent, since an earlier one is equal.
        reported: Reports that rows start.
        operations: Waits for the operations.
        budget: What a row may cost.
        outage: Whether the service can be reached.
        stopping: Whether rows are still sent.
    """

    def __init__(
        self,
        client: AsyncClient,
        plan: Plan,
        intake: Intake,
        commits: Commits,
        endings: Endings,
        copies: Copies,
        reported: ReportedRows,
        operations: Operations,
        budget: Budget,
        outage: Outage,
        stopping: Stopping,
    ) -> None:
        self._client = client
        self._plan = plan
        self._intake = intake
        self._commits = commits
        self._endings = endings
        self._copies = copies
        self._reported = reported
        self._operations = operations
        self._budget = budget
        self._outage = outage
        self._stopping = stopping
        self._unsent: set[asyncio.Task[Any]] = set()

    def cancel_unsent(self) -> None:
        """Cancel the tasks whose request has not left."""
        for task in self._unsent:
            task.cancel()

    async def send(self, job: Job) -> None:
        """Send one row.

        Args:
            job: The row.

        Raises:
            YagrpcError: What is wrong with every row.
        """
        planned, problem = job.planned, job.planned.problem
        request, schema = None, None
        if not problem:
            try:
                request, schema = self._plan.request(planned, job.before)
            except RequestError as error:
                problem = str(error)
        if request is not None and not job.kept and self._copies.take(planned.fixed, request):
            await self._commits.room()
            return
        self._reported.start(planned.fixed)
        number, model, reserved = planned.fixed.number, str(getattr(request, "model_uri", "")), None
        if request is not None:
            try:
                reserved = await self._reserve(request, model)
            except (RequestError, InvalidArgumentError) as error:
                request, problem = None, str(error)
            except YagrpcError as error:
                if stops_run(error) or is_outage(error) or isinstance(error, ClientClosedError):
                    raise
                unsent = Sent(number, job.attempt - 1, job.doubtful, job.before, model, None)
                self._endings.finish(unsent, RowOutcome.FAILED, error, str(error), fixed=planned.fixed)
                return
        if request is None:
            self._endings.invalid(job, problem)
            await self._commits.room()
            return
        if reserved is None:
            repeat = Repeat(number, job.attempt, job.doubtful, job.before)
            if not (self._stopping.limited and self._endings.keep_answer(repeat, self._stopping.reason)):
                self._put_back(job)
            return
        sent = Sent(number, job.attempt, job.doubtful, job.before, model, schema, reserved)
        for pause in pauses():
            try:
                await self._send_once(job, sent, request)
            except YagrpcError as error:
                if not self._outage.puts_off(error):
                    self._failed(job, sent, error)
                    return
                self._put_back(job)  # for as long as the pause takes
                await self._stopping.pause(pause)
                if self._stopping.reason:
                    self._budget.release(reserved)
                    return
            else:
                self._outage.reached()
                return

    async def _reserve(self, request: Message, model: str) -> float | None:
        """What a row may cost at most, which is reserved; `None` where the run is stopped before.

        Raises:
            YagrpcError: Its tokens can't be counted, or their price is not known.
        """
        for pause in pauses():
            try:
                reserved = await self._budget.reserve(request, model)
            except YagrpcError as error:
                if not self._outage.puts_off(error):
                    raise
                await self._stopping.pause(pause)
            else:
                if reserved is None or not self._stopping.reason:
                    return reserved
                self._budget.release(reserved)
            if self._stopping.reason:
                break
        return None

    def _put_back(self, job: Job) -> None:
        """Leave a row to a later run: nothing of it has started."""
        self._commits.add(Retracted(job.planned.fixed.number))
        self._intake.forget_id(job.planned.fixed)

    async def _send_once(self, job: Job, sent: Sent, request: Message) -> None:
        """Send a row's request, and take its operation or its answer.

        Raises:
            YagrpcError: The call failed.
        """
        core, transport = self._client._core, self._client._transport
        if self._plan.recipe.task != "completion":
            embeds = self._plan.recipe.task == "embed"
            method: Any = methods.EmbeddingsService.TextEmbedding if embeds else methods.TokenizerService.Tokenize
            call: Call[Any, Any] = core.call(method, request, self._plan.calling, wants_ids=False)
            self._reported.place(call, sent.number)
            self._endings.answered(job, await transport.run(core.send(call)))
            return
        synchronous = self._plan.mode == "sync"
        service = methods.TextGenerationService if synchronous else methods.TextGenerationAsyncService
        call = core.call(service.Completion, request, self._plan.calling)
        self._reported.place(call, sent.number)
        task = asyncio.current_task()
        assert task is not None
        call.recorder = recorder = RowRecorder(
            self._commits,
            job,
            call.client_request_id,
            leaves=lambda: self._unsent.discard(task),  # stopping the run no longer stops it
            durable=lambda: self._intake.forget_id(job.planned.fixed),
        )
        self._unsent.add(task)
        try:
            if synchronous:
                reader = CompletionReader()
                async with AsyncStream(core, transport, call, reader) as stream:
                    async for _ in stream:
                        pass
                self._endings.completed(sent, stream.only().proto)
                return
            proto = await transport.run(core.send(call))
        except BaseException:
            if not call.attempts:
                recorder.retracted()
            raise
        finally:
            self._unsent.discard(task)
        self._operations.submitted(proto, sent, call)

    def _failed(self, job: Job, sent: Sent, error: YagrpcError) -> None:
        """A row's call failed.

        Raises:
            YagrpcError: It is what is wrong with every row.
        """
        if stops_run(error):
            self._budget.release(sent.reserved)
            self._put_back(job)
            raise error
        if isinstance(error, ClientClosedError):
            raise error
        self._outage.reached()
        outcome = RowOutcome.INVALID if isinstance(error, InvalidArgumentError) else outcome_of_error(error)
        unknown = self._plan.recipe.task != "completion"  # the journal has no intent of it
        if isinstance(error, DeadlineExceededError) and not error.attempts:  # the same timeout is over again
            sent, unknown = sent._replace(attempt=job.attempt - 1), True
        self._endings.finish(sent, outcome, error, str(error), fixed=job.planned.fixed if unknown else None)

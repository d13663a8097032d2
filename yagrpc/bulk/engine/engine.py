"""The run itself: rows to the service, answers to the journal. Written once, for an event loop.

Rules: a row has an intent on the disk before its request leaves, after its wait for a slot (see `_core.send`), so that
a killed process leaves few of which nobody knows whether they were sent. Operations have no task: the poll scheduler
finds those that have ended. A row's failure is its outcome; what is wrong with every row, such as a credential, ends
the run, and so does a journal that can't be written.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from yagrpc import _pb, methods
from yagrpc._aio.operation import AsyncOperation
from yagrpc._aio.stream import AsyncStream
from yagrpc._core.operation.listening import Listening
from yagrpc._services.text import CompletionReader, completion_type
from yagrpc.bulk.decisions.outcomes import (
    DOUBTFUL,
    RowOutcome,
    changed_parameters,
    is_outage,
    outcome_of_error,
    stops_run,
    tried_again,
)
from yagrpc.bulk.decisions.progress import Progress
from yagrpc.bulk.decisions.rows import Planned, Raw, parameters_of, plan, request_of
from yagrpc.bulk.decisions.schema import mismatch
from yagrpc.bulk.decisions.spending import May, Spending
from yagrpc.bulk.engine.commits import Commits
from yagrpc.bulk.engine.plan import Job, Plan, Sent
from yagrpc.bulk.engine.recorder import RowRecorder
from yagrpc.bulk.engine.tally import Tally
from yagrpc.errors import (
    ClientClosedError,
    ConfigError,
    InvalidArgumentError,
    JournalError,
    QuotaWaitError,
    RequestError,
    YagrpcError,
)
from yagrpc.journal.changes import Again, Ended, Fixed, Noted, Result, Retracted, State
from yagrpc.prices import cost_of, price_of

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc._aio.client import AsyncClient
    from yagrpc._core.call.call import Call
    from yagrpc.journal.journal import Journal, JournalWriter

WINDOW: Final = 10_000
"""Operations that run at once, at most: the journal holds the rest of the rows."""

GRACE: Final = 10.0
"""Seconds for which a run that is stopped waits for operations that are near their end."""

OUTAGE: Final = 600.0
"""Seconds after which a run ends that has not reached the service."""

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0

_CHUNK: Final = 500
"""Rows that are read without a break for the other tasks of the event loop."""


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
        self.stopped = ""
        """Why no more rows are sent; empty while they are."""
        self._client = client
        self._journal = journal
        self._reader = reader
        self._rows = rows
        self._plan = plan
        self._spending = spending
        self._report = report
        self._on_commit = committed
        self._sink = sink
        self._error: Exception | None = None
        self._patience: float | None = None
        self._gaps: deque[tuple[int, Raw]] = deque()
        self._todo: deque[tuple[int, int, int, tuple[str, ...]]] = deque()
        self._attach: deque[int] = deque()
        self._next = 0
        self._exhausted = False
        self._ids: set[str] = set()
        self._workers: set[asyncio.Task[None]] = set()
        self._unsent: set[asyncio.Task[Any]] = set()
        self._reconciling: asyncio.Task[Any] | None = None
        self._running: dict[AsyncOperation[Any, Any], Sent] = {}
        self._listening: Listening[AsyncOperation[Any, Any]] = Listening((), self._operation_ended)
        self._commits: Commits | None = None
        self._over, self._idle, self._closing = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._news: list[asyncio.Future[None]] = []
        self._aborted = False
        self._note = ""
        self._tally = Tally(plan.total)
        self._contact = time.monotonic()

    async def run(self) -> None:
        """Run to the end, or until it is stopped.

        Raises:
            YagrpcError: What is wrong with every row, or with the journal.
        """
        self._commits = Commits(self._journal, self._committed, self._not_written)
        ticking: asyncio.Task[None] | None = None
        try:
            self._reconciling = asyncio.current_task()
            await self._reconcile()
            self._reconciling = None
            ticking = asyncio.get_running_loop().create_task(self._tick(), name="yagrpc-bulk")
            self._resume()
            self._pump()
            self._check_over()
            await self._over.wait()
            await self._near_end()
        finally:
            self._closing.set()
            if ticking is not None:
                await ticking
            await self._close()
        if self._report is not None:
            self._report(self.progress())
        if self._error is not None:
            raise self._error

    def stop(self, reason: str, *, finish: bool = False) -> None:
        """Send no more rows.

        Args:
            reason: Why.
            finish: Whether all operations that run are waited for; else those that are near their end.
        """
        if self.stopped:
            if not finish:
                asyncio.get_running_loop().call_later(GRACE, self._idle.set)
            return
        self.stopped, self._patience = reason, None if finish else GRACE
        for worker in self._unsent:
            worker.cancel()
        self._wake()
        self._check_over()

    def abort(self) -> None:
        """End at once; operations continue to run, and a later run waits for them."""
        self._aborted = True
        self.stop("aborted")
        self._over.set()
        self._idle.set()
        if self._reconciling is not None:  # nothing is sent yet
            self._reconciling.cancel()

    async def news(self) -> None:
        """Wait until rows have ended, or the run has."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._news.append(future)
        await future

    def progress(self) -> Progress:
        """How far it is."""
        limits = None
        if self._plan.mode == "async":
            use = self._client.limits
            limits = (use.submit_per_second, use.submit_per_hour)
        return self._tally.progress(
            running=len(self._running) + len(self._attach),
            sending=len(self._workers),
            limits=limits,
            note=self._note or (f"stopping: {self.stopped}" if self.stopped else ""),
        )

    # What the journal has

    async def _reconcile(self) -> None:
        """Compare the input with the rows that the journal has, before anything is sent.

        Raises:
            ConfigError: A row differs, or the input has fewer rows.
        """
        for number, fingerprint in self._reader.fingerprints():
            while self._next < number:
                if (raw := await self._read()) is None:
                    break
                self._gaps.append((self._next - 1, raw))
            raw = await self._read()
            if raw is None:
                raise ConfigError(
                    f"the input has {self._next} rows, and the journal has had more: it is of another input; name"
                    " another journal for this one"
                )
            if raw.fingerprint() != fingerprint:
                before = self._reader.entry(number).fixed.source
                raise ConfigError(
                    f"row {number + 1} (line {raw.line}) is not the one that the journal has: it is"
                    f" {_excerpt(raw.source)}, and was {_excerpt(before)}; name another journal for another input"
                )
        totals = self._reader.totals()
        self._tally.resume(self._reader.counts(), totals)
        self._spending.spent = totals.cost or 0.0

    async def _read(self) -> Raw | None:
        """The next row of the input; `None` after the last."""
        if self._next % _CHUNK == 0:
            await asyncio.sleep(0)
        return self._read_now()

    def _read_now(self) -> Raw | None:
        if self._exhausted or (self._plan.limit is not None and self._next >= self._plan.limit):
            return None
        raw = next(self._rows, None)
        if raw is None:
            self._exhausted = True
        else:
            self._next += 1
        return raw

    def _resume(self) -> None:
        """Take up what an earlier run has left."""
        for entry in self._reader.in_state(State.PLANNED, State.SUBMITTING, State.SUBMITTED):
            number = entry.fixed.number
            before = tuple(self._reader.attempts(number))
            if entry.state is State.SUBMITTED:
                self._attach.append(number)
            elif entry.state is State.PLANNED:
                self._todo.append((number, entry.attempt + 1, entry.doubtful, before))
            else:
                sent = Sent(number, entry.attempt, entry.doubtful, before, "", None)
                text = "the process ended while the request was on its way"
                self._finish(sent, RowOutcome.AMBIGUOUS, None, text)

    def _attach_one(self, number: int) -> None:
        """Wait for an operation of an earlier run."""
        entry = self._reader.entry(number)
        planned = plan(number, Raw(entry.fixed.line, entry.fixed.source, "", entry.fixed.id), self._plan.recipe)
        before = tuple(self._reader.attempts(number))
        parameters = self._parameters(planned, before)
        model = str(parameters.get("model", self._plan.recipe.model))
        proto = _pb.operation_pb2.Operation(id=entry.operation_id)
        operation = AsyncOperation(self._client, proto, completion_type())
        self._running[operation] = Sent(
            number, entry.attempt, entry.doubtful, before, model, parameters.get("json_schema")
        )
        self._listening.add(operation)

    # Which row is next

    def _pump(self) -> None:
        """Start what may run: waits for operations of earlier runs, and workers while there are rows."""
        while self._attach and len(self._running) < WINDOW:
            self._attach_one(self._attach.popleft())
        while self._may_send() and len(self._workers) < self._plan.concurrency:
            job = self._take()
            if job is None:
                return
            worker = asyncio.get_running_loop().create_task(self._work(job), name="yagrpc-row")
            self._workers.add(worker)
            worker.add_done_callback(self._worked)

    def _may_send(self) -> bool:
        return not self.stopped and len(self._running) + len(self._attach) < WINDOW

    def _take(self) -> Job | None:
        """The next row that is to be sent; `None` where there is none now."""
        try:
            return self._next_job()
        except Exception as error:  # the rows are the user's, and may raise anything
            self._end_run(error)
            return None

    def _next_job(self) -> Job | None:
        if self._todo:
            number, attempt, doubtful, before = self._todo.popleft()
            fixed = self._reader.entry(number).fixed
            planned = plan(number, Raw(fixed.line, fixed.source, "", fixed.id), self._plan.recipe)
            return Job(planned, attempt, doubtful, before)
        if self._gaps:
            number, raw = self._gaps.popleft()
        else:
            found = self._read_now()
            if found is None:
                return None
            number, raw = self._next - 1, found
        planned = plan(number, raw, self._plan.recipe)
        row_id = planned.fixed.id
        if row_id is not None:
            if not planned.problem and (row_id in self._ids or self._reader.has_id(row_id)):
                planned = planned._replace(problem=f"another row has its id, {row_id!r}")
                planned = planned._replace(fixed=planned.fixed._replace(id=None))
            else:
                self._ids.add(row_id)
        return Job(planned)

    async def _work(self, job: Job | None) -> None:
        """Send rows, one after the other, while there are any."""
        while job is not None:
            try:
                await self._send(job)
            except Exception as error:  # of any kind: it must not be lost with its task
                self._end_run(error)
                return
            job = self._take() if self._may_send() else None

    def _worked(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        self._pump()
        self._check_over()

    def _check_over(self) -> None:
        if self._workers:
            return
        if self._aborted or not self._running:
            self._idle.set()
        if self.stopped or not (self._running or self._attach):
            self._over.set()

    def _end_run(self, error: Exception) -> None:
        """End the run by what is wrong with every row."""
        if self._error is None:
            self._error = error
        self.stop(str(error))

    # One row

    def _parameters(self, planned: Planned, before: tuple[str, ...]) -> dict[str, Any]:
        return changed_parameters(parameters_of(planned.value, self._plan.recipe), before, self._plan.retries)

    async def _send(self, job: Job) -> None:
        """Send one row.

        Raises:
            YagrpcError: What is wrong with every row.
        """
        planned, problem = job.planned, job.planned.problem
        request, parameters = None, {}
        if not problem:
            try:
                parameters = self._parameters(planned, job.before)
                request = request_of(planned.value, self._plan.recipe, parameters)
            except RequestError as error:
                problem = str(error)
        if request is None:
            result = Result(planned.fixed.number, time.time(), RowOutcome.INVALID, None, problem)
            self._add_end(Ended(result, planned.fixed))
            return
        model = str(getattr(request, "model_uri", ""))
        reserved = await self._reserve(request, model)
        if reserved is None:
            self._put_back(job)
            return
        sent = Sent(
            planned.fixed.number, job.attempt, job.doubtful, job.before, model, parameters.get("json_schema"), reserved
        )
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._send_once(job, sent, request)
            except YagrpcError as error:
                if not self._is_later(error):
                    self._failed(job, sent, error)
                    return
                self._put_back(job)  # for as long as the pause takes
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                if self.stopped:
                    self._spending.cost(reserved, 0.0, 0)
                    return
            else:
                self._reached()
                return

    def _is_later(self, error: YagrpcError) -> bool:
        """Whether a row that was not sent is sent later.

        Raises:
            YagrpcError: The service could not be reached for long.
        """
        if isinstance(error, QuotaWaitError):
            return True
        if not is_outage(error):
            return False
        if time.monotonic() - self._contact > OUTAGE:
            raise error
        self._note = f"the service can't be reached, tried again: {error.message}"
        return True

    def _reached(self) -> None:
        self._contact = time.monotonic()
        self._note = ""

    def _put_back(self, job: Job) -> None:
        """Leave a row to a later run: nothing of it has started."""
        assert self._commits is not None
        self._commits.add(Retracted(job.planned.fixed.number))
        self._forget_id(job.planned.fixed)

    def _forget_id(self, fixed: Fixed) -> None:
        """The journal has a row, and with it its id; or nothing has it."""
        if fixed.id is not None:
            self._ids.discard(fixed.id)

    async def _send_once(self, job: Job, sent: Sent, request: Message) -> None:
        """Send a row's request, and take its operation or its answer.

        Raises:
            YagrpcError: The call failed.
        """
        assert self._commits is not None
        core, transport = self._client._core, self._client._transport
        if self._plan.recipe.task != "completion":
            embeds = self._plan.recipe.task == "embed"
            method: Any = methods.EmbeddingsService.TextEmbedding if embeds else methods.TokenizerService.Tokenize
            call: Call[Any, Any] = core.call(method, request, self._plan.calling, wants_ids=False)
            self._answered(job, await transport.run(core.send(call)))
            return
        synchronous = self._plan.mode == "sync"
        service = methods.TextGenerationService if synchronous else methods.TextGenerationAsyncService
        call = core.call(service.Completion, request, self._plan.calling)
        worker = asyncio.current_task()
        assert worker is not None
        call.recorder = recorder = RowRecorder(
            self._commits,
            job,
            call.client_request_id,
            leaves=lambda: self._unsent.discard(worker),  # stopping the run no longer stops it
            durable=lambda: self._forget_id(job.planned.fixed),
        )
        self._unsent.add(worker)
        try:
            if synchronous:
                reader = CompletionReader()
                async with AsyncStream(core, transport, call, reader) as stream:
                    async for _ in stream:
                        pass
                self._completed(sent, stream.only().proto)
                return
            proto = await transport.run(core.send(call))
        except BaseException:
            if not call.attempts:
                recorder.retracted()
            raise
        finally:
            self._unsent.discard(worker)
        operation = AsyncOperation(self._client, proto, completion_type(), core.clock(), call.ids)
        self._running[operation] = sent
        self._listening.add(operation)

    def _failed(self, job: Job, sent: Sent, error: YagrpcError) -> None:
        """A row's call failed.

        Raises:
            YagrpcError: It is what is wrong with every row.
        """
        if stops_run(error):
            self._spending.cost(sent.reserved, 0.0, 0)
            self._put_back(job)
            raise error
        outcome = outcome_of_error(error)
        if isinstance(error, ClientClosedError):
            raise error
        if isinstance(error, InvalidArgumentError):
            outcome = RowOutcome.INVALID
        self._reached()
        text = str(error)
        if self._plan.recipe.task != "completion":
            self._finish(sent, outcome, error, text, job=job)
        else:
            self._finish(sent, outcome, error, text)

    def _operation_ended(self, operation: AsyncOperation[Any, Any]) -> None:
        """The outcome of an operation is known; called by the poll scheduler."""
        sent = self._running.pop(operation)
        try:
            completion = operation._outcome()
        except ClientClosedError:
            return
        except YagrpcError as error:
            if stops_run(error):
                self._attach.append(sent.number)
                self._end_run(error)
                return
            self._finish(sent, outcome_of_error(error), error, str(error))
        else:
            self._reached()
            if operation.submitted is not None:
                self._tally.took(self._client._core.clock() - operation.submitted)
            self._completed(sent, completion.proto)
        self._pump()
        self._check_over()

    def _answered(self, job: Job, response: Any) -> None:
        """A call was answered that generates nothing."""
        embeds = self._plan.recipe.task == "embed"
        tokens = response.num_tokens if embeds else 0  # the tokenizer is free
        result = Result(
            job.planned.fixed.number, time.time(), RowOutcome.DONE, response.SerializeToString(), "", tokens
        )
        self._tally.use(tokens, 0, None)
        self._add_end(Ended(result, job.planned.fixed))

    def _completed(self, sent: Sent, response: _pb.text_generation_service_pb2.CompletionResponse) -> None:
        """A completion is there."""
        from yagrpc.results import Completion

        completion = Completion(response)
        outcome, why = RowOutcome.DONE, ""
        if completion.filtered:
            outcome, why = RowOutcome.FILTERED, "the service's content filter stopped the answer"
        elif completion.truncated:
            outcome, why = RowOutcome.TRUNCATED, "the answer was cut off at its limit of tokens"
        elif sent.schema is not None and (found := mismatch(completion.text, sent.schema)):
            outcome, why = RowOutcome.SCHEMA_MISMATCH, found
        self._finish(sent, outcome, None, why, response)

    def _finish(
        self,
        sent: Sent,
        outcome: RowOutcome,
        error: YagrpcError | None,
        why: str,
        response: _pb.text_generation_service_pb2.CompletionResponse | None = None,
        *,
        job: Job | None = None,
    ) -> None:
        """An attempt has ended: its row with it, or another attempt follows.

        Args:
            sent: The attempt.
            outcome: How it ended.
            error: Why it failed, if it did.
            why: The same as text, or what is wrong with the answer.
            response: The answer.
            job: The row, where the journal does not have it; it is not tried again.
        """
        assert self._commits is not None
        tokens_in = tokens_out = 0
        cost = 0.0 if outcome not in DOUBTFUL else None
        if response is not None:
            tokens_in, tokens_out = response.usage.input_text_tokens, response.usage.completion_tokens
            cost = cost_of(tokens_in, tokens_out, price_of(sent.model, self._plan.mode, self._plan.prices))
        kept = None if response is None else response.SerializeToString()
        result = Result(
            sent.number,
            time.time(),
            outcome,
            kept,
            why,
            tokens_in,
            tokens_out,
            cost if tokens_in + tokens_out else None,
        )
        self._spending.cost(sent.reserved, cost, tokens_out)
        if response is not None:
            self._tally.use(tokens_in, tokens_out, cost)
        doubtful = sent.doubtful + (outcome in DOUBTFUL)
        if job is None and tried_again(outcome, error, sent.attempt, self._plan.retries):
            self._tally.repeat(doubtful=outcome in DOUBTFUL)
            self._commits.add(Again(result, outcome in DOUBTFUL))
            self._todo.append((sent.number, sent.attempt + 1, doubtful, (*sent.before, outcome)))
            return
        self._add_end(Ended(result, None if job is None else job.planned.fixed))

    def _add_end(self, ended: Ended) -> None:
        assert self._commits is not None
        self._tally.end(ended.result.outcome)
        fixed = ended.fixed
        self._commits.add(ended, None if fixed is None or fixed.id is None else lambda _: self._forget_id(fixed))
        if self._spending.has_failed_too_often(self._tally.failed, self._tally.ended):
            self.stop(f"{self._tally.failed:,} rows of {self._tally.ended:,} have failed", finish=True)

    # Cost

    async def _reserve(self, request: Message, model: str) -> float | None:
        """What a row may cost at most, which is reserved; `None` where it is not to be sent.

        Raises:
            ConfigError: The price of its model is not known.
        """
        if self._spending.max_cost is None:
            return 0.0
        cost = await self.estimate(request, model)
        while (may := self._spending.may_cost(cost)) is May.LATER and not self.stopped:
            await self.news()
        if may is May.YES:
            return cost
        self.stop(f"the next row could cost more than max_cost={self._spending.max_cost:g} leaves", finish=True)
        return None

    async def estimate(self, request: Any, model: str) -> float:
        """What a row costs at most, by the tokens of its input and the limit of its answer.

        Raises:
            ConfigError: The price of its model is not known.
        """
        price = price_of(model, self._plan.mode, self._plan.prices)
        if price is None:
            raise ConfigError(f"the price of {model} is not known: give prices=, or leave max_cost out")
        tokens = await self._client.call(methods.TokenizerService.TokenizeCompletion, request)
        longest = self._spending.longest_answer(int(request.completion_options.max_tokens.value))
        found = cost_of(len(tokens.tokens), longest, price)
        assert found is not None
        return found

    # Commits, and the end

    def _committed(self, ended: int) -> None:
        self._contact = time.monotonic()
        self._wake()
        self._on_commit()

    def _not_written(self, error: JournalError) -> None:
        self._end_run(error)

    def _wake(self) -> None:
        news, self._news = self._news, []
        for future in news:
            if not future.done():
                future.set_result(None)

    async def _near_end(self) -> None:
        """Wait for operations that run, after the run was stopped."""
        self._check_over()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), self._patience)

    async def _tick(self) -> None:
        """Report how far it is, and write the output, about once a second; never cut off while it writes."""
        while not self._closing.is_set():
            self._tally.mark()
            try:
                if self._report is not None:
                    self._report(self.progress())
            except Exception as error:  # the callback is the user's
                self._report = None
                self._end_run(error)
            await self._drain()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), 1.0)

    async def _drain(self) -> None:
        """Write the rows that have ended to the output; where that fails the run ends, and the journal has them."""
        assert self._commits is not None
        if self._sink is None:
            return
        try:
            noted = await asyncio.get_running_loop().run_in_executor(None, self._sink)
        except Exception as error:
            self._sink = None
            self._end_run(error)
            return
        if noted is not None:
            self._commits.add(noted)

    async def _close(self) -> None:
        assert self._commits is not None
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await self._client._transport.settle_submits()  # what is accepted meanwhile is recorded
        self._listening.close()
        try:
            if not self.stopped and not self._running and not self._attach:
                self._commits.add(Noted("total", str(self._next)))
            await self._commits.settle()
            await self._drain()
            await self._commits.settle()
        finally:
            self._commits.close()
            self._wake()


def _excerpt(source: bytes) -> str:
    text = source.decode("utf-8", "replace")
    return f"{text[:60]}..." if len(text) > 60 else text

"""What `client.bulk` gives: a run, iterated in either world, and its results.

Rules: the run itself is `engine`, in an event loop; the blocking one has a thread with a loop and a client of the same
settings. Results come from the journal, in both, so that none is given which is not on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sized
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from yagrpc._aio.client import AsyncClient
from yagrpc._services.embeddings import MODEL as EMBEDDING_MODEL
from yagrpc.bulk.decisions.outcomes import check_retries
from yagrpc.bulk.decisions.rows import Raw, Recipe, check_template, plain, rows_of, table_of
from yagrpc.bulk.decisions.spending import Spending
from yagrpc.bulk.engine.engine import Engine
from yagrpc.bulk.engine.plan import Plan
from yagrpc.bulk.parameters import CONCURRENCY, check_failures, split_bulk
from yagrpc.bulk.results import RESULT_COLUMNS, BulkResult, Summary, record_of, result_record, summary_of
from yagrpc.bulk.shown import Shown, shown_here
from yagrpc.errors import ConfigError
from yagrpc.hiding import shown
from yagrpc.journal.changes import Entry, Noted
from yagrpc.journal.journal import Journal, JournalWriter
from yagrpc.prices import Price, parse_prices, price_of

if TYPE_CHECKING:
    from yagrpc._sync.client import Client
    from yagrpc.bulk.decisions.progress import Progress

PAGE: Final = 500
"""Results that are read of the journal at once."""


class Output(Protocol):
    """Where the results of a run are written, too."""

    def opened(self, journal: JournalWriter) -> Callable[[], Noted | None]:
        """Open it, as the journal says; gives what writes the rows that have ended since.

        Raises:
            ConfigError: It is not of this run, or can't be written.
        """
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Source:
    """Where a run's rows come from.

    Args:
        rows: Gives the rows, from the first.
        table: Whether they are those of a table.
        total: How many there are; `None` where that is not known.
        frame: The Series or DataFrame that they are of; `None` for anything else.
    """

    def __init__(
        self, rows: Callable[[], Iterator[Raw]], *, table: bool, total: int | None = None, frame: Any = None
    ) -> None:
        self.rows = rows
        self.table = table
        self.total = total
        self.frame = frame

    @classmethod
    def of(cls, rows: Any, key: Any) -> Source:
        """The source of what a user gave.

        Raises:
            ConfigError: It is no iterable, or a single text.
        """
        if isinstance(rows, Source):
            return rows
        if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
            raise ConfigError(f"rows is {shown(rows)}: it takes an iterable of rows, a Series or a DataFrame")
        table = table_of(rows)
        total = len(rows) if isinstance(rows, Sized) else None
        function = key if callable(key) else None
        framed = type(rows).__module__.partition(".")[0] in ("pandas", "polars")
        return cls(
            lambda: rows_of(rows if table is None else table, function),
            table=table is not None,
            total=total,
            frame=rows if framed else None,
        )


class AsyncBulk:
    """A run: iterate it with `async for`, or await `results()`. It starts with the first of these.

    Results come as rows end, those of earlier runs of the same journal first. A run that is left early, or whose
    process ends, is resumed by the same call with the same journal: what was sent is not sent again.

    Args:
        client: Sends the requests; it is not closed.
        rows: The rows.
        given: The keyword arguments of `bulk`.

    Raises:
        ConfigError: A setting can't work.
        TypeError: An argument is not known.
    """

    def __init__(self, client: AsyncClient, rows: Any, given: Mapping[str, Any]) -> None:
        own, shaping, calling = split_bulk(given)
        self.client = client
        self._source = source = Source.of(rows, own.get("key"))
        key = own.get("key")
        default = client._core.model if own["task"] != "embed" else EMBEDDING_MODEL
        model = shaping.pop("model", default)
        self.prices: Mapping[tuple[str, str], Price] = (
            parse_prices(own["prices"], "prices") if own.get("prices") else {}
        )
        check_template(own.get("template"))
        named = key if isinstance(key, str) else None if source.table or callable(key) else "id"
        recipe = Recipe(
            own["task"], client._core.folder_id, model, shaping, source.table, own["text"], named, own.get("template")
        )
        limit = own.get("limit")
        total = source.total if limit is None or source.total is None else min(limit, source.total)
        self.plan = Plan(
            recipe,
            own["mode"],
            int(own.get("concurrency") or CONCURRENCY[own["mode"]]),
            check_retries(own["retries"], own["retry_on"], own["on_ambiguous"]),
            self.prices,
            calling,  # type: ignore[arg-type]
            total,
            limit,
        )
        self._max_cost = own.get("max_cost")
        self._max_failures = check_failures(own.get("max_failures"))
        progress = own.get("progress")
        self._shown: Shown | None = shown_here() if progress is True else None
        self._report: Callable[[Progress], object] | None = self._shown or (
            None if isinstance(progress, bool) else progress
        )
        if self._max_cost is not None and price_of(model, own["mode"], self.prices) is None:
            raise ConfigError(f"max_cost needs the price of {model}, which is not known: give prices=")
        if self._max_cost is not None and own["task"] != "completion":
            raise ConfigError(f"max_cost is of completions: task {own['task']} takes none")
        path = own.get("journal")
        if path is None:
            folder = tempfile.mkdtemp(prefix="yagrpc-bulk-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = str(Path(folder) / "journal")
        elif not isinstance(path, (str, PathLike)) or not fspath(path):
            raise ConfigError(f"journal is {shown(path)}: it takes the path of a file")
        self.journal = Path(fspath(path))
        self.options = self._options(own)
        self.committed: Callable[[], object] = lambda: None
        self.output: Output | None = None
        self.engine: Engine | None = None
        self._ended = False

    def __aiter__(self) -> AsyncIterator[BulkResult]:
        return self._results()

    async def run(self) -> Summary:
        """Run to the end, without giving the results.

        Raises:
            ConfigError: The journal can't be used, or is of another run.
            YagrpcError: What is wrong with every row.
        """
        with contextlib.closing(self._open()) as writer, contextlib.closing(Journal(self.journal)) as reader:
            spending = Spending(self._max_cost, self._max_failures)
            engine = self.engine = Engine(
                self.client,
                writer,
                reader,
                self._source.rows(),
                self.plan,
                spending,
                self._report,
                self.committed,
                None if self.output is None else self.output.opened(writer),
            )
            try:
                await engine.run()
            finally:
                if self._shown is not None:
                    self._shown.close()
                if self.output is not None:
                    self.output.close()
            self._ended = True
            return summary_of(reader)

    async def results(self) -> list[BulkResult]:
        """Run to the end, and give all results in the order of the input.

        Raises:
            ConfigError: The journal can't be used, or is of another run.
            YagrpcError: What is wrong with every row.
        """
        if not self._ended:
            await self.run()
        return list(self.in_order())

    async def to_pandas(self) -> Any:
        """Run to the end, and give a DataFrame of all rows with their results, in the order of the input.

        Its index is that of the input, where that is pandas' too. A column of the input that has the name of a
        result's is renamed to `input_...`.

        Raises:
            ConfigError: As `results`, or pandas is not installed.
        """
        return self.frame(await self.results())

    def summary(self) -> Summary:
        """How many rows have ended how, and what that has cost, so far."""
        with contextlib.closing(Journal(self.journal)) as journal:
            return summary_of(journal)

    def stop(self) -> None:
        """Send no more rows, and wait a moment for operations that run; called in the event loop."""
        if self.engine is not None:
            self.engine.stop("by its user")

    def abort(self) -> bool:
        """End at once; called in the event loop. Gives whether there was a run to end."""
        if self.engine is not None:
            self.engine.abort()
        return self.engine is not None

    def in_order(self) -> Iterator[BulkResult]:
        """The results that the journal has, in the order of the input."""
        with contextlib.closing(Journal(self.journal)) as journal:
            first = 0
            while page := journal.ended_in_order(first, PAGE):
                yield from (BulkResult(entry, self.plan.recipe.task) for entry in page)
                first = page[-1].fixed.number + 1

    def frame(self, results: list[BulkResult]) -> Any:
        """Results as a DataFrame of pandas."""
        try:
            pandas: Any = importlib.import_module("pandas")
        except ModuleNotFoundError as error:
            raise ConfigError("to_pandas needs pandas: pip install pandas") from error
        task, frame = self.plan.recipe.task, self._source.frame
        if frame is None or type(frame).__module__.partition(".")[0] != "pandas":
            with contextlib.closing(Journal(self.journal)) as journal:
                entries = [journal.entry(result.number) for result in results]
            return pandas.DataFrame([record_of(entry, task, table=self.plan.recipe.table) for entry in entries])
        known = {result.number: result_record(result, task) for result in results}
        columns = [*self._answer_columns(), *RESULT_COLUMNS]
        given = frame.to_frame(frame.name or "text") if not hasattr(frame, "columns") else frame
        given = given.rename(columns={name: f"input_{name}" for name in given.columns if name in columns})
        own = [known.get(number, dict.fromkeys(columns)) for number in range(len(given))]
        return pandas.concat([given, pandas.DataFrame(own, index=given.index, columns=columns)], axis=1)

    def _answer_columns(self) -> tuple[str, ...]:
        from yagrpc.bulk.results import COLUMNS

        return COLUMNS[self.plan.recipe.task]

    async def _results(self) -> AsyncIterator[BulkResult]:
        if self._ended:
            for result in self.in_order():
                yield result
            return
        running = asyncio.get_running_loop().create_task(self.run(), name="yagrpc-bulk-run")
        after = 0
        try:
            while True:
                ended = running.done()
                if self.engine is not None or ended:
                    page = self._page(after)
                    for entry in page:
                        after = entry.seq
                        yield BulkResult(entry, self.plan.recipe.task)
                    if page:
                        continue
                if ended:
                    break
                news = asyncio.ensure_future(asyncio.sleep(0.01) if self.engine is None else self.engine.news())
                await asyncio.wait({running, news}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
            await running
        finally:
            if not running.done():
                if self.engine is not None:
                    self.engine.abort()
                else:
                    running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running

    def _page(self, after: int) -> list[Entry]:
        if not self.journal.exists():  # the run was refused
            return []
        with contextlib.closing(Journal(self.journal)) as journal:
            return journal.ended(after, PAGE)

    def _open(self) -> JournalWriter:
        """The journal, of this run.

        Raises:
            ConfigError: It is of a run with other options, or can't be used.
        """
        writer = JournalWriter(self.journal)
        try:
            before = writer.noted().get("options")
            if before is None:
                writer.commit([Noted("options", json.dumps(self.options, ensure_ascii=False, sort_keys=True))])
            elif before != self.options:
                names = sorted(
                    name for name in before.keys() | self.options.keys() if before.get(name) != self.options.get(name)
                )
                changes = "; ".join(
                    f"{name} was {shown(before.get(name))}, and is {shown(self.options.get(name))}" for name in names
                )
                raise ConfigError(
                    f"journal {self.journal} is of a run with other options: {changes}; give the same, or name another"
                    " journal"
                )
            writer.commit(self._facts(writer.noted().get("starts", [])))
        except BaseException:
            writer.close()
            raise
        return writer

    def _facts(self, starts: list[float]) -> list[Noted]:
        """What a report shows of the run, beside its rows.

        Args:
            starts: When earlier runs of the journal began.
        """
        use = self.client.limits
        limits = (use.submit_per_second.limit, use.submit_per_hour.limit) if self.plan.mode == "async" else (None, None)
        facts = {"starts": [*starts, time.time()], "expected": self.plan.total, "submit_limits": limits}
        return [Noted(name, json.dumps(value)) for name, value in facts.items()]

    def _options(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """What changes the requests, or whom they are sent to, as JSON values."""
        key = own.get("key")
        host = self.client._core.endpoints.model.rpartition(":")[0]
        options = {
            "task": own["task"],
            "mode": own["mode"],
            "model": self.plan.recipe.model,
            "folder_id": self.client._core.folder_id,
            "service": host,
            "table": self._source.table or None,
            "text": own["text"] if self._source.table else None,
            "key": "a function" if callable(key) else key,
            "template": own.get("template"),
            **self.plan.recipe.parameters,
        }
        found: dict[str, Any] = json.loads(json.dumps(options, default=plain))
        return {name: value for name, value in found.items() if value is not None}


class Bulk:
    """A run: iterate it with `for`, or call `results()`. It starts with the first of these.

    Results come as rows end, those of earlier runs of the same journal first. A run that is left early, or whose
    process ends, is resumed by the same call with the same journal: what was sent is not sent again.

    It runs in a thread of its own, where the rows are iterated too.

    Args:
        client: Whose settings are used; a client of `asyncio` with the same ones sends the requests.
        rows: The rows.
        given: The keyword arguments of `bulk`.

    Raises:
        ConfigError: A setting can't work, or the client has channels or interceptors of the user's own.
        TypeError: An argument is not known.
    """

    def __init__(self, client: Client, rows: Any, given: Mapping[str, Any]) -> None:
        if client._own:
            own = ", ".join(client._own)
            raise ConfigError(f"bulk sends by grpc.aio, which can't use this client's {own}: use AsyncClient(...).bulk")
        self._settings = client._settings
        self._bulk = AsyncBulk(AsyncClient(**self._settings.reveal()), rows, given)
        self._news = threading.Event()
        self._bulk.committed = self._news.set
        self._ended = False

    def __iter__(self) -> Iterator[BulkResult]:
        if self._ended:
            yield from self._bulk.in_order()
            return
        after = 0
        with self._running() as thread:
            while True:
                alive = thread.alive
                page = self._bulk._page(after) if self._bulk.engine is not None or not alive else []
                for entry in page:
                    after = entry.seq
                    yield BulkResult(entry, self._bulk.plan.recipe.task)
                if page:
                    continue
                if not alive:
                    break
                self._news.wait(1.0)
                self._news.clear()
            thread.check()
        self._ended = True

    def run(self) -> Summary:
        """Run to the end, without giving the results.

        Raises:
            ConfigError: The journal can't be used, or is of another run.
            YagrpcError: What is wrong with every row.
        """
        with self._running() as thread:
            while thread.alive:
                self._news.wait(1.0)
                self._news.clear()
            thread.check()
        self._ended = True
        return self._bulk.summary()

    def results(self) -> list[BulkResult]:
        """Run to the end, and give all results in the order of the input.

        Raises:
            ConfigError: The journal can't be used, or is of another run.
            YagrpcError: What is wrong with every row.
        """
        if not self._ended:
            self.run()
        return list(self._bulk.in_order())

    def to_pandas(self) -> Any:
        """Run to the end, and give a DataFrame of all rows with their results, in the order of the input.

        Its index is that of the input, where that is pandas' too. A column of the input that has the name of a
        result's is renamed to `input_...`.

        Raises:
            ConfigError: As `results`, or pandas is not installed.
        """
        return self._bulk.frame(self.results())

    def summary(self) -> Summary:
        """How many rows have ended how, and what that has cost, so far."""
        return self._bulk.summary()

    def stop(self) -> None:
        """Send no more rows, and wait a moment for operations that run; from any thread."""
        if self._thread is not None:
            self._thread.call(self._bulk.stop)

    _thread: _LoopThread | None = None

    @contextlib.contextmanager
    def _running(self) -> Iterator[_LoopThread]:
        thread = self._thread = _LoopThread(self._run, self._news.set)
        try:
            yield thread
        finally:
            if thread.alive:
                thread.abort(self._bulk.abort)
            thread.join()

    async def _run(self) -> None:
        async with AsyncClient(**self._settings.reveal()) as client:  # a run that was left has closed its own
            self._bulk.client = client
            await self._bulk.run()


class _LoopThread:
    """An event loop in a thread, which runs one coroutine.

    Args:
        make: Makes the coroutine.
        ended: Called when it has ended.
    """

    def __init__(self, make: Callable[[], Any], ended: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done = False

        self._task: asyncio.Task[None] | None = None
        self._started = threading.Event()

        async def main() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            self._started.set()
            await make()

        def run() -> None:
            try:
                asyncio.run(main())
            except BaseException as error:
                self._error = error
            finally:
                self._done = True
                self._started.set()
                ended()

        self._thread = threading.Thread(target=run, name="yagrpc-bulk", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the coroutine has not ended."""
        return not self._done

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in the loop, if that runs."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(function)

    def abort(self, abort: Callable[[], bool]) -> None:
        """End the coroutine: by a function that says whether it does that, or else by cancelling it."""

        def end() -> None:
            if not abort() and self._task is not None:
                self._task.cancel()

        self._started.wait()
        self.call(end)

    def check(self) -> None:
        """Raise what the coroutine raised."""
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

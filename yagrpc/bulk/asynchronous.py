"""What `client.bulk` of the asyncio client gives: a run, which is iterated, and its results.

Rules: the run itself is `engine`. Results come from the journal, so that none is given which is not on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from os import PathLike, fsdecode, path
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from yagrpc.bulk.decisions.spending import Spending
from yagrpc.bulk.engine.engine import Engine
from yagrpc.bulk.frames import frame_of
from yagrpc.bulk.options import note_start, open_journal, options_of
from yagrpc.bulk.parameters import check_failures, split_bulk
from yagrpc.bulk.planning import plan_of
from yagrpc.bulk.results import BulkResult, Summary, summary_of
from yagrpc.bulk.shown import Shown, shown_here
from yagrpc.bulk.source import Source
from yagrpc.errors import ConfigError
from yagrpc.hiding import shown
from yagrpc.journal.changes import Entry, Noted
from yagrpc.journal.journal import Journal, JournalWriter

if TYPE_CHECKING:
    from yagrpc._aio.client import AsyncClient
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
        RequestError: An argument of the completions is wrong.
        TypeError: An argument is not known.
    """

    def __init__(self, client: AsyncClient, rows: Any, given: Mapping[str, Any]) -> None:
        own, shaping, calling = split_bulk(given)
        self.client = client
        self._source = Source.of(rows, own.get("key"))
        self.plan = plan_of(own, shaping, calling, self._source, client)  # type: ignore[arg-type]
        self._max_cost = own.get("max_cost")
        self._max_failures = check_failures(own.get("max_failures"))
        progress = own.get("progress")
        self._shown: Shown | None = shown_here() if progress is True else None
        self._report: Callable[[Progress], object] | None = self._shown or (
            None if isinstance(progress, bool) else progress
        )
        self.journal = self._path(own.get("journal"))
        self.options = options_of(own, self.plan, client)
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
        with contextlib.closing(self.opened()) as writer:
            return await self.run_by(self.client, writer)

    def opened(self) -> JournalWriter:
        """The journal, for this process alone.

        Raises:
            ConfigError: It can't be used, or is of another run.
        """
        writer = open_journal(self.journal, self.options, self.plan)
        self.journal = self.journal.absolute()  # the program may change its folder before the results are read
        return writer

    async def run_by(self, client: AsyncClient, writer: JournalWriter) -> Summary:
        """The same, by another client with the same settings.

        Args:
            client: The client.
            writer: The journal, as `opened` gave it.
        """
        note_start(writer, self.plan, client)
        with contextlib.closing(Journal(self.journal)) as reader:
            spending = Spending(self._max_cost, self._max_failures)
            engine = self.engine = Engine(
                client,
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
        """How many rows have ended how, and what that has cost, so far.

        Raises:
            ConfigError: The run has not started.
        """
        if self.engine is None and not path.exists(self.journal):
            raise ConfigError("the run has not started, so there is no summary yet: iterate it, or call run()")
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
                yield from map(self.result_of, page)
                first = page[-1].fixed.number + 1

    def frame(self, results: list[BulkResult]) -> Any:
        """Results, in the order of the input, as a DataFrame of pandas.

        Raises:
            ConfigError: pandas is not installed.
        """
        recipe = self.plan.recipe
        return frame_of(results, self._source.frame, self.journal, recipe.task, table=recipe.table)

    def result_of(self, entry: Entry) -> BulkResult:
        """The result of a row that has ended."""
        return BulkResult(entry, self.plan.recipe.task)

    def page(self, after: int) -> list[Entry]:
        """Rows that have ended, in the order in which they did.

        Args:
            after: The `seq` after which they begin.

        Raises:
            ConfigError: The journal can't be read: it was removed, for example.
        """
        with contextlib.closing(Journal(self.journal)) as journal:
            return journal.ended(after, PAGE)

    def _path(self, given: Any) -> Path:
        """The file of the journal, in a temporary folder where its user names none.

        Raises:
            ConfigError: What is given is no path.
        """
        if given is None:
            folder = tempfile.mkdtemp(prefix="yagrpc-bulk-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            return Path(folder) / "journal"
        if not isinstance(given, (str, PathLike)) or not Path(fsdecode(given)).name:
            raise ConfigError(f"journal is {shown(given)}: it takes the path of a file")
        return Path(fsdecode(given))

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
                if self.engine is not None:  # else the run has not started, or was refused
                    page = self.page(after)
                    for entry in page:
                        after = entry.seq
                        yield self.result_of(entry)
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

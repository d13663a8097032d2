"""What `client.bulk` of the blocking client gives: a run in a thread of its own, and its results in the caller's.

Rules: the run is that of `asynchronous`, with an event loop and a client of the same settings in the thread. Both
clients count their calls together, so that the quotas are kept while both are in use. Results come from the journal
here, too, so that none is given which is not on the disk.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from yagrpc._aio.client import AsyncClient
from yagrpc.bulk.asynchronous import AsyncBulk
from yagrpc.bulk.loop_thread import LoopThread
from yagrpc.bulk.results import BulkResult, Summary
from yagrpc.errors import ClientClosedError, ConfigError

if TYPE_CHECKING:
    from yagrpc._sync.client import Client


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
        ClientClosedError: The client is closed.
        RequestError: An argument of the completions is wrong.
        TypeError: An argument is not known.
    """

    def __init__(self, client: Client, rows: Any, given: Mapping[str, Any]) -> None:
        if client._own:
            own = ", ".join(client._own)
            raise ConfigError(f"bulk sends by grpc.aio, which can't use this client's {own}: use AsyncClient(...).bulk")
        _check_open(client)
        self._client = client
        planning = {**client._settings.reveal(), "quota": None}  # it sends nothing, and takes no part in shared quotas
        self._bulk = AsyncBulk(AsyncClient(**planning), rows, given)
        self._news = threading.Event()
        self._bulk.committed = self._news.set
        self._thread: LoopThread | None = None
        self._ended = False

    def __iter__(self) -> Iterator[BulkResult]:
        if self._ended:
            yield from self._bulk.in_order()
            return
        after = 0
        with self._running() as thread:
            while True:
                alive = thread.alive
                page = [] if self._bulk.engine is None else self._bulk.page(after)  # none: it was refused, perhaps
                for entry in page:
                    after = entry.seq
                    yield self._bulk.result_of(entry)
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
        """How many rows have ended how, and what that has cost, so far.

        Raises:
            ConfigError: The run has not started.
        """
        return self._bulk.summary()

    def stop(self) -> None:
        """Send no more rows, and wait a moment for operations that run; from any thread."""
        if self._thread is not None:
            self._thread.call(self._bulk.stop)

    @contextlib.contextmanager
    def _running(self) -> Iterator[LoopThread]:
        _check_open(self._client)
        thread = self._thread = LoopThread(self._run, self._news.set)
        try:
            yield thread
        finally:
            if thread.alive:
                thread.abort(self._bulk.abort)
            thread.join()

    async def _run(self) -> None:
        with contextlib.closing(self._bulk.opened()) as writer:  # before a client takes part in shared quotas
            settings = self._client._settings
            async with AsyncClient(**settings.reveal()) as client:  # a run that was left has closed its own
                client._core.count_with(self._client._core)
                await self._bulk.run_by(client, writer)


def _check_open(client: Client) -> None:
    """Refuse a client that is closed: its user expects no more requests.

    Raises:
        ClientClosedError: It is.
    """
    if client._transport.channels.closed:
        raise ClientClosedError

"""What the asyncio client's public classes need of asyncio; `_sync/primitives.py` has the same names for threads.

Rules: the classes that use this module are written once, for asyncio, and `scripts/make_sync.py` makes the blocking
ones of them. What the two worlds do differently is here, in the transport and in the poller, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import Future as Future
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from yagrpc._aio.poller import AsyncPoller
from yagrpc._grpc import fork, loops

if TYPE_CHECKING:
    from yagrpc._aio.transport import AsyncTransport
    from yagrpc._core.client import ClientCore
    from yagrpc._core.flow import Jobs

ResultT = TypeVar("ResultT")


class Pollers:
    """The poller of a client: one for each event loop that the client is used in, one after the other.

    Args:
        core: The client's settings.
        transport: Its channels.
    """

    def __init__(self, core: ClientCore, transport: AsyncTransport) -> None:
        self._core = core
        self._transport = transport
        self._moves = transport.moves
        self._poller = AsyncPoller(core, transport)

    def current(self) -> AsyncPoller:
        """The poller of the event loop that runs.

        Raises:
            ConfigError: The client is in use in another event loop, which runs still.
        """
        self._transport.enter_loop()
        if self._moves != self._transport.moves:
            self._moves = self._transport.moves
            self._poller = AsyncPoller(self._core, self._transport)
        return self._poller

    def gets(self) -> tuple[float | None, int, int | None, int]:
        """The quota of Gets: its limit, what is used and left, and how many wait. It needs no event loop."""
        return self._poller.gets()

    def forked(self) -> None:
        """In a forked child: the tasks are the parent's. They are kept, since one that is collected is logged."""
        fork.keep(self._poller)


async def run_each(transport: AsyncTransport, jobs: Jobs[ResultT], most: int) -> list[ResultT]:
    """Run flows and give what they return, in order; the first failure ends the others.

    Args:
        transport: Runs them.
        jobs: The flows; the next is asked for when it can start.
        most: How many run at once.
    """
    numbered = enumerate(jobs)
    results: dict[int, ResultT] = {}

    async def work() -> None:
        for index, (_, flow) in numbered:
            results[index] = await transport.run(flow)

    workers = [asyncio.create_task(work(), name="yagrpc-each") for _ in range(most)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[index] for index in range(len(results))]


def new_future() -> Future[Any]:
    """A future of the event loop that runs."""
    return loops.running_loop().create_future()


def claimed(future: Future[Any]) -> bool:
    """Whether a future can be given an outcome; it can't after its user has cancelled it."""
    return not future.done()


def call_back(poller: AsyncPoller, callback: Callable[[], object]) -> None:
    """Call what a user gave: in the event loop, at once."""
    callback()


def named_interrupt(operation_id: str) -> contextlib.AbstractContextManager[None]:
    """A block in which Ctrl-C says which operation was waited for: asyncio raises it elsewhere, so nothing is done."""
    return contextlib.nullcontext()

"""Virtual time: whole runs of hours, over real gRPC, in seconds.

Client and emulator run in one event loop, and every clock of the process is this one. It stands still while anything
happens, and is moved to the next timer once nothing does: no request is on its way, and no thread works for the loop.
So the times of a run depend neither on the machine nor on what else it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar

import grpc.aio
import pytest

import yagrpc._aio.client
from yagrpc._grpc.runtime import RUNTIME

ResultT = TypeVar("ResultT")


class VirtualTime:
    """The clock of everything in a process.

    Attributes:
        busy: How many things happen for which it stands still.
        flows: Whether it is not skipped, but waited for: while connections are opened and closed.
    """

    def __init__(self) -> None:
        self._start, self._wall = time.monotonic(), time.time()
        self._passed = 0.0
        self.busy = 0
        self.flows = True

    def monotonic(self) -> float:
        """Passed seconds."""
        return self._start + self._passed

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._wall + self._passed

    def advance(self, seconds: float) -> None:
        """Move it."""
        self._passed += seconds

    @contextlib.contextmanager
    def skipping(self) -> Iterator[None]:
        """In the block, time passes only while nothing happens, and then at once."""
        self.flows = False
        try:
            yield
        finally:
            self.flows = True

    def run(self, main: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a coroutine in an event loop on this clock."""
        loop = _Loop(self)
        try:
            return loop.run_until_complete(main)
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


class _Selector(selectors.DefaultSelector):
    """Waits for what happens, or moves the clock to the next timer where nothing does.

    Args:
        clock: The clock.
    """

    def __init__(self, clock: VirtualTime) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self._clock.flows:
            events = super().select(timeout)
        elif timeout is None or self._clock.busy:
            return super().select(None)
        if not events and timeout is not None:
            self._clock.advance(timeout)
        return events


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that counts the work of its threads.

    Args:
        clock: The clock.
    """

    def __init__(self, clock: VirtualTime) -> None:
        super().__init__(_Selector(clock))
        self._clock = clock

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        self._clock.busy += 1
        future.add_done_callback(self._returned)
        return future

    def _returned(self, future: asyncio.Future[Any]) -> None:
        self._clock.busy -= 1


class Network(grpc.aio.UnaryUnaryClientInterceptor):
    """The network between a client and its server.

    Args:
        clock: The clock, which stands still while the server works.
        round_trip: Seconds of a round trip on average; each takes between half and one and a half of it.
    """

    def __init__(self, clock: VirtualTime, round_trip: float) -> None:
        self._clock = clock
        self._round_trip = round_trip
        self._rng = random.Random(1)

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Send one request."""
        await self._travel()
        self._clock.busy += 1
        try:
            call = await continuation(client_call_details, request)
            await call.code()
        finally:
            self._clock.busy -= 1
        await self._travel()
        return call

    async def _travel(self) -> None:
        await asyncio.sleep(self._round_trip / 2 * self._rng.uniform(0.5, 1.5))


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """Every clock of the process."""
    clock = VirtualTime()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(time, "time", clock.wall)
    monkeypatch.setattr(yagrpc._aio.client, "RUNTIME", RUNTIME._replace(clock=clock.monotonic, wall=clock.wall))
    return clock

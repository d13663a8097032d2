"""In whose context (`contextvars`) things run, and so in whose trace: both clients, against the emulator.

A Get runs in the context of the first who waits for its operation, a callback in that of its registration, and the
poller in none.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

import yagrpc
from yagrpc.emulator import Emulator

LONG = 30.0
"""Seconds after which a test has failed."""

WHOSE: contextvars.ContextVar[str] = contextvars.ContextVar("WHOSE", default="nobody's")

GET = yagrpc.methods.OperationService.Get.path


def context_of(name: str) -> contextvars.Context:
    """A context of somebody's."""
    context = contextvars.Context()
    context.run(WHOSE.set, name)
    return context


class Seen(yagrpc.Events):
    """Whose contexts were seen: of Gets and what is reported of them, by operation; and of the poller."""

    def __init__(self) -> None:
        self.gets: defaultdict[str, list[str]] = defaultdict(list)
        self.reports: defaultdict[str, list[str]] = defaultdict(list)
        self.poller: set[str] = set()
        self.got = threading.Event()

    def get(self, path: str, request: Any) -> None:
        """An interceptor of either kind has a call."""
        if path in (GET, GET.encode()):
            self.gets[request.operation_id].append(WHOSE.get())

    def polled(self, operation_id: str, outcome: Any) -> None:
        """A Get came back."""
        self.reports[operation_id].append(WHOSE.get())
        self.got.set()

    def clock(self, worker: Callable[[], str]) -> Callable[[], float]:
        """A clock for the poller that takes note of who asks.

        Args:
            worker: Names the thread, or the task, of now.
        """

        def clock() -> float:
            if worker() == "yagrpc-poller":
                self.poller.add(WHOSE.get())
            return time.monotonic()

        return clock


class Interceptor(grpc.UnaryUnaryClientInterceptor):
    """Sees each call of the blocking client as it leaves."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Take note."""
        self._seen.get(client_call_details.method, request)
        return continuation(client_call_details, request)


class AsyncInterceptor(grpc.aio.UnaryUnaryClientInterceptor):
    """Sees each call of the asyncio client as it leaves."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Take note."""
        self._seen.get(client_call_details.method, request)
        return await continuation(client_call_details, request)


@pytest.fixture
def seen() -> Seen:
    """Whose contexts were seen."""
    return Seen()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator whose clock stands still: operations end when a test moves it."""
    with Emulator(duration=60) as running:
        running.freeze()
        yield running


def settings(emulator: Emulator, seen: Seen, interceptor: Any) -> dict[str, Any]:
    """The arguments of a client."""
    return {
        "folder_id": "b1g",
        "credentials": yagrpc.NoCredentials(),
        "endpoint": emulator.address,
        "operation_endpoint": emulator.address,
        "plaintext": True,
        "polling": yagrpc.Polling(first=0.01, shortest=0.01, longest=0.05),
        "interceptors": [interceptor],
        "events": seen,
    }


def run_in(context: contextvars.Context, function: Callable[[], object]) -> threading.Thread:
    """A thread that calls a function in a context."""
    thread = threading.Thread(target=context.run, args=(function,), daemon=True)
    thread.start()
    return thread


def test_gets_of_the_blocking_client(emulator: Emulator, seen: Seen) -> None:
    called: list[str] = []
    with context_of("the client's").run(lambda: yagrpc.Client(**settings(emulator, seen, Interceptor(seen)))) as client:
        client._poller._clock = seen.clock(lambda: threading.current_thread().name)
        waited = context_of("the submitter's").run(client.completion_async, "hello")
        listened = client.completion_async("hello")
        first = run_in(context_of("the first's"), lambda: waited.result(LONG))
        assert seen.got.wait(LONG)
        second = run_in(context_of("the second's"), lambda: client.operation(waited.id).result(LONG))
        done = threading.Event()

        def callback(operation: Any) -> None:
            called.append(WHOSE.get())
            done.set()

        context_of("the listener's").run(listened.add_done_callback, callback)
        while len(seen.reports[listened.id]) < 2 or len(seen.reports[waited.id]) < 3:
            seen.got.clear()
            assert seen.got.wait(LONG)
        emulator.advance(60)
        assert done.wait(LONG)
        for thread in (first, second):
            thread.join(LONG)
            assert not thread.is_alive()
    assert set(seen.gets[waited.id]) == set(seen.reports[waited.id]) == {"the first's"}
    assert set(seen.gets[listened.id]) == set(seen.reports[listened.id]) == {"the listener's"}
    assert called == ["the listener's"]
    assert seen.poller == {"nobody's"}


async def test_gets_of_the_asyncio_client(emulator: Emulator, seen: Seen) -> None:
    called: list[str] = []
    client = context_of("the client's").run(
        lambda: yagrpc.AsyncClient(**settings(emulator, seen, AsyncInterceptor(seen)))
    )
    loop = asyncio.get_running_loop()

    def named() -> str:
        task = asyncio.current_task()
        return "" if task is None else task.get_name()

    def start(context: contextvars.Context, operation: Any) -> asyncio.Task[Any]:
        return context.run(lambda: loop.create_task(operation.result(LONG)))

    async def polled(operation: Any, times: int) -> None:
        while len(seen.reports[operation.id]) < times:
            seen.got.clear()
            assert await asyncio.to_thread(seen.got.wait, LONG)

    async with client:
        client._poller._clock = seen.clock(named)
        submit = context_of("the submitter's").run(lambda: loop.create_task(client.completion_async("hello")))
        waited, listened = await submit, await client.completion_async("hello")
        first = start(context_of("the first's"), waited)
        await polled(waited, 1)
        second = start(context_of("the second's"), client.operation(waited.id))
        done = asyncio.Event()

        def callback(operation: Any) -> None:
            called.append(WHOSE.get())
            done.set()

        context_of("the listener's").run(listened.add_done_callback, callback)
        await polled(listened, 2)
        await polled(waited, 3)
        emulator.advance(60)
        await asyncio.wait_for(asyncio.gather(first, second, done.wait()), LONG)
    assert set(seen.gets[waited.id]) == set(seen.reports[waited.id]) == {"the first's"}
    assert set(seen.gets[listened.id]) == set(seen.reports[listened.id]) == {"the listener's"}
    assert called == ["the listener's"]
    assert seen.poller == {"nobody's"}

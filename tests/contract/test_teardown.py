"""A client, its emulator and its event loop end in any order, as fixtures do: each at once, whatever is under way.

Of two fixtures, the one that was asked for first ends last, whichever of them needs the other. A step that hangs fails
by the limit of its test.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import yagrpc
from yagrpc.emulator import Emulator, Fault, Hang

pytestmark = pytest.mark.timeout(60)

SECONDS = 20.0
"""How long a test waits for what has to happen."""

UNDER_WAY: dict[str, Callable[[Any], Any]] = {
    "read": lambda client: client.tokenize("hello", timeout=None),
    "stream": lambda client: _first(client.completion_stream("hello", timeout=None)),
    "submit": lambda client: client.completion_async("hello", timeout=None),
    "wait": lambda client: client.operation("d7q").result(),
    "listener": lambda client: _outcome(client.operation("d7q")),
}
"""Calls that the emulator never answers."""


def _first(stream: Any) -> Any:
    return next(stream) if hasattr(stream, "__next__") else stream.__anext__()


def _outcome(operation: Any) -> Any:
    future = operation.future()
    return future.result(SECONDS) if isinstance(operation, yagrpc.Operation) else future


class Sent(yagrpc.Events):
    """Knows when the call has left.

    Attributes:
        left: Set then.
    """

    def __init__(self) -> None:
        self.left = threading.Event()

    def sending(self, call: Any, number: int, endpoint: str, timeout: float | None) -> None:
        self.left.set()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator that answers nothing, and that the test stops; another stop does nothing."""
    running = Emulator(faults=[Fault(Hang())])
    running.start()
    yield running
    running.stop()


def settings_of(emulator: Emulator, events: Sent) -> dict[str, Any]:
    """The settings of its client."""
    credentials = yagrpc.NoCredentials()
    return {
        "endpoint": emulator.address,
        "plaintext": True,
        "folder_id": "f",
        "credentials": credentials,
        "events": events,
    }


async def left(events: Sent) -> None:
    """Wait until the call has left, and the event loop has come to what follows."""
    while not events.left.is_set():  # noqa: ASYNC110 - step by step
        await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.mark.parametrize("name", UNDER_WAY)
@pytest.mark.parametrize("order", ["emulator, client", "client, emulator"])
def test_a_blocking_client_and_its_emulator_end_in_either_order(name: str, order: str, emulator: Emulator) -> None:
    events = Sent()
    client = yagrpc.Client(**settings_of(emulator, events))
    outcomes: list[BaseException] = []

    def call() -> None:
        with pytest.raises(yagrpc.YagrpcError) as caught:
            UNDER_WAY[name](client)
        outcomes.append(caught.value)

    thread = threading.Thread(target=call)
    thread.start()
    assert events.left.wait(SECONDS)
    steps = {"emulator": emulator.stop, "client": client.close}
    for step in order.split(", "):
        steps[step]()
    thread.join(SECONDS)
    assert len(outcomes) == 1


@pytest.mark.parametrize("name", UNDER_WAY)
@pytest.mark.parametrize("order", ["emulator, client", "client, emulator"])
@pytest.mark.parametrize("where", ["in the loop", "beside it"])
def test_an_asyncio_client_and_its_emulator_end_in_either_order(
    name: str, order: str, where: str, emulator: Emulator
) -> None:
    """The emulator's end holds up the event loop that it is called in, so that the client can do nothing meanwhile."""
    events, loop = Sent(), asyncio.new_event_loop()

    async def call() -> Any:
        return await UNDER_WAY[name](yagrpc_client)

    async def begin() -> asyncio.Future[Any]:
        calling = asyncio.ensure_future(call())
        await left(events)
        return calling

    async def stop() -> None:
        emulator.stop()

    yagrpc_client = yagrpc.AsyncClient(**settings_of(emulator, events))
    calling = loop.run_until_complete(begin())
    for step in order.split(", "):
        if step == "client":
            loop.run_until_complete(yagrpc_client.close())
        elif where == "in the loop":
            loop.run_until_complete(stop())
        else:
            emulator.stop()
    loop.run_until_complete(asyncio.wait([calling], timeout=SECONDS))
    assert isinstance(calling.exception(), yagrpc.YagrpcError)
    loop.close()


@pytest.mark.parametrize("name", UNDER_WAY)
@pytest.mark.parametrize("order", ["emulator, client", "client, emulator"])
def test_an_event_loop_may_end_before_its_client_and_the_emulator(name: str, order: str, emulator: Emulator) -> None:
    """The client is closed in another loop then, as by a fixture of a wider scope."""
    events = Sent()
    client = yagrpc.AsyncClient(**settings_of(emulator, events))

    async def call() -> None:
        await UNDER_WAY[name](client)

    async def leave() -> asyncio.Future[None]:
        calling = asyncio.ensure_future(call())
        await left(events)
        return calling

    calling = asyncio.run(leave())
    assert calling.cancelled()
    for step in order.split(", "):
        if step == "client":
            asyncio.run(client.close())
        else:
            emulator.stop()


def test_a_new_client_works_after_each_end(emulator: Emulator) -> None:
    """Nothing that a loop has left behind keeps the next emulator, client or loop from working."""

    async def use(address: str) -> int:
        async with yagrpc.AsyncClient(
            endpoint=address, plaintext=True, folder_id="f", credentials=yagrpc.NoCredentials()
        ) as client:
            return len(await client.tokenize("hello", timeout=SECONDS))

    events = Sent()
    for _ in range(3):
        client = yagrpc.AsyncClient(**settings_of(emulator, events))

        async def leave(client: Any) -> None:
            calls = [asyncio.ensure_future(client.tokenize("hello", timeout=None)) for _ in range(20)]
            await left(events)
            assert not any(call.done() for call in calls)

        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(leave(client))
        with Emulator() as another:
            assert asyncio.run(use(another.address)) == 1
        asyncio.run(client.close())

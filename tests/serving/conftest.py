"""What the tests of `yagrpc.serving` share: a service in front of the emulator, over real gRPC and real HTTP.

The service has one method of each kind, whose function a test gives; it is served by `grpc.server`, by
`grpc.aio.server`, and by a `grpc.aio.server` whose handlers block.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import grpc.aio
import pytest

import yagrpc
from yagrpc import serving
from yagrpc.emulator import Emulator

QUICK = yagrpc.Polling(first=0.01, shortest=0.01, longest=0.05)

SOON = 20.0
"""Seconds in which what a test waits for has to happen; it takes milliseconds."""

HOUR = 3600.0

UNARY, STREAM = "/example.Service/Unary", "/example.Service/Stream"

Serve = Callable[[Any, Any, Any], Any]
"""What a handler does: with a client, the request's text and the context."""


class Polled(yagrpc.Events):
    """Notes the Gets that came back."""

    def __init__(self, polled: queue.SimpleQueue[str]) -> None:
        self._polled = polled

    def polled(self, operation_id: str, outcome: Any) -> None:
        self._polled.put(operation_id)


class Model:
    """The emulator, with the moments that a test waits for; what it generates takes an hour.

    Attributes:
        polled: The ids of operations whose Gets came back.
        asked: For everything that it has been asked, an event: set when it no longer serves that call.
    """

    def __init__(self) -> None:
        self.asked: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
        self.polled: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.emulator = Emulator(duration=self._an_hour, completion_duration=self._an_hour, seed=1)

    def _an_hour(self, random: Any) -> float:
        # The emulator draws it in the task that serves the call, whose end is the call's end as the emulator sees it.
        task = asyncio.current_task()
        assert task is not None
        served = threading.Event()
        task.add_done_callback(lambda done: served.set())
        self.asked.put(served)
        return HOUR

    def settings(self) -> dict[str, Any]:
        """The settings of a client."""
        return {
            "endpoint": self.emulator.address,
            "plaintext": True,
            "folder_id": "folder",
            "credentials": yagrpc.NoCredentials(),
            "polling": QUICK,
            "events": Polled(self.polled),
        }


@pytest.fixture
def model() -> Iterator[Model]:
    found = Model()
    with found.emulator:
        yield found


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-loop")
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        """What a coroutine gives."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(SOON)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(SOON)
        self.loop.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    found = Loop()
    yield found
    found.close()


class Backend:
    """One of the servers, and a channel to it.

    Attributes:
        kind: `sync`, `aio`, or `threads` for a `grpc.aio.server` whose handlers block.
        unary: What its unary method does: a function, or for `aio` a coroutine function.
        stream: The same for the method that streams: a generator function.
    """

    def __init__(self, kind: str, model: Model, loop: Loop | None, **settings: Any) -> None:
        self.kind = kind
        self.unary: Serve = lambda client, text, context: text
        self.stream: Serve = lambda client, text, context: iter([text])
        self._loop = loop
        self._settings = settings
        self._stack = contextlib.ExitStack()
        if loop is None:
            client = self._stack.enter_context(yagrpc.Client(**model.settings()))
            interceptor: Any = serving.ServerInterceptor(**settings)
            server: Any = grpc.server(
                futures.ThreadPoolExecutor(8), interceptors=[interceptor], options=[("grpc.so_reuseport", 0)]
            )
            server.add_generic_rpc_handlers((self._handlers(client),))
            address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            server.start()
            self._stack.callback(lambda: server.stop(None).wait())
        else:
            address = loop.run(self._start(model))
        self.channel: Any = self._stack.enter_context(grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]))

    async def _start(self, model: Model) -> str:
        assert self._loop is not None
        client: Any = (
            yagrpc.AsyncClient(**model.settings()) if self.kind == "aio" else yagrpc.Client(**model.settings())
        )
        server = grpc.aio.server(
            futures.ThreadPoolExecutor(8),
            interceptors=[serving.AsyncServerInterceptor(**self._settings)],
            options=[("grpc.so_reuseport", 0)],
        )
        server.add_generic_rpc_handlers((self._handlers(client),))
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()

        async def stop() -> None:
            await server.stop(None)
            closed = client.close()
            if closed is not None:
                await closed

        run = self._loop.run
        self._stack.callback(lambda: run(stop()))
        return address

    def _handlers(self, client: Any) -> Any:
        backend = self

        if self.kind == "aio":

            async def unary(request: bytes, context: Any) -> bytes:
                return str(await backend.unary(client, request.decode(), context)).encode()

            async def stream(request: bytes, context: Any) -> Any:
                async for each in backend.stream(client, request.decode(), context):
                    yield str(each).encode()
        else:

            def unary(request: bytes, context: Any) -> bytes:  # type: ignore[misc]
                return str(backend.unary(client, request.decode(), context)).encode()

            def stream(request: bytes, context: Any) -> Any:
                for each in backend.stream(client, request.decode(), context):
                    yield str(each).encode()

        return grpc.method_handlers_generic_handler(
            "example.Service",
            {
                "Unary": grpc.unary_unary_rpc_method_handler(unary),
                "Stream": grpc.unary_stream_rpc_method_handler(stream),
            },
        )

    def handle(self, blocking: Serve, asynchronous: Serve) -> None:
        """Set what the unary method does."""
        self.unary = asynchronous if self.kind == "aio" else blocking

    def call(self, text: str = "ping", **settings: Any) -> Any:
        """Begin a call of the unary method; gives its future."""
        return self.channel.unary_unary(UNARY).future(text.encode(), **settings)

    def open(self, text: str = "ping", **settings: Any) -> Any:
        """Begin a call of the method that streams."""
        return self.channel.unary_stream(STREAM)(text.encode(), **settings)

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(params=["sync", "aio", "threads"])
def backends(request: pytest.FixtureRequest, model: Model) -> Iterator[Callable[..., Backend]]:
    """Makes a server of each kind, with settings of its interceptor."""
    kind = request.param
    loop = None if kind == "sync" else request.getfixturevalue("loop")
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> Backend:
            found = Backend(kind, model, loop, **settings)
            stack.callback(found.close)
            return found

        yield start


@pytest.fixture
def backend(backends: Callable[..., Backend]) -> Backend:
    """A server of each kind."""
    return backends()

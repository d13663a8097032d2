"""Contract tests run on both clients alike, against a real server on loopback.

A test is written once: `subject` makes clients, and `subject(...)` gives what a call gives, awaited where the client
is the asyncio one.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb
from yagrpc._core.quota import windows
from yagrpc.emulator import Emulator

QUICK = yagrpc.Polling(first=0.01, shortest=0.01, longest=0.05)


class Subject:
    """One of the two clients, driven from a test that need not know which."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._loop = asyncio.new_event_loop() if kind == "aio" else None
        self._clients: list[Any] = []

    def client(self, emulator: Emulator | None = None, **settings: Any) -> Any:
        """A client of an emulator (or of nothing), that polls operations without delay."""
        if emulator is not None:
            settings = {"endpoint": emulator.address, "plaintext": True, **settings}
        settings = {"folder_id": "folder", "credentials": yagrpc.ApiKey("secret"), "polling": QUICK, **settings}
        client = yagrpc.AsyncClient(**settings) if self._loop else yagrpc.Client(**settings)
        self._clients.append(client)
        return client

    def __call__(self, given: Any) -> Any:
        """What a call gave: awaited, or a stream's items as a list, or as it is."""
        if self._loop is None:
            return list(given) if hasattr(given, "__next__") else given
        if hasattr(given, "__anext__"):
            return self._loop.run_until_complete(_collect(given))
        if inspect.isawaitable(given) and not isinstance(given, yagrpc.AsyncOperation):
            return self._loop.run_until_complete(_awaited(given))
        return given

    def first(self, stream: Any) -> Any:
        """The next item of a stream."""
        return next(stream) if self._loop is None else self(stream.__anext__())

    def together(self, calls: list[Callable[[], Any]]) -> list[Any]:
        """The outcomes of several calls that run at once, exceptions included."""
        if self._loop is not None:

            async def all_of_them() -> list[Any]:
                return await asyncio.gather(*(_awaited(call()) for call in calls), return_exceptions=True)

            return self._loop.run_until_complete(all_of_them())
        with futures.ThreadPoolExecutor(len(calls)) as pool:
            done = [pool.submit(call) for call in calls]
            return [one.exception() or one.result() for one in done]

    def in_loop(self, function: Callable[[], Any]) -> Any:
        """Call a plain function, in the event loop where there is one."""

        async def called() -> Any:
            return function()

        return function() if self._loop is None else self._loop.run_until_complete(called())

    def until(self, event: threading.Event) -> None:
        """Wait for an event of another thread; the event loop runs meanwhile."""
        waited = event.wait(30) if self._loop is None else self(asyncio.to_thread(event.wait, 30))
        assert waited

    def close_clients(self) -> None:
        """Close the clients that the test left open."""
        for client in self._clients:
            self(client.close())

    def close(self) -> None:
        """Close the clients, and the loop."""
        self.close_clients()
        if self._loop is not None:
            self._loop.close()


async def _collect(stream: Any) -> list[Any]:
    return [item async for item in stream]


async def _awaited(given: Awaitable[Any]) -> Any:
    return await given


@pytest.fixture(params=["sync", "aio"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """The blocking client, then the asyncio one."""
    found = Subject(request.param)
    yield found
    found.close()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator whose operations run until the test moves its clock."""
    with Emulator(duration=3600.0, seed=1) as running:
        yield running


@pytest.fixture
def client(subject: Subject, emulator: Emulator) -> Any:
    """A client of the emulator."""
    return subject.client(emulator)


@pytest.fixture
def counted_when_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots under a rate are free a window after the answer, however late it comes: so no call is ever refused.

    A client takes a call to have been counted a second after it left. On a machine under load a server may count it
    later than that, and then it refuses another call.
    """
    monkeypatch.setattr(windows, "ANSWER_GRACE", math.inf)


class Served:
    """A bare server with servicers of the test's own, for what the emulator never does."""

    def __init__(self) -> None:
        self.server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.calls: list[str] = []

    def start(self, **methods: Callable[[Any, grpc.ServicerContext], Any]) -> Served:
        """Serve functions under the names of the methods below."""
        # Any: the stubs type servicers as abstract, and here each gets just the methods that a test needs.
        texts: Any = _pb.text_generation_service_pb2_grpc
        operations: Any = _pb.operation_service_pb2_grpc
        streamed, deferred = texts.TextGenerationServiceServicer(), texts.TextGenerationAsyncServiceServicer()
        tokens, polled = texts.TokenizerServiceServicer(), operations.OperationServiceServicer()
        vectors: Any = _pb.embedding_service_pb2_grpc
        embedded = vectors.EmbeddingsServiceServicer()
        homes = {
            "completion": (streamed, "Completion"),
            "completion_async": (deferred, "Completion"),
            "tokenize": (tokens, "Tokenize"),
            "text_embedding": (embedded, "TextEmbedding"),
            "get": (polled, "Get"),
            "cancel": (polled, "Cancel"),
        }
        for name, method in methods.items():
            servicer, rpc = homes[name]
            setattr(servicer, rpc, self._counted(name, method))
        texts.add_TextGenerationServiceServicer_to_server(streamed, self.server)
        texts.add_TextGenerationAsyncServiceServicer_to_server(deferred, self.server)
        texts.add_TokenizerServiceServicer_to_server(tokens, self.server)
        operations.add_OperationServiceServicer_to_server(polled, self.server)
        vectors.add_EmbeddingsServiceServicer_to_server(embedded, self.server)
        self.server.start()
        return self

    def _counted(self, name: str, method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def served(request: Any, context: Any) -> Any:
            self.calls.append(name)
            return method(request, context)

        return served


@pytest.fixture
def served() -> Iterator[Served]:
    """A bare server; start it with the methods that it is to have."""
    bare = Served()
    yield bare
    bare.server.stop(None).wait()


class Nowhere:
    """A port where connections are taken, and nothing is ever said."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(20.0)  # seconds
        self._taken: list[socket.socket] = []
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def connected(self) -> socket.socket:
        """Wait for a connection."""
        self._taken.append(self._socket.accept()[0])
        return self._taken[-1]

    def reconnected(self) -> None:
        """Wait for a connection, break it, and wait for the next."""
        self.connected().close()
        self.connected()

    def close(self) -> None:
        for one in (*self._taken, self._socket):
            one.close()


@pytest.fixture
def nowhere() -> Iterator[Nowhere]:
    found = Nowhere()
    yield found
    found.close()

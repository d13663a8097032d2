"""What the tests of failures share: a server that fails as configured, a TCP proxy, and the table of what was seen.

Rules: everything is real: sockets, gRPC, processes. The server counts what it generated before it fails, so that a
request sent twice shows. The fixtures of both clients are those of the contract tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from yagrpc import _pb

_spec = importlib.util.spec_from_file_location(
    "contract_fixtures", Path(__file__).parents[1] / "contract" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_contract: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_contract)
subject = _contract.subject

TEXTS = "/yandex.cloud.ai.foundation_models.v1."
METHODS = {
    f"{TEXTS}TextGenerationService/Completion": "completion",
    f"{TEXTS}TextGenerationAsyncService/Completion": "submit",
    f"{TEXTS}TokenizerService/Tokenize": "tokenize",
    "/yandex.cloud.operation.OperationService/Get": "get",
    "/yandex.cloud.operation.OperationService/Cancel": "cancel",
}

Fault = Callable[["Service", grpc.ServicerContext, bytes], bytes]


def answer_of(name: str) -> bytes:
    """What the service answers when it does not fail."""
    message = _pb.text_common_pb2.Message(role="assistant", text="an answer")
    completion = _pb.text_generation_service_pb2.CompletionResponse(
        alternatives=[
            _pb.text_common_pb2.Alternative(
                message=message, status=_pb.text_common_pb2.Alternative.ALTERNATIVE_STATUS_FINAL
            )
        ]
    )
    if name == "completion":
        return completion.SerializeToString()
    if name == "tokenize":
        token = _pb.text_common_pb2.Token(id=1, text="a")
        return _pb.text_generation_service_pb2.TokenizeResponse(tokens=[token]).SerializeToString()
    operation = _pb.operation_pb2.Operation(id="op1")
    if name == "get":
        operation.done = True
        operation.response.Pack(completion)
    return operation.SerializeToString()


class Service(grpc.GenericRpcHandler):
    """A server of raw bytes; the first call of each method meets the fault, if there is one.

    Attributes:
        fault: What the first call meets.
        asked: Set once there was a call.
        seen: How often each method was asked.
        generated: How often each method did what it is for, whether or not anybody was reported.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.seen: Counter[str] = Counter()
        self.generated: Counter[str] = Counter()
        self.metadata: list[dict[str, Any]] = []
        self.asked = threading.Event()
        self.over = threading.Event()
        self.proxy: Proxy | None = None
        self._server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[self], options=[("grpc.so_reuseport", 0)])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def service(self, details: Any) -> Any:
        """The handler of a method."""
        name = METHODS[details.method]
        self.metadata.append(dict(details.invocation_metadata))
        if name == "completion":
            return grpc.unary_stream_rpc_method_handler(lambda request, context: iter([self._answer(name, context)]))
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._answer(name, context))

    def _answer(self, name: str, context: grpc.ServicerContext) -> bytes:
        self.seen[name] += 1
        self.asked.set()
        context.send_initial_metadata((("x-request-id", f"req-{name}"), ("x-server-trace-id", "trace")))
        fault = self.fault if self.seen[name] == 1 else None
        if fault is None or not getattr(fault, "refuses", False):
            self.generated[name] += 1
        body = answer_of(name)
        return body if fault is None else fault(self, context, body)

    def close(self) -> None:
        """End it, and whatever hangs."""
        self.over.set()
        self._server.stop(None).wait()


def refuse(code: grpc.StatusCode, *trailing: tuple[str, str | bytes]) -> Fault:
    """Refuse before anything starts, as the service does: with its ids, which prove that it was the service."""
    return bare(code, ("x-request-id", "theirs"), *trailing)


def bare(code: grpc.StatusCode, *trailing: tuple[str, str | bytes]) -> Fault:
    """Refuse before anything starts, with no other metadata than these."""

    def fault(service: Service, context: grpc.ServicerContext, body: bytes) -> bytes:
        context.set_trailing_metadata(trailing)
        context.abort(code, "as scripted")

    fault.refuses = True  # type: ignore[attr-defined]
    return fault


def drop(code: grpc.StatusCode) -> Fault:
    """Take the request, do what it asks, and answer with a status."""

    def fault(service: Service, context: grpc.ServicerContext, body: bytes) -> bytes:
        context.abort(code, "as scripted")

    return fault


def hang(service: Service, context: grpc.ServicerContext, body: bytes) -> bytes:
    """Do what is asked, and say nothing."""
    service.over.wait()
    return body


def garble(service: Service, context: grpc.ServicerContext, body: bytes) -> bytes:
    """Answer with what is no message."""
    return b"\xff\xff\xff"


def swell(service: Service, context: grpc.ServicerContext, body: bytes) -> bytes:
    """Answer with more than the client takes: a field that nobody knows (number 1000, of 50,000 bytes)."""
    return body + b"\xc2\x3e\xd0\x86\x03" + bytes(50_000)


def cut(service: Service, context: grpc.ServicerContext, body: bytes) -> bytes:
    """Do what is asked, and lose the connection by a reset before the caller is notified."""
    assert service.proxy is not None
    service.proxy.reset()
    return body


def close_half(service: Service, context: grpc.ServicerContext, body: bytes) -> bytes:
    """Do what is asked, and have the way back end, as a server does that goes away."""
    assert service.proxy is not None
    service.proxy.half_close()
    return body


class Proxy:
    """A TCP proxy in front of a server, that fails as configured. It runs in a thread of its own.

    Args:
        port: The server's, on loopback.
    """

    def __init__(self, port: int) -> None:
        self.address = ""
        self.delay = 0.0
        self._target = port
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.AbstractServer | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._listen(0))

    def reset(self) -> None:
        """Break all connections with RST; new ones are taken."""
        self._do(self._reset())

    def half_close(self) -> None:
        """End the way from the server to the client, on every connection."""

        async def ended() -> None:
            for _, client in self._pairs:
                client.write_eof()

        self._do(ended())

    def blackhole(self) -> None:
        """From here on nothing is passed on, either way, and nothing is closed; connecting works."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def close(self) -> None:
        """End everything."""

        async def closed() -> None:
            assert self._server is not None
            self._server.close()
            await self._reset()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._do(closed())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        self.address = "127.0.0.1:{1}".format(*self._server.sockets[0].getsockname())

    async def _reset(self) -> None:
        for server, client in list(self._pairs):
            sock = client.get_extra_info("socket")
            if client.transport.is_closing():
                continue
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.transport.abort()
            server.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._target)
        pair = (behind_writer, writer)
        self._pairs.add(pair)
        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(self._pump(reader, behind_writer), self._pump(behind_reader, writer))
        finally:
            self._pairs.discard(pair)
            for one in pair:
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._open.wait()
            await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()


@pytest.fixture
def service() -> Iterator[Service]:
    """The server."""
    running = Service()
    yield running
    running.close()


@pytest.fixture
def proxy(service: Service) -> Iterator[Proxy]:
    """A proxy in front of the server."""
    running = service.proxy = Proxy(service.port)
    yield running
    running.close()


SEEN: dict[tuple[str, str], set[str]] = {}
"""The outcome of each call for each failure, over both clients."""

CALLS = ("completion", "stream", "submit", "wait", "cancel", "tokenize")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, once it is whole."""
    failures = list(dict.fromkeys(failure for failure, _ in SEEN))
    if not failures or not all((failure, call) in SEEN for failure in failures for call in CALLS):
        return
    terminalreporter.write_line("")
    terminalreporter.write_line(f"| what fails | {' | '.join(CALLS)} |")
    terminalreporter.write_line("| --- " * (len(CALLS) + 1) + "|")
    for failure in sorted(failures):
        cells = [" or ".join(sorted(SEEN[failure, call])) for call in CALLS]
        terminalreporter.write_line(f"| {failure} | {' | '.join(cells)} |")

"""Closing a client ends every call that waits, whatever it waits for: each kind of call, on both clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb, methods
from yagrpc._grpc import probing
from yagrpc.method import BidiStreamMethod, ClientStreamMethod

if TYPE_CHECKING:
    from tests.contract.conftest import Nowhere

SECONDS = 20.0
"""How long a test waits for what has to happen."""

TEXTS = _pb.text_generation_service_pb2
KIND = f"{TEXTS.__name__}:TokenizeRequest"
PATH = methods.TokenizerService.Tokenize.path.rpartition("/")[0]
UPLOAD: Any = ClientStreamMethod[Any, Any](f"{PATH}/Upload", request=KIND, response=KIND)
TALK: Any = BidiStreamMethod[Any, Any](f"{PATH}/Talk", request=KIND, response=KIND)


def _requests(client: Any) -> Any:
    """A stream of requests that does not end."""
    request = TEXTS.TokenizeRequest(text="hello")
    if isinstance(client, yagrpc.Client):
        return iter(lambda: request, None)

    async def endless() -> AsyncIterator[Any]:
        while True:
            yield request
            await asyncio.sleep(0)

    return endless()


def _read(stream: Any) -> Any:
    if hasattr(stream, "__next__"):
        return list(stream)

    async def read() -> list[Any]:
        return [item async for item in stream]

    return read()


def _all_of(client: Any) -> Any:
    return yagrpc.gather(*(client.operation(str(number)) for number in range(3)))


def _first_of(client: Any) -> Any:
    completions = yagrpc.as_completed([client.operation(str(number)) for number in range(3)])
    if isinstance(client, yagrpc.Client):
        return [operation.result() for operation in completions]

    async def each() -> list[Any]:
        return [await operation.result() async for operation in completions]

    return each()


CALLS: dict[str, Callable[[Any], Any]] = {
    "tokenize": lambda client: client.tokenize("hello", timeout=None),
    "embedding": lambda client: client.text_embedding("hello", timeout=None),
    "embeddings": lambda client: client.text_embedding(["hello", "again"], timeout=None),
    "completion": lambda client: client.completion("hello", timeout=None),
    "completion_stream": lambda client: _read(client.completion_stream("hello", timeout=None)),
    "completion_async": lambda client: client.completion_async("hello", timeout=None),
    "call": lambda client: client.call(
        methods.TokenizerService.Tokenize, TEXTS.TokenizeRequest(text="hello"), timeout=None
    ),
    "upload": lambda client: client.call(UPLOAD, _requests(client), timeout=None),
    "talk": lambda client: _read(client.call(TALK, _requests(client), timeout=None)),
    "result": lambda client: client.operation("d7q").result(),
    "refresh": lambda client: client.operation("d7q").refresh(timeout=None),
    "cancel": lambda client: client.operation("d7q").cancel(timeout=None),
    "gather": _all_of,
    "as_completed": _first_of,
}
ONE_ATTEMPT = {"refresh", "upload", "talk"}
"""Those that end with the first attempt: a stream of requests can't be sent twice, and a poll is one Get."""


@pytest.mark.parametrize(
    ("name", "again"),
    [
        pytest.param(name, again, id=f"{name}, {'again' if again else 'first'}")
        for name in CALLS
        for again in (False, True)
        if not again or name not in ONE_ATTEMPT
    ],
)
def test_closing_ends_a_call_that_connects(
    name: str, again: bool, subject: Any, nowhere: Nowhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the first time, or again after its first attempt has failed; nor does it wait for a probe's answer."""
    monkeypatch.setattr(probing, "_ANSWER", 3600.0)
    client = subject.client(endpoint=nowhere.address, plaintext=True)
    wait = nowhere.reconnected if again else nowhere.connected
    error, closed = subject.together([lambda: CALLS[name](client), lambda: _after(subject, wait, client.close)])
    assert closed is None
    assert isinstance(error, yagrpc.ClientClosedError), error


@pytest.mark.parametrize("name", ["tokenize", "completion_async"])
def test_closing_ends_a_call_that_waits_for_a_slot(name: str, subject: Any, served: Any) -> None:
    waits = threading.Event()

    class Waiting(yagrpc.Events):
        def waiting_for_quota(self, call: Any, quota: str, seconds: float | None) -> None:
            waits.set()

    def tokenize(request: Any, context: Any) -> Any:
        return TEXTS.TokenizeResponse()

    def submit(request: Any, context: Any) -> Any:
        return _pb.operation_pb2.Operation(id="d7q")

    address = served.start(tokenize=tokenize, completion_async=submit).address
    quota = yagrpc.Quota(tokenize_per_second=1 / 3600, submit_per_second=1 / 3600)
    client = subject.client(endpoint=address, plaintext=True, quota=quota, events=Waiting())
    outcomes = subject.together(
        [lambda: CALLS[name](client), lambda: CALLS[name](client), lambda: _after(subject, waits.wait, client.close)]
    )
    assert any(isinstance(outcome, yagrpc.ClientClosedError) for outcome in outcomes[:2])


def _after(subject: Any, wait: Callable[[], object], close: Callable[[], Any]) -> Any:
    """Close the client once something has happened."""
    if subject.kind == "sync":
        wait()
        close()
        return None

    async def closed() -> None:
        await asyncio.to_thread(wait)
        closing: Awaitable[None] = close()
        await closing

    return closed()


def test_a_stream_whose_first_message_is_unreadable_ends_at_the_service(subject: Any) -> None:
    gone = threading.Event()

    def broken(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(gone.set)
        yield b"\xff\xff\xff"
        gone.wait(SECONDS)

    server = grpc.server(futures.ThreadPoolExecutor(2))
    _, service, name = methods.TextGenerationService.Completion.path.split("/")
    handlers: dict[str, Any] = {name: grpc.unary_stream_rpc_method_handler(broken)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    client = subject.client(endpoint=address, plaintext=True)
    for call in ("completion", "completion_stream"):
        gone.clear()
        with pytest.raises(yagrpc.ResultError):
            subject(CALLS[call](client))
        assert gone.wait(SECONDS)
    server.stop(None).wait()

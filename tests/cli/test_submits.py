"""A submit whose caller leaves before its answer: what became of it is reported, and an id that comes is not lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import yagrpc
from tests.cli.conftest import LIMIT_SECONDS, one_line
from yagrpc import _pb

if TYPE_CHECKING:
    from tests.cli.conftest import Command

ID = "d7qaccepted"
RUNS = f"operation {ID} is still running; get its result with: yagrpc operation wait {ID}"
UNKNOWN = "the service may have accepted the request (client request id mine), and a second submit may be billed twice"
BODY = '{"modelUri": "gpt://b1g/yandexgpt", "messages": [{"role": "user", "text": "hi"}]}'
CALLS = [
    ["submit", "hi", "--id", "--folder-id", "b1g"],
    ["submit", "hi", "--wait", "--folder-id", "b1g"],
    ["call", "TextGenerationAsyncService/Completion", "--request", "-"],
]

ENDINGS = [
    pytest.param(signal.SIGINT, 130, id="SIGINT"),
    pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
    pytest.param(signal.SIGHUP, 129, id="SIGHUP"),
]


class Service:
    """Accepts submits: `asked` runs when one comes, and it is answered once the client that sent it is being closed."""

    def __init__(self) -> None:
        self.asked: Callable[[], object] = lambda: None
        self.answers = True
        self.closing = threading.Event()

    def Completion(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.asked()
        if self.closing.wait(LIMIT_SECONDS) and self.answers:
            return _pb.operation_pb2.Operation(id=ID)
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(LIMIT_SECONDS)  # until the client has closed the connection
        return _pb.operation_pb2.Operation()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    service = Service()

    class Closing(yagrpc.Client):
        def close(self) -> None:
            service.closing.set()
            super().close()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    _pb.text_generation_service_pb2_grpc.add_TextGenerationAsyncServiceServicer_to_server(service, server)  # type: ignore[arg-type]
    monkeypatch.setenv("YAGRPC_EMULATOR_HOST", f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    monkeypatch.setattr(yagrpc, "Client", Closing)
    server.start()
    yield service
    service.closing.set()
    server.stop(None).wait()


@pytest.mark.parametrize("arguments", CALLS, ids=lambda words: " ".join(words[:3]))
@pytest.mark.parametrize(("number", "code"), ENDINGS)
def test_an_id_that_comes_after_a_signal_is_reported(
    command: Command, service: Service, arguments: list[str], number: int, code: int
) -> None:
    service.asked = lambda: os.kill(os.getpid(), number)
    assert command.fails(code, *arguments, stdin=BODY) == f"interrupted; {RUNS}"


@pytest.mark.parametrize(("number", "code"), ENDINGS)
def test_without_an_answer_the_id_of_the_request_is_reported(
    command: Command, service: Service, number: int, code: int
) -> None:
    service.answers = False
    service.asked = lambda: os.kill(os.getpid(), number)
    expected = f"interrupted; {UNKNOWN}"
    assert command.fails(code, *CALLS[0], "--request-id", "mine") == expected


def test_an_id_that_comes_after_the_timeout_is_reported(command: Command, service: Service) -> None:
    ran = command(*CALLS[0], "--timeout", "1")
    assert (ran.code, ran.out) == (3, "")
    first, last = ran.err.splitlines(keepends=True)
    assert one_line(first) == RUNS
    assert one_line(last).startswith("the submit may or may not have been accepted")


@pytest.mark.parametrize("ignored", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_is_ignored_stays_ignored(command: Command, service: Service, ignored: str) -> None:
    """As `nohup` has it."""
    number = getattr(signal, ignored)

    def asked() -> None:
        os.kill(os.getpid(), number)
        service.closing.set()

    service.asked = asked
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert command.done(*CALLS[0]) == f"{ID}\n"
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_the_handlers_are_the_same_afterwards(command: Command, service: Service) -> None:
    service.closing.set()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert command.done(*CALLS[0]) == f"{ID}\n"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before

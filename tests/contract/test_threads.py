"""A system that starts no more threads: a call fails that needs one, leaves nothing behind, and the next one works."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import yagrpc
from yagrpc.emulator import Emulator

SECONDS = 20.0
"""How long a test waits for what has to happen."""

NO_THREAD = "can't start new thread"


@contextlib.contextmanager
def no_threads() -> Iterator[None]:
    """No thread of the client's starts; gRPC's own, and those of the emulator, do."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("yagrpc-"):
            raise RuntimeError(NO_THREAD)
        start(thread)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        yield


class Counted(yagrpc.MetadataService):
    """Tokens of which each is another."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def fetch(self, timeout: float) -> Any:
        self.count += 1
        return yagrpc.AccessToken(f"t1.token{self.count}", 1000.0)


def left(client: Any) -> dict[str, Any]:
    """What a client has in its tables."""
    transport, poller = client._transport, client._poller
    return {
        "shared": dict(transport._sharing._running),
        "waits": set(transport._waiting),
        "submits": dict(transport._submits._running),
        "waiters": dict(poller._waiting),
        "leader": poller._leader,
        "listened": poller._listened,
        "watches": len(poller._scheduler),
        "callbacks": list(poller._callbacks),
        "calling": poller._calling,
        "notifying": set(poller._notifying),
        "slots": [limit.used + limit.waiting for limit in (client.limits.concurrent_completions,)],
        "waiting": [limit.waiting for limit in client.limits],
    }


CALLS: dict[str, Callable[[Any], Any]] = {
    "shared flow": lambda client: client.tokenize("hello"),
    "connecting": lambda client: client.completion("hello"),
    "submit": lambda client: client.completion_async("hello"),
    "listener": lambda client: client.operation("d7q").future(),
    "several listeners": lambda client: yagrpc.gather(client.operation("d7q"), client.operation("d7r")),
    "callback": lambda client: client.operation("d7q").add_done_callback(print),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_thread_that_cannot_be_started_leaves_nothing_behind(name: str, emulator: Emulator) -> None:
    credentials = Counted() if name == "shared flow" else yagrpc.NoCredentials()
    with yagrpc.Client(endpoint=emulator.address, plaintext=True, folder_id="f", credentials=credentials) as client:
        if name == "submit":
            client.tokenize("connects")
        before = left(client)
        for _ in range(1 if name == "connecting" else 2):  # it may be connected by then
            with no_threads(), pytest.raises((RuntimeError, yagrpc.UnavailableError), match=NO_THREAD):
                CALLS[name](client)
        assert left(client) == before
        assert client.tokenize("hello")
        assert client.completion("hello").text
        operation = client.completion_async("hello")
        future = operation.future()
        emulator.advance(3600.0)
        assert future.result(SECONDS).text


def test_a_client_is_closed_without_a_thread(emulator: Emulator) -> None:
    client = yagrpc.Client(endpoint=emulator.address, plaintext=True, folder_id="f", credentials=yagrpc.NoCredentials())
    client.tokenize("connects")
    with no_threads():
        client.close()
    assert not client._transport.channels.open


def test_a_renewal_that_is_not_waited_for_fails_no_call(subject: Any, emulator: Emulator) -> None:
    """The token is due, and lives; there is no thread to obtain another in, and later there is one."""
    credentials = Counted()
    client = subject.client(emulator, credentials=credentials)
    subject(client.tokenize("gets a token"))
    ahead = 200.0
    client._core.wall = lambda: time.time() + ahead
    with no_threads():
        for _ in range(3):
            subject(client.tokenize("uses the token"))
    assert credentials.count == 1
    client._core.authorizer.tokens._failure = None  # the pause after a failure is over
    until = time.monotonic() + SECONDS
    while credentials.count == 1:
        assert time.monotonic() < until
        subject(client.tokenize("starts a renewal"))
    subject(client.tokenize("works"))


def test_a_renewal_that_fails_fails_no_call(subject: Any, emulator: Emulator) -> None:
    failed = threading.Event()

    class Broken(Counted):
        def fetch(self, timeout: float) -> Any:
            if self.count:
                failed.set()
                raise KeyError("its own")
            return super().fetch(timeout)

    client = subject.client(emulator, credentials=Broken())
    subject(client.tokenize("gets a token"))
    client._core.wall = lambda: time.time() + 200.0
    until = time.monotonic() + SECONDS
    while not failed.is_set():
        assert time.monotonic() < until
        subject(client.tokenize("uses the token"))
    subject(client.tokenize("uses the token"))

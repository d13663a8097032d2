"""Where gevent has patched threads, everything works with gRPC prepared, and says what to do without it."""

from __future__ import annotations

import ast
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.frameworks.conftest import EXAMPLES, SOON, Starter
from yagrpc.emulator import Emulator, paths

pytest.importorskip("gevent", reason="the group `frameworks` of pyproject.toml is not installed")

PATCH = """
from gevent import monkey
monkey.patch_all()
"""

PREPARE = """
import grpc.experimental.gevent
grpc.experimental.gevent.init_gevent()
"""

EVERYTHING = """
import time, gevent, yagrpc

ticks, called = [], []

def tick():
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(0.01)

def ended(operation):
    try:
        return operation.result().text
    except yagrpc.ClientClosedError as error:
        return error.operation_id

gevent.spawn(tick)
with yagrpc.Client(share="limits.sqlite3") as client:
    completions = [gevent.spawn(client.completion, f"text {number}") for number in range(8)]
    assert all(f'"text {number}"' in each.get().text for number, each in enumerate(completions))
    assert len(ticks) > 10, ticks  # other greenlets run while calls wait
    operation = client.completion_async("ping")
    operation.add_done_callback(lambda done: called.append(done.id))
    assert "ping" in operation.result().text
    assert client.poll([operation.id])[0].result(0) == operation.result()
    assert "ping" in list(client.completion_stream("ping"))[-1].text
    with client.completion_stream("left") as stream:
        next(stream)
    try:
        with gevent.Timeout(0.05):
            client.completion("left")
    except gevent.Timeout:
        pass
    try:
        client.completion("late", timeout=0.05)
    except yagrpc.SubmitTimeoutError:
        print("timeout")
    waiting = client.completion_async("slow", metadata=[("x-emulator-duration", "3600")])
    greenlet = gevent.spawn(ended, waiting)
    gevent.sleep(0.1)
    assert not greenlet.ready()
assert called == [operation.id]
assert greenlet.get() == waiting.id
print("closed")
"""

APPLICATION = """
import gevent, yagrpc

client = yagrpc.Client(share="limits.sqlite3")

def application(environ, start_response):
    start_response("200 OK", [])
    ticks = []

    def tick():
        while True:
            ticks.append(None)
            gevent.sleep(0.01)

    ticking = gevent.spawn(tick)
    try:
        said = [client.completion("ping", timeout=20).text]
        said.append(client.completion_async("ping").result(timeout=20).text)
        said += [list(client.completion_stream("ping", timeout=20))[-1].text]
        assert all('"ping"' in text for text in said), said
        assert client.limits.concurrent_completions.limit  # asks the same store
        yield b"answered" if len(ticks) > 10 else b"no other greenlet ran"
    except yagrpc.ConfigError as error:
        yield str(error).encode()
    finally:
        ticking.kill()
"""

ENTRIES = """
import grpc, yagrpc, yagrpc.emulator

channel = grpc.insecure_channel("127.0.0.1:1")
for open_one in (
    yagrpc.Client,
    lambda: yagrpc.Client(channel=channel, operation_channel=channel),
    yagrpc.AsyncClient,
    yagrpc.doctor,
    yagrpc.emulator.Emulator().start,
):
    try:
        print([finding.text for finding in open_one().findings])
    except (yagrpc.ConfigError, RuntimeError) as error:
        print(type(error).__name__, error)
"""


def printed(start: Starter, folder: Path, source: str) -> str:
    """What a program prints that ends well, without warnings."""
    (folder / "program.py").write_text(source)
    program = start("-W", "error", "program.py")
    assert program.wait() == 0, program.output
    return program.output


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A service that answers after a moment of real time, in which other greenlets run."""
    with Emulator(duration=0.2, completion_duration=0.3) as found:
        yield found


def test_everything_works_where_grpc_is_prepared(start: Starter, emulator: Emulator, tmp_path: Path) -> None:
    assert printed(start, tmp_path, PATCH + PREPARE + EVERYTHING) == "timeout\nclosed\n"


def test_the_example_runs(start: Starter, emulator: Emulator) -> None:
    program = start("-W", "error", str(EXAMPLES / "gevent_client.py"))
    assert program.wait() == 0, program.output
    kinds = [line.partition(":")[0] for line in program.output.splitlines()]
    assert kinds.count("answered") == kinds.count("deferred") == 2
    assert kinds[-1] == "closed"
    assert emulator.generations == {paths.COMPLETION: 3, paths.COMPLETION_ASYNC: 2}


def test_every_entry_says_what_to_do_where_grpc_is_not_prepared(start: Starter, tmp_path: Path) -> None:
    own, hosts, asynchronous, doctor, emulated = printed(start, tmp_path, PATCH + ENTRIES).splitlines()
    for each in (own, hosts):
        assert each.startswith("ConfigError gevent has patched threads")
        assert "call grpc.experimental.gevent.init_gevent() after it" in each
    assert "AsyncClient can't work there: use Client" in asynchronous
    assert "call grpc.experimental.gevent.init_gevent() after it" in ast.literal_eval(doctor)[0]
    assert emulated.startswith("RuntimeError gevent has patched threads")


@pytest.mark.parametrize(
    ("prepare", "said"), [(PREPARE, "answered"), ("", "gevent has patched threads (monkey.patch_all()), and gRPC does")]
)
def test_a_client_that_is_older_than_the_patch_works_or_says_what_to_do(
    start: Starter, emulator: Emulator, tmp_path: Path, listening: socket.socket, prepare: str, said: str
) -> None:
    """Gunicorn loads the application before it forks, and patches threads after it."""
    pytest.importorskip("gunicorn", reason="the group `frameworks` of pyproject.toml is not installed")
    (tmp_path / "app.py").write_text(prepare + APPLICATION)
    listen = ("--bind", f"fd://{listening.fileno()}", "--pythonpath", str(tmp_path))
    server = start(
        "-m", "gunicorn", "--worker-class", "gevent", "--preload", *listen, "app", inherits=(listening.fileno(),)
    )
    server.expect("Booting worker")
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    for _ in range(2):
        answer = httpx.get(url, timeout=SOON, trust_env=False)
        assert answer.text.startswith(said), server.output
    assert server.stop() == 0

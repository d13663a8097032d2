"""Forks, event loops, interrupts, ends: what happens around the client, in real processes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import methods
from yagrpc._grpc import fork
from yagrpc.emulator import Delay, Emulator, Fault

SETTINGS: dict[str, Any] = {"folder_id": "f", "credentials": yagrpc.NoCredentials(), "plaintext": True}

FORKED = """
import os, sys, signal, yagrpc
client = yagrpc.Client(endpoint=sys.argv[1], folder_id="f", credentials=yagrpc.NoCredentials(), plaintext=True)
if sys.argv[2] == "used":
    print("before", len(client.tokenize("a")))
    client.operation("op1").future().result(10)
sys.stdout.flush()
children = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        try:
            with client:
                text = client.operation("op1").result(timeout=10).text
                print(f"child {len(client.tokenize('a', timeout=10))} {text}")
        except yagrpc.ConfigError as error:
            print(f"child says {error}")
        sys.stdout.flush()
        os._exit(0)
    children.append(pid)
statuses = [os.waitpid(pid, 0)[1] for pid in children]
print("statuses", statuses)
with client:
    print("after", len(client.tokenize("a")))
"""


FORKED_LISTENING = """
import os, sys, signal, threading, yagrpc
settings = {"endpoint": sys.argv[1], "folder_id": "f", "credentials": yagrpc.NoCredentials(), "plaintext": True}
client = yagrpc.Client(**settings)
len(client.tokenize("a"))
future = client.operation("op1").future()
client._poller._lock.acquire()  # as another thread may have it at this moment
pid = os.fork()
if pid == 0:
    signal.alarm(30)
    future.cancel()
    os._exit(0)
client._poller._lock.release()
print("status", os.waitpid(pid, 0)[1])
client.operation("op1").refresh()
print(future.result(30).text)
client.close()
"""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator in this process."""
    with Emulator(duration=0.0) as running:
        yield running


def run(script: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """What a script prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "GRPC_VERBOSITY": "NONE", **(environment or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("used", ["used", "fresh"])
def test_client_created_before_a_fork_works_in_each_child(service: Any, used: str) -> None:
    reported = run(FORKED, f"127.0.0.1:{service.port}", used, environment={"GRPC_ENABLE_FORK_SUPPORT": "1"})
    assert reported.count("child 1 an answer") == 4, reported
    assert "statuses [0, 0, 0, 0]" in reported
    assert "after 1" in reported


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_listened_before_a_fork_can_be_given_up_in_the_child(service: Any) -> None:
    reported = run(FORKED_LISTENING, f"127.0.0.1:{service.port}", environment={"GRPC_ENABLE_FORK_SUPPORT": "1"})
    assert reported.split("\n")[:2] == ["status 0", "an answer"]


STARTING = """
import os, sys, threading
forking, started = threading.Event(), threading.Event()
from yagrpc._grpc import fork
fork.PATIENCE = 60.0  # a busy machine needs more time for what follows
os.register_at_fork(before=lambda: (forking.set(), seen.append("fork asked")))  # called before those of the package
seen = []

def start_rpcs():
    with fork.NoFork():
        started.set()
        forking.wait()
        for _ in range(100):
            os.sched_yield()  # the fork could go on at any of these
        seen.append("rpc started")

thread = threading.Thread(target=start_rpcs)
thread.start()
started.wait()
pid = os.fork()
if pid == 0:
    with fork.NoFork():  # nothing of the parent's holds it up
        os._exit(len(seen))
thread.join()
print(seen, "the child saw", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

fork.PATIENCE = 0.05
with fork.NoFork():  # an interceptor that forks does not wait for itself
    child = os.fork()
    if child == 0:
        os._exit(0)
    waited = threading.Thread(target=lambda: [fork._before(), fork._after()])
    waited.start()
    waited.join()  # another thread's fork waits no longer than its patience
print("its own", os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_waits_for_an_rpc_that_another_thread_starts() -> None:
    assert run(STARTING).split("\n")[:2] == ["['fork asked', 'rpc started'] the child saw 2", "its own 0"]


HOLDING = """
import os, threading
lock = threading.Lock()  # a library's, which it takes around each fork
os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
from yagrpc._grpc import fork
fork.PATIENCE = 0.05
held = threading.Event()

def start_an_rpc():
    with lock:
        held.set()
        while not fork._forking:
            os.sched_yield()
        with fork.NoFork():
            print("rpc started", flush=True)

thread = threading.Thread(target=start_an_rpc, daemon=True)
thread.start()
held.wait()
pid = os.fork()
if pid == 0:
    os._exit(0)
thread.join()
print("forked", os.waitpid(pid, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_thread_that_starts_an_rpc_while_a_fork_waits_for_its_lock_does_not_wait_for_the_fork() -> None:
    assert run(HOLDING).split("\n")[:2] == ["rpc started", "forked 0"]


class Refusing(grpc.UnaryUnaryClientInterceptor):
    """Ends every rpc before it starts."""

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        raise ValueError("not now")


def test_a_fork_does_not_wait_for_what_follows_an_rpc_that_an_interceptor_ends() -> None:
    starting: list[list[int]] = []

    class Seen(yagrpc.Events):
        def polled(self, operation_id: str, outcome: Any) -> None:
            starting.append(list(fork._starting))

    settings = {**SETTINGS, "endpoint": "127.0.0.1:1", "interceptors": [Refusing()], "events": Seen()}
    with yagrpc.Client(**settings) as client, pytest.raises(yagrpc.OperationError, match="not now"):
        client.operation("op1").result()
    assert starting == [[]]


def test_an_rpc_starts_after_a_fork_of_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork, "PATIENCE", 60.0)
    seen: list[str] = []
    at_the_fork = threading.Event()

    def start_an_rpc() -> None:
        at_the_fork.set()
        with fork.NoFork():
            seen.append("rpc started")

    fork._before()
    thread = threading.Thread(target=start_an_rpc)
    thread.start()
    at_the_fork.wait()
    for _ in range(100):
        os.sched_yield()
    seen.append("forked")
    fork._after()
    thread.join()
    assert seen == ["forked", "rpc started"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_in_which_grpc_cannot_work_says_so_at_its_first_call(service: Any) -> None:
    reported = run(FORKED, f"127.0.0.1:{service.port}", "used", environment={"GRPC_ENABLE_FORK_SUPPORT": "0"})
    assert reported.count("this process was forked while gRPC's support for that is turned off") == 4, reported
    assert "after 1" in reported


FORKED_ASYNCIO = """
import asyncio, os, signal, sys, yagrpc
settings = {"endpoint": sys.argv[1], "folder_id": "f", "credentials": yagrpc.NoCredentials(), "plaintext": True}
client, other = yagrpc.AsyncClient(**settings), yagrpc.AsyncClient(**settings)
blocking = yagrpc.Client(**settings)

async def use(used):
    return len(await used.tokenize("a", timeout=20))

async def use_and_close():
    async with other:
        return await use(other)

before, after = sys.argv[2].split("-")
if before == "used":
    print("before", asyncio.run(use(client)), flush=True)
elif before == "closed":
    print("before", asyncio.run(use_and_close()), flush=True)
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    try:
        if after == "blocking":
            print("child", len(yagrpc.Client(**settings).tokenize("a", timeout=20)), flush=True)
            print("child", len(blocking.tokenize("a", timeout=20)), flush=True)
        else:
            print("child", asyncio.run(use(yagrpc.AsyncClient(**settings) if after == "new" else client)), flush=True)
    except yagrpc.ConfigError as error:
        print("child says", error, flush=True)
    os._exit(0)
print("status", os.waitpid(pid, 0)[1], flush=True)
print("after", asyncio.run(use(client)), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("when", ["fresh-same", "closed-same", "closed-new", "used-blocking"])
def test_a_client_can_be_used_after_a_fork(service: Any, when: str) -> None:
    reported = run(FORKED_ASYNCIO, f"127.0.0.1:{service.port}", when, environment={"GRPC_ENABLE_FORK_SUPPORT": "1"})
    lines = reported.splitlines()
    assert lines[-2:] == ["status 0", "after 1"], reported
    assert "child 1" in lines, reported


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("when", ["used-same", "used-new"])
def test_an_asyncio_client_after_a_fork_from_one_in_use_says_what_to_do(service: Any, when: str) -> None:
    reported = run(FORKED_ASYNCIO, f"127.0.0.1:{service.port}", when, environment={"GRPC_ENABLE_FORK_SUPPORT": "1"})
    assert "child says this process was forked while an AsyncClient was in use" in reported
    assert reported.splitlines()[-2:] == ["status 0", "after 1"], reported


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_client_that_is_new_in_a_child_in_which_grpc_cannot_work_says_so(service: Any) -> None:
    environment = {"GRPC_ENABLE_FORK_SUPPORT": "0"}
    reported = run(FORKED_ASYNCIO, f"127.0.0.1:{service.port}", "used-blocking", environment=environment)
    assert "child says this process was forked while gRPC's support for that is turned off" in reported
    assert "status 0" in reported


PATCHED = """
import sys, types
gevent = types.ModuleType("gevent.monkey")  # the part of gevent that is asked
gevent.is_module_patched = lambda name: name == sys.argv[1]
sys.modules["gevent.monkey"] = gevent
import yagrpc
for kind in (yagrpc.AsyncClient, yagrpc.Client):
    try:
        kind(folder_id="f", credentials=yagrpc.NoCredentials())
        print("created")
    except yagrpc.ConfigError as error:
        print(error)
"""


def test_only_patched_threads_are_refused() -> None:
    asynchronous, blocking = run(PATCHED, "threading").splitlines()
    assert "use Client" in asynchronous
    assert "init_gevent()" in blocking
    assert run(PATCHED, "socket") == "created\ncreated\n"


INTERRUPTED = """
import logging, sys, yagrpc
client = yagrpc.Client(endpoint=sys.argv[1], folder_id="f", credentials=yagrpc.NoCredentials(), plaintext=True)
operation = client.operation("op1")
print("waiting", flush=True)
operation.result()
"""


def test_an_interrupt_ends_a_wait_at_once_with_the_id(service: Any) -> None:
    from tests.faults.conftest import hang

    service.fault = hang
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, f"127.0.0.1:{service.port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    assert service.asked.wait(30)  # the wait has started
    process.send_signal(signal.SIGINT)
    _, reported = process.communicate(timeout=30)
    assert "KeyboardInterrupt: while waiting for operation op1, which is still running" in reported


LOOPS_END = """
import asyncio, logging, sys, yagrpc
logging.basicConfig(stream=sys.stdout)
settings = {"endpoint": sys.argv[1], "folder_id": "f", "credentials": yagrpc.NoCredentials(), "plaintext": True}

async def read(stream):
    async for chunk in stream:
        pass

async def main(way):
    async with yagrpc.AsyncClient(**settings) as client:
        streams = [client.completion_stream("many words " * 20) for _ in range(8)]
        if way == "tasks":
            for task in [asyncio.ensure_future(read(stream)) for stream in streams]:
                await asyncio.sleep(0)
                task.cancel()
            return
        for stream in streams:
            await anext(stream)
        if way == "streams closed":
            for stream in streams:
                await stream.close()
        elif way == "streams dropped":
            del stream, streams

for number in range(15):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main(sys.argv[2]))
    loop.close()
    asyncio.run(main(sys.argv[2]))
print("over")
"""


NO_CANCELLING = "a task does not show that it is being cancelled, and gets the error of a closed client"


@pytest.mark.parametrize(
    "way",
    [
        "client closed",
        "streams closed",
        "streams dropped",
        pytest.param("tasks", marks=pytest.mark.skipif(sys.version_info < (3, 11), reason=NO_CANCELLING)),
    ],
)
def test_an_event_loop_that_ends_amid_cancelled_streams_says_nothing(emulator: Emulator, way: str) -> None:
    """What gRPC learns of an rpc after its loop has ended, it logs in the next loop."""
    assert run(LOOPS_END, emulator.address, way) == "over\n"


LAST = """
import asyncio, sys, yagrpc
settings = {"endpoint": sys.argv[1], "plaintext": True, "folder_id": "f", "credentials": yagrpc.NoCredentials()}

class Hook:
    def __init__(self, kept):
        self.kept = kept
    def __call__(self, *raised):
        pass

def client():
    client = yagrpc.Client(**settings)
    client.tokenize("a")
    return client

async def async_client():
    client = yagrpc.AsyncClient(**settings)
    await client.tokenize("a")
    return client

async def async_stream():
    client = await async_client()
    stream = client.completion_stream("many words")
    await anext(stream)
    return client, stream

kept = globals()[sys.argv[2]]
sys.excepthook = Hook(asyncio.run(kept()) if "async" in sys.argv[2] else kept())
del kept
"""


@pytest.mark.parametrize("kept", ["client", "async_client", "async_stream"])
def test_what_outlives_the_modules_says_nothing(emulator: Emulator, kept: str) -> None:
    """The hook is among what the interpreter clears last: by then modules have lost their names.

    A blocking stream is left out: what gRPC's own destructor says of it can't be helped.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LAST, emulator.address, kept],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
    )
    assert (done.returncode, done.stderr) == (0, "")


ENDING = """
import sys, threading, yagrpc
client = yagrpc.Client(endpoint=sys.argv[1], folder_id="f", credentials=yagrpc.NoCredentials(), plaintext=True)
client.tokenize("a")
operation = client.operation("op1")
operation.add_done_callback(print)
threading.Thread(target=operation.result, daemon=True).start()
print("over")
"""


def test_the_interpreter_ends_with_waits_outstanding(service: Any) -> None:
    from tests.faults.conftest import hang

    service.fault = lambda running, context, body: hang(running, context, body) if body else body
    assert "over" in run(ENDING.replace('client.tokenize("a")', ""), f"127.0.0.1:{service.port}")


DAEMON = """
import logging, sys, threading, yagrpc
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
client = yagrpc.Client(endpoint=sys.argv[1], folder_id="f", credentials=yagrpc.NoCredentials(), plaintext=True)
threading.Thread(target=client.completion_async, args=("x",), kwargs={"request_id": "mine"}, daemon=True).start()
sys.stdin.readline()
"""


@pytest.mark.parametrize("attempt", range(3))
def test_a_submit_of_a_thread_that_ends_with_the_process_is_reported(attempt: int) -> None:
    """The thread never runs again, so that the process says what has become of the submit."""
    submit = methods.TextGenerationAsyncService.Completion.path
    with Emulator(faults=[Fault(Delay(600), method=submit)]) as emulator:
        program = subprocess.Popen(
            [sys.executable, "-c", DAEMON, emulator.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in iter(lambda: emulator.calls[submit], 1):
            assert program.poll() is None
        said, problems = program.communicate("\n", timeout=60)
    assert (program.returncode, said) == (0, "")
    (line,) = [line for line in problems.splitlines() if line.startswith("WARNING yagrpc.operations")]
    assert "mine" in line


def test_an_asyncio_client_follows_into_another_loop(service: Any) -> None:
    client = yagrpc.AsyncClient(endpoint=f"127.0.0.1:{service.port}", **SETTINGS)

    async def used() -> str:
        assert len(await client.tokenize("a")) == 1
        return (await client.operation("op1").result(timeout=10)).text

    assert [asyncio.run(used()) for _ in range(3)] == ["an answer"] * 3

    async def closed() -> None:
        await client.close()
        await client.close()

    asyncio.run(closed())


def test_an_asyncio_client_in_use_elsewhere_says_so(service: Any) -> None:
    client = yagrpc.AsyncClient(endpoint=f"127.0.0.1:{service.port}", **SETTINGS)

    async def used() -> None:
        await client.tokenize("a")
        with pytest.raises(yagrpc.ConfigError, match="make one for each loop"):
            await asyncio.to_thread(lambda: asyncio.run(client.tokenize("a")))
        await client.close()

    asyncio.run(used())


def test_cancelling_a_task_cancels_its_rpc_and_only_that(service: Any) -> None:
    from tests.faults.conftest import hang

    service.fault = hang

    async def used() -> None:
        async with yagrpc.AsyncClient(endpoint=f"127.0.0.1:{service.port}", **SETTINGS) as client:
            first = asyncio.create_task(client.completion("a"))
            await asyncio.to_thread(service.asked.wait, 30)
            others = [asyncio.create_task(client.completion("a")) for _ in range(3)]
            first.cancel()
            assert [(await other).text for other in others] == ["an answer"] * 3
            with pytest.raises(asyncio.CancelledError):
                await first

    asyncio.run(used())


def test_many_threads_share_a_client(service: Any) -> None:
    texts: list[str] = []
    with yagrpc.Client(endpoint=f"127.0.0.1:{service.port}", **SETTINGS) as client:

        def work() -> None:
            for _ in range(10):
                texts.append(client.completion("a").text + client.operation("op1").result(timeout=30).text)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == ["an answeran answer"] * 80


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_client_left_open_is_reported(service: Any, kind: str) -> None:
    address = f"127.0.0.1:{service.port}"
    with warnings.catch_warnings(record=True) as reported:
        warnings.simplefilter("always")
        if kind == "sync":
            yagrpc.Client(endpoint=address, **SETTINGS).tokenize("a")
        else:
            asyncio.run(_used_and_left(address))
        gc.collect()
    assert [str(warning.message)[:9] for warning in reported if warning.category is ResourceWarning] == ["unclosed "]


async def _used_and_left(address: str) -> None:
    await yagrpc.AsyncClient(endpoint=address, **SETTINGS).tokenize("a")


def test_a_client_that_opened_nothing_needs_no_closing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yagrpc.Client(endpoint="127.0.0.1:1", **SETTINGS)
        yagrpc.AsyncClient(endpoint="127.0.0.1:1", **SETTINGS)
        gc.collect()


@pytest.mark.parametrize("clients", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_clients_leave_nothing_behind(service: Any, clients: int) -> None:
    address = f"127.0.0.1:{service.port}"

    def use(count: int) -> tuple[int, int, int]:
        for _ in range(count):
            with yagrpc.Client(endpoint=address, **SETTINGS) as client:
                client.tokenize("a")
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count(), _memory()

    use(20)  # what is created once
    files, threads, memory = use(20)
    files_after, threads_after, memory_after = use(clients)
    assert files_after <= files + 10
    assert threads_after <= threads + 5
    assert memory_after - memory <= 20_000 + 2 * clients, "KiB"


def _memory() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

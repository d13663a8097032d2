"""Shared quotas in forked processes: each child counts for itself, in the same place as all others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stores import RedisServer
from yagrpc.emulator import Emulator

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

COMMON = """
import os, signal, sys, yagrpc
kind, used, share, address = sys.argv[1:]
settings = {"endpoint": address, "plaintext": True, "credentials": yagrpc.NoCredentials()}
limits = yagrpc.Limits("f", share=share) if kind == "Limits" else yagrpc.Client(folder_id="f", share=share, **settings)

def submit():
    if kind == "Limits":
        with limits.acquire("submit", timeout=20):
            pass
    else:
        limits.completion_async("a", timeout=20)

def counted():
    return sorted(row.slots for row in yagrpc.quota_use("f", share=share) if row.quota == "submit_per_hour")
"""

CHILDREN = f"""{COMMON}
if used == "used":
    submit()
(said, says), (closed, closes), (over, ends) = os.pipe(), os.pipe(), os.pipe()
for number in range(2):
    if os.fork() == 0:
        signal.alarm(60)
        submit()
        os.write(says, b"1")
        os.read(closed, 1)
        for _ in range(number + 1):
            submit()
        os.write(says, b"2")
        os.read(over, 1)  # a process that ends takes part no longer, and its label remains
        os._exit(0)
for _ in range(2):
    assert os.read(said, 1) == b"1"
limits.close()
os.write(closes, b"..")
for _ in range(2):
    assert os.read(said, 1) == b"2"
print(counted())
os.write(ends, b"..")
for _ in range(2):
    os.wait()
"""

IN_A_STEP = f"""{COMMON}
import threading, time, grpc
from yagrpc._grpc import fork
from yagrpc.limiter.agent import _Worker
from yagrpc.limiter.sqlite import SqliteStore
fork.PATIENCE = 60.0  # a busy machine needs more time for what follows
grpc.insecure_channel("127.0.0.1:1").close()  # it imports: a fork amid that would leave Python's lock held in the child
in_step, forking, forked = threading.Event(), threading.Event(), []  # no lock of forked's is held in the child
note = lambda: forked.append(True)
os.register_at_fork(before=forking.set, after_in_parent=note, after_in_child=note)
now, warn = SqliteStore._now, _Worker._warn_of_smaller

def waiting(self, cursor):  # in the middle of a transaction
    if threading.current_thread().name == "yagrpc-limiter" and not in_step.is_set():
        in_step.set()
        forking.wait()
        for _ in range(100):
            os.sched_yield()  # the fork could go on at any of these
    return now(self, cursor)

def after_the_fork(self, limits):  # what follows the step connects, which gRPC does not bear amid a fork
    while not forked:
        time.sleep(0.001)
    warn(self, limits)

SqliteStore._now, _Worker._warn_of_smaller = waiting, after_the_fork
thread = threading.Thread(target=submit)
thread.start()
in_step.wait()
if os.fork() == 0:
    signal.alarm(60)
    submit()
    os._exit(0)
status = os.wait()[1]
thread.join()
print(status, counted())
"""


CLOSED = f"""{COMMON}
operation = limits.completion_async("a", timeout=20)
limits.close()
if os.fork() == 0:
    signal.alarm(60)
    for wait in (operation.result, operation.refresh, operation.future, lambda: limits.tokenize("a")):
        try:
            wait()
        except yagrpc.ClientClosedError:
            os.write(1, b"closed ")
    os._exit(0)
os.wait()
"""


def run(script: str, *arguments: str) -> str:
    """What a script prints, in a process of its own, which complains of nothing."""
    environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=90, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize("place", ["sqlite", "redis"])
@pytest.mark.parametrize("used", ["used", "fresh"])
@pytest.mark.parametrize("kind", ["Limits", "Client"])
def test_each_child_counts_for_itself_also_after_its_parent_has_closed(
    kind: str, used: str, place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    share = str(tmp_path / "l")
    if place == "redis":
        server: RedisServer = request.getfixturevalue("own_redis_server")
        share = server.url
    with Emulator() as emulator:
        assert run(CHILDREN, kind, used, share, emulator.address) == ("[1, 2, 3]" if used == "used" else "[2, 3]")


@pytest.mark.parametrize("kind", ["Limits", "Client"])
def test_a_fork_waits_for_a_step_of_the_store(kind: str, tmp_path: Path) -> None:
    with Emulator() as emulator:
        assert run(IN_A_STEP, kind, "fresh", str(tmp_path / "l"), emulator.address) == "0 [1, 1]"


def test_a_client_that_was_closed_before_a_fork_is_closed_in_the_child(tmp_path: Path) -> None:
    with Emulator() as emulator:
        assert run(CLOSED, "Client", "used", str(tmp_path / "l"), emulator.address) == "closed closed closed closed"

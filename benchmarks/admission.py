"""`make bench`: the time of one slot under a quota, counted in memory, in a SQLite file and in Redis.

A slot is acquired and given back by `Limits`, as a call of a client does it: with the agent's thread in between. The
quota is large, so that there is always a slot. Without `redis-server` the row of Redis is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import yagrpc
from yagrpc._core.quota.gates import Gate
from yagrpc._core.quota.windows import Rule

TARGET = 1.0
"""Milliseconds of a median, on loopback."""

QUOTA = yagrpc.Quota(submit_per_second=1e6, submit_per_hour=1e9)


def shared(share: str, slots: int) -> list[float]:
    """Milliseconds of each slot that a store grants."""
    taken = []
    with yagrpc.Limits("folder", quota=QUOTA, share=share) as limits:
        for _ in range(slots):
            start = time.perf_counter()
            slot = limits.acquire("submit")
            slot.__enter__()
            taken.append((time.perf_counter() - start) * 1000)
            slot.__exit__(None, None, None)
    return taken


def in_memory(slots: int) -> list[float]:
    """Milliseconds of each slot of a client that shares nothing."""
    gate = Gate(Rule("submit_per_second", 1e6, 1.0).local(), make_lock=threading.RLock)
    taken = []
    for _ in range(slots):
        start = time.perf_counter()
        slot = gate.join()
        gate.take(slot, time.monotonic())
        gate.sent(slot, time.monotonic())
        taken.append((time.perf_counter() - start) * 1000)
        gate.answered(slot, time.monotonic())
        gate.give_back(slot)
    return taken


@contextlib.contextmanager
def redis_server() -> Iterator[str | None]:
    """A Redis server on loopback, and its URL; `None` where it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            next(line for line in server.stdout if "Ready to accept connections" in line)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


def main() -> int:
    """Measure and print; the exit code says whether the target is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=2000, help="slots of each row")
    slots = parser.parse_args().slots
    rows = {"in memory": in_memory(slots)}
    with tempfile.TemporaryDirectory() as folder:
        rows["SQLite"] = shared(str(Path(folder) / "limits"), slots)
    with redis_server() as url:
        if url is not None:
            rows["Redis"] = shared(url, slots)
    print(f"\nOne slot under a quota, {slots} slots\n")
    print("| counted | median ms | p95 ms | target |\n| --- | ---: | ---: | --- |")
    fine = True
    for name, taken in rows.items():
        median, p95 = statistics.median(taken), statistics.quantiles(taken, n=20)[-1]
        fine = fine and median <= TARGET
        print(f"| {name} | {median:.3f} | {p95:.3f} | <= {TARGET:g} {'pass' if median <= TARGET else 'FAIL'} |")
    if "Redis" not in rows:
        print("\nredis-server is not installed: no row for Redis")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())

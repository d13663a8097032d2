"""`make bench`: the emulator against a bare grpc.aio server with the same stubs, and the memory of pending operations.

Both servers are separate processes. One client calls them by turns. If the emulator were much slower than gRPC itself,
a benchmark of a client would measure the emulator.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio

from yagrpc import _pb

OPERATIONS = 20_000
MEBIBYTES = 100
SHARE = 0.8
IN_FLIGHT = 64

_EMULATOR = """
from yagrpc.emulator import EmulatorOptions, run
run(EmulatorOptions(duration=float("inf")), on_ready=lambda server: print(server.address, flush=True))
"""
_BARE = """
import asyncio, grpc.aio
from yagrpc import _pb

class Servicer(_pb.operation_service_pb2_grpc.OperationServiceServicer):
    async def Get(self, request, context):
        time = _pb.timestamp_pb2.Timestamp(seconds=1700000000)
        return _pb.operation_pb2.Operation(
            id=request.operation_id, description="Async GPT Completion", created_at=time, created_by="somebody",
            modified_at=time,
        )

async def main():
    server = grpc.aio.server()
    _pb.operation_service_pb2_grpc.add_OperationServiceServicer_to_server(Servicer(), server)
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    await server.start()
    await server.wait_for_termination()

asyncio.run(main())
"""


class Server:
    """A server in a separate process."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen([sys.executable, "-I", "-c", program], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()

    def mebibytes(self) -> float:
        """The memory in use, in MiB; NaN where the system does not show it."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text("utf-8")
        except OSError:
            return float("nan")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu(self) -> float:
        """The CPU time used, in seconds; NaN where the system does not show it."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        except OSError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.communicate()


async def _at_once(calls: int, one: Callable[[int], Awaitable[object]]) -> float:
    """Send the calls, `IN_FLIGHT` at a time; gives the calls per second."""

    async def worker(first: int) -> None:
        for number in range(first, calls, IN_FLIGHT):
            await one(number)

    start = time.perf_counter()
    await asyncio.gather(*(worker(first) for first in range(IN_FLIGHT)))
    return calls / (time.perf_counter() - start)


async def _submit(channel: grpc.aio.Channel, count: int) -> list[str]:
    stub = _pb.text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub(channel)
    ids: list[str] = []

    async def one(number: int) -> None:
        message = _pb.text_common_pb2.Message(role="user", text=f"Question {number}: what is the answer to it?")
        request = _pb.text_generation_service_pb2.CompletionRequest(
            model_uri="gpt://b1gfolder/yandexgpt/latest", messages=[message]
        )
        ids.append((await stub.Completion(request)).id)

    await _at_once(count, one)
    return ids


async def measure(emulator: Server, bare: Server, calls: int, rounds: int) -> bool:
    """Measure and print; gives whether the targets are met."""
    async with (
        grpc.aio.insecure_channel(emulator.address) as ours,
        grpc.aio.insecure_channel(bare.address) as theirs,
    ):
        before = emulator.mebibytes()
        ids = await _submit(ours, OPERATIONS)
        after = emulator.mebibytes()
        stubs = [_pb.operation_service_pb2_grpc.OperationServiceStub(channel) for channel in (theirs, ours)]
        servers = (bare, emulator)
        rates: list[list[float]] = [[], []]
        spent = [0.0, 0.0]
        for number in range(rounds + 2):
            for which, stub in enumerate(stubs):

                async def one(number: int, stub: Any = stub) -> None:
                    await stub.Get(_pb.operation_service_pb2.GetOperationRequest(operation_id=ids[number % OPERATIONS]))

                start = servers[which].cpu()
                rate = await _at_once(calls, one)
                if number >= 2:  # the first rounds warm up
                    rates[which].append(rate)
                    spent[which] += servers[which].cpu() - start
    share = statistics.median(mine / other for other, mine in zip(*rates, strict=True))
    costs = [seconds / rounds / calls * 1e6 for seconds in spent]
    fast, light = share >= SHARE, not after > MEBIBYTES
    print(f"\nThe emulator, {OPERATIONS} operations pending, {IN_FLIGHT} Gets in flight\n")
    print("| what | median | ratio | target |\n| --- | ---: | ---: | --- |")
    print(f"| Gets per second, bare grpc.aio server | {statistics.median(rates[0]):.0f} | 1.000 | |")
    verdict = f">= {SHARE:.2f} {'pass' if fast else 'FAIL'}"
    print(f"| Gets per second, emulator | {statistics.median(rates[1]):.0f} | {share:.3f} | {verdict} |")
    print(f"| CPU of the server for a Get, µs, bare grpc.aio server | {costs[0]:.0f} | 1.000 | |")
    print(f"| CPU of the server for a Get, µs, emulator | {costs[1]:.0f} | {costs[1] / costs[0]:.3f} | |")
    verdict = f"<= {MEBIBYTES} {'pass' if light else 'FAIL'}"
    print(f"| MiB in use, none pending | {before:.1f} | | |")
    print(f"| MiB in use, all pending | {after:.1f} | | {verdict} |")
    return fast and light


def main() -> int:
    """Measure and print; the exit code says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer calls and rounds")
    quick = parser.parse_args().quick
    servers = [Server(_EMULATOR), Server(_BARE)]
    try:
        fine = asyncio.run(measure(servers[0], servers[1], calls=640, rounds=15 if quick else 60))
    finally:
        for server in servers:
            server.end()
    return 0 if fine or quick else 1


if __name__ == "__main__":
    sys.exit(main())

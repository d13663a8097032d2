"""`make bench`: the emulator against a bare grpc.aio server with the same stubs, and what pending operations weigh.

Both servers are processes of their own, asked by one client, by turns. An emulator that is much slower than gRPC itself
would be what a benchmark of a client measures.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc.aio

from yagrpc import _pb

OPERATIONS = 20_000
MEBIBYTES = 100
SHARE = 0.8
IN_FLIGHT = 64

_EMULATOR = """
from yagrpc.emulator import EmulatorOptions, run
run(EmulatorOptions(duration=float("inf")), on_ready=lambda address: print(address, flush=True))
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
    """A server in a process of its own."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen([sys.executable, "-I", "-c", program], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()

    def mebibytes(self) -> float:
        """The memory that it has in use, or NaN where the system does not tell."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text("utf-8")
        except OSError:
            return float("nan")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def end(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate()


async def _at_once(calls: int, one: Callable[[int], Awaitable[object]]) -> float:
    """Make so many calls, some in flight; gives how many went in a second."""

    async def worker(first: int) -> None:
        for number in range(first, calls, IN_FLIGHT):
            await one(number)

    begun = time.perf_counter()
    await asyncio.gather(*(worker(first) for first in range(IN_FLIGHT)))
    return calls / (time.perf_counter() - begun)


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
    """Measure and print; whether the targets are met."""
    async with (
        grpc.aio.insecure_channel(emulator.address) as ours,
        grpc.aio.insecure_channel(bare.address) as theirs,
    ):
        before = emulator.mebibytes()
        ids = await _submit(ours, OPERATIONS)
        after = emulator.mebibytes()
        stubs = [_pb.operation_service_pb2_grpc.OperationServiceStub(channel) for channel in (theirs, ours)]
        rates: list[list[float]] = [[], []]
        for number in range(rounds + 1):
            for stub, measured in zip(stubs, rates, strict=True):

                async def one(number: int, stub: object = stub) -> None:
                    request = _pb.operation_service_pb2.GetOperationRequest(operation_id=ids[number % OPERATIONS])
                    await stub.Get(request)  # type: ignore[attr-defined]

                rate = await _at_once(calls, one)
                if number:  # the first round warms up
                    measured.append(rate)
    share = statistics.median(mine / other for other, mine in zip(*rates, strict=True))
    fast, light = share >= SHARE, not after > MEBIBYTES
    print(f"\nThe emulator, {OPERATIONS} operations pending, {IN_FLIGHT} Gets in flight\n")
    print("| what | median | ratio | target |\n| --- | ---: | ---: | --- |")
    print(f"| Gets per second, bare grpc.aio server | {statistics.median(rates[0]):.0f} | 1.000 | |")
    verdict = f">= {SHARE:.2f} {'pass' if fast else 'FAIL'}"
    print(f"| Gets per second, emulator | {statistics.median(rates[1]):.0f} | {share:.3f} | {verdict} |")
    verdict = f"<= {MEBIBYTES} {'pass' if light else 'FAIL'}"
    print(f"| MiB in use, none pending | {before:.1f} | | |")
    print(f"| MiB in use, all pending | {after:.1f} | | {verdict} |")
    return fast and light


def main() -> int:
    """Measure and print; the exit code tells whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer calls and rounds")
    quick = parser.parse_args().quick
    servers = [Server(_EMULATOR), Server(_BARE)]
    try:
        fine = asyncio.run(measure(servers[0], servers[1], calls=1000 if quick else 4000, rounds=7 if quick else 15))
    finally:
        for server in servers:
            server.end()
    return 0 if fine or quick else 1


if __name__ == "__main__":
    sys.exit(main())

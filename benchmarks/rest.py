"""`make bench`: what a call costs the emulator over REST and over gRPC, and what REST costs the gRPC beside it.

The emulator is a process of its own; its CPU time is read from the system before and after. The same Get is sent over
both halves by turns, each over one connection. Then clients with many keep-alive connections ask over REST, while the
latency of gRPC is measured again, and the memory of the emulator is read before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import grpc.aio
import httpx

from yagrpc import _pb

CALLS = 2000
CONNECTIONS = 64
TIMES = 3.0
"""What a call over REST may cost, in calls over gRPC."""

_EMULATOR = """
from yagrpc.emulator import EmulatorOptions, run
options = EmulatorOptions(duration=float("inf"), rest=True)
run(options, on_ready=lambda server: print(server.address, server.rest_address, flush=True))
"""

_TICKS = os.sysconf("SC_CLK_TCK")

Get = _pb.operation_service_pb2.GetOperationRequest


class Emulator:
    """An emulator in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-I", "-c", _EMULATOR], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address, self.rest_address = self._process.stdout.readline().split()

    def cpu(self) -> float:
        """CPU time that it has used, in seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def mebibytes(self) -> float:
        """Memory that it has, in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text("utf-8")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


async def _over_grpc(stub: _pb.operation_service_pb2_grpc.OperationServiceAsyncStub, name: str, calls: int) -> float:
    """The median latency, in seconds."""
    taken = []
    for _ in range(calls):
        started = time.perf_counter()
        await stub.Get(Get(operation_id=name))
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


async def _over_rest(client: httpx.AsyncClient, name: str, calls: int) -> None:
    for _ in range(calls):
        (await client.get(f"/operations/{name}")).raise_for_status()


async def _load(address: str, name: str, until: float) -> int:
    """Ask over REST, on many connections, until a time; returns how many answers there were."""

    async def one() -> int:
        answers = 0
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, verify=False, timeout=60) as client:
            while time.monotonic() < until:
                (await client.get(f"/operations/{name}")).raise_for_status()
                answers += 1
                await asyncio.sleep(1)
        return answers

    return sum(await asyncio.gather(*(one() for _ in range(CONNECTIONS))))


async def measure(*, rounds: int, seconds: float) -> bool:
    """Print the figures; returns whether they are within their bounds."""
    emulator = Emulator()
    try:
        async with (
            grpc.aio.insecure_channel(emulator.address) as channel,
            httpx.AsyncClient(base_url=f"http://{emulator.rest_address}", trust_env=False, timeout=60) as client,
        ):
            submit = _pb.text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub(channel)
            request = _pb.text_generation_service_pb2.CompletionRequest(model_uri="gpt://demo/yandexgpt")
            request.messages.add(role="user", text="ping")
            operation = await submit.Completion(request)
            name, stub = operation.id, _pb.operation_service_pb2_grpc.OperationServiceStub(channel)
            await _over_grpc(stub, name, 200)
            await _over_rest(client, name, 200)
            costs: dict[str, list[float]] = {"gRPC": [], "REST": []}
            for _ in range(rounds):
                before = emulator.cpu()
                await _over_grpc(stub, name, CALLS)
                between = emulator.cpu()
                await _over_rest(client, name, CALLS)
                costs["gRPC"].append((between - before) / CALLS)
                costs["REST"].append((emulator.cpu() - between) / CALLS)
            medians = {half: statistics.median(found) * 1e6 for half, found in costs.items()}
            ratio = medians["REST"] / medians["gRPC"]
            print(f"CPU of the emulator for a Get: gRPC {medians['gRPC']:.0f} us, REST {medians['REST']:.0f} us")
            print(f"ratio {ratio:.2f}, at most {TIMES:g}")

            alone = await _over_grpc(stub, name, CALLS)
            first = emulator.mebibytes()
            load = asyncio.ensure_future(_load(emulator.rest_address, name, time.monotonic() + seconds))
            beside = []
            while not load.done():
                beside.append(await _over_grpc(stub, name, 200))
            last = emulator.mebibytes()
            print(
                f"{CONNECTIONS} keep-alive connections for {seconds:g} s: {await load} answers, memory {first:.0f} -> "
                f"{last:.0f} MiB; median latency of gRPC {alone * 1e6:.0f} us alone, "
                f"{statistics.median(beside) * 1e6:.0f} us beside it"
            )
            return ratio <= TIMES
    finally:
        emulator.stop()


def main() -> None:
    """Measure, and exit with 1 if a call over REST costs too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    quick = parser.parse_args().quick
    within = asyncio.run(measure(rounds=1 if quick else 5, seconds=5 if quick else 60))
    sys.exit(0 if within else 1)


if __name__ == "__main__":
    main()

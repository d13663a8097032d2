"""`make bench`: CPU of one call, against the bare stub, in one run.

The bare stub gets the same request, timeout and metadata. The server is a process of its own, so that only the
client's CPU is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

import yagrpc
from table import by_turns, show
from yagrpc import _pb, methods

_SERVER = "from yagrpc.emulator import run; run(on_ready=lambda address: print(address, flush=True))"
METADATA = (("x-client-request-id", str(uuid.uuid4())), ("authorization", "Api-Key AQVN-benchmark"))
BARE, FRESH, TYPED = "bare stub", "bare stub, metadata made for each call", "yagrpc"


def _request() -> _pb.text_generation_service_pb2.TokenizeRequest:
    return _pb.text_generation_service_pb2.TokenizeRequest(model_uri="gpt://f/yandexgpt/latest", text="hello")


def _fresh_metadata() -> tuple[tuple[str, str], ...]:
    return (("x-client-request-id", str(uuid.uuid4())), METADATA[1])


def _settings(address: str) -> dict[str, Any]:
    return {"folder_id": "f", "credentials": "AQVN-benchmark", "endpoint": address, "plaintext": True}


def _cpu(calls: int, body: Callable[[], object]) -> float:
    start = time.process_time()
    body()
    return (time.process_time() - start) / calls * 1e6


def blocking(address: str, calls: int, rounds: int) -> bool:
    """The blocking client, one call after the other."""
    with grpc.insecure_channel(address) as channel, yagrpc.Client(**_settings(address)) as client:
        stub = _pb.text_generation_service_pb2_grpc.TokenizerServiceStub(channel)
        request = _request()

        def bare() -> None:
            for _ in range(calls):
                stub.Tokenize(request, timeout=60.0, metadata=METADATA)

        def fresh() -> None:
            for _ in range(calls):
                stub.Tokenize(request, timeout=60.0, metadata=_fresh_metadata())

        def typed() -> None:
            for _ in range(calls):
                client.call(methods.TokenizerService.Tokenize, request)

        bodies = {BARE: bare, FRESH: fresh, TYPED: typed}
        contestants = {name: lambda body=body: _cpu(calls, body) for name, body in bodies.items()}
        by_turns(contestants, 2)
        return show("CPU per call, blocking", "µs", by_turns(contestants, rounds), {TYPED: 1.05})


async def asynchronous(address: str, calls: int, rounds: int, in_flight: int) -> bool:
    """The asyncio client, so many calls in flight."""
    async with grpc.aio.insecure_channel(address) as channel, yagrpc.AsyncClient(**_settings(address)) as client:
        stub = _pb.text_generation_service_pb2_grpc.TokenizerServiceStub(channel)
        request = _request()

        async def bare() -> None:
            await stub.Tokenize(request, timeout=60.0, metadata=METADATA)

        async def fresh() -> None:
            await stub.Tokenize(request, timeout=60.0, metadata=_fresh_metadata())

        async def typed() -> None:
            await client.call(methods.TokenizerService.Tokenize, request)

        async def measure(one: Callable[[], Any]) -> float:
            async def worker() -> None:
                for _ in range(calls // in_flight):
                    await one()

            start = time.process_time()
            await asyncio.gather(*(worker() for _ in range(in_flight)))
            return (time.process_time() - start) / (calls // in_flight * in_flight) * 1e6

        bodies = {BARE: bare, FRESH: fresh, TYPED: typed}
        measured: dict[str, list[float]] = {name: [] for name in bodies}
        for number in range(rounds + 2):
            for name, body in bodies.items():
                taken = await measure(body)
                if number >= 2:
                    measured[name].append(taken)
        return show(f"CPU per call, asyncio, {in_flight} in flight", "µs", measured, {TYPED: 1.05})


def main() -> int:
    """Measure and print; the exit code tells whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer calls and rounds")
    quick = parser.parse_args().quick
    calls, rounds = (300, 9) if quick else (1000, 25)
    with subprocess.Popen([sys.executable, "-I", "-c", _SERVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            outcomes = [
                blocking(address, calls, rounds),
                asyncio.run(asynchronous(address, calls, rounds, 1)),
                asyncio.run(asynchronous(address, calls, rounds, 64)),
            ]
        finally:
            server.terminate()
    return 0 if all(outcomes) or quick else 1


if __name__ == "__main__":
    sys.exit(main())

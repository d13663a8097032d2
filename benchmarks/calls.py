"""`make bench`: CPU of one call, against the bare stub, in one run.

The bare stub gets the same request and timeout as the client, and metadata with a new id for each call, as the client
sends them. These metadata are created before the measurement; two further rows show what it costs to create them, and
to send them. The server is a separate process, so that only the client's CPU is counted. The client's quotas are off.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio

import yagrpc
from table import by_turns, show
from yagrpc import _pb, methods

_SERVER = "from yagrpc.emulator import run; run(on_ready=lambda server: print(server.address, flush=True))"
_AUTHORIZATION = ("authorization", "Api-Key AQVN-benchmark")
SAME, NONE, FRESH, TYPED = (
    "bare stub, the same metadata",
    "bare stub, no metadata",
    "bare stub, new metadata for each call",
    "yagrpc",
)
TARGETS = {TYPED: 1.05}
WARM_UP = 3

Metadata = tuple[tuple[str, str], ...]


def _request() -> _pb.text_generation_service_pb2.TokenizeRequest:
    return _pb.text_generation_service_pb2.TokenizeRequest(model_uri="gpt://f/yandexgpt/latest", text="hello")


def _metadata() -> Metadata:
    return (("x-client-request-id", str(uuid.uuid4())), _AUTHORIZATION)


def _settings(address: str) -> dict[str, Any]:
    return {
        "folder_id": "f",
        "credentials": "AQVN-benchmark",
        "endpoint": address,
        "plaintext": True,
        "quota": None,
    }


def blocking(address: str, calls: int, rounds: int, in_flight: int) -> bool:
    """Measure the blocking client with `in_flight` threads; gives whether the target is met."""
    request = _request()
    with (
        grpc.insecure_channel(address) as channel,
        yagrpc.Client(**_settings(address)) as client,
        ThreadPoolExecutor(in_flight) as pool,
    ):
        tokenize = _pb.text_generation_service_pb2_grpc.TokenizerServiceStub(channel).Tokenize
        bodies: dict[str, Callable[[Metadata], object]] = {
            SAME: lambda metadata: tokenize(request, timeout=60.0, metadata=metadata),
            NONE: lambda metadata: tokenize(request, timeout=60.0),
            FRESH: lambda metadata: tokenize(request, timeout=60.0, metadata=_metadata()),
            TYPED: lambda metadata: client.call(methods.TokenizerService.Tokenize, request),
        }

        def measure(name: str, body: Callable[[Metadata], object]) -> float:
            ready = [_metadata() for _ in range(calls)]
            shares = [ready[number::in_flight] for number in range(in_flight)]

            def work(share: list[Metadata]) -> None:
                for one in share:
                    body(one)

            start, began = time.process_time(), time.perf_counter()
            if in_flight == 1:
                work(ready)
            else:
                list(pool.map(work, shares))
            rates.setdefault(name, []).append(calls / (time.perf_counter() - began))
            return (time.process_time() - start) / calls * 1e6

        rates: dict[str, list[float]] = {}
        contestants = {name: lambda name=name, body=body: measure(name, body) for name, body in bodies.items()}
        by_turns(contestants, WARM_UP)
        rates.clear()
        measured = by_turns(contestants, rounds)
    return print_tables(f"blocking, {in_flight} in flight", measured, rates)


async def asynchronous(address: str, calls: int, rounds: int, in_flight: int) -> bool:
    """Measure the asyncio client with `in_flight` tasks; gives whether the target is met."""
    request = _request()
    async with grpc.aio.insecure_channel(address) as channel, yagrpc.AsyncClient(**_settings(address)) as client:
        tokenize = _pb.text_generation_service_pb2_grpc.TokenizerServiceStub(channel).Tokenize
        bodies: dict[str, Callable[[Metadata], Any]] = {
            SAME: lambda metadata: tokenize(request, timeout=60.0, metadata=metadata),
            NONE: lambda metadata: tokenize(request, timeout=60.0),
            FRESH: lambda metadata: tokenize(request, timeout=60.0, metadata=_metadata()),
            TYPED: lambda metadata: client.call(methods.TokenizerService.Tokenize, request),
        }

        async def measure(body: Callable[[Metadata], Any]) -> tuple[float, float]:
            ready = iter([_metadata() for _ in range(calls)])

            async def work(share: Iterator[Metadata]) -> None:
                for one in share:
                    await body(one)

            start, began = time.process_time(), time.perf_counter()
            workers: list[Coroutine[Any, Any, None]] = [work(ready) for _ in range(in_flight)]
            await (workers[0] if in_flight == 1 else asyncio.gather(*workers))
            return (time.process_time() - start) / calls * 1e6, calls / (time.perf_counter() - began)

        measured: dict[str, list[float]] = {name: [] for name in bodies}
        rates: dict[str, list[float]] = {name: [] for name in bodies}
        for number in range(rounds + WARM_UP):
            for name, body in bodies.items():
                taken, rate = await measure(body)
                if number >= WARM_UP:
                    measured[name].append(taken)
                    rates[name].append(rate)
    return print_tables(f"asyncio, {in_flight} in flight", measured, rates)


def print_tables(how: str, measured: dict[str, list[float]], rates: dict[str, list[float]]) -> bool:
    """Print both tables; gives whether the target is met."""
    fine = show(f"CPU per call, {how}", "µs", measured, TARGETS)
    show(f"Calls per second, {how}", "calls/s", rates, {})
    return fine


def main() -> int:
    """Measure and print; the exit code says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer calls and rounds")
    quick = parser.parse_args().quick
    # Many short rounds: a disturbance of the machine then affects few of them, and does not change the median.
    calls, rounds = (256, 5) if quick else (256, 100)
    with subprocess.Popen([sys.executable, "-I", "-c", _SERVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            outcomes = [
                blocking(address, calls, rounds, 1),
                blocking(address, calls, rounds, 64),
                asyncio.run(asynchronous(address, calls, rounds, 1)),
                asyncio.run(asynchronous(address, calls, rounds, 64)),
            ]
        finally:
            server.terminate()
    return 0 if all(outcomes) or quick else 1


if __name__ == "__main__":
    sys.exit(main())

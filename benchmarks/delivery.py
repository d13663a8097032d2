"""`make bench`: many operations submitted at once and waited for over the wire; the quota is counted in three ways.

The server, a separate process, ends each operation after a service time (lognormal, mean 2 s). It accepts 50 Gets a
second, counted in a sliding second, in fixed seconds, or by a token bucket. An answer contains the text of its request,
and the time of its end by the clock that both processes share. The oracle knows the end of every operation, and sends
one Get for each, in the order of their ends, 50 a second, none before the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc
import grpc.aio

import yagrpc
from yagrpc import _pb

RATE = 50
SUBMIT = "/yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService/Completion"
GET = "/yandex.cloud.operation.OperationService/Get"
STATS = "/bench/Stats"


class SlidingSecond:
    """At most `RATE` Gets in any second."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque()

    def admits(self, now: float) -> bool:
        while self._taken and self._taken[0] <= now - 1.0:
            self._taken.popleft()
        if len(self._taken) >= RATE:
            return False
        self._taken.append(now)
        return True


class FixedSecond:
    """At most `RATE` Gets in each second of the clock."""

    def __init__(self) -> None:
        self._second = -1
        self._taken = 0

    def admits(self, now: float) -> bool:
        if int(now) != self._second:
            self._second, self._taken = int(now), 0
        self._taken += 1
        return self._taken <= RATE


class TokenBucket:
    """At most `RATE` tokens, which come back at that rate."""

    def __init__(self) -> None:
        self._tokens = float(RATE)
        self._filled = 0.0

    def admits(self, now: float) -> bool:
        self._tokens = min(RATE, self._tokens + (now - self._filled) * RATE)
        self._filled = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


MODELS: dict[str, Callable[[], Any]] = {
    "sliding second": SlidingSecond,
    "fixed second": FixedSecond,
    "token bucket": TokenBucket,
}


async def serve(model: str, seconds: float | None) -> None:
    """Serve until the process is ended; the address is printed."""
    limiter = MODELS[model]()
    rng = random.Random(1)
    counted: Counter[str] = Counter()
    operations: dict[str, tuple[float, str]] = {}

    async def submit(request: Any, context: Any) -> Any:
        taken = rng.lognormvariate(math.log(2.0) - 0.125, 0.5) if seconds is None else seconds
        operation_id = f"d7q{len(operations):017}"
        operations[operation_id] = time.monotonic() + taken, request.messages[0].text
        return _pb.operation_pb2.Operation(id=operation_id)

    async def get(request: Any, context: Any) -> Any:
        now = time.monotonic()
        counted["gets"] += 1
        if not limiter.admits(now):
            counted["refused"] += 1
            refusal = f"ai.operationGetRequestsPerSecond.rate rate quota limit exceed: allowed {RATE} requests"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, refusal)
        ends, text = operations[request.operation_id]
        operation = _pb.operation_pb2.Operation(id=request.operation_id, done=ends <= now)
        if operation.done:
            message = _pb.text_common_pb2.Message(role="assistant", text=f"{text} {ends!r}")
            alternative = _pb.text_common_pb2.Alternative(message=message)
            operation.response.Pack(_pb.text_generation_service_pb2.CompletionResponse(alternatives=[alternative]))
        return operation

    async def stats(request: bytes, context: Any) -> bytes:
        return json.dumps(counted).encode()

    def unary(method: Any, request: Any = None) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=request.FromString if request else None,
            response_serializer=(lambda message: message.SerializeToString()) if request else None,
        )

    handlers = {
        SUBMIT: unary(submit, _pb.text_generation_service_pb2.CompletionRequest),
        GET: unary(get, _pb.operation_service_pb2.GetOperationRequest),
        STATS: unary(stats),
    }

    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            return handlers.get(handler_call_details.method)

    server = grpc.aio.server(handlers=[Handler()], options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


@contextlib.contextmanager
def serving(model: str, seconds: float | None = None) -> Iterator[str]:
    """A server in a separate process; gives its address."""
    command = [sys.executable, __file__, "--serve", model, *(["--seconds", str(seconds)] if seconds else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


class Delivery(NamedTuple):
    """The result of one run."""

    delivered: int
    wrong: int
    gets: int
    refused: int
    delays: list[float]
    oracle: float


class Record:
    """Records deliveries, and compares each answer with its own request."""

    def __init__(self, count: int) -> None:
        self.all_there = threading.Event()
        self._count = count
        self._requests: dict[str, str] = {}
        self._delivered: dict[str, tuple[float, str]] = {}

    def submitted(self, operation: Any, text: str) -> None:
        self._requests[operation.id] = text

    def delivered(self, operation: Any) -> None:
        now = time.monotonic()
        # The outcome is known here, with either client.
        self._delivered[operation.id] = now, operation._outcome().text
        if len(self._delivered) == self._count:
            self.all_there.set()

    def result(self, address: str) -> Delivery:
        with grpc.insecure_channel(address) as channel:
            read_stats: Any = channel.unary_unary(STATS)
            counted = json.loads(read_stats(b""))
        delays, ends, wrong = [], [], 0
        for operation_id, (moment, answer) in self._delivered.items():
            text, _, done = answer.rpartition(" ")
            wrong += text != self._requests[operation_id]
            ends.append(float(done))
            delays.append(moment - float(done))
        slot, best = -math.inf, []
        for end in sorted(ends):
            slot = max(end, slot + 1.0 / RATE)
            best.append(slot - end)
        gets, refused = counted["gets"], counted.get("refused", 0)
        return Delivery(len(delays), wrong, gets, refused, delays, statistics.fmean(best))


def settings(address: str) -> dict[str, Any]:
    # No limit except that of Gets: all operations are submitted at once.
    others: Any = {name: None for name in yagrpc.Quota._fields if name != "get_per_second"}
    return {
        "folder_id": "f",
        "credentials": yagrpc.NoCredentials(),
        "endpoint": address,
        "plaintext": True,
        "quota": yagrpc.Quota(get_per_second=RATE, **others),
    }


def blocking(address: str, count: int) -> Delivery:
    """Submit from threads, and wait for callbacks."""
    record = Record(count)
    with yagrpc.Client(**settings(address)) as client, ThreadPoolExecutor(16) as pool:

        def submit(number: int) -> None:
            text = f"request {number} of {count}"
            operation = client.completion_async(text)
            record.submitted(operation, text)
            operation.add_done_callback(record.delivered)

        list(pool.map(submit, range(count)))
        record.all_there.wait(60.0 + 2 * count / RATE)
        return record.result(address)


async def asynchronous(address: str, count: int) -> Delivery:
    """Submit from tasks, and wait for callbacks."""
    record = Record(count)
    numbers = iter(range(count))
    async with yagrpc.AsyncClient(**settings(address)) as client:

        async def submit() -> None:
            for number in numbers:
                text = f"request {number} of {count}"
                operation = await client.completion_async(text)
                record.submitted(operation, text)
                operation.add_done_callback(record.delivered)

        await asyncio.gather(*(submit() for _ in range(64)))
        await asyncio.to_thread(record.all_there.wait, 60.0 + 2 * count / RATE)
        return record.result(address)


JUDGED = 1000
"""The smallest number of operations whose delay is compared with the oracle's: fewer are polled before they are done,
whatever the order is."""

KINDS: dict[str, Callable[[str, int], Delivery]] = {
    "Client": blocking,
    "AsyncClient": lambda address, count: asyncio.run(asynchronous(address, count)),
}


def run(kind: str, model: str, count: int) -> bool:
    """One row; gives whether it meets the targets."""
    with serving(model) as address:
        got = KINDS[kind](address, count)
    mean = statistics.fmean(got.delays)
    p95 = sorted(got.delays)[math.ceil(0.95 * len(got.delays)) - 1]
    met = (
        (got.delivered, got.wrong) == (count, 0)
        and got.gets <= 1.2 * count
        and got.refused <= 0.01 * got.gets
        and (mean <= 1.25 * got.oracle or count < JUDGED)
    )
    print(
        f"| {kind} | {count} | {model} | {got.delivered} | {got.wrong} | {got.gets / count:.3f} "
        f"| {got.refused / got.gets:.2%} | {mean:.2f} | {p95:.2f} | {max(got.delays):.1f} | {mean / got.oracle:.3f} "
        f"| {'pass' if met else 'FAIL'} |",
        flush=True,
    )
    return met


def one(kind: str) -> bool:
    """A single operation of 4 s, delivered within a second and with 8 Gets at most."""
    with serving("sliding second", 4.0) as address:
        got = KINDS[kind](address, 1)
    met = got.delivered == 1 and got.delays[0] <= 1.0 and got.gets <= 8
    print(f"| {kind} | {got.delays[0]:.2f} | {got.gets} | {'pass' if met else 'FAIL'} |", flush=True)
    return met


def main() -> int:
    """Run and print; the exit code says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="500 operations, one way to count")
    parser.add_argument("--serve", metavar="MODEL", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.seconds))
    models = list(MODELS)[:1] if options.quick else list(MODELS)
    counts = [500] if options.quick else [1000, 5000]
    print("\nMany operations at once, mean 2 s, 50 Gets a second\n")
    print(
        "| client | operations | quota | delivered | wrong | Gets each | refused | mean, s | p95 | worst | / oracle | |"
    )
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    fine = [run(kind, model, count) for count in counts for model in models for kind in KINDS]
    print("\nOne operation of 4 s\n\n| client | delay, s | Gets | |\n| --- | ---: | ---: | --- |")
    fine += [one(kind) for kind in KINDS]
    return 0 if all(fine) or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())

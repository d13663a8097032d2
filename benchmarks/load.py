"""`make load`: the asyncio service of the examples under 64 callers, with a model that fails in every manner.

Three processes: the callers, `examples/proofreading/server_aio.py`, and an emulator with faults. The callers use both
methods, with short and long deadlines, and some leave. What is checked: every answer is one of the table of
docs/serving.md, with its reason; the service logs no traceback; and its memory grows by less than 5 % once the first
part of the time is over.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from yagrpc import _pb
from yagrpc.emulator import (
    Delay,
    DropConnection,
    Emulator,
    Failure,
    Fault,
    Garbage,
    Hang,
    LostReply,
    NoResult,
    Oversize,
    WrongType,
    paths,
)
from yagrpc.serving.table import TABLE

EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "proofreading"

FLAT: Final = 0.05
"""By so much the memory may grow between the first and the last part of the measured time."""

WARM: Final = 0.4
"""The part of the time that is not measured: caches, pools and the first of every failure."""

TIMEOUTS: Final = (0.3, 2.0, 10.0)
"""Seconds: the deadlines of the callers."""

LEAVES: Final = 0.1
"""The part of the callers that leave before they have an answer."""

GRACE: Final = 15.0
"""Seconds after a caller's deadline in which its call has to end."""

ALLOCATOR: Final = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""glibc has a heap for each thread, and keeps there what large messages once took: that seemed to be a leak of 9 %."""

STATUSES: Final = {row.reason: {other.status for other in TABLE if other.reason == row.reason} for row in TABLE}
"""The statuses of each reason."""


def faults() -> list[Fault]:
    """What goes wrong in the model, and how often."""
    code = grpc.StatusCode

    def often(action: Any, method: str, probability: float) -> Fault:
        return Fault(action, method=method, probability=probability)

    found = []
    for method in (paths.COMPLETION, paths.COMPLETION_ASYNC):
        found += [
            often(Failure(code.INVALID_ARGUMENT, "as injected"), method, 0.02),
            often(Failure(code.PERMISSION_DENIED, "as injected"), method, 0.01),
            often(Failure(code.INTERNAL, "as injected"), method, 0.02),
            often(Failure(code.UNAVAILABLE, "as injected"), method, 0.02),
            often(
                Failure(code.RESOURCE_EXHAUSTED, "a.b.rate rate quota limit exceed: allowed 10 requests"), method, 0.02
            ),
            often(Delay(1.0), method, 0.05),
            often(Hang(), method, 0.01),
            often(Garbage(), method, 0.01),
            often(DropConnection(after=0), method, 0.002),
        ]
    found += [
        often(DropConnection(after=1), paths.COMPLETION, 0.002),
        often(LostReply(), paths.COMPLETION_ASYNC, 0.02),
        often(Failure(code.UNAVAILABLE, "as injected"), paths.OPERATION_GET, 0.05),
        often(Failure(code.NOT_FOUND, "as injected"), paths.OPERATION_GET, 0.005),
        often(Hang(), paths.OPERATION_GET, 0.005),
        often(NoResult(), paths.OPERATION_GET, 0.01),
        often(WrongType(), paths.OPERATION_GET, 0.01),
        often(Garbage(), paths.OPERATION_GET, 0.005),
        often(Oversize(), paths.OPERATION_GET, 0.002),
    ]
    return found


def emulate() -> None:
    """Be the emulator, until standard input is closed."""
    with Emulator(duration=1.0, completion_duration=0.2, faults=faults(), seed=1) as emulator:
        print(emulator.address, flush=True)
        sys.stdin.read()
        print(sum(emulator.calls.values()), flush=True)


@contextlib.contextmanager
def process(*command: str, environment: dict[str, str], errors: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A program that prints its address first."""
    with subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, **environment},
        text=True,
    ) as started:
        try:
            assert started.stdout is not None
            yield started, started.stdout.readline().strip()
        finally:
            started.kill()


def kibibytes(pid: int) -> int:
    """The memory that a process has in use."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(status.partition("VmRSS:")[2].split()[0])


class Callers:
    """Many callers of the service, each one call after the other.

    Args:
        address: Where the service listens.
        seconds: How long they call.
    """

    def __init__(self, address: str, seconds: float) -> None:
        sys.path[:0] = [str(EXAMPLE / "generated")]
        from proofreading_proto.proofreading_pb2 import CorrectRequest
        from proofreading_proto.proofreading_pb2_grpc import ProofreaderStub

        self._channel = grpc.aio.insecure_channel(address, [("grpc.enable_http_proxy", 0)])
        self._stub: Any = ProofreaderStub(self._channel)
        self._request = CorrectRequest
        self._end = time.monotonic() + seconds
        self.outcomes: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.seconds: list[float] = []

    async def call(self, number: int) -> None:
        """Be one caller."""
        chance = random.Random(number)
        while time.monotonic() < self._end:
            request, timeout = self._request(text=f"текст {number}"), chance.choice(TIMEOUTS)
            sent = time.monotonic()
            if chance.random() < 0.5:
                call = self._stub.Correct(request, timeout=timeout)
                reading = asyncio.ensure_future(self._answer(call))
            else:
                call = self._stub.CorrectStream(request, timeout=timeout)
                reading = asyncio.ensure_future(self._answers(call))
            if chance.random() < LEAVES:
                await asyncio.wait([reading], timeout=chance.random() * timeout)
                call.cancel()
            try:
                text = await asyncio.wait_for(reading, timeout + GRACE)
                self._note("OK", "" if f"текст {number}" in text else "another caller's text")
            except grpc.aio.AioRpcError as error:
                self._refused(error)
            except asyncio.CancelledError:
                self._note("left")
            except asyncio.TimeoutError:
                self._note("no end", "a call did not end at its deadline")
            self.seconds.append(time.monotonic() - sent)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def _answer(self, call: Any) -> str:
        return str((await call).text)

    async def _answers(self, call: Any) -> str:
        text = ""
        async for message in call:
            text = message.text
        return text

    def _refused(self, error: grpc.aio.AioRpcError) -> None:
        code = error.code()
        reason = reason_of(error)
        if not reason and code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
            self._note(f"{code.name} by the caller's own gRPC")
            return
        known = code.value[0] in STATUSES.get(reason, ())
        self._note(f"{code.name} {reason}", "" if known else f"{code.name} {reason}: {error.details()}")

    def _note(self, outcome: str, wrong: str = "") -> None:
        self.outcomes[outcome] += 1
        if wrong:
            self.wrong[wrong] += 1


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason in the details of a status; empty without any."""
    status = _pb.status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            status.ParseFromString(value)
    info = _pb.error_details_pb2.ErrorInfo()
    return next((info.reason for detail in status.details if detail.Unpack(info)), "")


async def load(address: str, pid: int, seconds: float, callers: int) -> tuple[Callers, list[int]]:
    """Call for some time; gives the callers, and the memory of the service at each moment."""
    found, sizes = Callers(address, seconds), list[int]()

    async def watch() -> None:
        while True:
            sizes.append(kibibytes(pid))
            await asyncio.sleep(min(1.0, seconds / 100))

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(found.call(number) for number in range(callers)))
    watching.cancel()
    await found.close()
    return found, sizes


def main() -> int:
    parser = argparse.ArgumentParser(description="Load the asyncio service of the examples.")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long the callers call (default 300)")
    parser.add_argument("--callers", type=int, default=64, help="how many call at a time (default 64)")
    parser.add_argument("--emulator", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.emulator:
        emulate()
        return 0
    with (
        tempfile.TemporaryFile("w+") as log,
        process(__file__, "--emulator", environment={}, errors=None) as (emulator, model),
        process(
            str(EXAMPLE / "server_aio.py"),
            environment={"YAGRPC_EMULATOR_HOST": model, "PYTHONPATH": path_of_the_service(), **ALLOCATOR},
            errors=log,
        ) as (service, address),
    ):
        callers, sizes = asyncio.run(load(address, service.pid, options.seconds, options.callers))
        service.terminate()
        ended = service.wait(30)
        emulator.communicate(timeout=30)
        log.seek(0)
        return report(callers, sizes, ended, log.read())


def path_of_the_service() -> str:
    """The service's path: its generated package, and what this process has."""
    return os.pathsep.join(filter(None, [str(EXAMPLE / "generated"), os.environ.get("PYTHONPATH", "")]))


def report(callers: Callers, sizes: list[int], ended: int, log: str) -> int:
    """Print what happened; gives the exit code."""
    measured = sizes[int(len(sizes) * WARM) :]
    part = max(1, len(measured) // 3)
    first, last = min(measured[:part]), min(measured[-part:])  # a large message is there for a moment
    wrong = [f"{count} x {text}" for text, count in callers.wrong.items()]
    if last - first > FLAT * first:
        wrong.append(f"the memory of the service went from {first} to {last} KiB")
    if ended:
        wrong.append(f"the service ended with {ended}")
    raised = Counter(re.findall(r"^Traceback.*\n(?:[ \n].*\n|\n)*(\S.*)", log, re.MULTILINE))
    wrong += [f"{count} x logged with a traceback: {line[:500]}" for line, count in raised.items()]
    for outcome, count in callers.outcomes.most_common():
        print(f"{count:7}  {outcome}")
    times = statistics.quantiles(callers.seconds, n=100)
    print(f"{sum(callers.outcomes.values()):7}  calls; median {times[49]:.2f} s, p99 {times[98]:.2f} s")
    print(
        f"memory of the service: {sizes[0] / 1024:.1f} MiB at the start, {first / 1024:.1f} MiB once it is warm,"
        f" {last / 1024:.1f} MiB at the end ({(last - first) / first:+.1%})"
    )
    moments = [sizes[len(sizes) * tenth // 10] / 1024 for tenth in range(10)]
    print(f"  after each tenth of the time: {', '.join(f'{size:.1f}' for size in moments)} MiB")
    for each in wrong:
        print(f"WRONG: {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

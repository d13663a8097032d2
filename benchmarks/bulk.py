"""Measures a bulk run: rows a second beside a bare loop of stubs without a journal, memory, and how fast it resumes.

    python benchmarks/bulk.py                    20,000 rows
    python benchmarks/bulk.py --rows 1000000     takes about an hour

The emulator answers at once, in a process of its own. Both sides send 64 requests at a time. The bare loop is measured
before the run and after it, each time on `--bare-rows` of the rows: what else the machine does changes in an hour. The
CPU time of a row depends less on that. Then each row has to be in the output once, and to be generated once.

Targets: 0.7 of the bare loop's rows a second, 100 MiB of memory more than before the run, 10 s to resume a finished
million.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc.aio

import yagrpc
from yagrpc import _pb
from yagrpc.bulk.asynchronous import AsyncBulk
from yagrpc.bulk.files.inputs import open_input
from yagrpc.bulk.files.outputs import GrowingOutput
from yagrpc.bulk.source import Source
from yagrpc.emulator.control.remote import Control

AT_ONCE: Final = 64
TARGET: Final = 0.7
MEMORY: Final = 100.0
"""MiB."""
RESUME: Final = 10.0
"""Seconds for a million rows."""
WARM: Final = 100
"""Rows of a run before the one that is measured."""

SUBMIT: Final = yagrpc.methods.TextGenerationAsyncService.Completion.path
RETENTION: Final = 4 * 24 * 3600.0
"""Seconds after which the emulator has forgotten an operation: it has room for less than half a million."""


class Mark(NamedTuple):
    """What a measurement has needed up to some row.

    Args:
        rows: Rows that have ended.
        seconds: Since its start.
        cpu: Seconds of its process.
        memory: The most that its process has had, in MiB more than before.
    """

    rows: int
    seconds: float
    cpu: float
    memory: float


class Server(NamedTuple):
    """An emulator in a process.

    Args:
        address: Where it listens.
        control: Its control service.
    """

    address: str
    control: Control

    def generations(self) -> int:
        """How many requests it has accepted."""
        counters = self.control.counters()
        return counters[SUBMIT].generations if SUBMIT in counters else 0


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """An emulator in a process."""
    command = [sys.executable, "-I", "-m", "yagrpc", "emulator", "--duration", "0", "--control"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            with Control(address) as control:
                yield Server(address, control)
        finally:
            process.terminate()


class Marks:
    """Prints what a measurement has needed, whenever so many rows more have ended.

    Args:
        every: How many.
    """

    def __init__(self, every: int) -> None:
        self._every = self._next = every
        self._memory = memory()
        self._started, self._cpu = time.perf_counter(), time.process_time()

    def reached(self, rows: int, *, last: bool = False) -> None:
        """So many rows have ended; the last mark counts up to the end of the measurement."""
        if rows >= self._next or last:
            self._next = rows - rows % self._every + self._every
            seconds, cpu = time.perf_counter() - self._started, time.process_time() - self._cpu
            print(json.dumps(Mark(rows, seconds, cpu, memory() - self._memory)), flush=True)


async def bare(address: str, source: Path, marks: Marks) -> int:
    """A loop of stubs: each row is read, sent, and its answer unpacked. Gives how many there were."""
    ended = 0
    with open(source, "rb") as lines:  # noqa: ASYNC230 - it is read as a plain program reads it
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = _pb.text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub(channel)

            async def work() -> None:
                nonlocal ended
                for line in lines:
                    message = _pb.text_common_pb2.Message(role="user", text=json.loads(line)["text"])
                    request = _pb.text_generation_service_pb2.CompletionRequest(
                        model_uri="gpt://f/yandexgpt/latest", messages=[message]
                    )
                    operation = await stub.Completion(request)
                    response = _pb.text_generation_service_pb2.CompletionResponse.FromString(operation.response.value)
                    assert response.alternatives[0].message.text
                    ended += 1
                    marks.reached(ended)

            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return ended


async def bulk(address: str, source: Path, folder: Path, marks: Marks) -> int:
    """A run from a file to a file, with its journal. Gives how many rows have ended."""
    free: Any = dict.fromkeys(yagrpc.Quota._fields)
    settings: Any = {"endpoint": address, "plaintext": True, "quota": yagrpc.Quota(**free)}
    found = open_input(source, "jsonl")
    async with yagrpc.AsyncClient(folder_id="f", credentials=yagrpc.NoCredentials(), **settings) as client:
        rows = Source(found.rows, table=False, total=found.total)
        given = {
            "journal": folder / "journal",
            "concurrency": AT_ONCE,
            "progress": lambda progress: marks.reached(progress.ended - progress.resumed),
        }
        run = AsyncBulk(client, rows, given)
        run.output = GrowingOutput(folder / "out.jsonl", "completion", table=False, ordered=False)
        summary = await run.run()
    assert summary.outcomes == {"done": found.total}, summary
    return found.total


def memory() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(server: Server, what: str, source: Path, folder: Path, every: int) -> list[Mark]:
    """One measurement, in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, server.address, str(source), str(folder), str(every)]
    marks = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            mark = Mark(*json.loads(line))
            marks.append(mark)
            print(f"{what}: {mark.rows:,} rows after {mark.seconds:,.1f} s", file=sys.stderr)
            server.control.advance(RETENTION)
    if process.returncode:
        raise SystemExit(process.returncode)
    return marks


def measure(what: str, address: str, source: Path, folder: Path, every: int) -> None:
    """Print the marks of one measurement."""
    if what == "bulk":
        with tempfile.TemporaryDirectory() as warm:  # everything is imported, and gRPC has its threads
            first = Path(warm) / "rows.jsonl"
            write_rows(first, WARM)
            asyncio.run(bulk(address, first, Path(warm), Marks(every)))
    marks = Marks(every)
    rows = asyncio.run(bare(address, source, marks) if what == "bare" else bulk(address, source, folder, marks))
    marks.reached(rows, last=True)


def write_rows(source: Path, count: int) -> None:
    """Write an input of so many rows."""
    with open(source, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": f"review number {n} of a shop"}) + "\n" for n in range(count))


def check_output(output: Path, count: int) -> None:
    """Check that each row is in the output once.

    Raises:
        SystemExit: One is not.
    """
    times = Counter[int]()
    with open(output, encoding="utf-8") as lines:
        for line in lines:
            found = re.match(r'{"input_text": "review number (\d+) of', line)
            times[-1 if found is None else int(found[1])] += 1
    missing = sum(number not in times for number in range(count))
    more = sum(times.values()) - count + missing
    if missing or more:
        raise SystemExit(f"the output does not have {missing:,} rows, and has {more:,} that it should not have")


def show_slices(marks: list[Mark]) -> None:
    """Print what the rows between two marks have needed."""
    print("\n| rows | run, rows/s | CPU, µs/row | memory, MiB |")
    print("| ---: | ---: | ---: | ---: |")
    for before, mark in itertools.pairwise([Mark(0, 0.0, 0.0, 0.0), *marks]):
        if rows := mark.rows - before.rows:
            speed, cpu = rows / (mark.seconds - before.seconds), (mark.cpu - before.cpu) / rows * 1e6
            print(f"| {mark.rows:,} | {speed:,.0f} | {cpu:,.0f} | {mark.memory:.0f} |")


def show(loops: list[Mark], first: Mark, again: Mark, journal: float) -> bool:
    """Print the figures of all measurements; gives whether the targets are met.

    Args:
        loops: The bare loops.
        first: The run.
        again: The same run, resumed after its end.
        journal: Bytes of a row in the journal.
    """
    loop = Mark._make(map(sum, zip(*loops, strict=True)))
    speeds = loop.rows / loop.seconds, first.rows / first.seconds
    cpu = loop.cpu / loop.rows * 1e6, first.cpu / first.rows * 1e6
    ratio = speeds[1] / speeds[0]
    met = ratio >= TARGET and first.memory <= MEMORY and (again.seconds <= RESUME or first.rows > 1_000_000)
    print(
        "\n| rows | loop, rows/s | run, rows/s | ratio | loop, CPU µs/row | run, CPU µs/row | ratio | memory, MiB "
        "| journal, B/row | resume, s | CPU, s | |"
    )
    print(f"|{' ---: |' * 11} --- |")
    print(
        f"| {first.rows:,} | {speeds[0]:,.0f} | {speeds[1]:,.0f} | {ratio:.2f} | {cpu[0]:,.0f} | {cpu[1]:,.0f} "
        f"| {cpu[1] / cpu[0]:.2f} | {first.memory:.0f} | {journal:,.0f} | {again.seconds:.2f} | {again.cpu:.2f} "
        f"| {'pass' if met else 'FAIL'} |"
    )
    return met


def main() -> int:
    """Run and print; the exit code says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--bare-rows", type=int, default=20_000, help="rows of each bare loop, at most")
    parser.add_argument("--slice", type=int, default=100_000, help="rows after which figures are taken")
    parser.add_argument("--quick", action="store_true", help="2,000 rows, no targets")
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, address, source, folder, every = options.measure
        measure(what, address, Path(source), Path(folder), int(every))
        return 0
    count = 2_000 if options.quick else options.rows
    with tempfile.TemporaryDirectory() as name:
        folder, source, part = Path(name), Path(name) / "rows.jsonl", Path(name) / "part.jsonl"
        write_rows(source, count)
        write_rows(part, min(count, options.bare_rows))

        def loop() -> Mark:
            with serving() as server:
                return measured(server, "bare", part, folder, options.slice)[-1]

        before = loop()
        with serving() as server:
            marks = measured(server, "bulk", source, folder, options.slice)
            generations = server.generations() - WARM
            again = measured(server, "bulk", source, folder, options.slice)[-1]
        after = loop()
        journal = (folder / "journal").stat().st_size / count
        check_output(folder / "out.jsonl", count)
    if generations != count:
        raise SystemExit(f"{count:,} rows were generated {generations:,} times")
    print("\nA bulk run, and a bare loop of stubs")
    show_slices(marks)
    met = show([before, after], marks[-1], again, journal)
    return 0 if met or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())

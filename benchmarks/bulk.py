"""Measures a bulk run: rows a second beside a bare loop of stubs without a journal, memory, and how fast it resumes.

    python benchmarks/bulk.py                    20,000 rows
    python benchmarks/bulk.py --rows 1000000     takes about half an hour

The emulator answers at once, in a process of its own. Both sides send 64 requests at a time. They are measured by
turns, since what else the machine does changes in an hour: the run is stopped (SIGSTOP) after each slice of its rows,
and the bare loop sends some of them meanwhile. The CPU time of a row depends less on the machine. Then each row has to
be in the output once, and to be generated once.

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
import signal
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
from yagrpc.bulk.decisions.progress import Progress
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
SLICES: Final = 10
"""Slices of the rows, each with figures of its own."""

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
    """Prints what a measurement has needed: now and then, and at its end.

    Args:
        every: The rows from one mark to the next.
    """

    def __init__(self, every: int) -> None:
        self._every = self._next = every
        self._memory = memory()
        self._started, self._cpu = time.perf_counter(), time.process_time()

    def reached(self, rows: int) -> None:
        """So many rows have ended, and others have not."""
        if rows >= self._next:
            self._next = rows - rows % self._every + self._every
            self.print(rows)

    def print(self, rows: int) -> None:
        """Print a mark."""
        seconds, cpu = time.perf_counter() - self._started, time.process_time() - self._cpu
        print(json.dumps(Mark(rows, seconds, cpu, memory() - self._memory)), flush=True)


async def bare(address: str, source: Path) -> int:
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

            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return ended


async def bulk(address: str, source: Path, folder: Path, marks: Marks) -> int:
    """A run from a file to a file, with its journal. Gives how many rows have ended."""
    free: Any = dict.fromkeys(yagrpc.Quota._fields)
    settings: Any = {"endpoint": address, "plaintext": True, "quota": yagrpc.Quota(**free)}
    found = open_input(source, "jsonl")

    def reached(progress: Progress) -> None:
        if progress.ended < found.total:
            marks.reached(progress.ended)

    async with yagrpc.AsyncClient(folder_id="f", credentials=yagrpc.NoCredentials(), **settings) as client:
        rows = Source(found.rows, table=False, total=found.total)
        given = {"journal": folder / "journal", "concurrency": AT_ONCE, "progress": reached}
        run = AsyncBulk(client, rows, given)
        run.output = GrowingOutput(folder / "out.jsonl", "completion", table=False, ordered=False)
        summary = await run.run()
    assert summary.outcomes == {"done": found.total}, summary
    return found.total


def memory() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(server: Server, what: str, source: Path, folder: Path, every: int) -> Iterator[Mark]:
    """The marks of one measurement, in a process of its own; it is stopped for what is done with each mark."""
    command = [sys.executable, __file__, "--measure", what, server.address, str(source), str(folder), str(every)]
    paused = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            process.send_signal(signal.SIGSTOP)
            stopped = time.perf_counter()
            mark = Mark(*json.loads(line))
            mark = mark._replace(seconds=mark.seconds - paused)
            print(f"{what}: {mark.rows:,} rows after {mark.seconds:,.1f} s", file=sys.stderr)
            server.control.advance(RETENTION)
            try:
                yield mark
            finally:
                process.send_signal(signal.SIGCONT)
                paused += time.perf_counter() - stopped
    if process.returncode:
        raise SystemExit(process.returncode)


def measure(what: str, address: str, source: Path, folder: Path, every: int) -> None:
    """Print the marks of one measurement."""
    if what == "bulk":
        with tempfile.TemporaryDirectory() as warm:  # everything is imported, and gRPC has its threads
            first = Path(warm) / "rows.jsonl"
            write_rows(first, WARM)
            asyncio.run(bulk(address, first, Path(warm), Marks(every)))
    marks = Marks(every)
    rows = asyncio.run(bare(address, source) if what == "bare" else bulk(address, source, folder, marks))
    marks.print(rows)


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


def show(loops: list[Mark], marks: list[Mark], again: Mark, journal: float) -> bool:
    """Print the figures of all measurements; gives whether the targets are met.

    Args:
        loops: The bare loops: one before each slice of the run, and one after the last.
        marks: The run, up to the end of each slice.
        again: The same run, resumed after its end.
        journal: Bytes of a row in the journal.
    """
    print("\nA bulk run, and a bare loop of stubs\n")
    print("| rows | loop, rows/s | run, rows/s | ratio | loop, CPU µs/row | run, CPU µs/row | ratio | memory, MiB |")
    print(f"|{' ---: |' * 8}")
    before = Mark(0, 0.0, 0.0, 0.0)
    for (one, two), mark in zip(itertools.pairwise(loops), marks, strict=True):
        run = Mark(mark.rows - before.rows, mark.seconds - before.seconds, mark.cpu - before.cpu, mark.memory)
        print(f"| to {mark.rows:,} {compared(added([one, two]), run)}")
        before = mark
    loop, run = added(loops), marks[-1]
    print(f"| all {compared(loop, run)}")
    print(
        f"\nThe journal has {journal:,.0f} bytes a row. The finished run is resumed in {again.seconds:.2f} s"
        f" ({again.cpu:.2f} s of CPU time)."
    )
    fast = speed(run) >= TARGET * speed(loop)
    return fast and run.memory <= MEMORY and (again.seconds <= RESUME or run.rows > 1_000_000)


def compared(loop: Mark, run: Mark) -> str:
    """The columns of a table that compare a run with the bare loop."""
    one, two = loop.cpu / loop.rows * 1e6, run.cpu / run.rows * 1e6
    return (
        f"| {speed(loop):,.0f} | {speed(run):,.0f} | {speed(run) / speed(loop):.2f} "
        f"| {one:,.0f} | {two:,.0f} | {two / one:.2f} | {run.memory:.0f} |"
    )


def added(marks: list[Mark]) -> Mark:
    """What several measurements have needed together."""
    return Mark._make(map(sum, zip(*marks, strict=True)))


def speed(mark: Mark) -> float:
    """Rows a second."""
    return mark.rows / mark.seconds


def main() -> int:
    """Run and print; the exit code says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--bare-rows", type=int, default=20_000, help="rows of each bare loop, at most")
    parser.add_argument("--quick", action="store_true", help="2,000 rows, no targets")
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, address, source, folder, every = options.measure
        measure(what, address, Path(source), Path(folder), int(every))
        return 0
    count = 2_000 if options.quick else options.rows
    every = max(count // SLICES, 1)
    with tempfile.TemporaryDirectory() as name:
        folder, source, part = Path(name), Path(name) / "rows.jsonl", Path(name) / "part.jsonl"
        write_rows(source, count)
        write_rows(part, min(every, options.bare_rows))

        def loop() -> Mark:
            with serving() as server:
                *_, last = measured(server, "bare", part, folder, every)
                return last

        loops, marks = [loop()], list[Mark]()
        with serving() as server:
            for mark in measured(server, "bulk", source, folder, every):
                marks.append(mark)
                loops.append(loop())
            generations = server.generations() - WARM
            *_, again = measured(server, "bulk", source, folder, every)
        journal = (folder / "journal").stat().st_size / count
        check_output(folder / "out.jsonl", count)
    if generations != count:
        raise SystemExit(f"{count:,} rows were generated {generations:,} times")
    met = show(loops, marks, again, journal)
    print(f"\n{'pass' if met else 'FAIL'}")
    return 0 if met or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())

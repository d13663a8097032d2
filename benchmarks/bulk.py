"""Measures a bulk run: rows a second beside a bare loop of stubs without a journal, memory, and how fast it resumes.

    python benchmarks/bulk.py                    20,000 rows
    python benchmarks/bulk.py --rows 1000000     takes about an hour

The emulator answers at once, in a process of its own. Both sides send 64 requests at a time. Targets: 0.7 of the bare
loop's rows a second, 100 MiB of memory more than before the run, 10 s to resume a finished million.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc.aio

import yagrpc
from yagrpc import _pb
from yagrpc.bulk.asynchronous import AsyncBulk
from yagrpc.bulk.files.inputs import open_input
from yagrpc.bulk.files.outputs import GrowingOutput
from yagrpc.bulk.source import Source

AT_ONCE: Final = 64
TARGET: Final = 0.7
MEMORY: Final = 100.0
"""MiB."""
RESUME: Final = 10.0
"""Seconds for a million rows."""


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """An emulator in a process; gives its address."""
    command = [sys.executable, "-I", "-m", "yagrpc", "emulator", "--duration", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


async def bare(address: str, source: Path) -> float:
    """Seconds of a loop of stubs: each row is read, sent, and its answer unpacked."""
    with open(source, "rb") as lines:  # noqa: ASYNC230 - it is read as a plain program reads it
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = _pb.text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub(channel)

            async def work() -> None:
                for line in lines:
                    message = _pb.text_common_pb2.Message(role="user", text=json.loads(line)["text"])
                    request = _pb.text_generation_service_pb2.CompletionRequest(
                        model_uri="gpt://f/yandexgpt/latest", messages=[message]
                    )
                    operation = await stub.Completion(request)
                    response = _pb.text_generation_service_pb2.CompletionResponse.FromString(operation.response.value)
                    assert response.alternatives[0].message.text

            started = time.perf_counter()
            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
            return time.perf_counter() - started


async def bulk(address: str, source: Path, folder: Path) -> float:
    """Seconds of a run from a file to a file, with its journal."""
    free: Any = dict.fromkeys(yagrpc.Quota._fields)
    settings: Any = {"endpoint": address, "plaintext": True, "quota": yagrpc.Quota(**free)}
    started = time.perf_counter()
    found = open_input(source, "jsonl")
    async with yagrpc.AsyncClient(folder_id="f", credentials=yagrpc.NoCredentials(), **settings) as client:
        rows = Source(found.rows, table=False, total=found.total)
        run = AsyncBulk(client, rows, {"journal": folder / "journal", "concurrency": AT_ONCE})
        run.output = GrowingOutput(folder / "out.jsonl", "completion", table=False, ordered=False)
        summary = await run.run()
    assert summary.outcomes == {"done": found.total}, summary
    return time.perf_counter() - started


def memory() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(what: str, *arguments: str) -> Any:
    """One measurement, in a process of its own."""
    ran = subprocess.run([sys.executable, __file__, "--measure", what, *arguments], capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return json.loads(ran.stdout)


def measure(what: str, address: str, source: Path, folder: Path) -> None:
    """Print what one measurement gives."""
    if what == "bare":
        print(json.dumps({"seconds": asyncio.run(bare(address, source))}))
        return
    with tempfile.TemporaryDirectory() as warm:  # everything is imported, and gRPC has its threads
        first = Path(warm) / "rows.jsonl"
        first.write_text('{"text": "a"}\n' * 100, "utf-8")
        asyncio.run(bulk(address, first, Path(warm)))
    before = memory()
    seconds = asyncio.run(bulk(address, source, folder))
    print(json.dumps({"seconds": seconds, "memory": memory() - before}))


def main() -> int:
    """Run and print; the exit code says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--quick", action="store_true", help="2,000 rows, no targets")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, address, source, folder = options.measure
        measure(what, address, Path(source), Path(folder))
        return 0
    count = 2_000 if options.quick else options.rows
    with tempfile.TemporaryDirectory() as name, serving() as address:
        folder, source = Path(name), Path(name) / "rows.jsonl"
        with open(source, "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": f"review number {n} of a shop"}) + "\n" for n in range(count))
        loop = measured("bare", address, str(source), name)
        first = measured("bulk", address, str(source), name)
        again = measured("bulk", address, str(source), name)
        journal = (folder / "journal").stat().st_size / count
    ratio = loop["seconds"] / first["seconds"]
    resume = again["seconds"] * 1e6 / count
    met = ratio >= TARGET and first["memory"] <= MEMORY and (resume <= RESUME or count < 1_000_000)
    print("\nA bulk run, and a bare loop of stubs\n")
    print("| rows | loop, rows/s | run, rows/s | ratio | memory, MiB | journal, B/row | resume, s | of a million | |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    print(
        f"| {count:,} | {count / loop['seconds']:,.0f} | {count / first['seconds']:,.0f} | {ratio:.2f} "
        f"| {first['memory']:.0f} | {journal:,.0f} | {again['seconds']:.2f} | {resume:.1f} "
        f"| {'pass' if met else 'FAIL'} |"
    )
    return 0 if met or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())

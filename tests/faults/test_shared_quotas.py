"""Processes that share quotas, for real: started, killed and replaced, against a server that enforces the quotas."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from yagrpc.emulator import Emulator, EmulatorQuota, paths

WORKER = """
import sys
import yagrpc

address, share, first, last, per_second = sys.argv[1:]
quota = yagrpc.Quota(submit_per_second=float(per_second))
with yagrpc.Client(
    folder_id="f", credentials="AQVNx", endpoint=address, plaintext=True, share=share, quota=quota
) as client:
    print("ready", flush=True)
    sys.stdin.readline()
    operations = []
    for number in range(int(first), int(last)):
        operations.append(client.completion_async(f"row {number}"))
        print(number, flush=True)
    for operation in operations:
        operation.result(timeout=120)
print("done", flush=True)
"""


class Workers:
    """Processes that submit rows.

    Args:
        emulator: Where they submit them.
        share: Where they share quotas.
        per_second: The quota.
    """

    def __init__(self, emulator: Emulator, share: str, per_second: int) -> None:
        self._arguments = [emulator.address, share]
        self._per_second = str(per_second)
        self.running: list[subprocess.Popen[str]] = []

    def start(self, first: int, last: int) -> subprocess.Popen[str]:
        """Start one, which waits to be let go."""
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *self._arguments, str(first), str(last), self._per_second],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def stop(self) -> None:
        """End those that are left."""
        for process in self.running:
            process.kill()
            process.communicate()


def go(process: subprocess.Popen[str]) -> None:
    """Let a worker begin."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def line(process: subprocess.Popen[str]) -> str:
    """The next line of a worker."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def started() -> Iterator[list[Workers]]:
    """Holds the workers of a test, which end with it."""
    found: list[Workers] = []
    yield found
    for workers in found:
        workers.stop()


def test_processes_send_no_more_than_one_may(share: str, started: list[Workers]) -> None:
    """Three that count for themselves would be refused two times of three."""
    with Emulator(quota=EmulatorQuota(submit_per_second=8), duration=0.1) as emulator:
        workers = Workers(emulator, share, 8)
        started.append(workers)
        running = [workers.start(number * 8, number * 8 + 8) for number in range(3)]
        for process in running:
            go(process)
        for process in running:
            assert [line(process) for _ in range(8)][-1].isdigit()
            assert line(process) == "done"
        assert emulator.calls[paths.COMPLETION_ASYNC] == 24
        assert not emulator.refusals


@pytest.mark.slow
def test_a_process_that_is_killed_is_replaced(
    share: str, started: list[Workers], capsys: pytest.CaptureFixture[str]
) -> None:
    """300 rows by four processes at the documented quota; one is killed at a third and replaced at two thirds."""
    with Emulator(quota=EmulatorQuota(), duration=1.0) as emulator:
        workers = Workers(emulator, share, 10)
        started.append(workers)
        running = [workers.start(number * 75, number * 75 + 75) for number in range(4)]
        began = time.monotonic()
        for process in running:
            go(process)
        killed, *others = running
        rows = [line(killed) for _ in range(25)]
        killed.send_signal(signal.SIGKILL)
        rows += [text for text in killed.communicate()[0].split() if text.isdigit()]
        for process in others:
            assert [line(process) for _ in range(50)][-1].isdigit()
        successor = workers.start(int(rows[-1]) + 1, 75)
        go(successor)
        for process in (*others, successor):
            while (text := line(process)) != "done":
                assert text.isdigit()
        seconds = time.monotonic() - began
        sent, refused = emulator.calls[paths.COMPLETION_ASYNC], sum(emulator.refusals.values())
        with capsys.disabled():
            print(f"\n{sent} submits in {seconds:.1f} s (the quota allows no less than 29), {refused} refused")
        assert 300 <= sent <= 302, "one may be under way when its process is killed"
        assert refused <= 3

"""Runs another program for what it prints: for a limited time, up to a limited length, and never longer than is wanted.

Rules: what it prints is hidden. Whatever ends the wait, the program is ended with all that it has started, and reaped;
so is one that runs when this process ends.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import IO, Final, NamedTuple

from yagrpc.hiding import SecretBytes

SLICE: Final = 0.1
"""Seconds after which it is seen that the program is not wanted any more."""

REAPED: Final = 1.0
"""Seconds to wait for a program that was killed."""


class Ran(NamedTuple):
    """What a program that came to its end said.

    Args:
        code: Its exit code.
        out: What it wrote to its standard output.
        err: What it wrote to its standard error.
    """

    code: int
    out: SecretBytes
    err: SecretBytes


class Stopped(Exception):
    """A program did not come to its end.

    Args:
        why: The end of a sentence about it.
        late: Whether its time was over; another run may be faster.
    """

    def __init__(self, why: str, *, late: bool) -> None:
        super().__init__(why)
        self.why = why
        self.late = late


def run_command(command: list[str], timeout: float, most: int, unwanted: Callable[[], bool]) -> Ran:
    """Run a program without a terminal and without input.

    Args:
        command: The program, and its arguments.
        timeout: Seconds until it is ended.
        most: Bytes that it may write to each of its streams.
        unwanted: Whether nobody waits for it any more.

    Raises:
        Stopped: It was ended.
        OSError: It can't be started.
        ValueError: Nothing can have such a name.
    """
    until = time.monotonic() + timeout
    ended: queue.SimpleQueue[tuple[str, SecretBytes | None]] = queue.SimpleQueue()
    # In a session of its own: what it starts can be ended with it, and no terminal stops it.
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _running[process] = os.getpid()
        for name, stream in (("out", process.stdout), ("err", process.stderr)):
            threading.Thread(target=_read, args=(name, stream, most, ended), name="yagrpc-reader", daemon=True).start()
        written: dict[str, SecretBytes] = {}
        while len(written) < 2:
            with contextlib.suppress(queue.Empty):
                name, text = ended.get(timeout=_slice(until, timeout, unwanted))
                if text is None:
                    raise Stopped(f"wrote more than {most // 1024} KiB", late=False)
                written[name] = text
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(_slice(until, timeout, unwanted))
                return Ran(code, written["out"], written["err"])
    except BaseException:
        _end(process)
        raise
    finally:
        _running.pop(process, None)


_running: Final[dict[subprocess.Popen[bytes], int]] = {}
"""The programs that run, each with the process that started it: a forked child has its parent's here."""


def _slice(until: float, timeout: float, unwanted: Callable[[], bool]) -> float:
    """Seconds to wait for a program before the next check.

    Raises:
        Stopped: It is not to be waited for any longer.
    """
    if unwanted():
        raise Stopped("was ended: nobody waits for it any more", late=True)
    left = until - time.monotonic()
    if left <= 0:
        raise Stopped(f"did not end within {timeout:g} s", late=True)
    return min(SLICE, left)


def _read(name: str, stream: IO[bytes], most: int, ended: queue.SimpleQueue[tuple[str, SecretBytes | None]]) -> None:
    """Read a stream to its end; of one that is longer nothing is kept."""
    with stream:
        text = stream.read(most + 1)
    ended.put((name, SecretBytes(text) if len(text) <= most else None))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program, and what it has started; unless it was reaped, since its number may be another's then."""
    if process.returncode is None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(REAPED)


@atexit.register
def _end_all() -> None:
    for process, owner in list(_running.items()):
        if owner == os.getpid():
            _end(process)

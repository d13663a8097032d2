"""The `yc` command as a child process: however its end comes, it and all that it has started are gone, and reaped."""

from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import yagrpc
from tests.contract.test_closing import _after
from yagrpc.credentials import commands
from yagrpc.credentials.base import unless

SECONDS = 20.0
"""How long a test waits for what has to happen."""

HANGS = "sleep 600 & echo $$ $! > {0}.new; mv {0}.new {0}; wait"
"""A script that starts another program, tells both numbers, and hangs."""


@pytest.fixture
def yc(tmp_path: Path) -> Callable[[str], yagrpc.YcCli]:
    """Makes a `yc` of a script of the shell."""

    def make(script: str) -> yagrpc.YcCli:
        command = tmp_path / "yc"
        command.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        command.chmod(0o755)
        return yagrpc.YcCli(command=command)

    return make


def wait_for(path: Path) -> None:
    until = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def gone(path: Path) -> bool:
    """Whether the programs that a script has told of end; a zombie has not ended for whoever has to reap it."""
    left = [int(number) for number in path.read_text().split()]
    until = time.monotonic() + SECONDS
    while left and time.monotonic() < until:
        left = [number for number in left if _lives(number)]
        time.sleep(0.01)
    return not left


def _lives(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text("utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state[0] != "Z" or int(state[1]) == os.getpid()


def test_a_command_that_hangs_is_ended_with_all_that_it_has_started(
    yc: Callable[[str], yagrpc.YcCli], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    credentials = yc(HANGS.format(told))
    monkeypatch.setattr(commands, "time", SimpleNamespace(monotonic=lambda: 600.0 * told.exists()))
    with pytest.raises(yagrpc.UnavailableError, match=r"did not end within 500 s"):
        credentials.fetch(500.0)
    assert gone(told)


def test_a_command_that_closes_its_output_and_hangs_is_ended(
    yc: Callable[[str], yagrpc.YcCli], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    credentials = yc(f"exec >&- 2>&-; {HANGS.format(told)}")
    monkeypatch.setattr(commands, "time", SimpleNamespace(monotonic=lambda: 600.0 * told.exists()))
    with pytest.raises(yagrpc.UnavailableError, match=r"did not end within 500 s"):
        credentials.fetch(500.0)
    assert gone(told)


@pytest.mark.parametrize("stream", [1, 2])
def test_a_command_that_writes_without_end_is_ended(
    yc: Callable[[str], yagrpc.YcCli], tmp_path: Path, stream: int
) -> None:
    credentials = yc(f"echo $$ > {tmp_path}/told; exec yes >&{stream}")
    with pytest.raises(yagrpc.ConfigError, match=r"yc iam create-token' wrote more than 64 KiB"):
        credentials.fetch(SECONDS)
    assert gone(tmp_path / "told")


def test_a_fetch_that_nobody_waits_for_ends(yc: Callable[[str], yagrpc.YcCli], tmp_path: Path) -> None:
    told = tmp_path / "told"
    credentials = yc(HANGS.format(told))
    with pytest.raises(yagrpc.UnavailableError, match="nobody waits for it any more"):
        contextvars.copy_context().run(unless(told.exists, lambda: credentials.fetch(500.0)))
    assert gone(told)


def test_closing_a_client_ends_the_command(subject: Any, yc: Callable[[str], yagrpc.YcCli], tmp_path: Path) -> None:
    told = tmp_path / "told"
    client = subject.client(endpoint="127.0.0.1:1", plaintext=True, credentials=yc(HANGS.format(told)))
    calls = [lambda: client.tokenize("a"), lambda: _after(subject, lambda: wait_for(told), client.close)]
    error, closed = subject.together(calls)
    assert closed is None
    assert isinstance(error, yagrpc.ClientClosedError)
    assert gone(told)


def test_the_end_of_the_process_ends_the_command(yc: Callable[[str], yagrpc.YcCli], tmp_path: Path) -> None:
    told = tmp_path / "told"
    command = yc(HANGS.format(told))._command
    program = f"""
import contextlib, os, threading, time, yagrpc
def fetch():
    with contextlib.suppress(yagrpc.ConfigError):
        yagrpc.YcCli(command={str(command)!r}).fetch(500.0)
threading.Thread(target=fetch, daemon=True).start()
while not os.path.exists({str(told)!r}):
    time.sleep(0.01)
if os.fork() == 0:
    raise SystemExit  # the command is not this child's to end
os.wait()
os.kill(int(open({str(told)!r}).read().split()[1]), 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert gone(told)


def test_what_a_command_wrote_comes_whole(yc: Callable[[str], yagrpc.YcCli]) -> None:
    assert yc("echo a notice >&2; echo; echo notice; sleep 0.2; echo t1.token").fetch(SECONDS).value == "t1.token"

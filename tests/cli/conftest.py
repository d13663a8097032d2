"""What the tests of the command share: ways to run it, terminals to run it on, and services that it talks to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from concurrent import futures
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import click.testing
import grpc
import pytest

from yagrpc import _pb
from yagrpc.cli.program import cli
from yagrpc.emulator import Emulator

LIMIT_SECONDS = 60.0
"""For one program: far more than any needs, so that only one that hangs is killed."""

APART: Any = {"mix_stderr": False} if "mix_stderr" in signature(click.testing.CliRunner).parameters else {}
"""Keeps stdout and stderr apart, which click does by itself from its version 8.2 on."""

Responses = Callable[[Any, grpc.ServicerContext], Iterator[Any]]


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Command:
    """Runs the command in this process."""

    def __call__(self, *arguments: str, stdin: str | bytes | None = None) -> Ran:
        """Run it; an exception that is a bug is raised here."""
        ran = click.testing.CliRunner(**APART).invoke(cli, arguments, input=stdin)
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        return Ran(ran.exit_code, ran.stdout, ran.stderr)

    def done(self, *arguments: str, stdin: str | bytes | None = None) -> str:
        """Run a command that has to succeed without a message; returns its output."""
        ran = self(*arguments, stdin=stdin)
        assert (ran.code, ran.err) == (0, "")
        return ran.out

    def fails(self, code: int, *arguments: str, stdin: str | bytes | None = None) -> str:
        """Run a command that has to fail with one line and nothing else; returns that line."""
        ran = self(*arguments, stdin=stdin)
        assert (ran.code, ran.out) == (code, ""), ran
        return one_line(ran.err)


class Programs:
    """Runs the command as a separate process; a process that still runs at the end of the test is killed."""

    def __init__(self) -> None:
        self.command = [sys.executable, "-W", "error", "-m", "yagrpc"]
        self._started: list[subprocess.Popen[str]] = []

    def __call__(self, *arguments: str, stdin: str | None = None, **environment: str) -> Ran:
        """Run it until it ends."""
        ran = subprocess.run(
            [*self.command, *arguments],
            env={**os.environ, **environment},
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=LIMIT_SECONDS,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def start(self, *arguments: str, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE) -> Any:
        """Start it."""
        environment = {**os.environ, "TERM": "xterm"}
        process = subprocess.Popen(
            [*self.command, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            encoding="utf-8",
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        """Kill the processes that still run."""
        for process in self._started:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


class Terminal:
    """A terminal of 40 columns and 10 lines; `device` is what a program writes to."""

    def __init__(self) -> None:
        self._screen, self.device = pty.openpty()
        fcntl.ioctl(self.device, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 40, 0, 0))
        self._seen = b""

    def until(self, pattern: str) -> str:
        """Wait until a text is written; returns everything so far."""
        while not re.search(pattern, self._seen.decode("utf-8", "replace")):
            readable, _, _ = select.select([self._screen], [], [], LIMIT_SECONDS)
            assert readable, f"{pattern} was not written, but {self._seen!r}"
            self._seen += os.read(self._screen, 65536)
        return self._seen.decode("utf-8", "replace")

    @contextlib.contextmanager
    def as_output(self) -> Iterator[None]:
        """Make it the stdout and stderr of this process.

        Not in a fixture: pytest sets both again before the test itself.
        """
        with (
            pytest.MonkeyPatch.context() as patched,
            open(self.device, "w", encoding="utf-8", closefd=False) as stream,
        ):
            patched.setattr(sys, "stdout", stream)
            patched.setattr(sys, "stderr", stream)
            for name, value in {"TERM": "xterm", "COLUMNS": "40", "LINES": "10"}.items():
                patched.setenv(name, value)
            yield

    def rest(self) -> str:
        """Everything that was written; the end for writers is closed."""
        if self.device >= 0:
            os.close(self.device)
            self.device = -1
        try:
            while more := os.read(self._screen, 65536):
                self._seen += more
        except OSError:  # Linux reports so that the last writer has closed it
            pass
        return self._seen.decode("utf-8", "replace")

    def close(self) -> None:
        """Close both ends; a program that hangs may still have the other one open."""
        if self.device >= 0:
            os.close(self.device)
        os.close(self._screen)


def one_line(text: str) -> str:
    """The one line that stderr has to be."""
    assert text.startswith("yagrpc: ")
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return text.removeprefix("yagrpc: ").rstrip("\n")


@pytest.fixture
def command() -> Command:
    return Command()


@pytest.fixture
def programs() -> Iterator[Programs]:
    programs = Programs()
    yield programs
    programs.end()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def emulate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Emulator]]:
    """Starts an emulator, which all later calls go to."""
    started: list[Emulator] = []

    def start(**options: Any) -> Emulator:
        emulator = Emulator(**options)
        emulator.start()
        started.append(emulator)
        monkeypatch.setenv("YAGRPC_EMULATOR_HOST", emulator.address)
        return emulator

    yield start
    for emulator in started:
        emulator.stop()


@pytest.fixture
def emulator(emulate: Callable[..., Emulator]) -> Emulator:
    """An emulator whose operations are done at once."""
    return emulate(duration=0)


@pytest.fixture
def slow(emulate: Callable[..., Emulator]) -> Emulator:
    """An emulator whose answers take an hour of its clock."""
    return emulate(duration=3600, completion_duration=3600)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Responses], None]]:
    """Starts a service that answers each synchronous completion as a function says."""
    servers: list[grpc.Server] = []

    def start(responses: Responses) -> None:
        class Servicer(_pb.text_generation_service_pb2_grpc.TextGenerationServiceServicer):
            def Completion(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
                return responses(request, context)

        server = grpc.server(futures.ThreadPoolExecutor(2))
        _pb.text_generation_service_pb2_grpc.add_TextGenerationServiceServicer_to_server(Servicer(), server)
        monkeypatch.setenv("YAGRPC_EMULATOR_HOST", f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        server.start()
        servers.append(server)

    yield start
    for server in servers:
        server.stop(None).wait()


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An endpoint on loopback that does not answer; its port is in use, so that no other program gets it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def body(tmp_path: Path) -> Path:
    """A file with the body of the service's REST guide."""
    path = tmp_path / "body.json"
    path.write_text(
        """{
  "modelUri": "gpt://b1g/yandexgpt/latest",
  "completionOptions": {"stream": false, "temperature": 0.1, "maxTokens": "2000"},
  "messages": [
    {"role": "system", "text": "Переведи текст"},
    {"role": "user", "text": "To be, or not to be"}
  ]
}
""",
        encoding="utf-8",
    )
    return path

"""On a terminal: what shows while the command waits, texts that change, and no control over the terminal."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.contract.raw import RawServer, refusing
from yagrpc import Chunk, _pb
from yagrpc.cli.bulk.show import Shown
from yagrpc.cli.io.failures import report
from yagrpc.cli.io.growing import GrowingText
from yagrpc.cli.io.output import Waiting, note, print_json, print_text
from yagrpc.emulator import Emulator
from yagrpc.errors import UnavailableError
from yagrpc.foreign import UNSAFE

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Programs, Terminal


def shown(*texts: str) -> None:
    with GrowingText() as growing:
        previous = ""
        for text in texts:
            message = _pb.text_common_pb2.Message(role="assistant", text=text)
            alternative = _pb.text_common_pb2.Alternative(message=message)
            response = _pb.text_generation_service_pb2.CompletionResponse(alternatives=[alternative])
            growing.show(Chunk(response, previous))
            previous = text


@pytest.mark.parametrize(
    ("before", "start"),
    [
        ("To be", "\r\x1b[J"),
        ("To be\nor not", "\x1b[1A\r\x1b[J"),
        ("x" * 40, "\r\x1b[J"),
        ("x" * 41, "\x1b[1A\r\x1b[J"),
        ("语" * 21, "\x1b[1A\r\x1b[J"),
        ("\t" * 6, "\x1b[1A\r\x1b[J"),
        ("\n" * 9, "\x1b[9A\r\x1b[J"),
        ("\n" * 10, "\n"),
    ],
)
def test_a_revised_text_takes_the_place_of_the_one_before(terminal: Terminal, before: str, start: str) -> None:
    with terminal.as_output():
        shown(before, "To sleep", "To sleep!")
    expected = f"{before}{start}To sleep!\n".replace("\n", "\r\n")
    assert terminal.rest() == expected


def test_a_text_can_not_command_the_terminal(terminal: Terminal) -> None:
    with terminal.as_output():
        print_text("a\x1b]0;title\x07b\x9b2Jc\rd\te")
    assert terminal.rest() == "a\ufffd]0;title\ufffdb\ufffd2Jc\ufffdd\te\r\n"


HOSTILE = "a\x1b]0;title\x07b\x9b2J\rc\x08\u202edcba\u2066\u200b\ufeff\U000e0041\u2028end"
"""Sets the title, clears the screen, writes over itself, and hides or turns what it says."""


def test_a_text_hides_nothing_on_a_terminal(terminal: Terminal) -> None:
    with terminal.as_output():
        print_text("abc\u202efed\u2066\u200b\ufeff\U000e0041\u2028end")
    assert terminal.rest() == "abc\ufffdfed" + 5 * "\ufffd" + "end\r\n"


def test_json_writes_what_a_terminal_must_not_get_as_escapes(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    value = {HOSTILE: [HOSTILE, "привет", "\x7f"]}
    print_json(value)
    written = capsys.readouterr().out
    with terminal.as_output():
        print_json(value)
    for text in (written, terminal.rest().replace("\r\n", "\n")):
        assert re.search(UNSAFE, text) is None
        assert "привет" in text
        assert json.loads(text) == value


def test_stderr_gets_single_safe_lines_wherever_it_leads(capsys: pytest.CaptureFixture[str]) -> None:
    note(f"yagrpc: {HOSTILE}")
    assert report(UnavailableError(f"{HOSTILE}\nyagrpc: forged")) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert not [line for line in lines if re.search(UNSAFE, line) or line.startswith("yagrpc: forged")]


def test_the_progress_shows_nothing_of_what_it_waits_for_that_is_unsafe(terminal: Terminal) -> None:
    with terminal.as_output(), Waiting(f"waiting for {HOSTILE}"):
        terminal.until("waiting for a")
    shown = terminal.rest()
    assert "\x07" not in shown
    assert "title" not in re.findall(r"\x1b\][^\x07]*", shown)
    assert not set("\x9b\u202e\u2066\u200b\ufeff\u2028") & set(shown)


@pytest.mark.parametrize("hidden", ["\r", "\x1b", "\x08", "\u202e", "\u200b", "\x0b", "\u2028"])
def test_a_revised_text_counts_the_rows_that_are_shown(terminal: Terminal, hidden: str) -> None:
    """A text that seems shorter or longer than it is would have lines of others overwritten."""
    with terminal.as_output():
        shown(hidden * 41, "To sleep")
    assert terminal.rest() == 41 * "\ufffd" + "\x1b[1A\r\x1b[JTo sleep\r\n"


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> Iterator[RawServer]:
    """A server that answers as hostile ones might; all calls go there."""
    server = RawServer()
    packed = _pb.any_pb2.Any(type_url=f"type.googleapis.com/{HOSTILE}", value=b"x")
    failed = _pb.operation_pb2.Operation(id="d7qfailed", done=True, description=HOSTILE, metadata=packed)
    failed.error.code, failed.error.message = 9, f"{HOSTILE}\nyagrpc: forged"
    typed = _pb.operation_pb2.Operation(id="d7qtyped", done=True, description=HOSTILE, response=packed)
    message = _pb.text_common_pb2.Message(role=HOSTILE, text=HOSTILE)
    alternative = _pb.text_common_pb2.Alternative(message=message)
    answer = _pb.text_generation_service_pb2.CompletionResponse(alternatives=[alternative], model_version=HOSTILE)
    spoken = _pb.operation_pb2.Operation(id="d7qspoken", done=True, description=f"{HOSTILE}\nyagrpc: forged")
    spoken.response.Pack(answer)
    known = {each.id: each for each in (failed, typed, spoken)}

    def get(request: bytes, context: grpc.ServicerContext) -> bytes:
        wanted = _pb.operation_service_pb2.GetOperationRequest.FromString(request).operation_id
        return known[wanted].SerializeToString()

    def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield answer.SerializeToString()

    server.answers = {"Get": get, "Cancel": get, "Tokenize": refusing(grpc.StatusCode.UNKNOWN, f"{HOSTILE}\nforged")}
    server.streams["Completion"] = stream
    monkeypatch.setenv("YAGRPC_EMULATOR_HOST", server.address)
    yield server
    server.stop()


PROGRAMS: list[tuple[tuple[str, ...], int]] = [
    (("operation", "get", "d7qfailed"), 0),
    (("operation", "get", "d7qspoken"), 0),
    (("operation", "get", "d7qspoken", "--json"), 0),
    (("operation", "wait", "d7qfailed"), 1),
    (("operation", "wait", "d7qtyped"), 1),
    (("operation", "wait", "d7qspoken"), 0),
    (("operation", "wait", "d7qfailed", "--json"), 1),
    (("operation", "cancel", "d7qfailed"), 0),
    (("operation", "get", "d7q\x1b[2J\u202e"), 2),
    (("completion", "hi"), 0),
    (("completion", "hi", "--json"), 0),
    (("stream", "hi"), 0),
    (("tokenize", "hi"), 1),
    (("call", "OperationService/Get", "--request", "\x1b[2J\u202enone"), 2),
    (("call", "\x1b[2J\u202enone"), 2),
    (("\x1b[2J\u202e",), 2),
    (("tokenize", "hi", "--timeout", "\x1b[2J\u202e"), 2),
    (("doctor", "--timeout", "5"), 1),
]


@pytest.mark.parametrize(("arguments", "code"), PROGRAMS)
def test_no_program_lets_a_text_command_the_terminal(
    programs: Programs, raw: RawServer, terminal: Terminal, arguments: tuple[str, ...], code: int
) -> None:
    process: Any = programs.start(*arguments, stdout=terminal.device, stderr=terminal.device)
    assert process.wait(timeout=60) == code
    written = re.sub(r"\x1b\[(\?25[lh]|2K|1A|[0-9;]*m)", "", terminal.rest().replace("\r\n", "\n"))  # of the progress
    assert re.search(UNSAFE, written.replace("\r", "")) is None, written
    assert not [line for line in written.splitlines() if line.startswith(("yagrpc: forged", "forged"))]


@pytest.mark.parametrize(("arguments", "code"), [program for program in PROGRAMS if program[1]])
def test_no_program_forges_a_line_of_stderr(
    programs: Programs, raw: RawServer, arguments: tuple[str, ...], code: int
) -> None:
    ran = programs(*arguments)
    assert ran.code == code
    assert re.search(UNSAFE, ran.err) is None
    assert len(ran.err.splitlines()) == (0 if arguments[0] == "doctor" else 1)


def test_a_pipe_gets_a_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("a\x1b[31mb")
    assert capsys.readouterr().out == "a\x1b[31mb\n"


def test_waiting_shows_on_a_terminal_and_leaves_nothing(terminal: Terminal) -> None:
    with terminal.as_output(), Waiting("waiting for [operation] d7q"):
        terminal.until("waiting")
    out = terminal.rest()
    assert "waiting for [operation]" in out
    assert out.endswith("\x1b[2K")


class Interrupting:
    """A terminal to which something is written when Ctrl-C comes."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal
        self._interrupts = True

    def write(self, text: str) -> None:
        self._terminal.write(text)
        if self._interrupts:
            self._interrupts = False
            signal.raise_signal(signal.SIGINT)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)


@pytest.mark.parametrize("progress", [lambda: Waiting("waiting"), Shown])
def test_an_interrupt_while_a_progress_starts_ends_it(
    progress: Any, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {*threading.enumerate()}
    with terminal.as_output():
        monkeypatch.setattr(sys, "stderr", Interrupting(sys.stderr))
        with pytest.raises(KeyboardInterrupt):
            progress().__enter__()
        note("interrupted")
    assert terminal.rest().endswith("interrupted\r\n")
    assert "\x1b[?25h" in terminal.rest()  # the cursor shows again
    started = {*threading.enumerate()} - before
    for thread in started:  # asked to end, and perhaps amid its last step
        thread.join(60)
    assert not any(thread.is_alive() for thread in started)


def test_waiting_is_silent_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with Waiting("waiting"):
        pass
    assert capsys.readouterr() == ("", "")


def test_an_interrupt_is_reported_on_its_own_line(terminal: Terminal) -> None:
    with terminal.as_output():
        assert report(KeyboardInterrupt()) == 130
    assert terminal.rest() == "\r\nyagrpc: interrupted\r\n"


def test_a_collection_shows_how_far_it_is_on_a_terminal(
    programs: Programs, slow: Emulator, terminal: Terminal, command: Command, tmp_path: Path
) -> None:
    ids = tmp_path / "ids.txt"
    early = command.done("submit", "hi", "--id")
    slow.advance(3600)
    ids.write_text(early + command.done("submit", "hi", "--id"))
    process = programs.start(
        "operation", "collect", "--ids", str(ids), "-o", str(tmp_path / "out.jsonl"), stderr=terminal.device
    )
    terminal.until("1 of 2 operations")
    slow.advance(3600)
    assert process.wait(60) == 0
    assert "2 operations: 2 done" in terminal.until("2 done")


def test_a_program_shows_that_it_waits_on_a_terminal(
    programs: Programs, slow: Emulator, terminal: Terminal, command: Command
) -> None:
    operation_id = command.done("submit", "hi", "--id").rstrip("\n")
    process = programs.start("operation", "wait", operation_id, stderr=terminal.device)
    terminal.until("waiting for operation")
    slow.advance(3600)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.startswith('You wrote: "hi".')
    assert "\x1b" not in out


def test_a_program_is_silent_in_a_pipe(programs: Programs, emulator: Emulator, command: Command) -> None:
    operation_id = command.done("submit", "hi", "--id").rstrip("\n")
    ran = programs("operation", "wait", operation_id, FORCE_COLOR="1", TTY_COMPATIBLE="1")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith('You wrote: "hi".')

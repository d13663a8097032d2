"""On a terminal: what shows while the command waits, texts that change, and no control over the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from yagrpc import Chunk, _pb
from yagrpc.cli.io.failures import report
from yagrpc.cli.io.growing import GrowingText
from yagrpc.cli.io.output import print_text, waiting
from yagrpc.emulator import Emulator

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


def test_a_pipe_gets_a_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("a\x1b[31mb")
    assert capsys.readouterr().out == "a\x1b[31mb\n"


def test_waiting_shows_on_a_terminal_and_leaves_nothing(terminal: Terminal) -> None:
    with terminal.as_output(), waiting("waiting for [operation] d7q"):
        terminal.until("waiting")
    out = terminal.rest()
    assert "waiting for [operation]" in out
    assert out.endswith("\x1b[2K")


def test_waiting_is_silent_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("waiting"):
        pass
    assert capsys.readouterr() == ("", "")


def test_an_interrupt_is_reported_on_its_own_line(terminal: Terminal) -> None:
    with terminal.as_output():
        assert report(KeyboardInterrupt()) == 130
    assert terminal.rest() == "\r\nyagrpc: interrupted\r\n"


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

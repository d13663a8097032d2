"""The one writer of both streams, and the progress that a terminal shows while the command waits.

Rules: results go to stdout exactly as they are. A terminal is the exception: it gets no character that may control it
or hide a text, since a model's text must not. stderr gets no such character wherever it leads. Progress is shown on
terminals only. A result that can't be written is an error; a message on stderr that can't be written stops nothing, and
fails the command in the end (`lost_messages`).
"""

from __future__ import annotations

import errno
import json
import os
import re
import select
import sys
from collections.abc import Callable
from typing import Any, TextIO

import click

from yagrpc._grpc.waits.signals import SignalsHeld
from yagrpc.foreign import UNSAFE, cleaned, for_terminal

__all__ = [
    "Waiting",
    "check_output",
    "is_terminal",
    "lost_messages",
    "note",
    "print_json",
    "print_styled",
    "print_text",
    "settled",
    "write",
]


def check_output() -> None:
    """Check that stdout can be written: called before anything is sent, since an answer that is lost may be billed.

    That a disk is full is not found in this way.

    Raises:
        OSError: stdout is closed, can't be written, or has lost its reader.
    """
    if sys.stdout is None:  # Python starts so when stdout is closed
        raise OSError(errno.EBADF, "standard output is closed")
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, AttributeError):
        return  # an object in place of a file
    try:
        os.write(descriptor, b"")
    except OSError as error:
        if error.errno == errno.EBADF:  # it is open for reading only
            raise
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, 0)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            raise BrokenPipeError(errno.EPIPE, "nobody reads standard output")


def write(text: str) -> None:
    """Write text to stdout, and flush it.

    Raises:
        OSError: stdout can't be written, or is closed.
    """
    if sys.stdout is None:  # Python starts so when stdout is closed
        raise OSError(errno.EBADF, "standard output is closed")
    sys.stdout.write(_fitting(text))
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Write a text and a newline to stdout.

    Raises:
        OSError: stdout can't be written, or is closed.
    """
    write(f"{text}\n")


def print_styled(*parts: tuple[str, str]) -> None:
    """Write texts and a newline to stdout; on a terminal that shows colours, each text in its style.

    Args:
        *parts: Texts, each with a style as rich names it, such as `bold red`; `""` is no style.

    Raises:
        OSError: stdout can't be written, or is closed.
    """
    if not is_terminal(sys.stdout):
        print_text("".join(text for text, _ in parts))
        return
    from rich.console import Console
    from rich.text import Text

    # rich leaves the colours out for a terminal without any, and if NO_COLOR is set.
    Console(highlight=False, soft_wrap=True).print(Text.assemble(*((_fitting(text), style) for text, style in parts)))


def print_json(value: Any, *, one_line: bool = False) -> None:
    """Write a JSON value to stdout.

    Args:
        value: The value.
        one_line: Whether the value takes one line; otherwise it is indented for people.

    Raises:
        OSError: stdout can't be written, or is closed.
    """
    encoding = sys.stdout.encoding if sys.stdout is not None else None
    unicode = (encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(value, ensure_ascii=not unicode, indent=None if one_line else 2)
    print_text(re.sub(UNSAFE, _escaped, text))


def note(text: str) -> None:
    """Write a line to stderr; if it can't be written, it is counted."""
    try:
        click.echo(for_terminal(text), err=True)
    except OSError:
        _Lost.messages += 1


def lost_messages() -> int:
    """How many lines of `note` could not be written so far in this process."""
    return _Lost.messages


class _Lost:
    messages = 0


def settled(stream: TextIO | None) -> bool:
    """Whether all that was written to stdout or stderr has reached it.

    What has not is discarded, so that the interpreter does not write it again, and fail, when it ends.

    Args:
        stream: `sys.stdout` or `sys.stderr`.
    """
    if stream is None:  # Python starts so when it is closed
        return True
    try:
        stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        return False
    return True


class Waiting:
    """A block in which a terminal, if stderr is one, shows what the command waits for and since how long.

    It is no generator: Python may raise an interrupt between the step of one and the block, which would leave the
    progress running. Its thread would then draw over the message.

    Args:
        text: What it waits for; as a context manager it gives a function that shows another text in its place.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._progress: Any = None

    def __enter__(self) -> Callable[[str], None]:
        if is_terminal(sys.stderr):
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
            console = Console(stderr=True)
            progress = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
            self._task = progress.add_task(cleaned(self._text), total=None)
            self._progress = progress
            try:
                with SignalsHeld():  # what was interrupted amid its start can't be stopped
                    progress.start()
            except BaseException:  # of a signal
                progress.stop()
                raise
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _show(self, text: str) -> None:
        if self._progress is not None:
            self._progress.update(self._task, description=cleaned(text))


def _fitting(text: str) -> str:
    """A text as stdout can take it: in its encoding, and on a terminal without control characters."""
    encoding = sys.stdout.encoding or "utf-8"
    # If the encoding lacks a character, an escape sequence is better than no answer.
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    return for_terminal(text) if is_terminal(sys.stdout) else text


def _escaped(found: re.Match[str]) -> str:
    """A character in JSON's own way; outside of texts, JSON has none that is unsafe."""
    character = found[0]
    return f"\\u{ord(character):04x}" if character.isascii() else json.dumps(character)[1:-1]


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is open and is a terminal."""
    return stream is not None and stream.isatty()

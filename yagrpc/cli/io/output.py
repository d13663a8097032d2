"""What a command writes, and what a terminal shows meanwhile.

Rules: results go to stdout exactly as they are, but for a terminal, which gets no control characters: a model's
text must not be able to command it. What shows that a command is waiting appears on terminals only.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO

__all__ = ["is_terminal", "print_json", "print_text", "waiting", "write"]

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def write(text: str) -> None:
    """Write to stdout, at once.

    Raises:
        OSError: It can't be written.
    """
    if sys.stdout is None:  # that is how Python starts where stdout is closed
        raise OSError(errno.EBADF, "standard output is closed")
    encoding = sys.stdout.encoding or "utf-8"
    # Where the encoding is not Unicode, an escape is better than no answer.
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    sys.stdout.write(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text) if is_terminal(sys.stdout) else text)
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Write a text and a newline to stdout."""
    write(f"{text}\n")


def print_json(value: Any, *, one_line: bool = False) -> None:
    """Write a JSON value to stdout, on one line or indented for people."""
    encoding = sys.stdout.encoding if sys.stdout is not None else None
    unicode = (encoding or "utf-8").lower().startswith("utf")
    print_text(json.dumps(value, ensure_ascii=not unicode, indent=None if one_line else 2))


@contextlib.contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show on a terminal that something is waited for, and for how long; elsewhere nothing."""
    if not is_terminal(sys.stderr):
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as progress:
        progress.add_task(text, total=None)
        yield


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is there, and is a terminal."""
    return stream is not None and stream.isatty()

"""How far a run is, on stderr: a bar on a terminal, a plain line now and then elsewhere.

Rules: nothing is shown twice, and there is no colour and no control character where there is no terminal.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from yagrpc._grpc.waits.signals import SignalsHeld
from yagrpc.cli.io.output import is_terminal, note

if TYPE_CHECKING:
    from yagrpc.bulk.decisions.progress import Progress

__all__ = ["Shown"]

EVERY: Final = 10.0
"""Seconds between two lines, where there is no terminal."""


class Shown:
    """Shows how far a run is; use it in a `with` block, and call it with each view."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._next = time.monotonic() + EVERY
        self.last: Progress | None = None

    def __enter__(self) -> Shown:
        if is_terminal(sys.stderr):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (BarColumn(20), TextColumn("{task.description}", markup=False))
            console = Console(stderr=True)
            self._bar = Progress(
                *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._task = self._bar.add_task("", total=None)
            try:
                with SignalsHeld():  # what was interrupted amid its start can't be stopped
                    self._bar.start()
            except BaseException:  # of a signal: its thread would draw over the message
                self._bar.stop()
                raise
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show one view."""
        self.last = progress
        if self._bar is not None:
            self._bar.update(self._task, total=progress.total, completed=progress.ended, description=progress.line())
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            note(f"yagrpc: {progress.line()}")

    def say(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            note(text)

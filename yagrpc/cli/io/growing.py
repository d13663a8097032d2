"""Text on stdout that is written while the model generates it, and that may still change."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from yagrpc.cli.io.output import is_terminal, write
from yagrpc.foreign import for_terminal

if TYPE_CHECKING:
    from yagrpc.results import Chunk

__all__ = ["GrowingText"]


class GrowingText:
    """A text that is written while it grows; the end of the `with` block ends its line.

    If text that is already written changes, a terminal shows the new text in the same place, as long as the old one
    is still on the screen. Anything else, such as a pipe, gets the whole text again on a new line.
    """

    def __init__(self) -> None:
        self._shown = ""

    def show(self, chunk: Chunk) -> None:
        """Write what a chunk adds to the text."""
        if chunk.revised:
            self._restart()
            write(chunk.text)
        else:
            write(chunk.delta)
        self._shown = chunk.text

    def __enter__(self) -> GrowingText:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._shown:
            write("\n")

    def _restart(self) -> None:
        if is_terminal(sys.stdout):
            columns, lines = shutil.get_terminal_size()
            rows = _rows(for_terminal(self._shown), columns)
            if rows < lines:
                up = f"\x1b[{rows}A" if rows else ""
                sys.stdout.write(f"{up}\r\x1b[J")
                return
        write("\n")


def _rows(text: str, columns: int) -> int:
    """The number of rows of a terminal between the first and the last row of a text."""
    from rich.cells import cell_len

    wrapped = sum(max(0, cell_len(line.expandtabs(8)) - 1) // columns for line in text.split("\n"))
    return wrapped + text.count("\n")

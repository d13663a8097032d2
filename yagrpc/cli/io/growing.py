"""A text on stdout that grows, and may change while it does."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from yagrpc.cli.io.output import is_terminal, write

if TYPE_CHECKING:
    from yagrpc.results import Chunk

__all__ = ["GrowingText"]


class GrowingText:
    """A text that is written as it grows; leaving the `with` block ends its line.

    Where text already written has changed, a terminal gets it anew in the same place, if it is still on the screen;
    elsewhere the whole text begins again on a new line.
    """

    def __init__(self) -> None:
        self._shown = ""

    def show(self, chunk: Chunk) -> None:
        """Write what a chunk adds."""
        if chunk.revised:
            self._start_again()
            write(chunk.text)
        else:
            write(chunk.delta)
        self._shown = chunk.text

    def __enter__(self) -> GrowingText:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._shown:
            write("\n")

    def _start_again(self) -> None:
        if is_terminal(sys.stdout):
            columns, lines = shutil.get_terminal_size()
            rows = _rows(self._shown, columns)
            if rows < lines:
                up = f"\x1b[{rows}A" if rows else ""
                sys.stdout.write(f"{up}\r\x1b[J")
                return
        write("\n")


def _rows(text: str, columns: int) -> int:
    """How many rows of a terminal below its first a text ends."""
    from rich.cells import cell_len

    wrapped = sum(max(0, cell_len(line.expandtabs(8)) - 1) // columns for line in text.split("\n"))
    return wrapped + text.count("\n")

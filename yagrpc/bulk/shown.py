"""How far a run of Python's is shown, where its user says `progress=True`: as tqdm does.

Rules: in a notebook it is one display, which is updated in place; on a terminal one line, which is written over;
elsewhere a line now and then, and the last view. Nothing but IPython's own `display` is needed in a notebook: where a
front end shows no HTML, or the notebook becomes a text, the line stands there.
"""

from __future__ import annotations

import sys
import time
from html import escape
from typing import Any, Final, Protocol

from yagrpc.bulk.decisions.progress import Progress

EVERY: Final = 10.0
"""Seconds between two lines, where there is neither a notebook nor a terminal."""


class Shown(Protocol):
    """Shows how far a run is."""

    def __call__(self, progress: Progress) -> None:
        """Show one view."""
        ...

    def close(self) -> None:
        """The run has ended."""
        ...


def shown_here() -> Shown:
    """What suits the place where the run is."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return NotebookLine() if getattr(shell, "kernel", None) is not None else TextLine()


class NotebookLine:
    """A bar in the output of a notebook's cell."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, progress: Progress) -> None:
        """Show one view."""
        from IPython.display import display

        line = progress.bar()
        of = "" if progress.total is None else f' value="{progress.ended}" max="{max(1, progress.total)}"'
        bundle = {
            "text/plain": line,
            "text/html": f"<div><progress{of}></progress> <code>{escape(progress.bar(0))}</code></div>",
        }
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)

    def close(self) -> None:
        """The last view stays."""


class TextLine:
    """A line on stderr."""

    def __init__(self) -> None:
        self._over = sys.stderr is not None and sys.stderr.isatty()
        self._next = time.monotonic() + EVERY
        self._last = ""
        self._width = 0

    def __call__(self, progress: Progress) -> None:
        """Show one view."""
        self._last = progress.bar()
        if self._over:
            sys.stderr.write(f"\r{self._last:<{self._width}}")
            sys.stderr.flush()
            self._width = len(self._last)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            self._write_last()

    def close(self) -> None:
        """Leave the last view."""
        if self._over and self._width:
            sys.stderr.write("\n")
        elif not self._over and self._last:
            self._write_last()

    def _write_last(self) -> None:
        if sys.stderr is not None:
            print(self._last, file=sys.stderr, flush=True)
        self._last = ""

"""Ctrl-C at a moment when it would lose something: while an rpc starts, it runs and no code can cancel it yet.

Rules: only SIGINT, and only in the main thread, where Python raises its exception; it is raised a moment later.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class InterruptsHeld:
    """A block that Ctrl-C does not end in its middle: the handler is called at its end."""

    __slots__ = ("_came", "_handler")

    def __enter__(self) -> None:
        self._came: list[tuple[int, FrameType | None]] = []
        self._handler: Any = None
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and callable(handler := signal.getsignal(signal.SIGINT)):
            self._handler = handler
            signal.signal(signal.SIGINT, lambda *came: self._came.append(came))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._handler is None:
            return
        signal.signal(signal.SIGINT, self._handler)
        if self._came:
            self._handler(*self._came[0])

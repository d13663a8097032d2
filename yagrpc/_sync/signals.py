"""Signals at a moment when they would lose something: while an rpc starts, it runs and nobody can cancel it yet.

Rules: only signals that programs handle in Python, and only in the main thread, where Python calls their handlers; a
handler is called a moment later, and may raise then.
"""

from __future__ import annotations

import signal
import threading
from types import TracebackType
from typing import Any, Final

HELD: Final = tuple(
    number
    for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGHUP")
    if (number := getattr(signal, name, None)) is not None
)
"""Signals whose handlers often raise: Ctrl-C, the end of a process, alarms, the time limits of task queues."""


class SignalsHeld:
    """A block that no handler of a signal interrupts: the handler is called at its end."""

    __slots__ = ("_came", "_handlers")

    def __enter__(self) -> None:
        self._came: list[tuple[int, Any]] = []
        self._handlers: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            try:
                for number in HELD:
                    if callable(handler := signal.getsignal(number)):
                        self._handlers[number] = handler
                        signal.signal(number, lambda *came: self._came.append(came))
            except BaseException:  # of a handler whose turn had not come: the others must not stay replaced
                self._restore()
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()
        for number, frame in self._came:
            self._handlers[number](number, frame)

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

"""Handlers that run in the background, after their rpc was answered: how many may, and who each works for.

Rules: no I/O, no threads and no event loop; any thread may call.
"""

from __future__ import annotations

from typing import Final

from yagrpc.context import CURRENT, Caller
from yagrpc.errors import ConfigError, ServerBusyError
from yagrpc.hiding import shown
from yagrpc.quantities import number

MOST_RUNNING: Final = 1000
"""Handlers that run at once, those that wait for a thread included."""


class Running:
    """The handlers that run, or wait for a thread: the caller of each, by the id of its operation.

    Args:
        most: How many may.

    Raises:
        ConfigError: That is no number.
    """

    def __init__(self, most: int) -> None:
        self._most = one_or_more("most_running", most)
        self._callers: dict[str, Caller] = {}

    def __len__(self) -> int:
        return len(self._callers)

    def begin(self, operation_id: str, *, resumed: bool = False) -> Caller:
        """Have one more; one that is `resumed` after a restart is not refused.

        Raises:
            ServerBusyError: There are too many.
        """
        caller = self._callers[operation_id] = _worker()
        if len(self) > self._most and not resumed:
            self.end(operation_id)
            raise ServerBusyError(self._most)
        return caller

    def end(self, operation_id: str) -> None:
        """One has ended."""
        self._callers.pop(operation_id, None)

    def leave(self, operation_id: str | None = None) -> None:
        """Nobody waits for a handler any more, and it is notified; `None` for all of them."""
        for caller in list(self._callers.values()) if operation_id is None else [self._callers.get(operation_id)]:
            if caller is not None:
                caller.leave()


def _worker() -> Caller:
    """The caller for whom a handler works that has answered already: it has a trace, and no deadline."""
    caller = CURRENT.get()
    return Caller() if caller is None else Caller(request_id=caller.request_id, metadata=caller.metadata)


def one_or_more(name: str, value: object) -> int:
    """The number of a setting, which is a whole one.

    Raises:
        ConfigError: It is none, or below 1.
    """
    found = number(value, whole=True)
    if found is None or found < 1:
        raise ConfigError(f"{name} is {shown(value)}: it takes a number, 1 or more")
    return int(found)

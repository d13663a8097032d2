"""The rows of a run, reported to those subscribers of its client that ask for them, such as telemetry.

Rules: where nobody asks, nothing is created and nothing kept. A row is one from its first attempt to its end, in this
run. Its requests and Gets are in the context (`contextvars`) that a subscriber has given it; it starts in that of the
run, whatever runs when it is taken up.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from yagrpc._core.events import Row
from yagrpc.context import CURRENT

if TYPE_CHECKING:
    from yagrpc._core.call.call import Call
    from yagrpc._core.events import Hub
    from yagrpc.journal.changes import Fixed


class ReportedRows:
    """The rows of one run that are taken up now.

    Args:
        events: The subscribers.
    """

    def __init__(self, events: Hub) -> None:
        self._events = events
        self._within = contextvars.copy_context() if events.rows else None
        self._caller = CURRENT.get()
        self._rows: dict[int, Row] = {}

    def start(self, fixed: Fixed) -> None:
        """A row is taken up; where it was before, it is the same."""
        if self._within is not None and fixed.number not in self._rows:
            row = self._rows[fixed.number] = Row(fixed.number, fixed.id, self._caller, self._within)
            self._events.row_started(row)

    def place(self, call: Call[Any, Any], number: int) -> None:
        """Have a call run in the context of its row."""
        if (row := self._rows.get(number)) is not None:
            call.within = row.within

    def run(self, number: int, operation_id: str, function: Callable[[], object]) -> None:
        """Call a function in the context of a row, whose operation is known now."""
        if (row := self._rows.get(number)) is None:
            function()
            return
        row.operation_id = operation_id
        row.within.copy().run(function)

    def end(self, number: int, outcome: str, attempts: int, error: str) -> None:
        """A row has ended."""
        if (row := self._rows.pop(number, None)) is not None:
            self._events.row_ended(row, str(outcome), attempts, error)

    def close(self) -> None:
        """The run ends before its rows do."""
        while self._rows:
            _, row = self._rows.popitem()
            self._events.row_ended(row, "", 0, "")

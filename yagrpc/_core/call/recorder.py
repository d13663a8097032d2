"""What records a generation where the record outlives the process, and what a flow can wait for.

Rules: what may be billed is recorded before it is sent, and the wait for the record comes after that for a slot, so
that a process that is killed leaves few calls behind of which nobody knows whether they were sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Wakeable(Protocol):
    """What a flow can wait for: something that another thread or task wakes."""

    woken: bool
    wake: Callable[[], object] | None


class Recorder(Protocol):
    """Keeps what happens to one generation where it outlives the process, such as in a journal."""

    def begin(self) -> Wakeable:
        """An attempt is about to be sent: record that; gives what is woken once the record is durable."""
        ...

    def check(self) -> None:
        """Check that the record is durable; what this raises stops the call, with nothing sent."""

    def refused(self, code: str) -> None:
        """It is proved that the attempt started nothing, and another follows.

        Args:
            code: The name of the status code.
        """

    def accepted(self, operation_id: str) -> None:
        """The service accepted the operation; it is not called for a synchronous completion. It raises nothing."""

"""The service can't be reached: rows are sent later, after pauses that grow, until the run's patience ends.

Rules: an outage says nothing of a row. What it is known by is that a call could not be sent; what ends it, that one
was answered.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from yagrpc.bulk.decisions.outcomes import is_outage
from yagrpc.errors import QuotaWaitError, YagrpcError

PATIENCE: Final = 600.0
"""Seconds after which a run ends that has not reached the service."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0


class Outage:
    """When the service was last reached."""

    def __init__(self) -> None:
        self.note = ""
        """What is said of an outage; empty while there is none."""
        self._contact = time.monotonic()

    def reached(self) -> None:
        """The service has answered."""
        self._contact = time.monotonic()
        self.note = ""

    def progressed(self) -> None:
        """Rows have ended: the run is patient anew. That need not end an outage, since they may be invalid ones."""
        self._contact = time.monotonic()

    def puts_off(self, error: YagrpcError) -> bool:
        """Whether a row that could not be sent is sent later.

        Args:
            error: Why it could not be sent.

        Raises:
            YagrpcError: The service could not be reached for too long.
        """
        if isinstance(error, QuotaWaitError):
            return True
        if not is_outage(error):
            return False
        if time.monotonic() - self._contact > PATIENCE:
            raise error
        self.note = f"the service can't be reached, tried again: {error.message}"
        return True


def pauses() -> Iterator[float]:
    """The pauses before each next try of one row, in seconds."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)

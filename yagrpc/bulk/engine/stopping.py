"""Why and when a run ends: because nothing is left, or stopped by its user, a limit, or what is wrong with every row.

Rules: a run that is stopped sends no more rows. It then waits for operations that run: for all of them, or a moment for
those that are near their end. What it leaves, a later run waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

GRACE: Final = 10.0
"""Seconds for which a run that is stopped waits for operations that are near their end."""


class Stopping:
    """The end of one run, in one event loop.

    Args:
        stopped: Called once the run is stopped.
    """

    def __init__(self, stopped: Callable[[], object]) -> None:
        self.reason = ""
        """Why no more rows are sent; empty while they are."""
        self.error: Exception | None = None
        """What is wrong with every row; `None` for nothing."""
        self._stopped = stopped
        self._patience: float | None = None
        self._aborted = False
        self._asked, self._over, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def stop(self, reason: str, *, finish: bool = False) -> None:
        """Send no more rows.

        Args:
            reason: Why.
            finish: Whether all operations that run are waited for; else those that are near their end.
        """
        if self.reason:
            if not finish:
                asyncio.get_running_loop().call_later(GRACE, self._idle.set)
            return
        self.reason, self._patience = reason, None if finish else GRACE
        self._asked.set()
        self._stopped()

    @property
    def limited(self) -> bool:
        """Whether a limit of the run itself has stopped it, such as that of its cost."""
        return bool(self.reason) and self._patience is None

    def fail(self, error: Exception) -> None:
        """Stop by what is wrong with every row; the first such error is the run's."""
        if self.error is None:
            self.error = error
        self.stop(str(error) or type(error).__name__)

    def abort(self) -> None:
        """End at once."""
        self._aborted = True
        self.stop("aborted")
        self._over.set()
        self._idle.set()

    def check(self, *, running: int, unattached: int) -> None:
        """See whether the run is over; called whenever less is left, and no row is being sent.

        Args:
            running: Operations that are waited for.
            unattached: Operations of earlier runs that are not waited for yet.
        """
        if self._aborted or not running:
            self._idle.set()
        if self.reason or not (running or unattached):
            self._over.set()

    async def pause(self, seconds: float) -> None:
        """Let some seconds pass, unless the run is stopped meanwhile."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._asked.wait(), seconds)

    async def wait(self) -> None:
        """Wait until no more rows are sent, and all operations have ended unless the run was stopped."""
        await self._over.wait()

    async def wait_for_rest(self) -> None:
        """Wait for operations that run, after the run was stopped."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), self._patience)

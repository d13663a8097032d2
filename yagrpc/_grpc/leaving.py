"""What both shells do with a submit whose caller has left: cancelled, interrupted, or out of time.

The service may still accept it, and its operation id arrives with the answer alone. So the attempt is
completed in the background, for a while. Closing the client waits for that, for a moment, and so does the end of the
process where the client is not closed; what has not ended by then is reported as a submit that may have been accepted.
"""

from __future__ import annotations

import atexit
import weakref
from typing import Final, Protocol

LINGER: Final = 10.0
"""Seconds for which a submit is completed after the timeout of its caller is over."""

CLOSE_GRACE: Final = 0.8
"""Seconds for which closing a client waits for the answers of submits; the answer to a submit usually takes less.
Ctrl-C has to end a command within a second."""

REPORT_GRACE: Final = 0.1
"""Seconds for which closing a client then waits for the reports of submits that it has ended."""


class Submitting(Protocol):
    """What may have submits under way when the process ends."""

    def process_ends(self) -> None:
        """Complete them, or report them."""


_submitting: Final[weakref.WeakSet[Submitting]] = weakref.WeakSet()


def complete_at_exit(transport: Submitting) -> None:
    """Have a transport's `process_ends` called at the end of the process, if it lives until then."""
    _submitting.add(transport)


def with_linger(timeout: float | None) -> float | None:
    """The time limit of a submit's attempt, from the time that its caller waits."""
    return None if timeout is None else timeout + LINGER


@atexit.register
def _process_ends() -> None:
    for transport in list(_submitting):
        transport.process_ends()

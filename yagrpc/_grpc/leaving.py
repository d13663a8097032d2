"""What both shells do with a submit whose caller has left: cancelled, interrupted, or out of time.

The service may accept it all the same, and its operation id arrives with the answer alone. So the attempt is
completed in the background, for a while, and closing the client waits for that, for a moment.
"""

from __future__ import annotations

from typing import Final

LINGER: Final = 10.0
"""Seconds for which a submit is completed after the timeout of its caller is over."""

CLOSE_GRACE: Final = 0.8
"""Seconds for which closing a client waits for the answers of submits whose callers have left; the answer to a submit
takes less as a rule. Ctrl-C has to end a command within a second."""


def with_linger(timeout: float | None) -> float | None:
    """The time limit of a submit's attempt, from the time that its caller waits."""
    return None if timeout is None else timeout + LINGER

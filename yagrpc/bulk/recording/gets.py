"""Counts the Gets of a run that the service refuses, until a commit takes the counts along.

Rules: no row of the journal, and no commit, for each: a count for each second and code.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from yagrpc._core.events import Events
from yagrpc._core.failure.final import ends_wait
from yagrpc.errors import CallError, Code
from yagrpc.journal.changes import Change, GetsRefused

if TYPE_CHECKING:
    from yagrpc import _pb
    from yagrpc.errors import YagrpcError


class RefusedGets(Events):
    """The Gets of one run that were refused, and that are sent again; a subscriber of its client.

    Args:
        is_own: Whether an operation, by its id, is of the run: its client may poll others.
    """

    def __init__(self, is_own: Callable[[str], bool]) -> None:
        self._is_own = is_own
        self._counts: Counter[tuple[int, str]] = Counter()

    def polled(self, operation_id: str, outcome: _pb.operation_pb2.Operation | YagrpcError) -> None:
        """Count it, if it was refused."""
        if not isinstance(outcome, CallError) or outcome.code is Code.NOT_FOUND or ends_wait(outcome):
            return
        if self._is_own(operation_id):
            self._counts[int(time.time()), outcome.code.name] += 1

    def take(self) -> list[Change]:
        """What was counted since the last time."""
        counts, self._counts = self._counts, Counter()
        return [GetsRefused(at, code, count) for (at, code), count in counts.items()]

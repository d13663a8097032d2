"""What the log says of looks that fail while operations are waited for.

Rules: one warning when looking begins to fail and one line when it works again, however many operations are waited
for; each single failure is a debug line, and `operation.last_error`.
"""

from __future__ import annotations

import logging
from typing import TypeVar

from yagrpc._core.flow import Flow
from yagrpc._core.operation.view import FINAL_GET_FAILURES
from yagrpc.errors import CallError, MessageTooLargeError

ResultT = TypeVar("ResultT")

log = logging.getLogger("yagrpc.operations")


class Outage:
    """Whether looks fail at present, for the log alone. Threads may disagree for a moment: then a line is doubled."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures = 0

    def watched(self, flow: Flow[ResultT]) -> Flow[ResultT]:
        """The flow of one look, whose end is taken note of."""
        try:
            seen = yield from flow
        except CallError as error:
            if error.code not in FINAL_GET_FAILURES and not isinstance(error, MessageTooLargeError):
                self.failed(error)
            raise
        self.answered()
        return seen

    def failed(self, error: CallError) -> None:
        """A look failed, and is tried again."""
        self._failures += 1
        extra = {"operation_id": error.operation_id, "client_request_id": error.client_request_id}
        if self._failures == 1:
            log.warning("looking at operations fails, it is tried until it works: %s", error, extra=extra)
        else:
            log.debug("looking at operation %s failed: %s", error.operation_id, error, extra=extra)

    def answered(self) -> None:
        """A look worked."""
        if self._failures:
            log.warning("looking at operations works again, after %d failed looks", self._failures)
            self._failures = 0

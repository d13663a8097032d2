"""One operation that has waiters, and what the end of a wait means for each of them.

Rules: no I/O, no clock and no lock of its own. An operation may have several waiters; each gets its own exception.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from yagrpc.context import CURRENT
from yagrpc.errors import OperationTimeoutError, YagrpcError
from yagrpc.errors.base import own_copy

if TYPE_CHECKING:
    from collections import OrderedDict
    from contextvars import Context

    from yagrpc import _pb

Listener = Callable[["Watch"], None]


def check_wait(operation_id: str, *, gone: bool = False) -> None:
    """Check that an operation may be waited for: that the caller of the handler that waits is there, and has time.

    Args:
        operation_id: The operation.
        gone: Whether only a caller that has left matters.

    Raises:
        CallCancelledError: The caller has left.
        OperationTimeoutError: Its deadline has passed.
    """
    caller = CURRENT.get()
    if caller is not None and (caller.gone if gone else caller.ended):
        raise caller.wait_error(operation_id)


class Watch:
    """One operation that has waiters; they share it.

    Attributes:
        operation_id: Its id.
        latest: The operation as last seen, by a waiter or by the last Get.
        failure: Why it can no longer be waited for; `None` while it can.
        last_error: The failure of the last Get, if it failed.
        polls: How many Gets came back.
        in_flight: Whether a Get is under way.
        waiters: How many callers wait for it.
        wakers: Called at each Get that came back, by the shell that waits for it.
        listeners: Called once it has ended.
        since: When it was submitted, or the watch was created.
        attached: Whether its age is not known: another client submitted it, and no answer has come yet.
        not_found_until: Until when NOT_FOUND is not believed: it was submitted a moment ago.
        sent: When its last Get was sent.
        returned: When that came back.
        ran_at: At which age it was last known to run.
        failures: How many of its Gets failed since one was answered.
        refused_after: How many answers the scheduler had when the quota refused its last Get; `None` where it did not.
        slowed: The pace before such a refusal slowed it down; 0 where there was none.
        slack: The part of an interval after which it is polled, so that many clients do not poll in step.
        queue: Where it waits for its turn; none while a Get is under way, or after one failed.
        due: When it is worth a poll, as of `version`; after a failure, when it is polled again.
        reach: The reach of the hazard at the age at which it was last known to run, as of `version`.
        version: Which reading of the hazard `due` and `reach` were computed from.
        context: What its Gets run in: the context of the first who waits for it, set by the shell.
    """

    __slots__ = (
        "attached",
        "context",
        "due",
        "failure",
        "failures",
        "in_flight",
        "last_error",
        "latest",
        "listeners",
        "not_found_until",
        "operation_id",
        "polls",
        "queue",
        "ran_at",
        "reach",
        "refused_after",
        "returned",
        "sent",
        "since",
        "slack",
        "slowed",
        "version",
        "waiters",
        "wakers",
    )

    def __init__(self, latest: _pb.operation_pb2.Operation, since: float, now: float, *, attached: bool) -> None:
        self.operation_id = latest.id
        self.latest = latest
        self.failure: YagrpcError | None = None
        self.last_error: YagrpcError | None = None
        self.polls = 0
        self.in_flight = False
        self.waiters = 0
        self.wakers: tuple[Callable[[], object], ...] = ()
        self.listeners: tuple[Listener, ...] = ()
        self.since = since
        self.attached = attached
        self.not_found_until = -math.inf
        self.sent = now
        self.returned = now
        self.ran_at = 0.0
        self.failures = 0
        self.refused_after: int | None = None
        self.slowed = 0.0
        self.queue: OrderedDict[Watch, None] | None = None
        self.context: Context | None = None
        # Set where it begins to wait for a turn.
        self.slack: float
        self.due: float
        self.reach: float
        self.version: int

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.failure is not None or self.latest.done

    def polled(self, seen: int, timeout: float | None = None) -> _pb.operation_pb2.Operation:
        """The outcome of one poll, for a caller that had seen `seen` polls before.

        Args:
            seen: How many Gets had come back before.
            timeout: Seconds that it waited; `None` for no limit.

        Raises:
            YagrpcError: The Get failed, or was not answered in time.
        """
        error = self.failure
        if error is None and self.polls > seen:
            error = self.last_error
        if error is not None:
            raise own_copy(error)
        if self.polls == seen and not self.latest.done:
            check_wait(self.operation_id, gone=True)
            what = "its Get was not answered" if self.in_flight else "its Get was not sent"
            before = "" if self.last_error is None else f"; the poll before failed: {self.last_error._summary()}"
            text = f"{what} within {timeout or 0:g} s, so its state is not known{before}"
            raise OperationTimeoutError(self.operation_id, text) from self.last_error
        return self.latest

    def waited(self, timeout: float | None) -> _pb.operation_pb2.Operation:
        """The outcome of a wait.

        Raises:
            YagrpcError: The operation can't be waited for, or is not done in time.
            CallCancelledError: The caller of the handler that waits has left.
        """
        if self.failure is not None:
            raise own_copy(self.failure)
        if not self.latest.done:
            check_wait(self.operation_id, gone=True)
            why = "" if self.polls else "no poll was answered"
            if self.last_error is not None:
                why = f"the last poll failed: {self.last_error._summary()}"
            state = f" as far as is known: {why}; it" if why else "; it is still running, and"
            text = f"not done within {timeout or 0:g} s{state} can be waited for again by its id"
            raise OperationTimeoutError(self.operation_id, text) from self.last_error
        return self.latest


class Glance:
    """One poll of each of several operations: none is polled again while others are waited for.

    Args:
        release: Ends the wait for an operation whose poll has come back.
    """

    def __init__(self, release: Callable[[Watch], object]) -> None:
        self._release = release
        self._seen: dict[Watch, int] = {}
        self._waiting: dict[Watch, Callable[[], None]] = {}

    def add(self, watch: Watch) -> None:
        """Add an operation, which is waited for from now on until its own poll has come back; each once."""

        def wake() -> None:
            if self._came_back(watch):
                self._leave(watch)

        self._seen[watch], self._waiting[watch] = watch.polls, wake
        watch.wakers += (wake,)

    @property
    def over(self) -> bool:
        """Whether each has come back, or needs no poll."""
        while self._waiting and self._came_back(watch := next(iter(self._waiting))):
            self._leave(watch)
        return not self._waiting

    def close(self) -> None:
        """Release those that are waited for."""
        for watch in list(self._waiting):
            self._leave(watch)

    def check(self) -> None:
        """Check that at least one poll was answered, where one was needed.

        Raises:
            CallCancelledError: The caller of the handler that waits has left.
            YagrpcError: Why the last one failed.
        """
        failure: YagrpcError | None = None
        for watch, seen in self._seen.items():
            check_wait(watch.operation_id, gone=True)
            if watch.polls == seen:
                continue
            if watch.ended or watch.last_error is None:
                return
            failure = watch.last_error
        if failure is not None:
            raise own_copy(failure)

    def _came_back(self, watch: Watch) -> bool:
        return watch.ended or watch.polls > self._seen[watch]

    def _leave(self, watch: Watch) -> None:
        wake = self._waiting.pop(watch, None)
        if wake is not None:
            watch.wakers = tuple(other for other in watch.wakers if other is not wake)
            self._release(watch)

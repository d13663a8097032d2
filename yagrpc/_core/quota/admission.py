"""One call under its quotas: the wait for a slot, and what the call holds until it ends.

Rules: a call has its slot before it connects, so that nothing leaves in a burst once a connection is there. The wait
counts into a timeout that the caller gave. A call without one `queues`: its default timeout starts when it has its
first slot, so that it is as long for the last of many calls as for the first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from yagrpc._core.deadline import Deadline
from yagrpc._core.flow import Flow, wait
from yagrpc._core.quota.windows import Slot
from yagrpc.errors import LimiterError, QuotaWaitError
from yagrpc.errors.base import own_copy

if TYPE_CHECKING:
    from yagrpc._core.call.call import Call
    from yagrpc._core.deadline import Clock
    from yagrpc._core.events import Events
    from yagrpc._core.quota.gates import Gate
    from yagrpc.errors import YagrpcError

REPORTED_AFTER: Final = 5.0
"""Seconds; a wait for a slot that is longer is reported."""


class Admission:
    """What one call has to do with its gate; its slot is released when the call ends, or is collected.

    The call keeps its admission, which does not keep the call: a stream that is no longer read is collected at
    once.

    Args:
        gate: The gate of the call's quotas.
        clock: Gives passed time, in seconds.
        events: Hears of long waits.
    """

    __slots__ = ("_clock", "_events", "_gate", "_refusal", "_slot")

    def __init__(self, gate: Gate, clock: Clock, events: Events) -> None:
        self._gate = gate
        self._clock = clock
        self._events = events
        self._slot: Slot | None = None
        self._refusal = ""

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # An exception may have come before there was anything, and at the end modules have lost their names.
        if getattr(self, "_slot", None) is not None and not ending():
            self.release()

    def enter(self, call: Call[Any, Any], deadline: Deadline, failure: YagrpcError | None) -> Flow[Deadline]:
        """Wait for a slot, unless the call has one; gives the deadline of what follows.

        Args:
            call: Whose admission it is.
            deadline: Until when it waits.
            failure: Why the attempt before failed, if there was one.

        Raises:
            QuotaWaitError: There is no slot in time; that failure is its cause.
            ClientClosedError: The client was closed, or the stream that waits.
        """
        if self._slot is not None:
            return deadline
        self._slot = slot = Slot(again=bool(self._refusal))
        try:
            self._gate.join(slot)
            call.check()  # it may have been cancelled before there was a place in the queue to give back
            yield from self._wait(call, slot, Deadline(None, self._clock) if call.queues else deadline, failure)
        except BaseException:
            self.release()
            raise
        if not call.queues:
            return deadline
        call.queues = False
        return Deadline(call.timeout, self._clock)

    def sent(self) -> None:
        """The call leaves."""
        if self._slot is not None:
            self._gate.sent(self._slot, self._clock())

    def answered(self) -> None:
        """An answer came: the service has counted the call."""
        if self._slot is not None:
            self._gate.answered(self._slot, self._clock())

    def refused(self, refusal: str = "") -> None:
        """The service refused the call, since the quota is used up: it needs another slot.

        Args:
            refusal: What the service said.
        """
        slot = self._slot
        self._refusal = refusal
        if slot is not None:
            self._gate.refused(slot, self._clock(), refusal)
            self._forget(slot)

    def release(self) -> None:
        """The call has ended, or needs another slot for its next attempt."""
        slot = self._slot
        if slot is not None:
            self._gate.give_back(slot)
            self._forget(slot)

    def _forget(self, slot: Slot) -> None:
        """It was given back: after that, so that it is given back by `__del__` where an exception comes before."""
        if self._slot is slot:  # another thread may have released it, and the call have another by now
            self._slot = None

    def _wait(self, call: Call[Any, Any], slot: Slot, deadline: Deadline, failure: YagrpcError | None) -> Flow[None]:
        started = now = self._clock()
        reported, waited = False, ""
        while (seconds := self._taken(call, slot, now)) is not None:
            quota, least = self._gate.bound(slot, now)
            waited = waited or quota
            left = deadline.left_at(now)
            if least > left or left <= 0:
                refusal = self._refusal or self._gate.refusal(slot, now)
                raise QuotaWaitError(
                    self._gate.refused_quota(refusal) or quota,
                    least if least > 0 else None,
                    timeout=call.timeout or 0.0,
                    refusal=refusal,
                    attempts=call.attempts,
                    method=call.method.path,
                    client_request_id=call.client_request_id,
                ) from failure
            if not reported:
                reported = least > REPORTED_AFTER or now - started >= REPORTED_AFTER
                if reported:
                    self._events.waiting_for_quota(call, quota, least if least > 0 else None)
                else:
                    seconds = min(seconds, started + REPORTED_AFTER - now)
            seconds = min(seconds, left)
            yield from wait(slot, None if seconds == float("inf") else seconds)
            if call.caller is not None:
                call.check()
            now = self._clock()
        if waited:
            self._events.waited_for_quota(call, waited, now - started)

    def _taken(self, call: Call[Any, Any], slot: Slot, now: float) -> float | None:
        """As `Gate.take`; an error of the limiter says of which call it is."""
        try:
            return self._gate.take(slot, now)
        except LimiterError as error:
            mine = own_copy(error).with_context(method=call.method.path, client_request_id=call.client_request_id)
            raise mine.with_context(attempts=call.attempts) from error.__cause__

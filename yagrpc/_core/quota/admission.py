"""Sending under quota: the flow that is put around a call's own, and what a stream holds while it runs.

Rules: a call has its slot before it connects, so that nothing leaves in a burst once a connection is there. The wait
counts into the call's timeout. A refusal that names a quota proves that nothing started: the call is sent again.
"""

from __future__ import annotations

import logging
import math
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc

from yagrpc._core.failure.status import code_of
from yagrpc._core.flow import Call, Flow, Opened, Ready, Send, perform, ready, wait
from yagrpc.errors import AmbiguousSubmitError, CallError, Code, QuotaWaitError

if TYPE_CHECKING:
    from yagrpc._core.quota.gates import Gate
    from yagrpc._core.quota.windows import Slot
    from yagrpc._core.send import Clock

ResponseT = TypeVar("ResponseT")

LOGGED_AFTER: Final = 5.0
"""Seconds; a wait for a slot that is longer is logged."""

_REFUSAL: Final = re.compile(r"\b(rate|gauge) quota limit exceed")
"""How the service's refusals name the two kinds of quota; they carry no details."""

log = logging.getLogger("yagrpc.quota")


class Admission:
    """One call's dealings with its gate; what it holds goes back when it ends, or is collected.

    The call keeps it, so it does not keep the call: a stream that nobody reads any longer is collected at once.

    Args:
        gate: The gate of the call's method.
        timeout: The call's timeout, in seconds; `None` for no limit.
        clock: Tells the time, in seconds.
    """

    __slots__ = ("_clock", "_gate", "_refusal", "_slot", "deadline", "refusals")

    def __init__(self, gate: Gate, timeout: float | None, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock
        self.deadline = None if timeout is None else clock() + timeout
        self._slot: Slot | None = None
        self._refusal: Exception | None = None
        self.refusals = 0

    def __del__(self) -> None:
        self.give_back()

    def enter(self, call: Call[Any, Any]) -> Flow[float | None]:
        """Wait for a slot, unless there is one; gives the seconds that are left of the call's timeout.

        Args:
            call: Whose admission it is, for what is told of the wait.

        Raises:
            QuotaWaitError: There is none in time.
            ClientClosedError: The client was closed, or the stream that waits.
        """
        if self._slot is None:
            self._slot = slot = self._gate.join()
            try:
                yield from self._wait(call, slot)
            except BaseException:
                self.give_back()
                raise
        return self.left()

    def left(self) -> float | None:
        """Seconds that are left of the call's timeout; `None` for no limit."""
        return None if self.deadline is None else max(0.0, self.deadline - self._clock())

    def sent(self) -> None:
        """The call leaves."""
        if self._slot is not None:
            self._gate.sent(self._slot, self._clock())

    def answered(self) -> None:
        """An answer came: the call has been counted by now."""
        self._refusal = None  # its traceback holds the call
        if self._slot is not None:
            self._gate.answered(self._slot, self._clock())

    def refused(self, error: grpc.RpcError) -> bool:
        """Whether a failure is a refusal by a quota, so that the call waits for another slot."""
        if code_of(error) is not Code.RESOURCE_EXHAUSTED or not _REFUSAL.search(error.details() or ""):
            return False
        slot, self._slot = self._slot, None
        if slot is not None:
            self._gate.refused(slot, self._clock())
        self._refusal = error
        self.refusals += 1
        return True

    def give_back(self) -> None:
        """The call is over."""
        slot, self._slot = self._slot, None
        if slot is not None:
            self._gate.give_back(slot)

    def _wait(self, call: Call[Any, Any], slot: Slot) -> Flow[None]:
        began = now = self._clock()
        logged = False
        deadline = math.inf if self.deadline is None else self.deadline
        while (seconds := self._gate.take(slot, now)) is not None:
            quota, least = self._gate.bound(slot, now)
            left = deadline - now
            if least > left or left <= 0:
                raise self._late(call, quota, least) from self._refusal
            if not logged:
                logged = least > LOGGED_AFTER or now - began >= LOGGED_AFTER
                if logged:
                    self._log(call, quota, least)
                else:
                    seconds = min(seconds, began + LOGGED_AFTER - now)
            seconds = min(seconds, left)
            yield from wait(slot, None if seconds == math.inf else seconds)
            now = self._clock()

    @staticmethod
    def _late(call: Call[Any, Any], quota: str, least: float) -> QuotaWaitError:
        return QuotaWaitError(
            quota,
            least if least > 0 else None,
            timeout=call.timeout or 0.0,
            method=call.method.path,
            client_request_id=call.client_request_id,
        )

    @staticmethod
    def _log(call: Call[Any, Any], quota: str, least: float) -> None:
        when = f"at least {least:.0f} s" if least > 0 else "a running call to end"
        log.info(
            "a call of %s waits %s for a slot under quota.%s (client request id %s)",
            call.method.path,
            when,
            quota,
            call.client_request_id,
            extra={"client_request_id": call.client_request_id},
        )


def limited(flow: Flow[ResponseT], call: Call[Any, ResponseT], gate: Gate, clock: Clock) -> Flow[ResponseT]:
    """A call's flow, each of its sends under quota; a stream that is opened keeps its slot until it is over.

    Args:
        flow: The call's own flow, not started.
        call: Its call.
        gate: The gate of its method.
        clock: Tells the time, in seconds.

    Raises:
        QuotaWaitError: There is no slot within the call's timeout.
    """
    admission = call.held = Admission(gate, call.timeout, clock)
    connects = False
    try:
        yield from admission.enter(call)
        effect = next(flow)
        while True:
            try:
                if isinstance(effect, Send):
                    outcome = yield from _send(effect, admission, connects=connects)
                elif isinstance(effect, Ready):
                    connects = True
                    left = yield from admission.enter(call)
                    outcome = yield from ready(effect.call, _shorter(effect.timeout, left))
                else:
                    outcome = yield from perform(effect)
            except BaseException as error:  # whatever it is, the call's own flow decides
                effect = flow.throw(error)
            else:
                effect = flow.send(outcome)
    except StopIteration as stop:
        response: ResponseT = stop.value
        if not isinstance(response, Opened):
            call.over()
        return response
    except BaseException as error:
        call.over()
        admission.give_back()  # where the call was ended meanwhile, it may have entered anew
        if isinstance(error, (CallError, AmbiguousSubmitError)):
            error.attempts += admission.refusals
        raise


def _send(effect: Send, admission: Admission, *, connects: bool) -> Flow[Any]:
    """Send once; and again, as often as a quota of the service's refuses it."""
    left = yield from admission.enter(effect.call)
    while True:
        admission.sent()
        try:
            attempt = effect.attempt + admission.refusals
            response: Any = yield from perform(Send(effect.call, _shorter(effect.timeout, left), attempt))
        except grpc.RpcError as error:
            if not admission.refused(error):
                admission.give_back()
                raise
            refusal = error
        else:
            admission.answered()
            return response
        left = yield from admission.enter(effect.call)
        if connects and not (yield from ready(effect.call, left)):
            admission.refusals -= 1
            raise refusal  # the call's own flow connects again, or gives up


def _shorter(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)

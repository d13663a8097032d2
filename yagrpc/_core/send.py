"""The flows of single calls: reads, generations, and all others.

Rules: a timeout is over everything, connecting and all attempts. Whatever may be billed waits for its connection as a
step of its own and is sent without waiting after that: a failure of the first step proves that nothing was sent. What
a failure means is looked up in `retry`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, TypeVar

import grpc

from yagrpc._core import calls_log
from yagrpc._core.call.requests import AsyncRequestStream, RequestStream
from yagrpc._core.failure import retry
from yagrpc._core.failure.status import call_error
from yagrpc._core.flow import Call, Flow, Opened, ready, send, sleep
from yagrpc._grpc.deserializers import Unreadable, too_large, unreadable
from yagrpc.errors import (
    AmbiguousSubmitError,
    CallError,
    ClientClosedError,
    Code,
    MessageTooLargeError,
    OperationResultError,
    QuotaWaitError,
    ResultError,
    SubmitTimeoutError,
    UnavailableError,
)

ResponseT = TypeVar("ResponseT")

Clock = Callable[[], float]


class Way(NamedTuple):
    """The channel that a call takes.

    Args:
        endpoint: Where it goes, for errors.
        send_limit: The largest request that it sends, in bytes; -1 for any.
        own: Whether the client opened it, so that its options are known.
    """

    endpoint: str
    send_limit: int = -1
    own: bool = True


class Attempts:
    """One call's attempts, and the time that they have together.

    Args:
        call: Which.
        way: The channel that it takes.
        clock: Tells the time, in seconds.
    """

    __slots__ = ("_clock", "_deadline", "_heard", "call", "number", "way")

    def __init__(self, call: Call[Any, Any], way: Way, clock: Clock) -> None:
        self.call = call
        self.way = way
        self.number = 0
        self._clock = clock
        self._heard = False
        self._deadline = None if call.timeout is None else clock() + call.timeout

    def left(self) -> float | None:
        """Seconds that are left; `None` for no limit."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock())

    def send(self, timeout: float | None) -> Flow[Any]:
        """Send the request.

        Raises:
            CallError: It failed; what gRPC raised is the cause.
            ClientClosedError: The stream was closed before it was sent.
            ResultError: The answer does not parse.
        """
        if self.call.ended:
            raise ClientClosedError
        self.number += 1
        told = calls_log.wanted()
        started = self._clock() if told else 0.0
        if told:
            calls_log.sent(self.call, self.way.endpoint, self.number, timeout)
        try:
            response = yield from send(self.call, timeout, self.number)
        except grpc.RpcError as error:
            self._heard = bool(error.trailing_metadata())
            failure = call_error(error, self.call, self.way.endpoint, self.number)
            if told:
                calls_log.failed(self.call, failure, self._clock() - started)
            raise too_large(failure, self.call, self.way.send_limit) or failure from error
        answer = response.first if type(response) is Opened else response
        if told:
            calls_log.answered(self.call, answer, self._clock() - started)
        if type(answer) is Unreadable:
            raise unreadable(answer, self.call, self.way.endpoint, self.number)
        return response

    def connect(self, cause: BaseException | None = None) -> Flow[float | None]:
        """Wait until the call's channel is connected; gives the seconds that are left.

        Raises:
            UnavailableError: It is not in time; nothing was sent (any more).
        """
        connected = yield from ready(self.call, self.left())
        if not connected:
            raise UnavailableError(
                f"no connection within {self.call.timeout:g} s, nothing was {'started' if self.number else 'sent'}",
                method=self.call.method.path,
                endpoint=self.way.endpoint,
                client_request_id=self.call.client_request_id,
                attempts=self.number,
                operation_id=self.call.operation_id,
            ) from cause
        return self.left()

    def pause(self, failure: CallError) -> Flow[None]:
        """Wait before the next attempt.

        Raises:
            CallError: The failure itself, where there is to be none: all are used up, the time is over before, or
                the service asked for none.
        """
        pause = retry.pause_before(self.number + 1, failure)
        left = self.left()
        replayed = not isinstance(self.call.request, (RequestStream, AsyncRequestStream))
        late = pause is None or (left is not None and left <= pause)
        if self.number >= retry.ATTEMPTS or late or not replayed:
            raise failure
        assert pause is not None
        calls_log.again(self.call, failure, pause)
        yield from sleep(pause)

    def proves_nothing_started(self, failure: CallError) -> bool:
        """Whether a refusal came from the service, before it started anything.

        With a channel of the host's own, RESOURCE_EXHAUSTED may be the channel's, for an answer over its limit: there
        it takes metadata of the other side's to show that it spoke.
        """
        refused = failure.code in retry.SUBMIT_RETRIED and not isinstance(failure, MessageTooLargeError)
        return refused and (self.way.own or self._heard)


def read(attempts: Attempts) -> Flow[Any]:
    """Send a call that may be repeated; after a failure to reach the service, once it is connected again.

    Raises:
        CallError: The last attempt's failure.
    """
    timeout = attempts.left()
    while True:
        try:
            return (yield from attempts.send(retry.attempt_timeout(attempts.number + 1, timeout)))
        except CallError as failure:
            if failure.code not in retry.READ_RETRIED or isinstance(failure, MessageTooLargeError):
                raise
            last = failure
        yield from attempts.pause(last)
        unreachable = last.code is Code.UNAVAILABLE
        timeout = (yield from attempts.connect(last)) if unreachable else attempts.left()


def look(attempts: Attempts) -> Flow[Any]:
    """Send a Get a single time, at once: when it is sent again is the scheduler's business.

    Raises:
        CallError: It failed.
        OperationResultError: The answer does not parse.
    """
    try:
        return (yield from attempts.send(attempts.left()))
    except ResultError as error:
        raise OperationResultError(attempts.call.operation_id, str(error)) from error


def once(attempts: Attempts) -> Flow[Any]:
    """Connect, then send a call a single time.

    Raises:
        CallError: It failed.
    """
    timeout = yield from attempts.connect()
    return (yield from attempts.send(timeout))


def generate(attempts: Attempts) -> Flow[Any]:
    """Connect, then send a call that starts something billed; again only after a refusal that proves it did not.

    Raises:
        CallError: The service refused it.
        AmbiguousSubmitError: It failed after it may have reached the service, and the caller did not say `resubmit`.
    """
    unsure: CallError | None = None
    try:
        while True:
            timeout = yield from attempts.connect()
            try:
                return (yield from attempts.send(timeout))
            except CallError as failure:
                last = failure
            if last.code in retry.SUBMIT_AMBIGUOUS:
                unsure = last
                if not attempts.call.resubmit:
                    raise last
            elif not attempts.proves_nothing_started(last):
                raise last
            yield from attempts.pause(last)
    except (CallError, QuotaWaitError) as failure:
        if unsure is None:
            raise
        # However the last attempt ended, an earlier one may have started something.
        raise _ambiguous(unsure, attempts.number) from failure


def raise_broken(error: grpc.RpcError, call: Call[Any, Any], way: Way) -> NoReturn:
    """Raise the failure of a stream that had begun.

    Raises:
        AmbiguousSubmitError: It is a completion that was not asked for as a stream: its caller has no text of it.
        CallError: It is another.
    """
    failure = call_error(error, call, way.endpoint, 1)
    failure = too_large(failure, call, way.send_limit) or failure
    whole = retry.kind_of(call.method) is retry.Kind.GENERATION and not call.request.completion_options.stream
    if not whole or failure.code not in retry.SUBMIT_AMBIGUOUS:
        raise failure from error
    failure.__cause__ = error
    raise _ambiguous(failure, failure.attempts) from failure


def _ambiguous(failure: CallError, attempts: int) -> AmbiguousSubmitError:
    kind = SubmitTimeoutError if failure.code is Code.DEADLINE_EXCEEDED else AmbiguousSubmitError
    context = failure.context
    context["attempts"] = attempts
    return kind(failure.message, **context)

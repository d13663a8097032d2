"""The flows of single calls: reads, submits, and what precedes a stream.

Rules: a timeout is over everything, connecting and all attempts. A submit, and a stream that generates, waits for
its connection as a step of its own and is sent without waiting after that: a failure of the first step proves that
nothing was sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from yagrpc._core import retry
from yagrpc._core.flow import Call, Flow, ready, send, sleep
from yagrpc._core.rpc_errors import call_error, code_of
from yagrpc.errors import AmbiguousSubmitError, UnavailableError

ResponseT = TypeVar("ResponseT")

Clock = Callable[[], float]


def read(call: Call[Any, ResponseT], endpoint: str, clock: Clock) -> Flow[ResponseT]:
    """Send a call that may be repeated.

    Raises:
        CallError: The last attempt's failure.
    """
    deadline = None if call.timeout is None else clock() + call.timeout
    timeout = call.timeout
    attempt = 1
    while True:
        try:
            return (yield from send(call, timeout))
        except grpc.RpcError as error:
            pause = retry.pause_before(attempt + 1)
            left = None if deadline is None else deadline - clock()
            late = left is not None and left <= pause
            if attempt == retry.ATTEMPTS or late or code_of(error) not in retry.READ_RETRIED:
                raise call_error(error, call, endpoint, attempt) from error
        yield from sleep(pause)
        timeout = None if deadline is None else max(0.0, deadline - clock())
        attempt += 1


def look(call: Call[Any, ResponseT], endpoint: str) -> Flow[ResponseT]:
    """Send a Get a single time, at once: when it is sent again is the scheduler's business.

    Raises:
        CallError: It failed.
    """
    try:
        return (yield from send(call, call.timeout))
    except grpc.RpcError as error:
        raise call_error(error, call, endpoint, 1) from error


def once(call: Call[Any, ResponseT], endpoint: str, clock: Clock) -> Flow[ResponseT]:
    """Connect, then send a call a single time.

    Raises:
        CallError: It failed.
    """
    timeout = yield from connect(call, endpoint, clock)
    try:
        return (yield from send(call, timeout))
    except grpc.RpcError as error:
        raise call_error(error, call, endpoint, 1) from error


def submit(call: Call[Any, ResponseT], endpoint: str, clock: Clock) -> Flow[ResponseT]:
    """Connect, then send a call that starts something billed; again only after a refusal that proves it did not.

    Raises:
        CallError: The service refused it.
        AmbiguousSubmitError: It failed after it may have reached the service.
    """
    deadline = None if call.timeout is None else clock() + call.timeout
    attempt = 1
    while True:
        timeout = yield from connect(call, endpoint, clock, deadline, attempt - 1)
        try:
            return (yield from send(call, timeout))
        except grpc.RpcError as error:
            code = code_of(error)
            failure = call_error(error, call, endpoint, attempt)
            if code in retry.SUBMIT_AMBIGUOUS:
                raise AmbiguousSubmitError(
                    failure.message,
                    code=code,
                    method=call.method.path,
                    endpoint=endpoint,
                    client_request_id=call.client_request_id,
                ) from failure
            pause = retry.pause_before(attempt + 1)
            late = deadline is not None and deadline - clock() <= pause
            if code not in retry.SUBMIT_RETRIED or attempt == retry.ATTEMPTS or late:
                raise failure from error
        yield from sleep(pause)
        attempt += 1


def connect(
    call: Call[Any, Any], endpoint: str, clock: Clock, deadline: float | None = None, refused: int = 0
) -> Flow[float | None]:
    """Wait until the call's channel is connected; gives the seconds that are left of its timeout.

    Args:
        call: Which.
        endpoint: Where it goes, for its error.
        clock: Tells the time, in seconds.
        deadline: When the time is over; by default the call's timeout from now.
        refused: How often the call was sent, and refused, before.

    Raises:
        UnavailableError: It is not within the timeout; nothing was sent (any more).
    """
    if deadline is None and call.timeout is not None:
        deadline = clock() + call.timeout
    connected = yield from ready(call, None if deadline is None else max(0.0, deadline - clock()))
    if not connected:
        raise UnavailableError(
            f"no connection within {call.timeout:g} s, nothing was {'started' if refused else 'sent'}",
            method=call.method.path,
            endpoint=endpoint,
            client_request_id=call.client_request_id,
            attempts=refused,
            operation_id=call.operation_id,
        )
    return None if deadline is None else max(0.0, deadline - clock())

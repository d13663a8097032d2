"""Every failure against every call, on both clients: what the caller sees, and what the service did.

A fault meets the first call only, so that a request sent again would be answered, and counted.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import pytest

import yagrpc
from tests.faults.conftest import CALLS, SEEN, bare, close_half, cut, drop, garble, hang, refuse, swell

ANSWER = "answered"
S = grpc.StatusCode


class Row(NamedTuple):
    """What one failure leads to: the outcome of a generation, of a wait, and of a read (`cancel` and `tokenize`).

    An outcome is `ANSWER`, or the class of an error.
    """

    fault: Any
    generation: Any
    wait: Any
    read: Any
    proxied: bool = False


AMBIGUOUS = yagrpc.AmbiguousSubmitError
ROWS = {
    "nothing": Row(None, ANSWER, ANSWER, ANSWER),
    "quota refused (RESOURCE_EXHAUSTED)": Row(refuse(S.RESOURCE_EXHAUSTED), ANSWER, ANSWER, ANSWER),
    "RESOURCE_EXHAUSTED, perhaps of gRPC's own": Row(bare(S.RESOURCE_EXHAUSTED), AMBIGUOUS, ANSWER, ANSWER),
    "UNAVAILABLE after it ran": Row(drop(S.UNAVAILABLE), AMBIGUOUS, ANSWER, ANSWER),
    "INTERNAL after it ran": Row(drop(S.INTERNAL), AMBIGUOUS, ANSWER, ANSWER),
    "ABORTED after it ran": Row(drop(S.ABORTED), AMBIGUOUS, ANSWER, ANSWER),
    "UNKNOWN after it ran": Row(drop(S.UNKNOWN), AMBIGUOUS, ANSWER, yagrpc.UnknownError),
    "CANCELLED by the service": Row(drop(S.CANCELLED), AMBIGUOUS, ANSWER, yagrpc.CallCancelledError),
    "connection reset after it ran": Row(cut, AMBIGUOUS, ANSWER, ANSWER, proxied=True),
    "connection closed after it ran": Row(close_half, AMBIGUOUS, ANSWER, ANSWER, proxied=True),
    "no answer in time": Row(hang, yagrpc.SubmitTimeoutError, yagrpc.OperationTimeoutError, ANSWER),
    "UNAUTHENTICATED": Row(refuse(S.UNAUTHENTICATED), *(yagrpc.UnauthenticatedError,) * 3),
    "PERMISSION_DENIED": Row(refuse(S.PERMISSION_DENIED), *(yagrpc.PermissionDeniedError,) * 3),
    "INVALID_ARGUMENT": Row(refuse(S.INVALID_ARGUMENT), *(yagrpc.InvalidArgumentError,) * 3),
    "NOT_FOUND": Row(refuse(S.NOT_FOUND), yagrpc.NotFoundError, yagrpc.OperationNotFoundError, yagrpc.NotFoundError),
    "UNIMPLEMENTED": Row(refuse(S.UNIMPLEMENTED), *(yagrpc.UnimplementedError,) * 3),
    "answer over the limit": Row(swell, *(yagrpc.MessageTooLargeError,) * 3),
    "answer that does not parse": Row(garble, yagrpc.ResultError, yagrpc.OperationResultError, yagrpc.ResultError),
}

SERVED_AS = {"completion": "completion", "stream": "completion", "submit": "submit", "wait": "get"}
QUICK = {"no answer in time"}


def _timeout(failure: str, expected: Any) -> float:
    """Seconds for a call: few where none would help; where an attempt hangs for half of them, enough for another."""
    if failure not in QUICK:
        return 30.0
    return 8.0 if expected is ANSWER else 0.7


def called(subject: Any, client: Any, call: str, timeout: float) -> Any:
    """The outcome of a call: what it gave."""
    if call == "completion":
        return subject(client.completion("hello", timeout=timeout, request_id="mine"))
    if call == "stream":
        return subject(client.completion_stream("hello", timeout=timeout, request_id="mine"))
    if call == "submit":
        return subject(client.completion_async("hello", timeout=timeout, request_id="mine"))
    if call == "tokenize":
        return subject(client.tokenize("hello", timeout=timeout, request_id="mine"))
    operation = client.operation("op1")
    if call == "wait":
        return subject(operation.result(timeout=timeout))
    return subject(operation.cancel(timeout=timeout, request_id="mine"))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("failure", ROWS)
def test_failure_is_reported_and_nothing_is_billed_twice(
    subject: Any, service: Any, request: pytest.FixtureRequest, failure: str, call: str
) -> None:
    row = ROWS[failure]
    service.fault = row.fault
    address = request.getfixturevalue("proxy").address if row.proxied else f"127.0.0.1:{service.port}"
    options = [("grpc.max_receive_message_length", 10_000)]
    client = subject.client(endpoint=address, plaintext=True, channel_options=options)
    expected = {"wait": row.wait, "cancel": row.read, "tokenize": row.read}.get(call, row.generation)
    seen = outcome(subject, lambda: called(subject, client, call, _timeout(failure, expected)))
    served_as = SERVED_AS.get(call, call)
    SEEN.setdefault((failure, call), set()).add(ANSWER if expected is ANSWER else type(seen).__name__)
    if expected is ANSWER:
        assert not isinstance(seen, BaseException), seen
    else:
        assert type(seen) is expected
        identified(seen, call)
        assert service.seen[served_as] == 1  # no reported failure was tried again
    if call in ("completion", "stream", "submit"):
        assert service.generated[served_as] <= 1
    if call == "wait" and expected is not ANSWER:  # the operation can be waited for again
        assert subject(client.operation("op1").result(timeout=30)).text == "an answer"
    assert all(metadata["x-client-request-id"] for metadata in service.metadata)


def identified(error: Any, call: str) -> None:
    """The error says what it is about: the operation where one is waited for, else the call."""
    if call == "wait":
        assert error.operation_id == "op1"
        assert "op1" in str(error)
    else:
        assert error.client_request_id == "mine"
        assert "mine" in str(error)


def outcome(subject: Any, call: Callable[[], Any]) -> Any:
    """What a call gave, or raised."""
    try:
        return call()
    except yagrpc.YagrpcError as error:
        return error


@pytest.mark.parametrize("call", CALLS)
def test_nobody_there(subject: Any, call: str) -> None:
    with socket.socket() as taken:  # bound, not listening: connections to it are refused
        taken.bind(("127.0.0.1", 0))
        client = subject.client(endpoint=f"127.0.0.1:{taken.getsockname()[1]}", plaintext=True)
        seen = outcome(subject, lambda: called(subject, client, call, 0.7))
    SEEN.setdefault(("nobody there", call), set()).add(type(seen).__name__)
    if call == "wait":
        assert type(seen) is yagrpc.OperationTimeoutError
        assert isinstance(seen.__cause__, yagrpc.UnavailableError)
    else:
        assert type(seen) is yagrpc.UnavailableError
        assert seen.attempts == (1 if call in ("cancel", "tokenize") else 0)
    identified(seen, call)


@pytest.mark.parametrize("call", ["completion", "stream", "submit"])
@pytest.mark.parametrize(
    "fault", [drop(S.UNAVAILABLE), drop(S.INTERNAL), cut], ids=["UNAVAILABLE", "INTERNAL", "reset"]
)
def test_who_says_resubmit_pays_twice(subject: Any, service: Any, proxy: Any, call: str, fault: Any) -> None:
    service.fault = fault
    client = subject.client(endpoint=proxy.address, plaintext=True)
    begin = {
        "completion": client.completion,
        "stream": client.completion_stream,
        "submit": client.completion_async,
    }[call]
    given = subject(begin("hello", resubmit=True, timeout=30))
    assert service.generated[SERVED_AS[call]] == 2
    ids = (given[0] if call == "stream" else given).ids
    assert (ids.request_id, ids.server_trace_id) == (f"req-{SERVED_AS[call]}", "trace")
    assert [metadata.get("x-retry-attempt") for metadata in service.metadata] == [None, "1"]
    assert {metadata["x-client-request-id"] for metadata in service.metadata} == {ids.client_request_id}


@pytest.mark.parametrize(
    ("trailing", "attempts"),
    [((("grpc-retry-pushback-ms", "10"),), 2), ((("grpc-retry-pushback-ms", "-1"),), 1)],
    ids=["soon", "never"],
)
def test_the_service_says_when_to_try_again(subject: Any, service: Any, trailing: Any, attempts: int) -> None:
    service.fault = refuse(S.RESOURCE_EXHAUSTED, *trailing)
    client = subject.client(endpoint=f"127.0.0.1:{service.port}", plaintext=True)
    seen = outcome(subject, lambda: subject(client.completion("hello")))
    assert service.seen["completion"] == attempts
    assert isinstance(seen, yagrpc.ResourceExhaustedError if attempts == 1 else yagrpc.Completion)


@pytest.mark.parametrize("own", [True, False], ids=["own", "host"])
@pytest.mark.parametrize(("trailing", "attempts"), [((), 1), ((("date", "today"),), 2)], ids=["silent", "spoke"])
def test_on_any_channel_only_the_services_own_word_counts(
    subject: Any, service: Any, trailing: Any, attempts: int, own: bool
) -> None:
    service.fault = bare(S.RESOURCE_EXHAUSTED, *trailing)
    address = f"127.0.0.1:{service.port}"
    channel = subject.in_loop(lambda: (grpc if subject.kind == "sync" else grpc.aio).insecure_channel(address))
    client = subject.client(endpoint=address, plaintext=True, **({} if own else {"channel": channel}))
    seen = outcome(subject, lambda: subject(client.completion("hello")))
    assert service.seen["completion"] == attempts
    assert isinstance(seen, yagrpc.AmbiguousSubmitError if attempts == 1 else yagrpc.Completion)
    subject(channel.close())


def test_an_answer_over_the_limit_of_a_channel_of_the_hosts_is_no_quota(subject: Any, service: Any) -> None:
    service.fault = swell
    address = f"127.0.0.1:{service.port}"
    options = [("grpc.max_receive_message_length", 10_000)]
    channel = subject.in_loop(lambda: (grpc if subject.kind == "sync" else grpc.aio).insecure_channel(address, options))
    client = subject.client(endpoint=address, plaintext=True, channel=channel)
    seen = outcome(subject, lambda: subject(client.completion("hello")))
    assert type(seen) is yagrpc.MessageTooLargeError
    assert seen.limit == 10_000
    assert service.generated["completion"] == 1
    subject(channel.close())


def test_a_request_over_the_limit_is_not_sent(subject: Any, service: Any) -> None:
    options = [("grpc.max_send_message_length", 1_000)]
    client = subject.client(endpoint=f"127.0.0.1:{service.port}", plaintext=True, channel_options=options)
    seen = outcome(subject, lambda: subject(client.completion("a word " * 1000)))
    assert type(seen) is yagrpc.MessageTooLargeError
    assert (seen.limit, seen.option) == (1_000, "grpc.max_send_message_length")
    assert "nothing was sent" in str(seen)
    assert not service.seen

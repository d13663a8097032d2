"""The loop, by script: what is sent again, how long it may take, and what a failure is called."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yagrpc import _pb, methods
from yagrpc._core.auth.authorization import Authorizer
from yagrpc._core.auth.tokens import Tokens
from yagrpc._core.call.policy import POLICIES, Kind, policy_of
from yagrpc._core.call.requests import RequestStream
from yagrpc._core.failure.final import broken_stream
from yagrpc._core.failure.pauses import READ_ATTEMPT
from yagrpc._core.failure.sizes import RECEIVE_OPTION, Unreadable
from yagrpc._core.failure.status import RpcStatus, raised
from yagrpc._core.flow import END, Connect, Flow, Opened, Send, Sleep, sleep
from yagrpc._core.quota.gates import Gate
from yagrpc._core.quota.windows import Window
from yagrpc._core.send import send_call
from yagrpc.credentials import AccessToken, FetchedCredentials
from yagrpc.errors import (
    CALL_ERRORS,
    AmbiguousSubmitError,
    CallCancelledError,
    CallError,
    ClientClosedError,
    Code,
    ConfigError,
    DeadlineExceededError,
    MessageTooLargeError,
    PermissionDeniedError,
    RequestError,
    ResourceExhaustedError,
    ResultError,
    SubmitTimeoutError,
    UnauthenticatedError,
    UnavailableError,
    YagrpcError,
)
from yagrpc.hiding import revealed

ENDPOINT = "llm.example:443"
SUBMIT = methods.TextGenerationAsyncService.Completion
COMPLETE = methods.TextGenerationService.Completion
OTHER = methods.IamTokenService.Revoke
FAILURES = [code for code in Code if code is not Code.OK]
READ_AGAIN = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "ABORTED", "DEADLINE_EXCEEDED"}
SUBMIT_AGAIN = {"RESOURCE_EXHAUSTED"}
AMBIGUOUS = {"CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "ABORTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
REFUSED = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "UNAUTHENTICATED",
}

by_name = pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
by_proof = pytest.mark.parametrize("from_peer", [True, False], ids=["proved", "unproved"])


class Raised(Exception):
    """Stands for what gRPC raises."""


def said(code: Code, message: str = "it failed", **fields: Any) -> RpcStatus:
    """A status that is proved to be the other side's."""
    return RpcStatus(code, message, **{"from_peer": True, "error": Raised(), **fields})


def unproved(code: Code, message: str = "it failed", **fields: Any) -> RpcStatus:
    """The same status, which gRPC may have created itself."""
    return said(code, message, **{"from_peer": False, **fields})


EXHAUSTED = said(Code.RESOURCE_EXHAUSTED)
UNAVAILABLE = unproved(Code.UNAVAILABLE, "gone")


@pytest.fixture
def accepted(operation: Any) -> Any:
    """The answer to a submit."""
    return operation("d7q")


def test_every_status_has_its_place() -> None:
    assert {code.name for code in FAILURES} == SUBMIT_AGAIN | AMBIGUOUS | REFUSED
    assert not SUBMIT_AGAIN & AMBIGUOUS


# Reads


@by_name
@by_proof
def test_a_read_is_sent_again_on_what_may_pass(code: Code, from_peer: bool, run: Any, drive: Any, a_call: Any) -> None:
    status = said(code, "no such thing", from_peer=from_peer)
    if code.name in READ_AGAIN:
        assert run(a_call(), [status, "answer"]) == "answer"
        # What could not be reached is sent again when it is connected.
        waited = ["connect"] if code is Code.UNAVAILABLE else []
        assert drive.kinds() == ["send", "sleep", *waited, "send"]
        return
    with pytest.raises(CALL_ERRORS[code]) as caught:
        run(a_call(), [status])
    assert drive.kinds() == ["send"]
    assert caught.value.__cause__ is status.error
    assert (caught.value.attempts, caught.value.message) == (1, "no such thing")


def test_a_read_does_not_wait_for_its_connection(run: Any, drive: Any, a_call: Any) -> None:
    assert run(a_call(), ["answer"]) == "answer"
    assert drive.asked == [("send", READ_ATTEMPT)]


def test_a_read_gives_up_after_five_attempts(run: Any, drive: Any, a_call: Any) -> None:
    statuses = [unproved(Code.UNAVAILABLE, f"failure {number}") for number in range(1, 6)]
    with pytest.raises(UnavailableError, match=r"UNAVAILABLE: failure 5 \(.*attempts 5\)$") as caught:
        run(a_call(), statuses)
    assert caught.value.attempts == 5
    assert caught.value.__cause__ is statuses[-1].error
    assert drive.figures("sleep") == [pytest.approx(pause) for pause in (0.2, 0.4, 0.8, 1.6)]


@pytest.mark.parametrize("jitter", [0.8, 1.2])
def test_a_pause_is_multiplied_by_the_jitter(jitter: float, run: Any, drive: Any, a_call: Any) -> None:
    run(a_call(), [UNAVAILABLE] * 4 + ["answer"], jitter=jitter)
    assert drive.figures("sleep") == [pytest.approx(pause * jitter) for pause in (0.2, 0.4, 0.8, 1.6)]


def test_a_read_may_fail_in_different_ways(run: Any, a_call: Any) -> None:
    script = [UNAVAILABLE, unproved(Code.INTERNAL), said(Code.PERMISSION_DENIED)]
    with pytest.raises(PermissionDeniedError) as caught:
        run(a_call(), script)
    assert caught.value.attempts == 3


def test_the_timeout_of_a_read_is_over_all_attempts(run: Any, drive: Any, a_call: Any) -> None:
    start = drive.clock()
    run(a_call(timeout=10.0), [UNAVAILABLE] * 3 + ["answer"], each=1.5)
    spent = 0.0
    for timeout, pause in zip(drive.figures("send"), [*drive.figures("sleep"), 0.0], strict=True):
        assert timeout == pytest.approx((10.0 - spent) / 2)  # none of them has hung
        spent += 1.5 + pause
    assert drive.clock() - start == pytest.approx(spent)


def test_a_read_without_a_timeout_has_none_in_its_last_attempt(run: Any, drive: Any, a_call: Any) -> None:
    run(a_call(timeout=None), [UNAVAILABLE] * 4 + ["answer"], each=1000.0)
    assert drive.figures("send") == [15.0, 30.0, 60.0, 120.0, None]
    assert drive.figures("connect") == [None] * 4


@pytest.mark.parametrize(
    ("timeout", "figures"),
    [
        (60.0, [15.0, 30.0, pytest.approx(14.4, abs=0.3)]),
        (20.0, [10.0, pytest.approx(9.8, abs=0.1)]),
        (10.0, [5.0, pytest.approx(4.8, abs=0.1)]),
        (1.0, [0.5, pytest.approx(0.3, abs=0.1)]),
    ],
)
def test_an_attempt_of_a_read_that_hangs_leaves_time_for_another(
    timeout: float, figures: list[float], run: Any, drive: Any, a_call: Any
) -> None:
    def hangs(effect: Send) -> RpcStatus:
        assert effect.timeout is not None
        drive.clock.pass_(effect.timeout)
        return unproved(Code.DEADLINE_EXCEEDED)

    with pytest.raises(DeadlineExceededError) as caught:
        run(a_call(timeout=timeout), [hangs] * len(figures))
    assert drive.figures("send") == figures
    assert caught.value.attempts == len(figures)


def test_a_read_with_no_time_is_sent_once(run: Any, drive: Any, a_call: Any) -> None:
    with pytest.raises(UnavailableError) as caught:
        run(a_call(timeout=0), [UNAVAILABLE])
    assert drive.asked == [("send", 0)]
    assert caught.value.attempts == 1


def test_a_read_does_not_sleep_past_its_deadline(run: Any, drive: Any, a_call: Any) -> None:
    with pytest.raises(UnavailableError):
        run(a_call(timeout=10.0), [UNAVAILABLE], each=9.9)
    assert drive.kinds() == ["send"]


def test_a_read_whose_sleep_ran_late_has_no_negative_timeout(drive: Any, ports: Any, a_call: Any) -> None:
    flow: Any = send_call(a_call(timeout=10.0), ports())
    assert next(flow).timeout == 5.0
    assert flow.send(UNAVAILABLE).seconds <= 0.24
    drive.clock.pass_(100.0)
    assert flow.send(None).timeout == 0.0
    assert flow.send(True).timeout == 0.0
    with pytest.raises(DeadlineExceededError):
        flow.send(unproved(Code.DEADLINE_EXCEEDED))


def test_a_read_that_is_not_connected_again_in_time_has_its_last_failure_as_cause(run: Any, a_call: Any) -> None:
    with pytest.raises(UnavailableError, match="no connection within 60 s") as caught:
        run(a_call(), [UNAVAILABLE], connected=[False])
    assert caught.value.attempts == 1
    assert isinstance(caught.value.__cause__, UnavailableError)
    assert caught.value.__cause__.message == "gone"


def test_a_read_of_the_scheduler_is_sent_once(run: Any, drive: Any, a_call: Any) -> None:
    policy = POLICIES["/yandex.cloud.operation.OperationService/Get"]._replace(attempts=1)
    call = a_call(methods.OperationService.Get, timeout=40.0, policy=policy)
    with pytest.raises(UnavailableError) as caught:
        run(call, [UNAVAILABLE])
    assert caught.value.attempts == 1
    assert drive.asked == [("send", 40.0)]


def test_an_error_says_where_it_came_from(run: Any, a_call: Any) -> None:
    call = a_call(methods.OperationService.Get, operation_id="d7q")
    with pytest.raises(CallError) as caught:
        run(call, [said(Code.NOT_FOUND, "no\n such  thing")])
    assert str(caught.value) == (
        "NOT_FOUND: no such thing (operation d7q, method /yandex.cloud.operation.OperationService/Get, "
        "endpoint llm.example:443, client request id client-id)"
    )


# Generations


@by_name
@by_proof
def test_a_generation_is_sent_again_only_where_it_is_proved_that_nothing_started(
    code: Code, from_peer: bool, run: Any, drive: Any, a_call: Any, accepted: Any
) -> None:
    """Without the proof that the other side sent it, no status says that nothing started."""
    call = a_call(SUBMIT)
    status = said(code, "it\nfailed", from_peer=from_peer)
    if from_peer and code.name in SUBMIT_AGAIN:
        assert run(call, [status, accepted]) is accepted
        assert drive.kinds() == ["connect", "send", "sleep", "connect", "send"]
        return
    with pytest.raises((CallError, AmbiguousSubmitError)) as caught:
        run(call, [status])
    assert drive.kinds() == ["connect", "send"]
    if from_peer and code.name in REFUSED:
        assert type(caught.value) is CALL_ERRORS[code]
        assert caught.value.attempts == 1
        assert caught.value.__cause__ is status.error
        return
    ambiguous = caught.value
    assert type(ambiguous) is (SubmitTimeoutError if code is Code.DEADLINE_EXCEEDED else AmbiguousSubmitError)
    assert (ambiguous.code, ambiguous.message) == (code, "it failed")
    assert (ambiguous.method, ambiguous.endpoint) == (call.method.path, ENDPOINT)
    assert (ambiguous.client_request_id, ambiguous.attempts) == ("client-id", 1)
    assert type(ambiguous.__cause__) is CALL_ERRORS[code]
    assert ambiguous.__cause__.__cause__ is status.error


def test_an_ambiguous_submit_has_the_ids_of_its_answer(run: Any, a_call: Any) -> None:
    status = unproved(Code.INTERNAL, initial=[("x-request-id", "req")], trailing=[("x-server-trace-id", "trace")])
    with pytest.raises(AmbiguousSubmitError) as caught:
        run(a_call(SUBMIT), [status])
    assert (caught.value.request_id, caught.value.server_trace_id) == ("req", "trace")


def test_a_submit_gives_up_after_five_refusals(run: Any, drive: Any, a_call: Any) -> None:
    with pytest.raises(ResourceExhaustedError) as caught:
        run(a_call(SUBMIT), [EXHAUSTED] * 5)
    assert caught.value.attempts == 5
    assert drive.kinds() == [*["connect", "send", "sleep"] * 4, "connect", "send"]


def test_a_submit_that_was_refused_may_still_be_ambiguous(run: Any, a_call: Any) -> None:
    with pytest.raises(AmbiguousSubmitError) as caught:
        run(a_call(SUBMIT), [EXHAUSTED, UNAVAILABLE])
    assert isinstance(caught.value.__cause__, UnavailableError)
    assert caught.value.__cause__.attempts == 2


def test_a_submit_without_a_connection_was_not_sent(run: Any, drive: Any, a_call: Any) -> None:
    call = a_call(SUBMIT, timeout=7.5)
    with pytest.raises(UnavailableError) as caught:
        run(call, [], connected=[False])
    assert drive.asked == [("connect", 7.5)]
    assert (caught.value.attempts, caught.value.message) == (0, "no connection within 7.5 s, nothing was sent")
    assert (caught.value.endpoint, caught.value.client_request_id) == (ENDPOINT, "client-id")
    assert caught.value.method == call.method.path


def test_a_submit_that_loses_its_connection_after_a_refusal_was_sent_once(run: Any, a_call: Any) -> None:
    with pytest.raises(UnavailableError) as caught:
        run(a_call(SUBMIT), [EXHAUSTED], connected=[True, False])
    assert (caught.value.attempts, caught.value.message) == (1, "no connection within 60 s, nothing was started")


def test_the_timeout_of_a_submit_is_over_connecting_and_all_attempts(
    run: Any, drive: Any, a_call: Any, accepted: Any
) -> None:
    run(a_call(SUBMIT, timeout=20.0), [EXHAUSTED, accepted], each=2.0, connecting=3.0)
    (pause,) = drive.figures("sleep")
    assert drive.asked == [
        ("connect", pytest.approx(20.0)),
        ("send", pytest.approx(17.0)),
        ("sleep", pause),
        ("connect", pytest.approx(15.0 - pause)),
        ("send", pytest.approx(12.0 - pause)),
    ]


def test_a_submit_without_a_timeout_has_none_anywhere(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    run(a_call(SUBMIT, timeout=None), [EXHAUSTED, accepted], each=1e6, connecting=1e6)
    assert drive.figures("connect") == drive.figures("send") == [None, None]


def test_a_submit_with_no_time_is_not_sent(run: Any, drive: Any, a_call: Any) -> None:
    with pytest.raises(DeadlineExceededError, match="the timeout of 0 s is over, nothing was sent") as caught:
        run(a_call(SUBMIT, timeout=0), [])
    assert caught.value.attempts == 0
    assert drive.asked == [("connect", 0.0)]


def test_a_submit_whose_connection_took_all_the_time_is_not_sent(run: Any, drive: Any, a_call: Any) -> None:
    with pytest.raises(DeadlineExceededError, match="the timeout of 5 s is over, nothing was sent"):
        run(a_call(SUBMIT, timeout=5.0), [], connecting=6.0)
    assert drive.asked == [("connect", 5.0)]


def test_a_submit_does_not_sleep_past_its_deadline(run: Any, drive: Any, a_call: Any) -> None:
    with pytest.raises(ResourceExhaustedError) as caught:
        run(a_call(SUBMIT, timeout=5.0), [EXHAUSTED], each=4.9)
    assert caught.value.attempts == 1
    assert drive.kinds() == ["connect", "send"]


def test_an_answer_over_the_limit_is_not_asked_for_again(run: Any, drive: Any, a_call: Any) -> None:
    for call in (a_call(), a_call(SUBMIT), a_call(SUBMIT, resubmit=True)):
        with pytest.raises(MessageTooLargeError) as caught:
            run(call, [Unreadable(9, 5)])
        assert (caught.value.size, caught.value.limit, caught.value.option) == (9, 5, RECEIVE_OPTION)
    assert drive.kinds().count("send") == 3


def test_an_answer_that_does_not_parse_is_not_asked_for_again(run: Any, drive: Any, a_call: Any) -> None:
    for call in (a_call(), a_call(SUBMIT), a_call(SUBMIT, resubmit=True)):
        with pytest.raises(ResultError, match="does not parse"):
            run(call, [Unreadable(9, None, "odd")])
    with pytest.raises(ResultError, match="does not parse"):
        run(a_call(COMPLETE), [Opened(None, Unreadable(9, None, "odd"))])
    assert drive.kinds().count("send") == 4


@pytest.mark.parametrize(
    ("method", "answer"), [(methods.TokenizerService.Tokenize, None), (SUBMIT, None), (COMPLETE, Opened(None, None))]
)
def test_an_answer_without_a_message_is_not_asked_for_again(
    method: Any, answer: Any, run: Any, drive: Any, a_call: Any
) -> None:
    """As gRPC gives it for a broken answer with the status OK."""
    with pytest.raises(ResultError, match="there is no message"):
        run(a_call(method, resubmit=True), [answer])
    assert drive.kinds().count("send") == 1


def test_a_generation_that_was_closed_may_have_run(run: Any, a_call: Any) -> None:
    closed = RpcStatus(Code.CANCELLED, "the client was closed", closed=True)
    with pytest.raises(AmbiguousSubmitError) as caught:
        run(a_call(SUBMIT, resubmit=True), [closed])
    assert caught.value.code is Code.CANCELLED


@pytest.mark.parametrize("method", [methods.OperationService.Get, OTHER])
def test_what_starts_nothing_is_closed_with_its_client(method: Any, run: Any, a_call: Any) -> None:
    closed = RpcStatus(Code.CANCELLED, "the client was closed", closed=True)
    with pytest.raises(ClientClosedError) as caught:
        run(a_call(method, operation_id="d7q"), [closed])
    assert caught.value.operation_id == "d7q"
    assert isinstance(caught.value.__cause__, CallCancelledError)


# Sent again although it may have run


RESUBMITTED = [
    ([UNAVAILABLE, said(Code.PERMISSION_DENIED, "no")], [], 2),
    ([UNAVAILABLE, *[said(Code.RESOURCE_EXHAUSTED, "no")] * 4], [], 5),
    ([UNAVAILABLE], [True, False], 1),
    ([UNAVAILABLE], [True, ClientClosedError()], 1),
    ([UNAVAILABLE, ClientClosedError()], [], 2),
    ([UNAVAILABLE, *[raised(OSError("no"))] * 4], [], 5),
    ([UNAVAILABLE, Unreadable(9, 5)], [], 2),
    ([UNAVAILABLE, RpcStatus(Code.CANCELLED, closed=True)], [], 2),
    ([UNAVAILABLE, _pb.operation_pb2.Operation()], [], 2),
]


@pytest.mark.parametrize(
    ("script", "connected", "attempts"),
    RESUBMITTED,
    ids=[
        "denied",
        "exhausted",
        "connection",
        "closed_while_connecting",
        "closed_before",
        "other",
        "large",
        "closed",
        "no_id",
    ],
)
def test_a_generation_that_may_have_run_is_never_said_not_to_have_started(
    script: list[Any], connected: list[Any], attempts: int, run: Any, a_call: Any
) -> None:
    with pytest.raises(AmbiguousSubmitError, match="UNAVAILABLE: gone") as caught:
        run(a_call(SUBMIT, resubmit=True), script, connected=connected)
    assert caught.value.attempts == attempts
    assert isinstance(caught.value.__cause__, Exception)
    assert not isinstance(caught.value.__cause__, AmbiguousSubmitError)


def test_a_generation_that_is_closed_while_it_pauses_may_have_run(ports: Any, a_call: Any) -> None:
    flow: Any = send_call(a_call(SUBMIT, resubmit=True), ports())
    assert isinstance(next(flow), Connect)
    assert isinstance(flow.send(True), Send)
    assert isinstance(flow.send(UNAVAILABLE), Sleep)
    with pytest.raises(AmbiguousSubmitError, match="gone") as caught:
        flow.throw(ClientClosedError())
    assert isinstance(caught.value.__cause__, ClientClosedError)


def test_a_generation_that_is_cancelled_while_it_pauses_may_have_run(ports: Any, a_call: Any) -> None:
    call = a_call(SUBMIT, resubmit=True)
    flow: Any = send_call(call, ports())
    assert isinstance(next(flow), Connect)
    assert isinstance(flow.send(True), Send)
    assert isinstance(flow.send(UNAVAILABLE), Sleep)
    call.cancel()
    assert isinstance(flow.send(None), Connect)
    with pytest.raises(AmbiguousSubmitError, match="gone"):
        flow.send(True)


def test_the_first_failure_that_left_it_open_names_an_ambiguous_submit(run: Any, a_call: Any) -> None:
    with pytest.raises(SubmitTimeoutError, match="DEADLINE_EXCEEDED: hung") as caught:
        run(a_call(SUBMIT, resubmit=True), [unproved(Code.DEADLINE_EXCEEDED, "hung"), *[UNAVAILABLE] * 4])
    assert caught.value.attempts == 5
    assert isinstance(caught.value.__cause__, UnavailableError)


@by_name
def test_resubmit_sends_again_whatever_does_not_say_that_it_is_wrong(
    code: Code, run: Any, drive: Any, a_call: Any, accepted: Any
) -> None:
    assert run(a_call(SUBMIT, resubmit=True), [unproved(code), accepted]) is accepted
    assert drive.kinds() == ["connect", "send", "sleep", "connect", "send"]


@pytest.mark.parametrize("code", sorted(REFUSED - {"UNAUTHENTICATED"}))
def test_resubmit_does_not_send_again_what_is_refused(code: str, run: Any, a_call: Any) -> None:
    with pytest.raises(CALL_ERRORS[Code[code]]) as caught:
        run(a_call(SUBMIT, resubmit=True), [said(Code[code])])
    assert caught.value.attempts == 1


TOO_LARGE = "CLIENT: Received message larger than max (6 vs. 5)"
STATUSES = st.builds(
    unproved,
    st.sampled_from(FAILURES),
    st.sampled_from(["it failed", "a.b.count rate quota limit exceed: allowed 1", TOO_LARGE]),
    trailing=st.sampled_from([(), (("grpc-retry-pushback-ms", "0"),), (("grpc-retry-pushback-ms", "-1"),)]),
    from_peer=st.booleans(),
    closed=st.sampled_from([False, False, False, True]),
)


def leaves_it_open(status: RpcStatus) -> bool:
    """Whether a generation may have run unnoticed: said here once more, in other words than the package's."""
    if status.closed:
        return True
    if status.code is Code.RESOURCE_EXHAUSTED and status.message == TOO_LARGE:
        return False  # its error says that it ran
    return not (status.from_peer and status.code.name in REFUSED | SUBMIT_AGAIN)


@settings(max_examples=200)
@given(
    statuses=st.lists(STATUSES, max_size=7),
    resubmit=st.booleans(),
    timeout=st.sampled_from([None, 5.0, 600.0]),
    seconds=st.floats(0, 10),
    method=st.sampled_from([SUBMIT, COMPLETE]),
    limited=st.booleans(),
)
def test_a_generation_is_never_sent_again_on_a_guess(
    statuses: list[RpcStatus],
    resubmit: bool,
    timeout: float | None,
    seconds: float,
    method: Any,
    limited: bool,
    a_call: Any,
    operation: Any,
    new_driver: Any,
    new_ports: Any,
) -> None:
    drive = new_driver()
    gate = Gate(Window("submit_per_second", 10, 1.0), make_lock=threading.RLock) if limited else None
    answer = operation("d7q")
    flow = send_call(a_call(method, timeout=timeout, resubmit=resubmit), new_ports(drive.clock, gate=gate))
    failure = None
    try:
        assert drive(flow, [*statuses, answer], each=seconds, whole=False) is answer
    except YagrpcError as error:
        failure = error
    sent = len(drive.sent)
    failed = statuses[:sent]
    open_at = [number for number, status in enumerate(failed, 1) if leaves_it_open(status)]
    if open_at and not resubmit:
        assert sent == open_at[0]
    if failure is not None:
        assert isinstance(failure, AmbiguousSubmitError) == bool(open_at)
        assert failure.attempts == sent or isinstance(failure, ClientClosedError)


# What is not known to be a read


@by_name
@by_proof
def test_what_is_not_known_to_be_a_read_is_sent_once(
    code: Code, from_peer: bool, run: Any, drive: Any, a_call: Any
) -> None:
    status = said(code, from_peer=from_peer)
    with pytest.raises(CALL_ERRORS[code]) as caught:
        run(a_call(OTHER, timeout=9.0), [status], connecting=2.0)
    assert drive.asked == [("connect", 9.0), ("send", pytest.approx(7.0))]
    assert caught.value.attempts == 1
    assert caught.value.__cause__ is status.error


def test_what_is_sent_once_gives_its_answer(run: Any, a_call: Any) -> None:
    assert run(a_call(OTHER), ["answer"]) == "answer"


def test_what_is_sent_once_needs_a_connection(run: Any, a_call: Any) -> None:
    with pytest.raises(UnavailableError, match="nothing was sent") as caught:
        run(a_call(OTHER), [], connected=[False])
    assert caught.value.attempts == 0


@pytest.mark.parametrize(("timeout", "left"), [(10.0, 6.0), (3.0, 0.0), (0, 0.0), (None, None)])
def test_connecting_leaves_the_rest_of_the_time(
    timeout: float | None, left: float | None, run: Any, drive: Any, a_call: Any
) -> None:
    assert run(a_call(OTHER, timeout=timeout), ["answer"], connecting=4.0) == "answer"
    assert drive.asked == [("connect", timeout), ("send", left if left is None else pytest.approx(left))]


def test_a_stream_of_requests_is_not_sent_again(run: Any, a_call: Any) -> None:
    """It is used up: whatever it is a call of."""
    for resubmit, status in ((False, EXHAUSTED), (True, UNAVAILABLE)):
        for method in (methods.TokenizerService.Tokenize, COMPLETE):
            call = a_call(method, request=RequestStream(method, []), resubmit=resubmit)
            with pytest.raises((CallError, AmbiguousSubmitError)) as caught:
                run(call, [status])
            assert caught.value.attempts == 1


def test_what_is_wrong_with_a_stream_of_requests_is_the_error(run: Any, a_call: Any) -> None:
    stream = RequestStream(methods.TokenizerService.Tokenize, [_pb.operation_pb2.Operation()])

    def reads(effect: Send) -> RpcStatus:
        with pytest.raises(RequestError):
            next(effect.call.request)
        return unproved(Code.CANCELLED)

    with pytest.raises(RequestError) as caught:
        run(a_call(request=stream), [reads])
    assert caught.value is stream.error


# What is no failure of the call's


@pytest.mark.parametrize("method", [methods.TokenizerService.Tokenize, SUBMIT, OTHER])
@pytest.mark.parametrize("error", [ClientClosedError(), KeyboardInterrupt(), asyncio.CancelledError(), OSError("no")])
def test_other_exceptions_pass(method: Any, error: BaseException, run: Any, a_call: Any) -> None:
    """A signal's handler may raise any, while the caller waits."""
    with pytest.raises(type(error)) as caught:
        run(a_call(method), [error])
    assert caught.value is error


def test_an_attempt_of_a_generation_that_ended_with_an_unknown_exception_may_have_run(run: Any, a_call: Any) -> None:
    error = OSError("no")
    with pytest.raises(AmbiguousSubmitError) as caught:
        run(a_call(SUBMIT), [raised(error)])
    failure = caught.value.__cause__
    assert isinstance(failure, CallError)
    assert failure.__cause__ is error
    assert failure.message == "the attempt ended with OSError"
    assert (caught.value.code, caught.value.attempts) == (Code.UNKNOWN, 1)


@pytest.mark.parametrize("method", [methods.TokenizerService.Tokenize, SUBMIT])
def test_closing_during_a_pause_ends_the_flow(method: Any, ports: Any, a_call: Any) -> None:
    flow: Any = send_call(a_call(method), ports())
    effect = next(flow)
    if isinstance(effect, Connect):
        effect = flow.send(True)
    assert isinstance(effect, Send)
    assert flow.send(EXHAUSTED).seconds > 0
    with pytest.raises(ClientClosedError):
        flow.throw(ClientClosedError())


def test_what_was_cancelled_while_it_connected_is_not_sent(ports: Any, a_call: Any) -> None:
    call = a_call(COMPLETE, operation_id="d7q")
    flow: Any = send_call(call, ports())
    assert isinstance(next(flow), Connect)
    call.cancel()
    with pytest.raises(ClientClosedError) as caught:
        flow.send(True)
    assert caught.value.operation_id == "d7q"


# What goes with an attempt


def test_a_repetition_says_that_it_is_one(run: Any, drive: Any, a_call: Any) -> None:
    call = a_call()
    call.metadata = (("x-client-request-id", "client-id"),)
    run(call, [UNAVAILABLE, UNAVAILABLE, "answer"])
    assert [effect.metadata for effect in drive.sent] == [
        (("x-client-request-id", "client-id"),),
        (("x-client-request-id", "client-id"), ("x-retry-attempt", "1")),
        (("x-client-request-id", "client-id"), ("x-retry-attempt", "2")),
    ]
    assert call.attempts == 3


def test_only_a_submit_is_completed_without_its_caller(run: Any, drive: Any, a_call: Any, accepted: Any) -> None:
    run(a_call(SUBMIT), [accepted])
    for method in (COMPLETE, OTHER, methods.TokenizerService.Tokenize):
        run(a_call(method), ["answer"])
    assert [effect.reporter is not None for effect in drive.sent] == [True, False, False, False]


def test_the_endpoint_is_found_once(drive: Any, ports: Any, a_call: Any) -> None:
    def discovering() -> Flow[None]:
        yield from sleep(4.0)

    port = ports(discovering=discovering)
    for seconds in (6.0, 10.0):
        drive.asked.clear()
        assert drive(send_call(a_call(OTHER, timeout=10.0), port), ["answer"]) == "answer"
        assert drive.figures("connect") == [pytest.approx(seconds)]


# Tokens


class Fetched(FetchedCredentials):
    """Gives tokens in turn, or raises what stands in place of one."""

    def __init__(self, *tokens: str | Exception) -> None:
        self._tokens = iter(tokens)

    def fetch(self, timeout: float) -> AccessToken:
        token = next(self._tokens)
        if isinstance(token, Exception):
            raise token
        return AccessToken(token, 3600.0)


def authorizer(clock: Any, *tokens: str | Exception) -> Authorizer:
    """An authorizer whose tokens come in turn."""

    def exchange(identity: Mapping[str, str]) -> Flow[AccessToken]:
        raise NotImplementedError

    kept = Tokens(
        Fetched(*tokens),
        exchange=exchange,
        audience=lambda: "",
        clock=clock,
        wall=lambda: clock() + 1e9,
        jitter=lambda: 1.0,
    )
    return Authorizer(kept, None)


def tokens_sent(drive: Any) -> list[str]:
    """The tokens of the attempts."""
    return [str(dict(revealed(effect.metadata)).get("authorization", "")) for effect in drive.sent]


@pytest.mark.parametrize("method", [methods.TokenizerService.Tokenize, SUBMIT, OTHER])
def test_a_refused_token_is_renewed_once(
    method: Any, run: Any, drive: Any, clock: Any, a_call: Any, accepted: Any
) -> None:
    refused = said(Code.UNAUTHENTICATED, "the token is invalid")
    call = a_call(method, needs_token=True)
    assert run(call, [refused, accepted], authorizer=authorizer(clock, "one", "two")) is accepted
    assert tokens_sent(drive) == ["Bearer one", "Bearer two"]
    assert "sleep" not in drive.kinds()
    with pytest.raises(UnauthenticatedError) as caught:
        run(a_call(method, needs_token=True), [refused] * 2, authorizer=authorizer(clock, "one", "two", "three"))
    assert caught.value.attempts == 2


@pytest.mark.parametrize(("method", "ambiguous"), [(SUBMIT, True), (OTHER, False)])
def test_a_refused_token_that_is_not_proved_to_be_the_peers_is_not_renewed(
    method: Any, ambiguous: bool, run: Any, drive: Any, clock: Any, a_call: Any
) -> None:
    """Such as a gateway's HTTP 401: only a read is sent again on that."""
    status = unproved(Code.UNAUTHENTICATED, "Received http2 header with status: 401")
    with pytest.raises((AmbiguousSubmitError, UnauthenticatedError)) as caught:
        run(a_call(method, needs_token=True), [status], authorizer=authorizer(clock, "one", "two"))
    assert isinstance(caught.value, AmbiguousSubmitError) == ambiguous
    assert len(drive.sent) == 1
    call = a_call(needs_token=True)
    assert run(call, [status, "answer"], authorizer=authorizer(clock, "one", "two")) == "answer"


def test_a_token_that_cannot_be_renewed_is_the_error(run: Any, clock: Any, a_call: Any) -> None:
    refused = said(Code.UNAUTHENTICATED)
    with pytest.raises(ConfigError) as caught:
        run(
            a_call(SUBMIT, needs_token=True),
            [refused],
            authorizer=authorizer(clock, "one", ConfigError("no such key")),
        )
    assert caught.value.attempts == 1
    assert isinstance(caught.value.__cause__, UnauthenticatedError)


def test_a_token_that_cannot_be_renewed_leaves_a_generation_ambiguous(run: Any, clock: Any, a_call: Any) -> None:
    with pytest.raises(AmbiguousSubmitError, match="gone") as caught:
        run(
            a_call(SUBMIT, needs_token=True, resubmit=True),
            [UNAVAILABLE, said(Code.UNAUTHENTICATED)],
            authorizer=authorizer(clock, "one", ConfigError("no such key")),
        )
    assert caught.value.attempts == 2
    assert isinstance(caught.value.__cause__, ConfigError)


def test_a_credential_of_the_callers_is_not_renewed(run: Any, clock: Any, a_call: Any) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        run(a_call(needs_token=False), [said(Code.UNAUTHENTICATED)], authorizer=authorizer(clock))
    assert caught.value.attempts == 1


def test_attempts_are_counted_over_renewals_and_pauses(run: Any, drive: Any, clock: Any, a_call: Any) -> None:
    script = [UNAVAILABLE, said(Code.UNAUTHENTICATED), *[UNAVAILABLE] * 4]
    with pytest.raises(UnavailableError) as caught:
        run(a_call(needs_token=True), script, authorizer=authorizer(clock, "one", "two"))
    assert caught.value.attempts == 6  # five, and the one that a token was renewed after
    assert dict(drive.sent[-1].metadata)["x-retry-attempt"] == "5"


def test_a_slow_token_leaves_the_timeout_as_it_was_given(run: Any, drive: Any, clock: Any, a_call: Any) -> None:
    """The error says the seconds that the caller gave, not what the token left of them."""
    call = a_call(SUBMIT, timeout=1.5, needs_token=True)
    with pytest.raises(UnavailableError) as caught:
        run(call, [], authorizer=authorizer(clock, "one"), blocking=0.8, connected=[False])
    assert caught.value.message == "no connection within 1.5 s, nothing was sent"
    assert drive.figures("connect") == [pytest.approx(0.7)]
    assert call.timeout == 1.5


def test_a_token_that_comes_too_late_says_the_seconds_that_were_given(run: Any, clock: Any, a_call: Any) -> None:
    with pytest.raises(UnavailableError, match=r"no IAM token from .* within 1\.5 s, nothing was sent") as caught:
        run(a_call(SUBMIT, timeout=1.5, needs_token=True), [], authorizer=authorizer(clock, "one"), blocking=9.0)
    assert caught.value.attempts == 0


# Streams


def test_a_stream_is_given_as_it_was_opened(run: Any, a_call: Any, completion: Any) -> None:
    opened = Opened(object(), completion("text"))
    assert run(a_call(COMPLETE), [EXHAUSTED, opened]) is opened


def test_a_stream_without_a_message_is_given_too(run: Any, a_call: Any) -> None:
    opened = Opened(object(), END)
    assert run(a_call(COMPLETE), [opened]) is opened


def completion_call(a_call: Any, *, stream: bool) -> Any:
    """A synchronous completion that was sent twice."""
    request = _pb.text_generation_service_pb2.CompletionRequest()
    request.completion_options.stream = stream
    call = a_call(COMPLETE, request=request)
    call.attempts = 2
    return call


@by_name
@by_proof
def test_a_completion_that_breaks_may_have_run_in_vain(code: Code, from_peer: bool, a_call: Any) -> None:
    """Its caller has no text of it; of a stream the caller has the messages so far, and gets the call's own error."""
    status = said(code, from_peer=from_peer)
    streamed = broken_stream(status, completion_call(a_call, stream=True), endpoint=ENDPOINT, send_limit=-1)
    assert type(streamed) is CALL_ERRORS[code]
    assert streamed.__cause__ is status.error
    whole = broken_stream(status, completion_call(a_call, stream=False), endpoint=ENDPOINT, send_limit=-1)
    refused = from_peer and code.name in REFUSED | SUBMIT_AGAIN
    assert isinstance(whole, AmbiguousSubmitError) != refused
    assert isinstance(whole, SubmitTimeoutError) == (code is Code.DEADLINE_EXCEEDED)
    for error in (streamed, whole):
        assert isinstance(error, (CallError, AmbiguousSubmitError))
        assert (error.attempts, error.endpoint) == (2, ENDPOINT)
    if not refused:
        assert isinstance(whole.__cause__, CALL_ERRORS[code])


def test_a_stream_of_a_read_that_breaks_gets_its_own_error(a_call: Any) -> None:
    assert type(broken_stream(UNAVAILABLE, a_call(), endpoint=ENDPOINT, send_limit=-1)) is UnavailableError


def test_every_kind_has_a_test_here() -> None:
    kinds = [policy_of(method).kind for method in (methods.TokenizerService.Tokenize, SUBMIT, OTHER)]
    assert kinds == list(Kind)
    assert policy_of(COMPLETE).kind is Kind.GENERATION

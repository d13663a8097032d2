"""The flows of single calls, by script: what is sent again, how long it may take, and what a failure is called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yagrpc import _pb, methods
from yagrpc._core import send as sending
from yagrpc._core.failure import retry
from yagrpc._core.flow import Send
from yagrpc.errors import (
    CALL_ERRORS,
    AmbiguousSubmitError,
    CallError,
    ClientClosedError,
    Code,
    DeadlineExceededError,
    ResourceExhaustedError,
    UnavailableError,
)

ENDPOINT = "llm.example:443"
WAY = sending.Way(ENDPOINT)
FAILURES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
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


def test_every_status_has_its_place() -> None:
    assert {code.name for code in retry.READ_RETRIED} == READ_AGAIN
    assert {code.name for code in retry.SUBMIT_RETRIED} == SUBMIT_AGAIN
    assert {code.name for code in retry.SUBMIT_AMBIGUOUS} == AMBIGUOUS
    assert {code.name for code in FAILURES} == SUBMIT_AGAIN | AMBIGUOUS | REFUSED
    assert not SUBMIT_AGAIN & AMBIGUOUS


# Sent again although it may have run


RESUBMITTED = [
    ([("UNAVAILABLE", "gone"), ("PERMISSION_DENIED", "no")], [], 2),
    ([("UNAVAILABLE", "gone"), *[("RESOURCE_EXHAUSTED", "no")] * 4], [], 5),
    ([("UNAVAILABLE", "gone")], [True, False], 1),
]


@pytest.mark.parametrize(("failures", "connected", "attempts"), RESUBMITTED, ids=["denied", "exhausted", "connection"])
def test_a_generation_that_may_have_run_is_never_told_not_to_have_started(
    failures: list[tuple[str, str]], connected: list[bool], attempts: int, drive: Any, a_call: Any, rpc_error: Any
) -> None:
    call = a_call(methods.TextGenerationAsyncService.Completion)
    call.resubmit = True
    errors = [rpc_error(grpc.StatusCode[code], text) for code, text in failures]
    with pytest.raises(AmbiguousSubmitError, match="UNAVAILABLE: gone") as caught:
        drive(sending.generate(sending.Attempts(call, WAY, drive.clock)), errors, connected=connected)
    assert caught.value.attempts == attempts
    assert isinstance(caught.value.__cause__, CallError)


# Reads


@by_name
def test_a_read_is_sent_again_on_what_may_pass(code: grpc.StatusCode, drive: Any, a_call: Any, rpc_error: Any) -> None:
    flow = sending.read(sending.Attempts(a_call(), WAY, drive.clock))
    if code.name in READ_AGAIN:
        assert drive(flow, [rpc_error(code), "answer"]) == "answer"
        # What could not be reached is sent again when it is connected.
        waited = ["ready"] if code is grpc.StatusCode.UNAVAILABLE else []
        assert drive.kinds() == ["send", "sleep", *waited, "send"]
        return
    error = rpc_error(code, "no such thing")
    with pytest.raises(CALL_ERRORS[Code[code.name]]) as caught:
        drive(flow, [error])
    assert drive.kinds() == ["send"]
    assert caught.value.__cause__ is error
    assert (caught.value.attempts, caught.value.message) == (1, "no such thing")


def test_a_read_is_not_kept_waiting_for_its_connection(drive: Any, a_call: Any) -> None:
    assert drive(sending.read(sending.Attempts(a_call(), WAY, drive.clock)), ["answer"]) == "answer"
    assert drive.asked == [("send", retry.READ_ATTEMPT)]


def test_a_read_gives_up_after_five_attempts(drive: Any, a_call: Any, rpc_error: Any) -> None:
    errors = [rpc_error(grpc.StatusCode.UNAVAILABLE, f"failure {number}") for number in range(1, 6)]
    with pytest.raises(UnavailableError, match=r"UNAVAILABLE: failure 5 \(.*attempts 5\)$") as caught:
        drive(sending.read(sending.Attempts(a_call(), WAY, drive.clock)), errors)
    assert retry.ATTEMPTS == 5
    assert caught.value.attempts == 5
    assert caught.value.__cause__ is errors[-1]
    pauses = drive.figures("sleep")
    assert [0.16 <= pauses[0] <= 0.24, 0.32 <= pauses[1] <= 0.48, 0.64 <= pauses[2] <= 0.96] == [True] * 3
    assert 1.28 <= pauses[3] <= 1.92


def test_a_read_may_fail_in_different_ways(drive: Any, a_call: Any, rpc_error: Any) -> None:
    script = [
        rpc_error(grpc.StatusCode.UNAVAILABLE),
        rpc_error(grpc.StatusCode.INTERNAL),
        rpc_error(grpc.StatusCode.PERMISSION_DENIED),
    ]
    with pytest.raises(CALL_ERRORS[Code.PERMISSION_DENIED]) as caught:
        drive(sending.read(sending.Attempts(a_call(), WAY, drive.clock)), script)
    assert caught.value.attempts == 3


@given(attempt=st.integers(2, 500))
def test_pauses_double_up_to_a_limit_and_are_jittered(attempt: int) -> None:
    middle = min(5.0, 0.2 * 2 ** min(attempt - 2, 50))
    assert 0.79 * middle <= retry.backoff(attempt) <= 1.21 * middle


def test_pauses_differ() -> None:
    assert len({retry.backoff(2) for _ in range(20)}) > 1


def test_the_timeout_of_a_read_is_over_all_attempts(drive: Any, a_call: Any, rpc_error: Any) -> None:
    errors = [rpc_error(grpc.StatusCode.UNAVAILABLE)] * 3
    start = drive.clock()
    drive(
        sending.read(sending.Attempts(a_call(timeout=10.0), WAY, drive.clock)),
        [*errors, "answer"],
        each=1.5,
    )
    spent = 0.0
    for timeout, pause in zip(drive.figures("send"), [*drive.figures("sleep"), 0.0], strict=True):
        assert timeout == pytest.approx(10.0 - spent)
        spent += 1.5 + pause
    assert drive.clock() - start == pytest.approx(spent)


def test_a_read_without_a_timeout_has_none_in_its_last_attempt(drive: Any, a_call: Any, rpc_error: Any) -> None:
    errors = [rpc_error(grpc.StatusCode.UNAVAILABLE)] * 4
    drive(
        sending.read(sending.Attempts(a_call(timeout=None), WAY, drive.clock)),
        [*errors, "answer"],
        each=1000.0,
    )
    assert drive.figures("send") == [15.0, 30.0, 60.0, 120.0, None]


@pytest.mark.parametrize(("timeout", "figures"), [(20.0, [15.0, pytest.approx(4.8, abs=0.1)]), (10.0, [10.0])])
def test_an_attempt_of_a_read_that_hangs_leaves_time_for_another(
    timeout: float, figures: list[float], drive: Any, a_call: Any, rpc_error: Any
) -> None:
    def hanging() -> CallError:
        flow = sending.read(sending.Attempts(a_call(timeout=timeout), WAY, drive.clock))
        effect: Any = next(flow)
        try:
            while True:
                if isinstance(effect, Send):
                    drive.asked.append(("send", effect.timeout))
                    drive.clock.pass_(effect.timeout or 0.0)
                    effect = flow.throw(rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED))
                else:
                    drive.clock.pass_(effect.seconds)
                    effect = flow.send(None)
        except DeadlineExceededError as error:
            return error

    failure = hanging()
    assert drive.figures("send") == figures
    assert failure.attempts == len(figures)


def test_a_read_with_no_time_is_sent_once(drive: Any, a_call: Any, rpc_error: Any) -> None:
    with pytest.raises(UnavailableError) as caught:
        drive(
            sending.read(sending.Attempts(a_call(timeout=0), WAY, drive.clock)),
            [rpc_error(grpc.StatusCode.UNAVAILABLE)],
        )
    assert drive.asked == [("send", 0)]
    assert caught.value.attempts == 1


def test_a_read_does_not_sleep_past_its_deadline(drive: Any, a_call: Any, rpc_error: Any) -> None:
    with pytest.raises(UnavailableError):
        drive(
            sending.read(sending.Attempts(a_call(timeout=10.0), WAY, drive.clock)),
            [rpc_error(grpc.StatusCode.UNAVAILABLE)],
            each=9.9,
        )
    assert drive.kinds() == ["send"]


def test_a_read_whose_sleep_ran_late_has_no_negative_timeout(drive: Any, a_call: Any, rpc_error: Any) -> None:
    flow = sending.read(sending.Attempts(a_call(timeout=10.0), WAY, drive.clock))
    assert next(flow).timeout == 10.0  # type: ignore[union-attr]
    assert flow.throw(rpc_error(grpc.StatusCode.UNAVAILABLE)).seconds <= 0.24  # type: ignore[union-attr, operator]
    drive.clock.pass_(100.0)
    assert flow.send(None).timeout == 0.0  # type: ignore[union-attr]
    assert flow.send(True).timeout == 0.0  # type: ignore[union-attr]
    with pytest.raises(DeadlineExceededError):
        flow.throw(rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED))


def test_an_error_tells_where_it_came_from(drive: Any, a_call: Any, rpc_error: Any) -> None:
    call = a_call(methods.OperationService.Get, operation_id="d7q")
    with pytest.raises(CallError) as caught:
        drive(
            sending.read(sending.Attempts(call, WAY, drive.clock)),
            [rpc_error(grpc.StatusCode.NOT_FOUND, "no\n such  thing")],
        )
    assert str(caught.value) == (
        "NOT_FOUND: no such thing (operation d7q, method /yandex.cloud.operation.OperationService/Get, "
        "endpoint llm.example:443, client request id client-id)"
    )


# Submits


@by_name
def test_a_submit_is_sent_again_only_where_nothing_started(
    code: grpc.StatusCode, drive: Any, a_call: Any, rpc_error: Any
) -> None:
    call = a_call(methods.TextGenerationAsyncService.Completion)
    flow = sending.generate(sending.Attempts(call, WAY, drive.clock))
    error = rpc_error(code, "it\nfailed")
    if code.name in SUBMIT_AGAIN:
        assert drive(flow, [error, "accepted"]) == "accepted"
        assert drive.kinds() == ["ready", "send", "sleep", "ready", "send"]
        return
    with pytest.raises((CallError, AmbiguousSubmitError)) as caught:
        drive(flow, [error])
    assert drive.kinds() == ["ready", "send"]
    if code.name in REFUSED:
        assert type(caught.value) is CALL_ERRORS[Code[code.name]]
        assert caught.value.attempts == 1
        assert caught.value.__cause__ is error
        return
    ambiguous = caught.value
    assert isinstance(ambiguous, AmbiguousSubmitError)
    assert (ambiguous.code, ambiguous.message) == (Code[code.name], "it failed")
    assert (ambiguous.method, ambiguous.endpoint) == (call.method.path, ENDPOINT)
    assert ambiguous.client_request_id == "client-id"
    assert type(ambiguous.__cause__) is CALL_ERRORS[Code[code.name]]
    assert ambiguous.__cause__.__cause__ is error


def test_a_submit_gives_up_after_five_refusals(drive: Any, a_call: Any, rpc_error: Any) -> None:
    errors = [rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED)] * 5
    with pytest.raises(ResourceExhaustedError) as caught:
        drive(sending.generate(sending.Attempts(a_call(), WAY, drive.clock)), errors)
    assert caught.value.attempts == 5
    assert drive.kinds() == [*["ready", "send", "sleep"] * 4, "ready", "send"]


def test_a_submit_that_was_refused_may_still_be_ambiguous(drive: Any, a_call: Any, rpc_error: Any) -> None:
    errors = [rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED), rpc_error(grpc.StatusCode.UNAVAILABLE)]
    with pytest.raises(AmbiguousSubmitError) as caught:
        drive(sending.generate(sending.Attempts(a_call(), WAY, drive.clock)), errors)
    assert isinstance(caught.value.__cause__, UnavailableError)
    assert caught.value.__cause__.attempts == 2


def test_a_submit_without_a_connection_was_not_sent(drive: Any, a_call: Any) -> None:
    call = a_call(methods.TextGenerationAsyncService.Completion, timeout=7.5)
    with pytest.raises(UnavailableError) as caught:
        drive(sending.generate(sending.Attempts(call, WAY, drive.clock)), [], connected=[False])
    assert drive.asked == [("ready", 7.5)]
    assert (caught.value.attempts, caught.value.message) == (0, "no connection within 7.5 s, nothing was sent")
    assert (caught.value.endpoint, caught.value.client_request_id) == (ENDPOINT, "client-id")
    assert caught.value.method == call.method.path


def test_a_submit_that_loses_its_connection_after_a_refusal_was_sent_once(
    drive: Any, a_call: Any, rpc_error: Any
) -> None:
    with pytest.raises(UnavailableError) as caught:
        drive(
            sending.generate(sending.Attempts(a_call(), WAY, drive.clock)),
            [rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED)],
            connected=[True, False],
        )
    assert (caught.value.attempts, caught.value.message) == (1, "no connection within 60 s, nothing was started")


def test_the_timeout_of_a_submit_is_over_connecting_and_all_attempts(drive: Any, a_call: Any, rpc_error: Any) -> None:
    script = [rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED), "accepted"]
    drive(
        sending.generate(sending.Attempts(a_call(timeout=20.0), WAY, drive.clock)),
        script,
        each=2.0,
        connecting=3.0,
    )
    (pause,) = drive.figures("sleep")
    assert drive.asked == [
        ("ready", pytest.approx(20.0)),
        ("send", pytest.approx(17.0)),
        ("sleep", pause),
        ("ready", pytest.approx(15.0 - pause)),
        ("send", pytest.approx(12.0 - pause)),
    ]


def test_a_submit_without_a_timeout_has_none_anywhere(drive: Any, a_call: Any, rpc_error: Any) -> None:
    script = [rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED), "accepted"]
    drive(
        sending.generate(sending.Attempts(a_call(timeout=None), WAY, drive.clock)),
        script,
        each=1e6,
        connecting=1e6,
    )
    assert drive.figures("ready") == drive.figures("send") == [None, None]


def test_a_submit_with_no_time_takes_one_look_at_the_connection(drive: Any, a_call: Any) -> None:
    assert drive(sending.generate(sending.Attempts(a_call(timeout=0), WAY, drive.clock)), ["accepted"]) == "accepted"
    assert drive.asked == [("ready", 0.0), ("send", 0.0)]


def test_a_submit_whose_connection_took_all_the_time_is_sent_without_any(
    drive: Any, a_call: Any, rpc_error: Any
) -> None:
    with pytest.raises(AmbiguousSubmitError):
        drive(
            sending.generate(sending.Attempts(a_call(timeout=5.0), WAY, drive.clock)),
            [rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED)],
            connecting=6.0,
        )
    assert drive.asked == [("ready", 5.0), ("send", 0.0)]


def test_a_submit_does_not_sleep_past_its_deadline(drive: Any, a_call: Any, rpc_error: Any) -> None:
    with pytest.raises(ResourceExhaustedError) as caught:
        drive(
            sending.generate(sending.Attempts(a_call(timeout=5.0), WAY, drive.clock)),
            [rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED)],
            each=4.9,
        )
    assert caught.value.attempts == 1
    assert drive.kinds() == ["ready", "send"]


# What is sent once, and what precedes a stream


@by_name
def test_what_is_not_known_to_be_a_read_is_sent_once(
    code: grpc.StatusCode, drive: Any, a_call: Any, rpc_error: Any
) -> None:
    error = rpc_error(code)
    with pytest.raises(CALL_ERRORS[Code[code.name]]) as caught:
        drive(
            sending.once(sending.Attempts(a_call(timeout=9.0), WAY, drive.clock)),
            [error],
            connecting=2.0,
        )
    assert drive.asked == [("ready", 9.0), ("send", pytest.approx(7.0))]
    assert caught.value.attempts == 1
    assert caught.value.__cause__ is error


def test_what_is_sent_once_gives_its_answer(drive: Any, a_call: Any) -> None:
    assert drive(sending.once(sending.Attempts(a_call(), WAY, drive.clock)), ["answer"]) == "answer"


def test_what_is_sent_once_needs_a_connection(drive: Any, a_call: Any) -> None:
    with pytest.raises(UnavailableError, match="nothing was sent") as caught:
        drive(sending.once(sending.Attempts(a_call(), WAY, drive.clock)), [], connected=[False])
    assert caught.value.attempts == 0


@pytest.mark.parametrize(("timeout", "left"), [(10.0, 6.0), (3.0, 0.0), (0, 0.0), (None, None)])
def test_connecting_gives_the_time_that_is_left(
    timeout: float | None, left: float | None, drive: Any, a_call: Any
) -> None:
    given_back = drive(sending.Attempts(a_call(timeout=timeout), WAY, drive.clock).connect(), [], connecting=4.0)
    assert given_back == (left if left is None else pytest.approx(left))
    assert drive.asked == [("ready", timeout)]


# What is no failure of the call's


@pytest.mark.parametrize("flow_of", [sending.read, sending.generate, sending.once])
@pytest.mark.parametrize("error", [ClientClosedError(), KeyboardInterrupt(), asyncio.CancelledError(), OSError("no")])
def test_other_exceptions_go_through(
    flow_of: Callable[..., Any], error: BaseException, drive: Any, a_call: Any
) -> None:
    with pytest.raises(type(error)) as caught:
        drive(flow_of(sending.Attempts(a_call(), WAY, drive.clock)), [error])
    assert caught.value is error


@pytest.mark.parametrize("flow_of", [sending.read, sending.generate])
def test_closing_during_a_pause_ends_the_flow(
    flow_of: Callable[..., Any], drive: Any, a_call: Any, rpc_error: Any
) -> None:
    flow = flow_of(sending.Attempts(a_call(), WAY, drive.clock))
    effect = flow.send(None)
    if flow_of is sending.generate:
        effect = flow.send(True)
    effect = flow.throw(rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED))
    assert effect.seconds > 0
    with pytest.raises(ClientClosedError):
        flow.throw(ClientClosedError())


# Which is which


def test_reads_are_those_that_start_nothing() -> None:
    reads: list[str] = []
    others: list[str] = []
    for name in _pb.methods.SERVICES.keys() - {"ControlService"}:  # the emulator's, which no user of the service calls
        table = getattr(methods, name)
        for rpc, method in vars(table).items():
            if not rpc.startswith("_"):
                (reads if retry.kind_of(method) is retry.Kind.READ else others).append(f"{name}.{rpc}")
    assert sorted(reads) == [
        "ApiEndpointService.Get",
        "ApiEndpointService.List",
        "EmbeddingsService.TextEmbedding",
        "IamTokenService.Create",
        "OperationService.Cancel",
        "OperationService.Get",
        "TextClassificationService.Classify",
        "TextClassificationService.FewShotClassify",
        "TokenizerService.Tokenize",
        "TokenizerService.TokenizeCompletion",
    ]
    assert sorted(others) == [
        "IamTokenService.CreateForServiceAccount",
        "IamTokenService.Revoke",
        "ImageGenerationAsyncService.Generate",
        "TextGenerationAsyncService.Completion",
        "TextGenerationBatchService.Completion",
        "TextGenerationService.Completion",
    ]


@pytest.mark.parametrize(("verb", "read"), [("GET", True), ("POST", False), ("DELETE", False), ("", False)])
def test_an_unknown_method_is_a_read_where_rest_says_so(verb: str, read: bool) -> None:
    from yagrpc.method import HttpRule, UnaryMethod

    method: UnaryMethod[Any, Any] = UnaryMethod(
        "/a.Service/Rpc", request="a:B", response="a:C", http=HttpRule(verb, "/path") if verb else None
    )
    assert (retry.kind_of(method) is retry.Kind.READ) == read

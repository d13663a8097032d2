"""What a failed attempt means: codes, causes, details and ids, from plain statuses."""

from __future__ import annotations

import base64
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import yagrpc
from yagrpc import _pb, methods
from yagrpc._core.call.metadata import request_ids
from yagrpc._core.call.policy import Kind
from yagrpc._core.failure.details import REQUEST_INFO, status_details
from yagrpc._core.failure.sizes import RECEIVE_OPTION, SEND_OPTION, Unreadable, unreadable_error
from yagrpc._core.failure.status import Cause, Failure, RpcStatus, call_error, classify
from yagrpc.errors import (
    CALL_ERRORS,
    CallError,
    Code,
    InvalidArgumentError,
    MessageTooLargeError,
    ResourceExhaustedError,
    ResultError,
)

DETAILS = "grpc-status-details-bin"
ENDPOINT = "llm.example:443"
METHOD = methods.TokenizerService.Tokenize
BY_KIND = {
    Kind.READ: METHOD,
    Kind.GENERATION: methods.TextGenerationAsyncService.Completion,
    Kind.OTHER: methods.IamTokenService.Revoke,
}
FAILURES = [code for code in Code if code is not Code.OK]
REFUSING = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
}
RATE = "ai.textGenerationCompletionSessionsCount.count rate quota limit exceed: allowed 10 requests"

Packed = Callable[[Any], Any]
MakeCall = Callable[..., Any]

by_name = pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
by_kind = pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.value)
by_proof = pytest.mark.parametrize("from_peer", [True, False], ids=["proved", "unproved"])


@pytest.fixture(scope="session")
def mapped(a_call: MakeCall) -> Callable[..., CallError]:
    """Gives the error of a call that was sent twice."""

    def mapped(status: RpcStatus, operation_id: str = "") -> CallError:
        call = a_call(METHOD, 1.0, operation_id)
        call.attempts = 2
        return call_error(status, call, ENDPOINT)

    return mapped


@pytest.fixture(scope="session")
def classified(a_call: MakeCall) -> Callable[..., Failure]:
    """Gives what a status of a call means; by default on a channel of the host's, whose limits are not known."""

    def classified(status: RpcStatus, kind: Kind = Kind.READ, *, request: Any = None, send_limit: int = -1) -> Failure:
        call = a_call(BY_KIND[kind], request=request)
        call.attempts = 2
        return classify(status, call, endpoint=ENDPOINT, send_limit=send_limit)

    return classified


def serialized(*details: Any) -> bytes:
    """A status with details, as it is in the metadata."""
    status: bytes = _pb.status_pb2.Status(code=3, message="wrong", details=details).SerializeToString()
    return status


# Causes


@by_name
@by_kind
@by_proof
def test_classify_gives_every_status_one_cause(code: Code, kind: Kind, from_peer: bool, classified: Any) -> None:
    """What the other side is proved to have refused did not run; a read starts nothing, and needs no proof."""
    error = RuntimeError("what gRPC raised")
    failure = classified(RpcStatus(code, "it failed", from_peer=from_peer, error=error), kind)
    believed = from_peer or kind is Kind.READ
    expected = Cause.HUNG if code is Code.DEADLINE_EXCEEDED else Cause.MAY_HAVE_RUN
    if believed and code.name in REFUSING:
        expected = Cause.REFUSED
    elif believed and code is Code.UNAUTHENTICATED:
        expected = Cause.UNAUTHENTICATED
    elif believed and code is Code.RESOURCE_EXHAUSTED:
        expected = Cause.QUOTA
    assert failure.cause is expected
    assert type(failure.error) is CALL_ERRORS[code]
    assert failure.error.__cause__ is error
    assert (failure.code, failure.quota, failure.error.attempts) == (code, "", 2)


@by_name
@by_proof
def test_classify_of_what_was_closed_here(code: Code, from_peer: bool, classified: Any) -> None:
    failure = classified(RpcStatus(code, from_peer=from_peer, closed=True), Kind.GENERATION)
    assert failure.cause is Cause.CLOSED
    assert type(failure.error) is CALL_ERRORS[code]


@pytest.mark.parametrize(
    ("message", "quota"),
    [
        (RATE, "ai.textGenerationCompletionSessionsCount.count"),
        ("ai.some-rate gauge quota limit exceed: allowed 1", "ai.some-rate"),
        ("rate quota limit exceed", "unnamed"),
        ("too many requests", ""),
    ],
)
@by_kind
def test_classify_names_the_quota_that_refuses(message: str, quota: str, kind: Kind, classified: Any) -> None:
    failure = classified(RpcStatus(Code.RESOURCE_EXHAUSTED, message, from_peer=True), kind)
    assert (failure.cause, failure.quota) == (Cause.QUOTA, quota)
    assert type(failure.error) is ResourceExhaustedError


def test_classify_takes_no_text_for_a_proof(classified: Any) -> None:
    failure = classified(RpcStatus(Code.RESOURCE_EXHAUSTED, RATE), Kind.GENERATION)
    assert (failure.cause, failure.quota) == (Cause.MAY_HAVE_RUN, "")
    failure = classified(RpcStatus(Code.UNAVAILABLE, RATE, from_peer=True), Kind.READ)
    assert (failure.cause, failure.quota) == (Cause.MAY_HAVE_RUN, "")


# Sizes


@pytest.mark.parametrize(
    ("message", "option"),
    [
        ("CLIENT: Received message larger than max (6000000 vs. 4194304)", RECEIVE_OPTION),
        ("Stream removed (CLIENT: Received message larger than max (6 vs. 4))", RECEIVE_OPTION),
        ("Decompressed message larger than max", RECEIVE_OPTION),
        ("CLIENT: Sent message larger than max (6 vs. 5)", SEND_OPTION),
        ("SERVER: Received message larger than max (6 vs. 5)", None),
        ("rate quota limit exceed: allowed 10 requests", None),
    ],
)
@by_kind
@by_proof
def test_what_grpc_says_of_sizes_on_a_channel_of_the_hosts_is_no_quota(
    message: str, option: str | None, kind: Kind, from_peer: bool, classified: Any
) -> None:
    failure = classified(RpcStatus(Code.RESOURCE_EXHAUSTED, message, from_peer=from_peer), kind)
    assert (failure.cause is Cause.TOO_LARGE) == (option is not None)
    assert getattr(failure.error, "option", None) == option
    assert isinstance(failure.error, MessageTooLargeError) == (option is not None)
    internal = classified(RpcStatus(Code.INTERNAL, message, from_peer=from_peer), kind)
    assert internal.cause is Cause.MAY_HAVE_RUN


@by_kind
@by_proof
def test_a_request_over_the_limit_of_an_own_channel_is_known_by_its_size(
    kind: Kind, from_peer: bool, classified: Any
) -> None:
    request = _pb.text_generation_service_pb2.TokenizeRequest(text="x" * 100)
    error = RuntimeError("what gRPC raised")
    status = RpcStatus(Code.RESOURCE_EXHAUSTED, "whatever", from_peer=from_peer, error=error)
    for limit in (-1, 1000, request.ByteSize()):
        assert classified(status, kind, request=request, send_limit=limit).cause is not Cause.TOO_LARGE
    failure = classified(status, kind, request=request, send_limit=50)
    assert failure.cause is Cause.TOO_LARGE
    found = failure.error
    assert isinstance(found, MessageTooLargeError)
    assert (found.size, found.limit, found.option) == (request.ByteSize(), 50, SEND_OPTION)
    assert (found.attempts, found.client_request_id, found.endpoint) == (2, "client-id", ENDPOINT)
    assert found.__cause__ is error
    unavailable = RpcStatus(Code.UNAVAILABLE, from_peer=from_peer)
    assert classified(unavailable, kind, request=request, send_limit=50).cause is Cause.MAY_HAVE_RUN


def test_an_answer_that_cannot_be_read_is_named(a_call: MakeCall) -> None:
    call = a_call(operation_id="op")
    call.attempts = 2
    large = unreadable_error(Unreadable(9, 5), call, ENDPOINT)
    assert isinstance(large, MessageTooLargeError)
    assert (large.size, large.limit, large.option, large.attempts) == (9, 5, RECEIVE_OPTION, 2)
    assert (large.operation_id, large.client_request_id, large.endpoint) == ("op", "client-id", ENDPOINT)
    assert "the answer of 9 bytes is over the limit of 5" in str(large)
    assert not isinstance(large, ResourceExhaustedError)  # it is no quota, and nobody is to wait for one
    garbled = unreadable_error(Unreadable(9, None, "odd"), call, ENDPOINT)
    assert Failure(Cause.UNREADABLE, garbled).code is Code.UNKNOWN
    assert isinstance(garbled, ResultError)
    assert "does not parse (9 bytes: odd)" in str(garbled)
    assert "client-id" in str(garbled)


# Errors


@by_name
def test_every_status_has_a_class(code: Code, mapped: Any) -> None:
    error = mapped(RpcStatus(code, "said"))
    assert type(error) is CALL_ERRORS[code]
    assert type(error).code is error.code is code
    assert (error.code, error.message, error.attempts) == (code.value, "said", 2)
    assert (error.method, error.endpoint, error.client_request_id) == (METHOD.path, ENDPOINT, "client-id")
    assert (error.request_id, error.operation_id, error.details) == ("", "", ())


def test_there_is_a_class_for_every_failure_and_no_more() -> None:
    assert list(CALL_ERRORS) == FAILURES


@pytest.mark.parametrize(
    ("said", "shown"),
    [("one", "one"), ("two\nlines\r\n and\t more ", "two lines and more"), ("", "no message")],
)
def test_a_message_is_one_line(said: str, shown: str, mapped: Any) -> None:
    assert mapped(RpcStatus(Code.INTERNAL, said)).message == shown


def test_the_operation_is_part_of_the_error(mapped: Any) -> None:
    assert mapped(RpcStatus(Code.NOT_FOUND), "d7q").operation_id == "d7q"


def test_an_error_without_metadata_has_no_details(mapped: Any) -> None:
    error = mapped(RpcStatus(Code.UNAVAILABLE, initial=None, trailing=None))
    assert (error.message, error.request_id, error.details) == ("no message", "", ())


def test_an_error_has_the_hint_of_its_refusal(mapped: Any) -> None:
    assert "12 hours" in mapped(RpcStatus(Code.UNAUTHENTICATED, "The token is invalid")).hint
    assert mapped(RpcStatus(Code.UNAVAILABLE, "The token is invalid")).hint == ""


# When to try again


@pytest.mark.parametrize(
    ("pushback", "seconds"), [("250", 0.25), (b"0", 0.0), ("-1", -1.0), ("soon", -1.0), ("", -1.0)]
)
def test_pushback_says_when(pushback: Any, seconds: float, mapped: Any) -> None:
    assert mapped(RpcStatus(Code.UNAVAILABLE, trailing=[("grpc-retry-pushback-ms", pushback)])).retry_after == seconds


def retry_info(packed: Packed) -> tuple[str, bytes]:
    """Metadata that ask for a pause of a second and a half."""
    info = _pb.error_details_pb2.RetryInfo()
    info.retry_delay.FromMilliseconds(1500)
    return DETAILS, serialized(packed(info))


def test_retry_info_says_when(mapped: Any, packed: Packed) -> None:
    failure = mapped(RpcStatus(Code.RESOURCE_EXHAUSTED, trailing=[retry_info(packed)]))
    assert failure.retry_after == 1.5
    assert failure.detail("RetryInfo") == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.500s"}
    assert failure.detail("BadRequest") is None


def test_pushback_wins_over_retry_info(mapped: Any, packed: Packed) -> None:
    trailing = [retry_info(packed), ("grpc-retry-pushback-ms", "250")]
    assert mapped(RpcStatus(Code.RESOURCE_EXHAUSTED, trailing=trailing)).retry_after == 0.25


def test_a_status_that_says_nothing_of_it_says_nothing(mapped: Any) -> None:
    assert mapped(RpcStatus(Code.UNAVAILABLE)).retry_after is None


# Details


def test_known_details_become_json(mapped: Any, packed: Packed) -> None:
    violation = _pb.error_details_pb2.BadRequest.FieldViolation(field="temperature", description="above 1")
    trailing = serialized(
        packed(_pb.error_details_pb2.RequestInfo(request_id="req-1", serving_data="node")),
        packed(_pb.error_details_pb2.BadRequest(field_violations=[violation])),
    )
    error = mapped(RpcStatus(Code.INVALID_ARGUMENT, trailing=[(DETAILS, trailing)]))
    assert isinstance(error, InvalidArgumentError)
    assert error.details == (
        {"@type": REQUEST_INFO, "requestId": "req-1", "servingData": "node"},
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "temperature", "description": "above 1"}],
        },
    )
    assert error.request_id == "req-1"
    copied: Any = pickle.loads(pickle.dumps(error))
    assert copied.details == copy.copy(error).details == error.details


def test_details_that_are_not_known_keep_their_bytes(mapped: Any) -> None:
    unknown = _pb.any_pb2.Any(type_url="type.googleapis.com/some.Other", value=b"\x00\xff")
    error = mapped(RpcStatus(Code.INTERNAL, trailing=[(DETAILS, serialized(unknown))]))
    assert error.details == ({"@type": "type.googleapis.com/some.Other", "value": "AP8="},)


def out_of_range() -> list[Any]:
    """Messages that parse and yet have no JSON."""
    nan = _pb.struct_pb2.Struct()
    nan.fields["a"].number_value = float("nan")
    return [
        _pb.timestamp_pb2.Timestamp(seconds=10**15),
        _pb.duration_pb2.Duration(seconds=10**15),
        _pb.error_details_pb2.RetryInfo(retry_delay=_pb.duration_pb2.Duration(seconds=10**15)),
        nan,
        _pb.status_pb2.Status(details=[_pb.any_pb2.Any(type_url="a/unknown.Type", value=b"1")]),
    ]


@pytest.mark.parametrize("message", out_of_range(), ids=lambda message: message.DESCRIPTOR.name)
def test_details_without_json_keep_their_bytes(message: Any, packed: Packed) -> None:
    detail = packed(message)
    assert status_details([detail]) == ({"@type": detail.type_url, "value": base64.b64encode(detail.value).decode()},)


@pytest.mark.parametrize(
    "detail",
    [
        _pb.any_pb2.Any(),
        _pb.any_pb2.Any(value=b"no type"),
        _pb.any_pb2.Any(type_url=REQUEST_INFO, value=b"\xff\xff\xff"),
        _pb.any_pb2.Any(type_url="google.rpc.RequestInfo", value=b"\xff"),
        _pb.any_pb2.Any(type_url="/", value=b""),
    ],
)
def test_details_that_are_wrong_do_not_hide_the_error(detail: Any, mapped: Any) -> None:
    good = _pb.any_pb2.Any()
    good.Pack(_pb.error_details_pb2.RequestInfo(request_id="req-2"))
    error = mapped(RpcStatus(Code.INTERNAL, "said", trailing=[(DETAILS, serialized(detail, good))]))
    assert error.message == "said"
    assert error.details[0]["@type"] == detail.type_url
    assert error.details[0]["value"] == base64.b64encode(detail.value).decode()
    assert error.details[1]["requestId"] == "req-2"


@given(trailing=st.binary(max_size=200))
def test_any_bytes_do_for_details(trailing: bytes, mapped: Any) -> None:
    error = mapped(RpcStatus(Code.INTERNAL, trailing=[(DETAILS, trailing)]))
    assert all(isinstance(detail["@type"], str) for detail in error.details)
    assert len(str(error).splitlines()) == 1


@given(details=st.lists(st.tuples(st.text(max_size=40), st.binary(max_size=60)), max_size=4))
def test_any_details_do(details: list[tuple[str, bytes]], mapped: Any) -> None:
    anys = [_pb.any_pb2.Any(type_url=url, value=value) for url, value in _encodable(details)]
    error = mapped(RpcStatus(Code.INTERNAL, trailing=[(DETAILS, serialized(*anys))]))
    assert [detail["@type"] for detail in error.details] == [packed.type_url for packed in anys]


@given(name=st.sampled_from(["RequestInfo", "BadRequest", "RetryInfo", "Help"]), value=st.binary(max_size=80))
def test_any_bytes_of_a_known_type_do(name: str, value: bytes, mapped: Any) -> None:
    packed = _pb.any_pb2.Any(type_url=f"type.googleapis.com/google.rpc.{name}", value=value)
    error = mapped(RpcStatus(Code.INTERNAL, trailing=[(DETAILS, serialized(packed))]))
    assert error.details[0]["@type"] == packed.type_url
    assert len(str(error).splitlines()) == 1


def _encodable(details: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [(url.encode("utf-8", "replace").decode(), value) for url, value in details]


def test_details_that_are_text_are_left_alone(mapped: Any) -> None:
    assert mapped(RpcStatus(Code.INTERNAL, trailing=[(DETAILS, "text")])).details == ()


# Ids


def test_the_request_id_is_that_of_the_metadata(mapped: Any) -> None:
    initial, trailing = [("x-request-id", "first")], [("x-request-id", "last")]
    code = Code.INTERNAL
    assert mapped(RpcStatus(code, initial=initial)).request_id == "first"
    assert mapped(RpcStatus(code, trailing=trailing)).request_id == "last"
    assert mapped(RpcStatus(code, initial=initial, trailing=trailing)).request_id == "last"
    assert (
        mapped(RpcStatus(code, initial=[("x-request-id", b"bytes\xff")])).request_id == "bytes\N{REPLACEMENT CHARACTER}"
    )


def test_the_request_id_of_the_details_is_the_last_resort(mapped: Any, packed: Packed) -> None:
    details = serialized(
        packed(_pb.error_details_pb2.BadRequest()),
        packed(_pb.error_details_pb2.RequestInfo(request_id=" from\ndetails ")),
    )
    code = Code.INTERNAL
    assert mapped(RpcStatus(code, trailing=[(DETAILS, details)])).request_id == "from details"
    both = RpcStatus(code, initial=[("x-request-id", "metadata")], trailing=[(DETAILS, details)])
    assert mapped(both).request_id == "metadata"


def test_the_ids_are_part_of_the_text(mapped: Any) -> None:
    error = mapped(RpcStatus(Code.INTERNAL, "said", initial=[("x-request-id", "req")]), "d7q")
    assert str(error) == (
        f"INTERNAL: said (operation d7q, method {METHOD.path}, endpoint llm.example:443, request id req, "
        "client request id client-id, attempts 2)"
    )


def test_ids_may_be_in_either_metadata() -> None:
    assert request_ids("mine", (("x-request-id", "a"), ("x-server-trace-id", b"t"))) == ("mine", "a", "t")
    assert request_ids("mine", None, (("x-request-id", "b"), ("date", "d"))) == ("mine", "b", "")
    assert yagrpc.RequestIds() == ("", "", "")


def test_the_ids_of_a_failure_are_kept_in_its_call(a_call: MakeCall) -> None:
    call = a_call()
    status = RpcStatus(Code.INTERNAL, initial=[("x-request-id", "a")], trailing=[("x-server-trace-id", "t")])
    error = call_error(status, call, ENDPOINT)
    assert call.ids == ("client-id", "a", "t")
    assert (error.request_id, error.server_trace_id) == ("a", "t")

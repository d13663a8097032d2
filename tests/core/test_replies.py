"""Answers as they come off the wire, the ids that come with them, and the words of the service about trying again."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb, methods
from yagrpc._core import outage
from yagrpc._core.call.metadata import request_ids
from yagrpc._core.failure import retry
from yagrpc._core.failure.status import call_error
from yagrpc._grpc import options as channels
from yagrpc._grpc.deserializers import Unreadable, reader, too_large, unreadable
from yagrpc.errors import CallError, Code, MessageTooLargeError, ResourceExhaustedError, ResultError

TOKENIZE = methods.TokenizerService.Tokenize
ENDPOINT = "llm.example:443"


def test_an_answer_is_read_up_to_the_limit() -> None:
    body = _pb.text_generation_service_pb2.TokenizeResponse(model_version="1").SerializeToString()
    assert reader(TOKENIZE, len(body))(body).model_version == "1"
    assert reader(TOKENIZE, -1)(body).model_version == "1"
    answer = reader(TOKENIZE, len(body) - 1)(body)
    assert (answer.size, answer.limit) == (len(body), len(body) - 1)


def test_a_long_running_method_answers_with_an_operation() -> None:
    body = _pb.operation_pb2.Operation(id="op").SerializeToString()
    assert reader(methods.TextGenerationAsyncService.Completion, -1)(body).id == "op"


def test_what_cant_be_read_is_told(a_call: Any) -> None:
    call = a_call(operation_id="op")
    large = unreadable(Unreadable(9, 5), call, ENDPOINT, 2)
    assert isinstance(large, MessageTooLargeError)
    assert (large.size, large.limit, large.option, large.attempts) == (9, 5, channels.RECEIVE_OPTION, 2)
    assert (large.operation_id, large.client_request_id, large.endpoint) == ("op", "client-id", ENDPOINT)
    assert "the answer of 9 bytes is over the limit of 5" in str(large)
    assert not isinstance(large, ResourceExhaustedError)  # it is no quota, and nobody is to wait for one
    garbled = unreadable(Unreadable(9, None, "odd"), call, ENDPOINT, 1)
    assert isinstance(garbled, ResultError)
    assert "does not parse (9 bytes: odd)" in str(garbled)
    assert "client-id" in str(garbled)


@pytest.mark.parametrize(
    ("message", "option"),
    [
        ("CLIENT: Received message larger than max (6000000 vs. 4194304)", channels.RECEIVE_OPTION),
        ("Stream removed (CLIENT: Received message larger than max (6 vs. 4))", channels.RECEIVE_OPTION),
        ("CLIENT: Sent message larger than max (6 vs. 5)", channels.SEND_OPTION),
        ("SERVER: Received message larger than max (6 vs. 5)", None),
        ("rate quota limit exceed: allowed 10 requests", None),
    ],
)
def test_what_grpc_says_of_sizes_is_no_quota(message: str, option: str | None, a_call: Any) -> None:
    found = too_large(ResourceExhaustedError(message), a_call(), -1)
    assert (found and found.option) == option
    assert too_large(CallError(message, code=Code.INTERNAL), a_call(), -1) is None


def test_a_request_over_the_limit_is_known_by_its_size(a_call: Any) -> None:
    call = a_call()
    call.request = _pb.text_generation_service_pb2.TokenizeRequest(text="x" * 100)
    assert too_large(ResourceExhaustedError("whatever"), call, 1000) is None
    found = too_large(ResourceExhaustedError("whatever"), call, 50)
    assert found is not None
    assert (found.size, found.limit, found.option) == (call.request.ByteSize(), 50, channels.SEND_OPTION)


def test_ids_may_be_in_either_metadata() -> None:
    assert request_ids("mine", (("x-request-id", "a"), ("x-server-trace-id", b"t"))) == ("mine", "a", "t")
    assert request_ids("mine", None, (("x-request-id", "b"), ("date", "d"))) == ("mine", "b", "")
    assert yagrpc.RequestIds() == ("", "", "")


@pytest.mark.parametrize(
    ("pushback", "seconds"), [("250", 0.25), (b"0", 0.0), ("-1", -1.0), ("soon", -1.0), ("", -1.0)]
)
def test_pushback_says_when(pushback: Any, seconds: float, a_call: Any, rpc_error: Any) -> None:
    error = rpc_error(grpc.StatusCode.UNAVAILABLE, trailing=[("grpc-retry-pushback-ms", pushback)])
    assert call_error(error, a_call(), ENDPOINT, 1).retry_after == seconds


def test_retry_info_says_when(a_call: Any, rpc_error: Any, packed: Any) -> None:
    info = _pb.error_details_pb2.RetryInfo()
    info.retry_delay.FromMilliseconds(1500)
    status = _pb.status_pb2.Status(code=8, details=[packed(info)]).SerializeToString()
    error = rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, trailing=[("grpc-status-details-bin", status)])
    failure = call_error(error, a_call(), ENDPOINT, 1)
    assert failure.retry_after == 1.5
    assert failure.detail("RetryInfo") == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.500s"}
    assert failure.detail("BadRequest") is None


@pytest.mark.parametrize(("hint", "pause"), [(1.5, 1.5), (0.0, 0.0), (1e6, retry.LONGEST_HINT), (-1.0, None)])
def test_a_hint_wins_up_to_a_limit(hint: float, pause: float | None) -> None:
    assert retry.pause_before(2, CallError("no", retry_after=hint)) == pause


def test_without_a_hint_the_pause_grows() -> None:
    assert 0.16 <= (retry.pause_before(2, CallError("no")) or 0) <= 0.24
    assert retry.backoff(50) <= 6.0


@pytest.mark.parametrize(
    "options",
    [None, 5, "text", [("one",)], [(1, 2)], [(channels.SEND_OPTION, "many")], [(channels.RECEIVE_OPTION, None)]],
)
def test_channel_options_that_are_none(options: Any) -> None:
    with pytest.raises(yagrpc.ConfigError, match="channel.option"):
        channels.merged_options(options)


def test_what_grpc_receives_is_measured_here_alone() -> None:
    options = channels.merged_options([(channels.RECEIVE_OPTION, 7), ("grpc.keepalive_time_ms", 5)])
    assert channels.MessageLimits(options).receive == 7
    given = dict(channels.grpc_options(options))
    assert given[channels.RECEIVE_OPTION] == -1
    assert given["grpc.keepalive_time_ms"] == 5
    assert given["grpc.enable_retries"] == 0


def test_an_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    told = outage.Outage()
    told.answered()
    for _ in range(3):
        told.failed(CallError("down", operation_id="op", client_request_id="mine"))
    told.answered()
    told.answered()
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 2
    assert "down" in lines[0]
    assert "mine" in lines[0]
    assert lines[1].endswith("after 3 failed looks")

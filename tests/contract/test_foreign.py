"""What a hostile server says is cleaned where it comes in: in errors, logs, ids and reprs, for both clients."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

import yagrpc
from tests.contract.raw import RawServer, refusing
from yagrpc import _pb
from yagrpc.foreign import UNSAFE

FORGED = "WARNING:yagrpc:all is well"
HOSTILE = f"a\r\n{FORGED}\x1b]0;title\x07\x1b[2J\x9b1m\u202ecba\u2066\u200b\U000e0041 end"
ID = "d7qhostile"
SUBMIT = "/yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService/Completion"
COMPLETION = "/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion"


@pytest.fixture
def raw() -> Iterator[RawServer]:
    server = RawServer()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log everything, the texts too; no record may have more than one line, or anything unsafe."""
    monkeypatch.setenv("YAGRPC_LOG_TEXTS", "1")
    caplog.set_level(logging.DEBUG, "yagrpc")
    yield
    for record in caplog.get_records("call"):
        if record.name.startswith("yagrpc"):
            assert_safe(record.getMessage(), 20_000)


def assert_safe(text: str, limit: int = 5000) -> None:
    assert re.search(UNSAFE, text) is None, text
    assert len(text.splitlines()) <= 1
    assert len(text) <= limit


def assert_safe_error(error: BaseException) -> None:
    """It, all that it says of its call, and its traceback, which prints its causes too."""
    assert isinstance(error, yagrpc.YagrpcError)
    for text in (str(error), repr(error), error.message, error.request_id, error.server_trace_id, error.operation_id):
        assert_safe(text)
    if isinstance(error.__cause__, yagrpc.YagrpcError):
        assert_safe_error(error.__cause__)
    printed = "".join(traceback.format_exception(error))
    assert re.search(UNSAFE, printed) is None
    assert not any(line.startswith(FORGED) for line in printed.splitlines())


def operation(**fields: Any) -> bytes:
    return _pb.operation_pb2.Operation(**{"id": ID, **fields}).SerializeToString()


def failure(subject: Any, call: Any) -> yagrpc.YagrpcError:
    with pytest.raises(yagrpc.YagrpcError) as caught:
        subject(call())
    assert_safe_error(caught.value)
    return caught.value


# Statuses


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS])
@pytest.mark.parametrize(
    "method", ["tokenize", "completion", "completion_stream", "completion_async", "wait", "cancel"]
)
def test_the_text_of_a_status_is_one_safe_line(subject: Any, raw: RawServer, method: str, code: Any) -> None:
    refuse = refusing(code, HOSTILE)
    raw.answers = {"Tokenize": refuse, "Get": refuse, "Cancel": refuse, SUBMIT: refuse}

    def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.set_trailing_metadata((("server", "raw"),))
        context.abort(code, HOSTILE)
        yield b""

    raw.streams[COMPLETION] = stream
    client = subject.client(raw)
    calls = {
        "wait": lambda: client.operation(ID).result(5.0 if code is grpc.StatusCode.INVALID_ARGUMENT else 0),
        "cancel": lambda: client.operation(ID).cancel(),
    }
    error = failure(subject, calls.get(method) or (lambda: getattr(client, method)("a")))
    shown = str(error) if not isinstance(error, yagrpc.OperationTimeoutError) else str(error.__cause__)
    assert f"a {FORGED}" in shown


def test_a_credential_that_a_server_repeats_is_not_shown(subject: Any, raw: RawServer) -> None:
    def repeat(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("server", "raw"),))
        context.abort(grpc.StatusCode.UNAUTHENTICATED, str(dict(context.invocation_metadata())["authorization"]))
        raise AssertionError("abort raises")

    raw.answers["Tokenize"] = repeat
    client = subject.client(raw, credentials=yagrpc.ApiKey("AQVNsecretSecret"))
    assert "secretSecret" not in str(failure(subject, lambda: client.tokenize("a")))


@pytest.mark.parametrize("length", [50, 4000])
def test_ids_of_an_answer_are_short_and_safe(subject: Any, raw: RawServer, length: int) -> None:
    """GRPC refuses to send what is no printable ASCII, in text metadata; so only their length is the other side's."""
    ids = {"x_request_id": "r" * length, "x_server_trace_id": "t" * length}
    raw.answers["Tokenize"] = refusing(grpc.StatusCode.INVALID_ARGUMENT, "no", **ids)
    error = failure(subject, lambda: subject.client(raw).tokenize("a"))
    assert error.request_id.startswith("r" * 50)
    assert max(len(error.request_id), len(error.server_trace_id)) <= 500

    def answered(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.send_initial_metadata(tuple((name.replace("_", "-"), value) for name, value in ids.items()))
        return b""

    raw.answers["Tokenize"] = answered
    tokens = subject(subject.client(raw).tokenize("a"))
    assert max(map(len, tokens.ids)) <= 500


def test_a_request_id_in_the_details_is_safe(subject: Any, raw: RawServer) -> None:
    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        status = _pb.status_pb2.Status(code=3, message="no")
        status.details.add().Pack(_pb.error_details_pb2.RequestInfo(request_id=HOSTILE))
        status.details.add(type_url=f"type.googleapis.com/{HOSTILE}", value=b"x")
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        raise AssertionError("abort raises")

    raw.answers["Tokenize"] = refuse
    error = failure(subject, lambda: subject.client(raw).tokenize("a"))
    assert error.request_id.startswith(f"a {FORGED}")


# Operations


BAD_IDS = ["d7q\n", "d7q\x1b[2J", "d7q\u202e", " d7q", "d" * 201, "d7q\r\nWARNING", "d7q\u2028x", "d7q\u200b"]


@pytest.mark.parametrize("bad", BAD_IDS)
def test_a_submit_answered_with_an_id_that_is_none_says_so(
    subject: Any, raw: RawServer, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    raw.answers[SUBMIT] = lambda request, context: operation(id=bad)
    error = failure(subject, lambda: subject.client(raw).completion_async("a"))
    assert isinstance(error, yagrpc.ResultError)
    assert "accepted the request and gave an operation id that is none: " in str(error)
    assert ascii(bad)[:20] in str(error)
    assert raw.calls == [SUBMIT]
    assert not [record for record in caplog.records if "accepted by" in record.getMessage()]


@pytest.mark.parametrize("bad", BAD_IDS)
def test_an_id_that_is_none_can_not_be_attached(subject: Any, raw: RawServer, bad: str) -> None:
    client = subject.client(raw)
    with pytest.raises(yagrpc.RequestError, match="operation_id is ") as caught:
        client.operation(bad)
    assert_safe(str(caught.value))


@pytest.mark.parametrize("other", ["d7qother", "", "d7q\x1b[2J\n"])
@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("way", ["result", "refresh", "done", "cancel", "future", "submitted"])
def test_an_answer_about_another_operation_is_an_error(
    subject: Any, raw: RawServer, way: str, done: bool, other: str
) -> None:
    asked = _pb.text_generation_service_pb2.CompletionResponse(model_version="of somebody else")
    answer = _pb.operation_pb2.Operation(id=other, done=done)
    answer.response.Pack(asked)
    raw.answers["Get"] = raw.answers["Cancel"] = lambda request, context: answer.SerializeToString()
    raw.answers[SUBMIT] = lambda request, context: operation()
    client = subject.client(raw)
    handle = subject(client.completion_async("a")) if way == "submitted" else client.operation(ID)

    ways = {"cancel": handle.cancel, "submitted": handle.result, "future": lambda: _future(subject, handle)}
    error = failure(subject, ways.get(way) or getattr(handle, way))
    assert isinstance(error, yagrpc.OperationResultError)
    assert error.operation_id == handle.id == ID
    assert "the service answered with " in str(error)
    assert handle.status is yagrpc.OperationStatus.RUNNING


def _future(subject: Any, handle: Any) -> Any:
    future = subject.in_loop(handle.future)
    return future if subject.kind == "aio" else future.result(30)


def test_the_waiters_of_other_operations_get_theirs(subject: Any, raw: RawServer) -> None:
    """One answer about another operation ends one wait only."""
    message = _pb.text_common_pb2.Message(role="assistant", text="a")
    answer = _pb.text_generation_service_pb2.CompletionResponse(
        alternatives=[_pb.text_common_pb2.Alternative(message=message)]
    )

    def get(request: bytes, context: grpc.ServicerContext) -> bytes:
        wanted = _pb.operation_service_pb2.GetOperationRequest.FromString(request).operation_id
        found = _pb.operation_pb2.Operation(id="second" if wanted == "first" else wanted, done=True)
        found.response.Pack(answer)
        return found.SerializeToString()

    raw.answers["Get"] = get
    client = subject.client(raw)
    first, second = client.operation("first"), client.operation("second")
    outcomes = subject.together([first.result, second.result])
    assert isinstance(outcomes[0], yagrpc.OperationResultError)
    assert str(outcomes[0]).startswith("operation first: the service answered with operation second")
    assert (outcomes[0].endpoint, outcomes[0].attempts) == (raw.address, 1)
    assert isinstance(outcomes[1], yagrpc.Completion)


def test_a_wait_that_cannot_be_read_says_once_which_get_it_was(subject: Any, raw: RawServer) -> None:
    raw.answers["Get"] = lambda request, context: b"\xff"
    error = failure(subject, lambda: subject.client(raw).operation(ID).result())
    assert isinstance(error, yagrpc.OperationResultError)
    assert (error.endpoint, error.attempts) == (raw.address, 1)
    assert error.method.endswith("/Get")
    assert str(error).count("client request id") == str(error).count(ID) == 1


def test_what_an_operation_says_is_safe(subject: Any, raw: RawServer) -> None:
    failed = _pb.status_pb2.Status(code=9, message=HOSTILE + " AQVNsecretSecret")
    raw.answers["Get"] = lambda request, context: operation(done=True, error=failed)
    error = failure(subject, lambda: subject.client(raw).operation(ID).result())
    assert isinstance(error, yagrpc.OperationFailedError)
    assert "secretSecret" not in str(error)


@pytest.mark.parametrize("name", [HOSTILE, "x" * 5000, "yandex.cloud.operation.Operation\x1b[2J"])
def test_the_name_of_a_type_is_safe(subject: Any, raw: RawServer, name: str) -> None:
    packed = _pb.any_pb2.Any(type_url=f"type.googleapis.com/{name}", value=b"\xff")
    raw.answers["Get"] = lambda request, context: operation(done=True, response=packed, metadata=packed)
    handle = subject.client(raw).operation(ID)
    error = failure(subject, handle.result)
    assert "its result is a " in str(error)
    assert_safe(str(error), 1000)


def test_texts_that_are_logged_are_safe(subject: Any, raw: RawServer, caplog: pytest.LogCaptureFixture) -> None:
    answer = _pb.text_generation_service_pb2.TokenizeResponse(model_version=HOSTILE)
    raw.answers["Tokenize"] = lambda request, context: answer.SerializeToString()
    tokens = subject(subject.client(raw).tokenize(HOSTILE))
    assert tokens.model_version == HOSTILE  # a result is not changed
    assert FORGED in caplog.text

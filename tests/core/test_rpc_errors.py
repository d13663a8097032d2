"""What gRPC raises, as what yagrpc raises: codes, details, ids."""

from __future__ import annotations

import base64
import copy
import pickle
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yagrpc import _pb, methods
from yagrpc._core.failure.status import REQUEST_INFO, call_error, code_of, status_details
from yagrpc._core.flow import Call
from yagrpc.errors import CALL_ERRORS, CallError, Code, InvalidArgumentError

DETAILS = "grpc-status-details-bin"
METHOD = methods.TokenizerService.Tokenize

Packed = Callable[[Any], Any]
RpcError = Callable[..., grpc.aio.AioRpcError]


def mapped(error: grpc.RpcError, operation_id: str = "") -> CallError:
    """The error of a call that was sent twice."""
    call: Call[Any, Any] = Call(METHOD, object(), 1.0, (), "client-id", operation_id)
    return call_error(error, call, "llm.example:443", 2)


def serialized(*details: Any) -> bytes:
    """A status with details, as it is in the metadata."""
    status: bytes = _pb.status_pb2.Status(code=3, message="wrong", details=details).SerializeToString()
    return status


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK], ids=lambda code: code.name
)
def test_every_status_has_a_class(code: grpc.StatusCode, rpc_error: RpcError) -> None:
    error = mapped(rpc_error(code, "said"))
    assert code_of(rpc_error(code)) is error.code is Code[code.name]
    assert type(error) is CALL_ERRORS[Code[code.name]]
    assert type(error).code is error.code
    assert (error.code, error.message, error.attempts) == (code.value[0], "said", 2)
    assert (error.method, error.endpoint, error.client_request_id) == (METHOD.path, "llm.example:443", "client-id")
    assert (error.request_id, error.operation_id, error.details) == ("", "", ())


def test_there_is_a_class_for_every_failure_and_no_more() -> None:
    assert list(CALL_ERRORS) == [code for code in Code if code is not Code.OK]
    assert {code.name: code.value for code in Code} == {code.name: code.value[0] for code in grpc.StatusCode}


@pytest.mark.parametrize(
    ("said", "told"),
    [("one", "one"), ("two\nlines\r\n and\t more ", "two lines and more"), ("", "no message"), (None, "no message")],
)
def test_a_message_is_one_line(said: str | None, told: str, rpc_error: RpcError) -> None:
    assert mapped(rpc_error(grpc.StatusCode.INTERNAL, said)).message == told


def test_the_operation_is_told(rpc_error: RpcError) -> None:
    assert mapped(rpc_error(grpc.StatusCode.NOT_FOUND), "d7q").operation_id == "d7q"


# Details


def test_known_details_become_json(rpc_error: RpcError, packed: Packed) -> None:
    violation = _pb.error_details_pb2.BadRequest.FieldViolation(field="temperature", description="above 1")
    trailing = serialized(
        packed(_pb.error_details_pb2.RequestInfo(request_id="req-1", serving_data="node")),
        packed(_pb.error_details_pb2.BadRequest(field_violations=[violation])),
    )
    error = mapped(rpc_error(grpc.StatusCode.INVALID_ARGUMENT, trailing=[(DETAILS, trailing)]))
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


def test_details_that_are_not_known_keep_their_bytes(rpc_error: RpcError) -> None:
    unknown = _pb.any_pb2.Any(type_url="type.googleapis.com/some.Other", value=b"\x00\xff")
    error = mapped(rpc_error(grpc.StatusCode.INTERNAL, trailing=[(DETAILS, serialized(unknown))]))
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
def test_details_that_are_wrong_do_not_hide_the_error(detail: Any, rpc_error: RpcError) -> None:
    good = _pb.any_pb2.Any()
    good.Pack(_pb.error_details_pb2.RequestInfo(request_id="req-2"))
    error = mapped(rpc_error(grpc.StatusCode.INTERNAL, "said", trailing=[(DETAILS, serialized(detail, good))]))
    assert error.message == "said"
    assert error.details[0]["@type"] == detail.type_url
    assert error.details[0]["value"] == base64.b64encode(detail.value).decode()
    assert error.details[1]["requestId"] == "req-2"


@given(trailing=st.binary(max_size=200))
def test_any_bytes_do_for_details(trailing: bytes, rpc_error: RpcError) -> None:
    error = mapped(rpc_error(grpc.StatusCode.INTERNAL, trailing=[(DETAILS, trailing)]))
    assert all(isinstance(detail["@type"], str) for detail in error.details)
    assert len(str(error).splitlines()) == 1


@given(details=st.lists(st.tuples(st.text(max_size=40), st.binary(max_size=60)), max_size=4))
def test_any_details_do(details: list[tuple[str, bytes]], rpc_error: RpcError) -> None:
    anys = [_pb.any_pb2.Any(type_url=url, value=value) for url, value in _encodable(details)]
    error = mapped(rpc_error(grpc.StatusCode.INTERNAL, trailing=[(DETAILS, serialized(*anys))]))
    assert [detail["@type"] for detail in error.details] == [packed.type_url for packed in anys]


@given(name=st.sampled_from(["RequestInfo", "BadRequest", "RetryInfo", "Help"]), value=st.binary(max_size=80))
def test_any_bytes_of_a_known_type_do(name: str, value: bytes, rpc_error: RpcError) -> None:
    packed = _pb.any_pb2.Any(type_url=f"type.googleapis.com/google.rpc.{name}", value=value)
    error = mapped(rpc_error(grpc.StatusCode.INTERNAL, trailing=[(DETAILS, serialized(packed))]))
    assert error.details[0]["@type"] == packed.type_url
    assert len(str(error).splitlines()) == 1


def _encodable(details: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [(url.encode("utf-8", "replace").decode(), value) for url, value in details]


def test_details_that_are_text_are_left_alone(rpc_error: RpcError) -> None:
    assert mapped(rpc_error(grpc.StatusCode.INTERNAL, trailing=[(DETAILS, "text")])).details == ()


def test_an_error_without_metadata_is_mapped_all_the_same() -> None:
    class Bare(grpc.RpcError):  # type: ignore[misc,unused-ignore]
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.UNAVAILABLE

        def details(self) -> None:
            return None

        def initial_metadata(self) -> None:
            return None

        def trailing_metadata(self) -> Any:
            return None

    error = mapped(Bare())
    assert (error.message, error.request_id, error.details) == ("no message", "", ())


# Ids


def test_the_request_id_is_that_of_the_metadata(rpc_error: RpcError) -> None:
    initial, trailing = [("x-request-id", "first")], [("x-request-id", "last")]
    code = grpc.StatusCode.INTERNAL
    assert mapped(rpc_error(code, initial=initial)).request_id == "first"
    assert mapped(rpc_error(code, trailing=trailing)).request_id == "last"
    assert mapped(rpc_error(code, initial=initial, trailing=trailing)).request_id == "last"
    assert (
        mapped(rpc_error(code, initial=[("x-request-id", b"bytes\xff")])).request_id == "bytes\N{REPLACEMENT CHARACTER}"
    )


def test_the_request_id_of_the_details_is_the_last_resort(rpc_error: RpcError, packed: Packed) -> None:
    details = serialized(
        packed(_pb.error_details_pb2.BadRequest()),
        packed(_pb.error_details_pb2.RequestInfo(request_id=" from\ndetails ")),
    )
    code = grpc.StatusCode.INTERNAL
    assert mapped(rpc_error(code, trailing=[(DETAILS, details)])).request_id == "from details"
    both = rpc_error(code, initial=[("x-request-id", "metadata")], trailing=[(DETAILS, details)])
    assert mapped(both).request_id == "metadata"


def test_the_ids_are_part_of_the_text(rpc_error: RpcError) -> None:
    error = mapped(rpc_error(grpc.StatusCode.INTERNAL, "said", initial=[("x-request-id", "req")]), "d7q")
    assert str(error) == (
        f"INTERNAL: said (operation d7q, method {METHOD.path}, endpoint llm.example:443, request id req, "
        "client request id client-id, attempts 2)"
    )

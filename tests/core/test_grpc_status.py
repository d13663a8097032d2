"""What gRPC raises, as plain values: statuses, metadata, and whether the other side is proved to have sent them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from yagrpc import _pb, methods
from yagrpc._grpc.deserializers import deserializer
from yagrpc._grpc.status import MULTICALLABLES, NEVER_MADE, from_peer, multicallable, status_of
from yagrpc.errors import Code
from yagrpc.method import (
    BidiStreamMethod,
    ClientStreamMethod,
    OperationMethod,
    StreamMethod,
    UnaryMethod,
)

RpcError = Callable[..., grpc.aio.AioRpcError]
FAILURES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
QUOTA = "ai.some.rate rate quota limit exceed: allowed 10 requests"
SOME = (("x-request-id", "req"),)
PEERS_ALONE = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE"}
BOTHS = {"PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED"}

by_name = pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)


@by_name
def test_status_of_keeps_what_grpc_says(code: grpc.StatusCode, rpc_error: RpcError) -> None:
    error = rpc_error(code, "said", initial=[("a", "1")], trailing=[("b-bin", b"2")])
    status = status_of(error)
    assert status.code is Code[code.name]
    assert (status.code, status.message, status.error) == (code.value[0], "said", error)
    assert [tuple(pair) for pair in status.initial] == [("a", "1")]
    assert [tuple(pair) for pair in status.trailing] == [("b-bin", b"2")]
    assert not status.closed


def test_codes_are_those_of_grpc() -> None:
    assert {code.name: code.value for code in Code} == {code.name: code.value[0] for code in grpc.StatusCode}


def test_status_of_without_a_text_is_empty(rpc_error: RpcError) -> None:
    assert status_of(rpc_error(grpc.StatusCode.INTERNAL, None)).message == ""


@by_name
def test_status_of_is_closed_where_the_client_cancelled_it(code: grpc.StatusCode, rpc_error: RpcError) -> None:
    """Closing a channel cancels its calls; another status came before that."""
    assert status_of(rpc_error(code), closed=True).closed == (code is grpc.StatusCode.CANCELLED)
    assert not status_of(rpc_error(code), closed=False).closed


class Bare(grpc.RpcError):  # type: ignore[misc,unused-ignore]
    """What an interceptor may raise."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE


class Empty(Bare):
    """Knows all questions and has no answers."""

    def details(self) -> None:
        return None

    def initial_metadata(self) -> None:
        return None

    def trailing_metadata(self) -> Any:
        return None


@pytest.mark.parametrize("kind", [Bare, Empty])
def test_status_of_an_error_of_another_class_takes_nothing_but_its_code_for_granted(kind: type[Bare]) -> None:
    error = kind()
    status = status_of(error)
    assert (status.code, status.message, status.error) == (Code.UNAVAILABLE, "", error)
    assert (status.initial, status.trailing, status.from_peer) == (None, None, False)


# Whether the other side sent it


@by_name
@pytest.mark.parametrize("trailing", [(), SOME], ids=["bare", "metadata"])
def test_a_status_of_the_peers_is_told_apart_from_grpcs_own(
    code: grpc.StatusCode, trailing: Any, rpc_error: RpcError
) -> None:
    """With a text that is neither the service's for a quota nor gRPC's for what it makes itself."""
    proved = status_of(rpc_error(code, "it failed", trailing=trailing)).from_peer
    if code.name in PEERS_ALONE | BOTHS:
        assert proved
    elif code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        assert proved == bool(trailing)
    else:
        assert not proved


def test_codes_that_grpc_never_makes_are_pinned() -> None:
    assert {code.name for code in NEVER_MADE} == PEERS_ALONE


@pytest.mark.parametrize(
    ("message", "trailing", "proved"),
    [
        (QUOTA, (), True),
        (QUOTA, SOME, True),
        ("some other limit", SOME, True),
        ("some other limit", (), False),
        ("CLIENT: Received message larger than max (6 vs. 5)", (), False),
        ("RST_STREAM with error code 11", (), False),
        ("received metadata size exceeds hard limit (20000 vs. 16384)", SOME, False),
        ("received initial metadata size exceeds limit", SOME, False),
    ],
)
def test_resource_exhausted_takes_metadata_or_the_services_own_wording(
    message: str, trailing: Any, proved: bool
) -> None:
    assert from_peer(Code.RESOURCE_EXHAUSTED, message, trailing) == proved


@pytest.mark.parametrize("code", [Code.PERMISSION_DENIED, Code.UNAUTHENTICATED, Code.UNIMPLEMENTED])
@pytest.mark.parametrize(
    ("message", "made"),
    [
        ("Received http2 header with status: 401", True),
        ("Received RST_STREAM with error code 12", True),
        ("Bad HTTP status code: :status 403", True),
        ("The token is invalid", False),
        ("", False),
    ],
)
def test_a_refusal_in_grpcs_words_for_http_takes_metadata(code: Code, message: str, made: bool) -> None:
    assert from_peer(code, message, ()) != made
    assert from_peer(code, message, SOME)


# Callables


@pytest.mark.parametrize(
    ("kind", "sync", "aio"),
    [
        (UnaryMethod, grpc.UnaryUnaryMultiCallable, grpc.aio.UnaryUnaryMultiCallable),
        (StreamMethod, grpc.UnaryStreamMultiCallable, grpc.aio.UnaryStreamMultiCallable),
        (ClientStreamMethod, grpc.StreamUnaryMultiCallable, grpc.aio.StreamUnaryMultiCallable),
        (BidiStreamMethod, grpc.StreamStreamMultiCallable, grpc.aio.StreamStreamMultiCallable),
        (OperationMethod, grpc.UnaryUnaryMultiCallable, grpc.aio.UnaryUnaryMultiCallable),
    ],
)
async def test_multicallable_fits_the_kind_of_a_method_on_both_apis(kind: Any, sync: type, aio: type) -> None:
    assert set(MULTICALLABLES) == {UnaryMethod, StreamMethod, ClientStreamMethod, BidiStreamMethod, OperationMethod}
    message = f"{_pb.operation_pb2.Operation.__module__}:Operation"
    further = {"operation": message} if kind is OperationMethod else {}
    method = kind("/a.Service/Rpc", request=message, response=message, **further)
    deserialize = deserializer(methods.OperationService.Get, -1)
    with grpc.insecure_channel("localhost:1") as channel:
        assert isinstance(multicallable(channel, method, deserialize), sync)
    async with grpc.aio.insecure_channel("localhost:1") as channel:
        assert isinstance(multicallable(channel, method, deserialize), aio)

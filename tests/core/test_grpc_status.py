"""What gRPC raises, as plain values: statuses, metadata, and whether the other side is proved to have sent them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from yagrpc import _pb, methods
from yagrpc._core.failure.status import REFUSING
from yagrpc._grpc.deserializers import deserializer
from yagrpc._grpc.status import (
    ALSO_FROM_GRPC,
    MULTICALLABLES,
    NEVER_FROM_GRPC,
    GrpcError,
    from_peer,
    multicallable,
    status_of,
)
from yagrpc.errors import Code
from yagrpc.foreign import UNSAFE
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
BOTHS = {"RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED"}

by_name = pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)


@by_name
def test_status_of_keeps_what_grpc_says(code: grpc.StatusCode, rpc_error: RpcError) -> None:
    error = rpc_error(code, "said", initial=[("a", "1")], trailing=[("b-bin", b"2")])
    status = status_of(error)
    assert status.code is Code[code.name]
    assert (status.code, status.message) == (code.value[0], "said")
    assert isinstance(status.error, grpc.RpcError)
    cause: Any = status.error
    assert (cause.code(), cause.details()) == (code, "said")
    assert code.name in str(cause)
    assert "said" in str(cause)
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
def test_only_trailing_metadata_prove_what_grpc_makes_as_well(
    code: grpc.StatusCode, trailing: Any, rpc_error: RpcError
) -> None:
    proved = status_of(rpc_error(code, "it failed", trailing=trailing)).from_peer
    if code.name in PEERS_ALONE:
        assert proved
    elif code.name in BOTHS:
        assert proved == bool(trailing)
    else:
        assert not proved


def test_codes_are_pinned_by_who_makes_them() -> None:
    assert {code.name for code in NEVER_FROM_GRPC} == PEERS_ALONE
    assert {code.name for code in ALSO_FROM_GRPC} == BOTHS
    assert NEVER_FROM_GRPC | ALSO_FROM_GRPC == REFUSING


@pytest.mark.parametrize("code", sorted(BOTHS))
@pytest.mark.parametrize(
    "message",
    [
        QUOTA,
        "",
        "The token is invalid",
        "RST_STREAM with error code 11",
        "Received http2 header with status: 401",
    ],
)
def test_no_text_is_a_proof(code: str, message: str) -> None:
    assert not from_peer(Code[code], message, ())
    assert from_peer(Code[code], message, SOME)


@pytest.mark.parametrize(
    "message",
    [
        "CLIENT: Received message larger than max (6 vs. 5)",
        "received metadata size exceeds hard limit (20000 vs. 16384)",
        "received initial metadata size exceeds limit",
    ],
)
def test_a_size_over_a_limit_withholds_the_proof(message: str) -> None:
    """What came before it is among the metadata."""
    assert not from_peer(Code.RESOURCE_EXHAUSTED, message, SOME)


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK], ids=lambda code: code.name)
def test_an_error_without_trailing_metadata_is_not_grpcs_and_proves_nothing(code: Code) -> None:
    assert not from_peer(code, "it failed", None)


def test_an_error_without_a_status_is_unknown() -> None:
    class Odd(grpc.RpcError):  # type: ignore[misc,unused-ignore]
        def code(self) -> Any:
            return None

    for error in (Odd(), grpc.RpcError()):
        status = status_of(error)
        assert (status.code, status.from_peer) == (Code.UNKNOWN, False)


def test_an_interceptors_own_error_is_kept() -> None:
    error = Bare()
    assert status_of(error).error is error


HOSTILE = "a\nWARNING:yagrpc:all is well\x1b[2J\u202e Bearer t1.SecretSecret.SecretSecret"


def test_the_cause_is_one_line_without_a_secret(rpc_error: RpcError) -> None:
    """A traceback prints it."""
    status = status_of(rpc_error(grpc.StatusCode.UNAUTHENTICATED, HOSTILE))
    cause: Any = status.error
    for text in (str(cause), repr(cause), cause.details(), repr(status)):
        assert re.search(UNSAFE, text) is None
        assert "\n" not in text
        assert "Secret" not in text
    assert cause.details().startswith("a WARNING:yagrpc:all is well")
    assert cause.__traceback__ is cause.__context__ is None, "crash reporters find the rpc in its frames"


def test_nothing_that_waits_is_asked_of_an_error() -> None:
    """Of an rpc that its caller ended, gRPC gives the debug string never: the blocking API waits for it."""
    asked: list[str] = []

    class Waits(Bare):
        def debug_error_string(self) -> str:
            asked.append("for ever")
            return ""

    Waits.__module__ = "grpc._channel"
    assert isinstance(status_of(Waits()).error, GrpcError)
    assert asked == []


def test_a_text_of_any_length_is_cut_in_the_cause(rpc_error: RpcError) -> None:
    assert len(str(status_of(rpc_error(grpc.StatusCode.INTERNAL, "a b " * 100_000)).error)) < 20_000


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

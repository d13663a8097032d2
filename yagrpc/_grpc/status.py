"""What gRPC raises, as a plain value for the decisions of `_core`.

The errors of both of gRPC's APIs answer `code()`, `details()` and the two metadata without waiting, so one function
serves both shells. An interceptor may raise an error of its own class: nothing but `code()` is taken for granted.
"""

from __future__ import annotations

import re
from typing import Any, Final

import grpc

from yagrpc._core.failure.status import RpcStatus
from yagrpc.errors import Code
from yagrpc.method import AnyMethod, BidiStreamMethod, ClientStreamMethod, OperationMethod, StreamMethod, UnaryMethod

MULTICALLABLES: Final[dict[type, str]] = {
    UnaryMethod: "unary_unary",
    OperationMethod: "unary_unary",
    StreamMethod: "unary_stream",
    ClientStreamMethod: "stream_unary",
    BidiStreamMethod: "stream_stream",
}
"""The name of a channel's factory of callables, by the kind of method; both of gRPC's APIs agree on it."""

NEVER_MADE: Final = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
    }
)
"""Statuses that gRPC never makes itself (its doc/statuscodes.md): the code alone proves that the other side sent it."""

_QUOTA: Final = re.compile(r"\b(rate|gauge) quota limit exceed")
"""The service's own wording of a quota that is used up. gRPC's texts for RESOURCE_EXHAUSTED are others."""

_OVERFLOW: Final = re.compile(r"metadata size")
"""gRPC's wording of answer metadata over its limit: what came before the overflow is still among the metadata."""

_TRANSPORT: Final = re.compile(r"RST_STREAM|http2 header with status|HTTP status|:status", re.IGNORECASE)
"""gRPC's wording of a stream that was reset, and of an answer in HTTP without a gRPC status."""


def status_of(error: grpc.RpcError, *, closed: bool = False) -> RpcStatus:
    """How an attempt ended that gRPC raised an error for.

    Args:
        error: What was raised.
        closed: Whether the client was closed, so that it is gRPC's own end where it is CANCELLED.
    """
    number: int = error.code().value[0]
    code = Code(number)
    closed = closed and code is Code.CANCELLED
    initial, trailing = _given(error, "initial_metadata"), _given(error, "trailing_metadata")
    message = _given(error, "details") or ""
    return RpcStatus(code, message, initial, trailing, from_peer(code, message, trailing), error, closed)


def from_peer(code: Code, message: str, trailing: Any) -> bool:
    """Whether it is proved that the other side sent a status, and gRPC did not make it.

    RESOURCE_EXHAUSTED has many sources in gRPC (HTTP/2 error 11, metadata and messages over a limit), and a wrong
    proof of it would be billed: only trailing metadata, which the other side alone fills, or the service's own
    wording prove it. PERMISSION_DENIED comes of HTTP/2 error 12 and HTTP 403, UNAUTHENTICATED of HTTP 401 and
    UNIMPLEMENTED of HTTP 404, each with a fixed text and, for HTTP, without any metadata (measured, grpcio 1.68.1 and
    1.85.3, both APIs): there trailing metadata, or any other text, prove that it is the other side's.

    Args:
        code: The status.
        message: Its text.
        trailing: The trailing metadata that came.
    """
    if code in NEVER_MADE:
        return True
    if code is Code.RESOURCE_EXHAUSTED:
        return (bool(trailing) and not _OVERFLOW.search(message)) or bool(_QUOTA.search(message))
    if code in (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED, Code.UNIMPLEMENTED):
        return bool(trailing) or not _TRANSPORT.search(message)
    return False


def multicallable(channel: Any, method: AnyMethod, deserialize: Any) -> Any:
    """gRPC's multicallable of a method on a channel of either API."""  # noqa: D403
    return getattr(channel, MULTICALLABLES[type(method)])(
        method.path, request_serializer=method.request_type.SerializeToString, response_deserializer=deserialize
    )


def _given(error: grpc.RpcError, name: str) -> Any:
    """What an error says of itself; `None` where it does not know the question."""
    method = getattr(error, name, None)
    return method() if callable(method) else None

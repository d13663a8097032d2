"""What gRPC raises, as a plain value for the decisions of `_core`.

The errors of both of gRPC's APIs answer `code()`, `details()` and the two metadata without waiting, so one function
serves both shells. An interceptor may raise an error of its own class: nothing but `code()` is taken for granted.
"""

from __future__ import annotations

from typing import Any, Final

import grpc

from yagrpc._core.call.call import AnyMethod
from yagrpc._core.failure.status import RpcStatus
from yagrpc.errors import Code
from yagrpc.method import BidiStreamMethod, ClientStreamMethod, OperationMethod, StreamMethod, UnaryMethod

MULTICALLABLES: Final[dict[type, str]] = {
    UnaryMethod: "unary_unary",
    OperationMethod: "unary_unary",
    StreamMethod: "unary_stream",
    ClientStreamMethod: "stream_unary",
    BidiStreamMethod: "stream_stream",
}
"""The name of a channel's factory of callables, by the kind of method; both of gRPC's APIs agree on it."""

_FROM_PEER: Final = "Error received from peer"


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
    return RpcStatus(code, error.details() or "", initial, trailing, from_peer(error), error, closed)


def from_peer(error: grpc.RpcError) -> bool:
    """Whether it is proved that the other side sent the status of an error, and gRPC did not make it."""
    text = _given(error, "debug_error_string")
    return isinstance(text, str) and _FROM_PEER in text


def multicallable(channel: Any, method: AnyMethod, deserialize: Any) -> Any:
    """gRPC's multicallable of a method on a channel of either API."""  # noqa: D403
    return getattr(channel, MULTICALLABLES[type(method)])(
        method.path, request_serializer=method.request_type.SerializeToString, response_deserializer=deserialize
    )


def _given(error: grpc.RpcError, name: str) -> Any:
    """What an error says of itself; `None` where it does not know the question."""
    method = getattr(error, name, None)
    return method() if callable(method) else None

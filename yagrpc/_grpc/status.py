"""What gRPC raises, as a plain value for the decisions of `_core`.

The errors of both of gRPC's APIs answer `code()`, `details()` and the two metadata without waiting, so one function
serves both shells. An interceptor may raise an error of its own class: nothing is taken for granted.
"""

from __future__ import annotations

import re
from typing import Any, Final

import grpc

from yagrpc._core.failure.status import RpcStatus
from yagrpc._grpc.rpcs import given, pairs
from yagrpc.errors import Code
from yagrpc.errors.base import LONGEST_TEXT
from yagrpc.foreign import cleaned
from yagrpc.hiding import without_secrets
from yagrpc.method import AnyMethod, BidiStreamMethod, ClientStreamMethod, OperationMethod, StreamMethod, UnaryMethod

MULTICALLABLES: Final[dict[type, str]] = {
    UnaryMethod: "unary_unary",
    OperationMethod: "unary_unary",
    StreamMethod: "unary_stream",
    ClientStreamMethod: "stream_unary",
    BidiStreamMethod: "stream_stream",
}
"""The name of a channel's factory of callables, by the kind of method; both of gRPC's APIs agree on it."""

NEVER_FROM_GRPC: Final = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
    }
)
"""Refusals that gRPC never creates itself (its doc/statuscodes.md): the code alone proves who sent them."""

ALSO_FROM_GRPC: Final = frozenset(
    {
        Code.RESOURCE_EXHAUSTED,
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
        Code.UNIMPLEMENTED,
    }
)
"""Refusals that gRPC creates as well: of streams that were reset (HTTP/2 errors 11 and 12), of a gateway's answer
without a gRPC status (HTTP 401, 403, 404), and of metadata or messages over a limit."""

_SIZE: Final = r"metadata size exceeds|larger than max|ardinality violation"
"""Wordings of a size over a limit, of metadata or of a message: the trailers that came before the limit are there."""


class GrpcError(grpc.RpcError):
    """An error of gRPC, as the cause of one of yagrpc's: what it said, in one line.

    A traceback prints the causes of an error too. gRPC's own errors print whatever the other side said, in as many
    lines as that has, and a crash reporter finds the rpc in their frames. gRPC's `debug_error_string` is not kept: it
    mostly repeats the text, and it waits, for ever where the caller ended the rpc.

    Args:
        error: What gRPC raised.
        code: Its status.
        details: Its text.
    """

    def __init__(self, error: grpc.RpcError, code: Code, details: str) -> None:
        self._code = code
        self._details = without_secrets(cleaned(details))[:LONGEST_TEXT]
        super().__init__(": ".join(filter(None, (type(error).__name__, code.name, self._details))))

    def code(self) -> grpc.StatusCode:
        """The status."""
        return next(status for status in grpc.StatusCode if status.value[0] == self._code)

    def details(self) -> str:
        """The text of the status."""
        return self._details


def status_of(error: grpc.RpcError, *, closed: bool = False) -> RpcStatus:
    """How an attempt ended that gRPC raised an error for.

    Args:
        error: What was raised.
        closed: Whether the client was closed, so that CANCELLED is the client's own doing.
    """
    status = given(error, "code")
    code = Code(status.value[0]) if isinstance(status, grpc.StatusCode) else Code.UNKNOWN
    details = given(error, "details")
    message = details if isinstance(details, str) else ""
    initial, trailing = pairs(given(error, "initial_metadata")), pairs(given(error, "trailing_metadata"))
    proved = from_peer(code, message, trailing)
    # An interceptor's own error is kept as it is: its text is the user's.
    grpcs = type(error).__module__.partition(".")[0] == "grpc"
    cause = GrpcError(error, code, message) if grpcs else error
    return RpcStatus(code, message, initial, trailing, proved, cause, closed and code is Code.CANCELLED)


def from_peer(code: Code, message: str, trailing: Any) -> bool:
    """Whether it is proved that the other side sent a status that refuses, and gRPC did not make it.

    Only trailers of the other side fill the trailing metadata (measured on the wire, about 210 causes, grpcio 1.68.1
    and 1.85.3, both APIs); the service, behind its proxy, sends `date`, `server` and `x-request-id` with every
    answer. So they prove it, and a text never does: it may only withhold the proof, where a size is meant. What is
    not proved is a failure after which a generation may have run.

    Args:
        code: The status.
        message: Its text.
        trailing: The trailing metadata that came; `None` where the error is not gRPC's own, but an interceptor's.
    """
    if trailing is None:
        return False
    return code in NEVER_FROM_GRPC or (code in ALSO_FROM_GRPC and bool(trailing) and not re.search(_SIZE, message))


def multicallable(channel: Any, method: AnyMethod, deserialize: Any) -> Any:
    """gRPC's multicallable of a method on a channel of either API."""  # noqa: D403
    return getattr(channel, MULTICALLABLES[type(method)])(
        method.path, request_serializer=method.request_type.SerializeToString, response_deserializer=deserialize
    )

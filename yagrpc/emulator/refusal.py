"""How the emulator refuses a call: one exception, which the pipeline turns into the status of the call.

A refusal is a whole `google.rpc.Status`. So the `Operation.error` of asynchronous mode and the status of the call in
synchronous mode are the same, details included.
"""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf.message import Message

from yagrpc import _pb

__all__ = ["DETAILS_KEY", "Refusal", "invalid", "make_status"]

DETAILS_KEY: Final = "grpc-status-details-bin"
"""The trailing metadata key in which gRPC carries a serialized `google.rpc.Status`."""

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def make_status(code: grpc.StatusCode, message: str, *details: Message) -> _pb.status_pb2.Status:
    """A `google.rpc.Status`; the details are packed into `Any`."""
    status = _pb.status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


class Refusal(Exception):
    """The call ends with this status.

    Args:
        status: A `google.rpc.Status` with a code other than 0.
    """

    def __init__(self, status: _pb.status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC code. A number that gRPC does not know is UNKNOWN, as in gRPC itself."""
        return _CODES.get(self.status.code, grpc.StatusCode.UNKNOWN)

    @property
    def message(self) -> str:
        """The text of the status."""
        return self.status.message

    @property
    def trailer(self) -> tuple[tuple[str, bytes], ...]:
        """Trailing metadata: the whole status if it has details, otherwise nothing."""
        return ((DETAILS_KEY, self.status.SerializeToString()),) if self.status.details else ()


def invalid(message: str) -> Refusal:
    """An INVALID_ARGUMENT refusal."""
    return Refusal(make_status(grpc.StatusCode.INVALID_ARGUMENT, message))

"""Answers as they come off the wire, measured and parsed.

gRPC answers a message over its own limit with RESOURCE_EXHAUSTED, just as the service answers a quota that is used up,
and nothing but the text distinguishes the two (1.68 to 1.85, both APIs). So the channels that a client opens have that
limit lifted, and this module applies it. A message over the limit is then known to be an answer: the call has run.
gRPC would report an answer that does not parse as INTERNAL, and a read would be sent again; here such an answer becomes
an `Unreadable`.

Rules: a deserializer never raises: gRPC would log its traceback and drop what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from yagrpc._core.failure.sizes import Unreadable
from yagrpc.foreign import cleaned
from yagrpc.method import OperationMethod

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc.method import AnyMethod


def deserializer(method: AnyMethod, limit: int) -> Callable[[bytes], Any]:
    """A deserializer of a method's answers: it gives the message, or an `Unreadable`.

    Args:
        method: The method of the answers.
        limit: The largest that is taken, in bytes; -1 for any.
    """
    kind: Any = method.operation_type if isinstance(method, OperationMethod) else method.response_type
    parse: Callable[[bytes], Message] = kind.FromString

    def deserialize(data: bytes) -> Any:
        if -1 < limit < len(data):
            return Unreadable(len(data), limit)
        try:
            return parse(data)
        except Exception as error:  # protobuf's DecodeError, whose module is not loaded for this line
            return Unreadable(len(data), None, cleaned(str(error)))

    return deserialize

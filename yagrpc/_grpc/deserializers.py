"""Answers as they come off the wire, measured, unpacked and parsed.

gRPC answers a message over its own limit with RESOURCE_EXHAUSTED, just as the service answers a quota that is used up,
and nothing but the text distinguishes the two (1.68 to 1.85, both APIs). So the channels that a client opens have that
limit lifted, and this module applies it. A message over the limit is then known to be an answer: the call has run.
gRPC would report an answer that does not parse as INTERNAL, and a read would be sent again; here such an answer becomes
an `Unreadable`.

gRPC unpacks a compressed answer before any limit is applied to it: 1.5 MB on the wire became 4.8 GiB of memory. So the
channels that a client opens leave an answer compressed (`PER_MESSAGE_DECOMPRESSION` in `options`), and it is unpacked
here, up to the limit. It is known by the first byte of gzip, 0x1f: no message begins with it, since it would be a field
of wire type 7, which does not exist.

Rules: a deserializer never raises: gRPC would log its traceback and drop what it says. It never holds more than the
limit, and one byte, of what it unpacks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from yagrpc._core.failure.sizes import Unreadable
from yagrpc.foreign import cleaned
from yagrpc.method import OperationMethod

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc.method import AnyMethod

_GZIP: Final = b"\x1f\x8b"
_GZIP_FORMAT: Final = 31
"""zlib's `wbits` of a gzip stream with the largest window."""


def deserializer(method: AnyMethod, limit: int) -> Callable[[bytes], Any]:
    """A deserializer of a method's answers: it gives the message, or an `Unreadable`.

    Args:
        method: The method of the answers.
        limit: The largest that is taken, in bytes; -1 for any.
    """
    kind: Any = method.operation_type if isinstance(method, OperationMethod) else method.response_type
    parse: Callable[[bytes], Message] = kind.FromString

    def deserialize(data: bytes) -> Any:
        if data.startswith(_GZIP):
            unpacked = _unpacked(data, limit)
            if isinstance(unpacked, Unreadable):
                return unpacked
            data = unpacked
        if -1 < limit < len(data):
            return Unreadable(len(data), limit)
        try:
            return parse(data)
        except Exception as error:  # protobuf's DecodeError, whose module is not loaded for this line
            return Unreadable(len(data), None, cleaned(str(error)))

    return deserialize


def _unpacked(data: bytes, limit: int) -> bytes | Unreadable:
    """A gzip stream, unpacked; an `Unreadable` where it is over the limit, or is broken."""
    import zlib  # most services never compress

    stream = zlib.decompressobj(_GZIP_FORMAT)
    try:
        unpacked = stream.decompress(data, limit + 1 if limit > -1 else 0)
    except zlib.error as error:
        return Unreadable(len(data), None, f"gzip: {error}")
    if -1 < limit < len(unpacked):
        return Unreadable(None, limit)
    return unpacked if stream.eof else Unreadable(len(data), None, "gzip: the stream is cut short")

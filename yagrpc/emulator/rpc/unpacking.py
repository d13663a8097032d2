"""Compressed requests, unpacked up to the limit of a request.

gRPC up to 1.83 unpacks a request completely before it applies the limit: 1.5 MB became 4.8 GiB. So the server
leaves requests compressed (`OPTIONS`), and they are unpacked here. A compressed request is known by the first byte of
gzip, 0x1f: no message begins with it, since it would be a field of wire type 7, which does not exist.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import grpc

__all__ = ["MESSAGE_BYTES", "OPTIONS", "TooLarge", "UnpackingServer", "unpacking"]

MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""The largest request: above any limit of a client's own that a test may check."""

OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.per_message_decompression", 0),
    ("grpc.compression_enabled_algorithms_bitset", 0b101),  # identity and gzip, not deflate
)
"""The server's options about the size of requests."""

_GZIP: Final = b"\x1f\x8b"
_GZIP_FORMAT: Final = 31
"""zlib's `wbits` of a gzip stream with the largest window."""

_Deserialize: TypeAlias = "Callable[[bytes], Any]"


class TooLarge:
    """A request that is over the limit once it is unpacked."""


def unpacking(deserialize: _Deserialize) -> _Deserialize:
    """A deserializer that also takes gzip, and gives a `TooLarge` for a request over the limit.

    Args:
        deserialize: Makes a message of bytes.
    """

    def unpack(data: bytes) -> Any:
        if data.startswith(_GZIP):
            stream = zlib.decompressobj(_GZIP_FORMAT)
            data = stream.decompress(data, MESSAGE_BYTES + 1)
            if len(data) > MESSAGE_BYTES:
                return TooLarge()
            if not stream.eof:
                raise ValueError("the compressed request is cut short")
        return deserialize(data)

    return unpack


def _refusing(deserialize: _Deserialize) -> _Deserialize:
    unpack = unpacking(deserialize)

    def checked(data: bytes) -> Any:
        request = unpack(data)
        if isinstance(request, TooLarge):
            raise ValueError(f"the request is larger than {MESSAGE_BYTES} bytes")
        return request

    return checked


class UnpackingServer:
    """What generated code registers a service with that does not pass the pipeline, so that it takes gzip too.

    Args:
        server: The server.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Do nothing: `add_registered_method_handlers` gets the same handlers, by their names."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Register the handlers of a service, by the names of its methods."""
        wrapped = {
            name: handler._replace(request_deserializer=_refusing(handler.request_deserializer))
            for name, handler in handlers.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))

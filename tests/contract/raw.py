"""A server of bytes: what it answers need not be what any service would answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, TypeAlias

import grpc

Answer: TypeAlias = "Callable[[bytes, grpc.ServicerContext], bytes]"


class RawServer(grpc.GenericRpcHandler):
    """Answers each unary method as a function says, and any other with UNIMPLEMENTED.

    Attributes:
        answers: The functions, by the last part of a method's path or by the whole path. Each takes the request's
            bytes and the context, and gives the answer's bytes.
        streams: The same for methods that stream their answer.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.streams: dict[str, Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]] = {}
        self.calls: list[str] = []
        self.server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, details: Any) -> Any:
        """The handler of a method, as gRPC asks for it."""
        path: str = details.method
        self.calls.append(path)
        for name in (path, path.rpartition("/")[2]):
            if name in self.answers:
                return grpc.unary_unary_rpc_method_handler(self.answers[name])
            if name in self.streams:
                return grpc.unary_stream_rpc_method_handler(self.streams[name])
        return None

    def stop(self) -> None:
        """End it."""
        self.server.stop(None).wait()


def refusing(code: grpc.StatusCode, text: str, **metadata: str) -> Answer:
    """An answer that refuses: with a text, and with metadata whose names have '_' for '-'."""

    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        pairs = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
        context.send_initial_metadata(pairs)
        context.set_trailing_metadata((("server", "raw"), *pairs))
        context.abort(code, text)
        raise AssertionError("abort raises")

    return refuse

"""A bare server with a method of each of gRPC's four kinds, and the methods as a client calls them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc

import yagrpc
from yagrpc import _pb

_TEXT = "yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2:"
_TYPES: dict[str, Any] = {"request": f"{_TEXT}TokenizeRequest", "response": f"{_TEXT}TokenizeResponse"}
GET = yagrpc.UnaryMethod[Any, Any]("/yandex.cloud.ai.stt.v3.Words/Get", **_TYPES)
DOWN = yagrpc.StreamMethod[Any, Any]("/yandex.cloud.ai.stt.v3.Words/Down", **_TYPES)
UP = yagrpc.ClientStreamMethod[Any, Any]("/yandex.cloud.ai.stt.v3.Words/Up", **_TYPES)
BOTH = yagrpc.BidiStreamMethod[Any, Any]("/yandex.cloud.ai.stt.v3.Words/Both", **_TYPES)
KINDS = {"unary": GET, "stream": DOWN, "upload": UP, "both": BOTH}


class Words:
    """A server with one method of each kind. Its streams send "b", and answer "wait", only once they may.

    Attributes:
        more: Whether they may.
        came: Whether a request came.
        ended: Whether an rpc that waits has ended, or a stream.
    """

    def __init__(self) -> None:
        self.more = threading.Event()
        self.came = threading.Event()
        self.ended = threading.Event()
        texts = _pb.text_generation_service_pb2
        codec = (texts.TokenizeRequest.FromString, texts.TokenizeResponse.SerializeToString)
        handlers = {
            "Get": grpc.unary_unary_rpc_method_handler(self._one, *codec),
            "Down": grpc.unary_stream_rpc_method_handler(lambda request, context: self._two(context), *codec),
            "Up": grpc.stream_unary_rpc_method_handler(
                lambda requests, context: self._one(next(requests), context), *codec
            ),
            "Both": grpc.stream_stream_rpc_method_handler(self._both, *codec),
        }
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("yandex.cloud.ai.stt.v3.Words", handlers),)
        )
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def _one(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.text == "wait":
            self._wait(context)
        return tokens(request.text)

    def _two(self, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield tokens("a")
            self._wait(context)
            yield tokens("b")
        finally:  # also where the rpc ends before the second message is asked for
            self.ended.set()

    def _both(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        yield from self._two(context)
        for _ in requests:  # an answer that ends before its requests do is an error of grpc.aio's, now and then
            pass

    def _wait(self, context: grpc.ServicerContext) -> None:
        self.came.set()
        while context.is_active() and not self.more.wait(0.05):
            pass
        self.ended.set()


def tokens(text: str) -> Any:
    """A response of the methods above."""
    return _pb.text_generation_service_pb2.TokenizeResponse(tokens=[_pb.text_common_pb2.Token(text=text)])


def word(text: str) -> Any:
    """A request of the methods above."""
    return _pb.text_generation_service_pb2.TokenizeRequest(text=text)

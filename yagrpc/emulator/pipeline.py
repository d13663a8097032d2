"""What every call goes through before its servicer: it is noted, gets its response headers, and is let in or not.

The order is noting, headers, credential, folder, quota, servicer (which validates). That a refused credential takes no
quota and a refused request does is this emulator's choice; the service's order is not documented.

Rules: the only place that ends a call with a status; everything else raises `Refusal`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from yagrpc.emulator import paths, validation
from yagrpc.emulator.received import CURRENT, Received
from yagrpc.emulator.refusal import Refusal
from yagrpc.emulator.state import State

__all__ = ["CLIENT_REQUEST_ID", "REQUEST_ID", "SERVER_TRACE_ID", "Pipeline"]

REQUEST_ID = "x-request-id"
SERVER_TRACE_ID = "x-server-trace-id"
CLIENT_REQUEST_ID = "x-client-request-id"

_RequestT = TypeVar("_RequestT")
_ResponseT = TypeVar("_ResponseT")
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Handler: TypeAlias = "grpc.RpcMethodHandler[_RequestT, _ResponseT]"


class Pipeline(grpc.aio.ServerInterceptor):
    """Wraps the handlers of the emulated services; others (health, reflection) pass untouched.

    Args:
        state: The emulated cloud.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler[_RequestT, _ResponseT] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler[_RequestT, _ResponseT] | None:
        """Give gRPC the wrapped handler."""
        path = handler_call_details.method
        handler = await continuation(handler_call_details)
        if not path.startswith(paths.CLOUD):
            return handler
        self._state.received.count(path)
        if handler is None:
            self._state.received.refuse(path, grpc.StatusCode.UNIMPLEMENTED)
            return None
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._streaming(path, handler.unary_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(path, handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )

    def _unary(self, path: str, servicer: Any) -> Any:
        async def call(request: Message, context: _Context) -> Any:
            async with self._admitted(path, request, context):
                return await servicer(request, context)

        return call

    def _streaming(self, path: str, servicer: Any) -> Any:
        # Written with `write`, not as a generator: a cancelled call leaves a generator to the garbage collector,
        # and its place among the running ones would be given back at some later time.
        async def call(request: Message, context: _Context) -> None:
            answers = contextlib.aclosing(servicer(request, context))
            async with self._admitted(path, request, context), answers as messages:
                async for message in messages:
                    await context.write(message)

        return call

    @contextlib.asynccontextmanager
    async def _admitted(self, path: str, request: Message, context: _Context) -> AsyncIterator[None]:
        state = self._state
        metadata = dict(context.invocation_metadata() or ())
        received = Received(path, metadata, request, state.clock.now())
        CURRENT.set(received)
        state.received.keep(received)
        request_id = state.new_request_id()
        headers = [(REQUEST_ID, request_id), (SERVER_TRACE_ID, state.new_request_id())]
        if CLIENT_REQUEST_ID in metadata:
            headers.append((CLIENT_REQUEST_ID, str(metadata[CLIENT_REQUEST_ID])))
        with contextlib.ExitStack() as admission:
            try:
                try:
                    if path not in paths.OPEN_TO_ALL:
                        state.guard.check(str(metadata.get("authorization", "")), received.at, request_id)
                    validation.check_folder(getattr(request, "model_uri", ""), state.options.folder)
                    admission.enter_context(state.quotas.admit(path, received.at))
                finally:
                    # After the decision: who has the headers knows that the call counts as running.
                    await context.send_initial_metadata(tuple(headers))
                yield
            except Refusal as refusal:
                state.received.refuse(path, refusal.code)
                await context.abort(refusal.code, refusal.message, refusal.trailer)

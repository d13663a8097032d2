"""The steps of every call before its servicer: the call is recorded, gets its response headers, and is admitted or not.

The order is recording, scripted faults, credential, folder, quota, headers, servicer (which validates). A call with a
refused credential uses no quota, a call with a refused request does: the service's order is not documented.

Rules: the only place that ends a call with a status; everything else raises `Refusal`. Handlers are wrapped once, when
they are registered: an interceptor would cost every call a coroutine and a handler of its own.
"""

from __future__ import annotations

import contextlib
import email.utils
import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from yagrpc.emulator import paths
from yagrpc.emulator.cloud.auth import check_folder
from yagrpc.emulator.received import CURRENT, Received
from yagrpc.emulator.refusal import Refusal
from yagrpc.emulator.rpc.unpacking import MESSAGE_BYTES, TooLarge, unpacking
from yagrpc.emulator.state import State

__all__ = ["CLIENT_REQUEST_ID", "HEADERS_LAST", "REQUEST_ID", "SERVER_TRACE_ID", "Pipeline", "http_date"]

REQUEST_ID = "x-request-id"
SERVER_TRACE_ID = "x-server-trace-id"
CLIENT_REQUEST_ID = "x-client-request-id"
DATE = "date"

HEADERS_LAST: Final = frozenset({paths.OPERATION_GET})
"""Methods whose successful answers have the headers behind the message, where gRPC sends them together with the status:
a write of their own, before the message, costs a quarter of the whole call. The headers of the operation service are
not documented, and clients are advised to read both places.
These calls have no `x-server-trace-id`, which belongs to the work of a model, and no `date`."""

_UNLIMITED: Final = contextlib.nullcontext()

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Pipeline(grpc.GenericRpcHandler):
    """Serves the methods of the emulated services; other services (health, reflection) do not pass it.

    Args:
        state: The emulated cloud.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._handlers: dict[str, _Handler] = {}

    @property
    def paths(self) -> frozenset[str]:
        """The methods that are served."""
        return frozenset(self._handlers)

    @property
    def registry(self) -> grpc.aio.Server:
        """What the generated `add_..._to_server` functions receive in place of a server."""
        return cast("grpc.aio.Server", _Registry(self))

    def register(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Register the handlers of a service, by the names of its methods."""
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            if handler.response_streaming:
                self._handlers[path] = grpc.unary_stream_rpc_method_handler(
                    self._streaming(path, handler.unary_stream),
                    unpacking(handler.request_deserializer),
                    _or_bytes(handler.response_serializer),
                )
            else:
                self._handlers[path] = grpc.unary_unary_rpc_method_handler(
                    self._unary(path, handler.unary_unary),
                    unpacking(handler.request_deserializer),
                    _or_bytes(handler.response_serializer),
                )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Handler | None:
        """Count a call that has arrived; returns its handler to gRPC."""
        path = handler_call_details.method
        handler = self.arrived(path)
        if handler is None and path.startswith(paths.CLOUD):
            return grpc.stream_stream_rpc_method_handler(self._unknown)
        return handler

    def arrived(self, path: str) -> _Handler | None:
        """Count a call that has arrived.

        Args:
            path: The full gRPC path of its method.

        Returns:
            Its handler; `None` if the method is not served.
        """
        handler = self._handlers.get(path)
        if handler is not None:
            self._state.received.count(path, self._state.clock.now())
        elif path.startswith(paths.CLOUD):
            self._state.received.count_unserved(path, self._state.clock.now())
        return handler

    def refused(self, path: str, code: grpc.StatusCode) -> None:
        """Count a call that is about to be refused."""
        self._state.received.refuse(path, code, self._state.clock.now())

    async def _unknown(self, requests: object, context: _Context) -> None:
        """Refuse a method of the cloud that is not served: with the ids that the service sends with every answer."""
        headers = ((REQUEST_ID, self._state.new_request_id()),)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!", headers)

    async def _too_large(self, path: str, context: _Context) -> None:
        """Refuse a request whose size over the limit was hidden by its compression, as gRPC refuses the others."""
        self.refused(path, grpc.StatusCode.RESOURCE_EXHAUSTED)
        text = f"SERVER: Received message larger than max (unpacked, {MESSAGE_BYTES})"
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)

    def _unary(self, path: str, servicer: Any) -> Any:
        state, headers_last = self._state, path in HEADERS_LAST

        async def call(request: Message | TooLarge, context: _Context) -> Any:
            if isinstance(request, TooLarge):
                return await self._too_large(path, context)
            received, headers = self._record(path, request, context)
            headers_sent = False
            faults = state.faults.take(received)
            try:
                if faults is not None:
                    await faults.before(context, headers[0][1])
                self._authorize(received, headers)
                with state.quotas.admit(path, received.at) if state.quotas.limits(path) else _UNLIMITED:
                    if not headers_last and not (faults is not None and faults.silent):
                        headers_sent = True
                        await context.send_initial_metadata(headers)
                    answer = await servicer(request, context)
                if faults is not None:
                    answer = await faults.after(answer, context)
                if not headers_sent:
                    context.set_trailing_metadata(headers)
                return answer
            except Refusal as refusal:
                silent = faults is not None and faults.silent
                await self._refuse(path, refusal, context, () if silent else headers, headers_sent=headers_sent)

        return call

    def _streaming(self, path: str, servicer: Any) -> Any:
        state = self._state

        # With `write`, not as a generator: gRPC leaves the generator of a cancelled call to the garbage collector, and
        # the call's place under the quota of running completions would be released at some later time.
        async def call(request: Message | TooLarge, context: _Context) -> None:
            if isinstance(request, TooLarge):
                return await self._too_large(path, context)
            received, headers = self._record(path, request, context)
            headers_sent = False
            faults = state.faults.take(received)
            try:
                if faults is not None:
                    await faults.before(context, headers[0][1])
                self._authorize(received, headers)
                with state.quotas.admit(path, received.at) if state.quotas.limits(path) else _UNLIMITED:
                    if not (faults is not None and faults.silent):
                        headers_sent = True
                        await context.send_initial_metadata(headers)
                    async with contextlib.aclosing(servicer(request, context)) as messages:
                        async for message in messages:
                            await context.write(message if faults is None else await faults.each(message, context))
                if faults is not None:
                    await faults.last(context)
            except Refusal as refusal:
                silent = faults is not None and faults.silent
                await self._refuse(path, refusal, context, () if silent else headers, headers_sent=headers_sent)

        return call

    def _record(self, path: str, request: Message, context: _Context) -> tuple[Received, tuple[tuple[str, str], ...]]:
        """Record a call; returns the record and the call's response headers."""
        state = self._state
        metadata = dict(context.invocation_metadata() or ())
        received = Received(path, metadata, request, state.clock.now())
        CURRENT.set(received)
        state.received.keep(received)
        headers: tuple[tuple[str, str], ...] = ((REQUEST_ID, state.new_request_id()),)
        if path not in HEADERS_LAST:
            headers = (*headers, (SERVER_TRACE_ID, state.new_request_id()), (DATE, http_date(int(received.at))))
        if CLIENT_REQUEST_ID in metadata:
            return received, (*headers, (CLIENT_REQUEST_ID, str(metadata[CLIENT_REQUEST_ID])))
        return received, headers

    def _authorize(self, received: Received, headers: tuple[tuple[str, str], ...]) -> None:
        if received.path not in paths.OPEN_TO_ALL:
            authorization = str(received.metadata.get("authorization", ""))
            self._state.guard.check(authorization, received.at, headers[0][1])
            if self._state.options.folder is not None:
                check_folder(getattr(received.request, "model_uri", ""), self._state.options.folder)

    async def _refuse(
        self,
        path: str,
        refusal: Refusal,
        context: _Context,
        headers: tuple[tuple[str, str], ...],
        *,
        headers_sent: bool,
    ) -> None:
        """End a call with a status; the headers are in its trailers too, which shows that the status is not gRPC's."""
        self.refused(path, refusal.code)
        if headers and not headers_sent:
            await context.send_initial_metadata(headers)
        trailers = tuple(pair for pair in headers if pair[0] != DATE)
        await context.abort(refusal.code, refusal.message, (*trailers, *refusal.trailer))


class _Registry:
    """The two methods of a server that generated code calls; the second one receives everything that is needed."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        pass

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        self._pipeline.register(service, handlers)


@functools.lru_cache(maxsize=2)
def http_date(now: int) -> str:
    """A time as HTTP writes it; calls of one second share the text."""
    return email.utils.formatdate(now, usegmt=True)


def _or_bytes(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes]:
    """A serializer that leaves bytes unchanged: enlarged answers, and scripted garbage."""
    assert serialize is not None, "generated handlers have a serializer"
    return lambda message: message if isinstance(message, bytes) else serialize(message)

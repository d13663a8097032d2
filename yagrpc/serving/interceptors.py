"""Interceptors for both of gRPC's servers: each handler works for its caller, and its errors become statuses.

Rules: a handler's own `abort` and its own exceptions are left alone. A handler of any kind is served: one that returns,
yields or writes; in a `grpc.aio` server, also one that blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
import grpc.aio

from yagrpc.context import CURRENT, Caller
from yagrpc.errors import YagrpcError
from yagrpc.quantities import Seconds
from yagrpc.serving.callers import MARGIN, checked_seconds, log_owed, new_caller
from yagrpc.serving.statuses import end, end_stream, owe
from yagrpc.serving.table import Expose, Exposure

_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


class _Serving:
    """What both interceptors share.

    Args:
        margin: Seconds of the caller's deadline that are kept for the answer.
        expose: Of which codes the text of an error is passed on.
    """

    def __init__(self, *, margin: Seconds = MARGIN, expose: Expose = False) -> None:
        self._margin = checked_seconds("margin", margin) or 0.0
        self._exposure = Exposure(expose)

    def _caller(self, context: Any) -> Caller:
        caller = new_caller(context.invocation_metadata() or (), context.time_remaining(), self._margin)
        if hasattr(context, "add_done_callback"):
            context.add_done_callback(lambda _: caller.leave())
        elif context.add_callback(caller.leave) is False:  # it has left already
            caller.leave()
        return caller

    @contextlib.contextmanager
    def _finishing(self, context: Any, caller: Caller) -> Iterator[None]:
        """A block after which the handler has ended."""
        try:
            yield
        finally:
            with contextlib.suppress(Exception):  # the call has ended, and takes no metadata any more
                owe(context, caller)
            caller.finish()
            log_owed(caller)

    def _blocking(self, behavior: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def serve(request: Any, context: Any) -> Any:
            caller = self._caller(context)
            with self._finishing(context, caller), _for(caller):
                try:
                    return behavior(request, context)
                except YagrpcError as error:
                    end(context, error, self._exposure)

        return serve

    def _blocking_stream(self, behavior: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Iterator[Any]]:
        def serve(request: Any, context: Any) -> Iterator[Any]:
            caller = self._caller(context)
            messages: Any = ()
            with self._finishing(context, caller):
                try:
                    with _for(caller):
                        messages = iter(behavior(request, context))
                    while True:
                        with _for(caller):  # at each message: a generator has no context of its own
                            try:
                                message = next(messages)
                            except StopIteration:
                                return
                        yield message
                except YagrpcError as error:
                    with _for(caller):
                        end_stream(context, error, self._exposure)
                finally:
                    if hasattr(messages, "close"):
                        with _for(caller):
                            messages.close()

        return serve


class ServerInterceptor(_Serving, grpc.ServerInterceptor):
    """For `grpc.server`: `grpc.server(pool, interceptors=[yagrpc.serving.ServerInterceptor()])`.

    Args:
        margin: Seconds of each caller's deadline that are kept for the answer.
        expose: Of which codes an error's own text is passed on: `True` for all, or some of `yagrpc.Code`.

    Raises:
        ConfigError: A setting can't work.
    """

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wrap the handler of a call; called by gRPC."""
        return _wrapped(continuation(handler_call_details), self._blocking, self._blocking_stream)


class AsyncServerInterceptor(_Serving, grpc.aio.ServerInterceptor):
    """For `grpc.aio.server`: `grpc.aio.server(interceptors=[yagrpc.serving.AsyncServerInterceptor()])`.

    Args:
        margin: Seconds of each caller's deadline that are kept for the answer.
        expose: Of which codes an error's own text is passed on: `True` for all, or some of `yagrpc.Code`.

    Raises:
        ConfigError: A setting can't work.
    """

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wrap the handler of a call; called by gRPC."""
        return _wrapped(await continuation(handler_call_details), self._unary, self._stream)

    def _unary(self, behavior: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        return self._awaiting(behavior) if inspect.iscoroutinefunction(behavior) else self._blocking(behavior)

    def _stream(self, behavior: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        if inspect.iscoroutinefunction(behavior):
            return self._awaiting(behavior)
        if not inspect.isasyncgenfunction(behavior):
            return self._blocking_stream(behavior)

        # A generator again, and no coroutine that writes: OpenTelemetry's interceptor iterates what a handler gives.
        async def serve(request: Any, context: Any) -> AsyncIterator[Any]:
            caller = self._caller(context)
            messages = behavior(request, context)
            with self._finishing(context, caller):
                try:
                    while True:
                        with _for(caller):  # at each message: it may be closed in another context
                            try:
                                message = await anext(messages)
                            except StopAsyncIteration:
                                return
                        yield message
                except YagrpcError as error:
                    with _for(caller):
                        await _sent(end(context, error, self._exposure))
                except (asyncio.CancelledError, GeneratorExit):
                    caller.leave()
                    raise
                finally:
                    with _for(caller):
                        await messages.aclose()

        return serve

    def _awaiting(self, behavior: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        async def serve(request: Any, context: Any) -> Any:
            caller = self._caller(context)
            with self._finishing(context, caller), _for(caller):
                try:
                    return await behavior(request, context)
                except YagrpcError as error:
                    await _sent(end(context, error, self._exposure))
                except asyncio.CancelledError:
                    caller.leave()
                    raise

        return serve


async def _sent(sending: Awaitable[Any]) -> None:
    """Wait until something was sent to a caller; where its call has ended just before, this task ends as with it."""
    try:
        await sending
    except grpc.aio.InternalError:  # gRPC would log it as an exception of the handler
        raise asyncio.CancelledError from None


@contextlib.contextmanager
def _for(caller: Caller) -> Iterator[None]:
    """A block that works for a caller."""
    token = CURRENT.set(caller)
    try:
        yield
    finally:
        CURRENT.reset(token)


def _wrapped(handler: Any, unary: Callable[[Any], Any], stream: Callable[[Any], Any]) -> Any:
    """A handler of gRPC's whose function is wrapped; `None` for a method that the server does not serve."""
    if handler is None:
        return None
    kind = next(kind for kind in _KINDS if getattr(handler, kind) is not None)
    wrap = stream if handler.response_streaming else unary
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(wrap(getattr(handler, kind)), handler.request_deserializer, handler.response_serializer)

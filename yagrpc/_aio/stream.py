"""Streamed answers of the asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc
import grpc.aio

if TYPE_CHECKING:
    from yagrpc._aio.transport import AsyncTransport
    from yagrpc._core.client import ClientCore
    from yagrpc._core.flow import Call

ItemT = TypeVar("ItemT")


class AsyncStream(Generic[ItemT]):
    """An iterator over the messages of one call; leaving the `async with` block, or `close()`, ends the call.

    Nothing is sent before the first message is asked for. `last` is the message last given, also after an error:
    of a streamed completion, all the text so far.
    """

    def __init__(
        self, core: ClientCore, transport: AsyncTransport, call: Call[Any, Any], make: Callable[[Any], ItemT]
    ) -> None:
        self.last: ItemT | None = None
        self._core = core
        self._transport = transport
        self._call = call
        self._make = make
        self._responses: Any = None
        self._closed = False

    def __aiter__(self) -> AsyncIterator[ItemT]:
        return self

    async def __anext__(self) -> ItemT:
        response = await self._next()
        if response is grpc.aio.EOF:
            self._closed = True
            raise StopAsyncIteration
        self.last = self._make(response)
        return self.last

    async def close(self) -> None:
        """End the call; the service stops generating. Closing twice does nothing."""
        self._closed = True
        responses = self._responses
        if responses is not None:
            responses.cancel()

    async def __aenter__(self) -> AsyncStream[ItemT]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _next(self) -> Any:
        while not self._closed:
            if self._responses is None:
                self._responses = await self._open()
                if self._closed:  # meanwhile, by another task, which saw nothing to cancel yet
                    self._responses.cancel()
            try:
                return await self._responses.read()
            except asyncio.CancelledError:
                if not self._closed:  # else it is our own close, from another task
                    self._core.raise_request_error(self._call)
                    raise
            except grpc.RpcError as error:
                await self._renew(error)
                self._responses = None
        raise StopAsyncIteration

    async def _renew(self, error: grpc.RpcError) -> None:
        """After a failure: get the stream ready to be opened again, or raise what it means."""
        again = False
        try:
            failure = self._core.failed(error, self._call)
            again = self.last is None and await self._transport.run(self._core.renewal(self._call, failure))
            if not again:
                raise failure from error
        finally:
            self._closed = self._closed or not again

    async def _open(self) -> Any:
        timeout = await self._transport.run(self._core.connection(self._call))
        open_stream = self._transport.callable(self._call.method)
        return open_stream(self._call.request, timeout=timeout, metadata=self._call.metadata)

"""Streamed answers of the asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc
import grpc.aio

from yagrpc.errors import ClientClosedError

if TYPE_CHECKING:
    from yagrpc._aio.transport import AsyncTransport
    from yagrpc._core.admission import Admission
    from yagrpc._core.client import ClientCore
    from yagrpc._core.flow import Call

ItemT = TypeVar("ItemT")


class AsyncStream(Generic[ItemT]):
    """An iterator over the messages of one call; leaving the `async with` block, or `close()`, ends the call.

    Nothing is sent before the first message is asked for. `last` is the message last given, also after an error:
    of a streamed completion, all the text so far. A stream that is collected gives its place under the quota back.
    """

    def __init__(
        self, core: ClientCore, transport: AsyncTransport, call: Call[Any, Any], make: Callable[[Any], ItemT]
    ) -> None:
        self.last: ItemT | None = None
        self._core = core
        self._transport = transport
        self._call = call
        self._make = make
        self._admission: Admission | None = None
        self._responses: Any = None
        self._closed = False

    def __aiter__(self) -> AsyncIterator[ItemT]:
        return self

    async def __anext__(self) -> ItemT:
        response = await self._next()
        if response is grpc.aio.EOF:
            self._end()
            raise StopAsyncIteration
        self.last = self._make(response)
        return self.last

    async def close(self) -> None:
        """End the call; the service stops generating. Closing twice does nothing."""
        self._closed = True
        responses = self._responses
        if responses is not None:
            responses.cancel()
        self._give_back()

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
                response = await self._responses.read()
            except asyncio.CancelledError:
                if not self._closed:  # else it is our own close, from another task
                    self._core.raise_request_error(self._call)
                    raise
            except grpc.RpcError as error:
                await self._renew(error)
                self._responses = None
            else:
                if self.last is None and self._admission is not None:
                    self._admission.answered()
                return response
        raise StopAsyncIteration

    async def _renew(self, error: grpc.RpcError) -> None:
        """After a failure: get the stream ready to be opened again, or raise what it means."""
        again = False
        try:
            failure = self._core.failed(error, self._call)
            renewal = self._core.renewal(self._call, failure, self._admission)
            again = self.last is None and await self._transport.run(renewal)
            if not again:
                raise failure from error
        finally:
            if not again:
                self._end()

    async def _open(self) -> Any:
        if self._admission is None:
            self._admission = self._core.admission(self._call)
        try:
            timeout = await self._transport.run(self._core.connection(self._call, self._admission))
            open_stream = self._transport.callable(self._call.method)
            responses = open_stream(self._call.request, timeout=timeout, metadata=self._call.metadata)
        except BaseException as error:
            closed = self._closed  # our own close, from another task, while it waited
            self._give_back()
            if closed and isinstance(error, ClientClosedError):
                raise StopAsyncIteration from None
            raise
        return responses

    def _end(self) -> None:
        self._closed = True
        self._give_back()

    def _give_back(self) -> None:
        if self._admission is not None:
            self._admission.give_back()

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
        if self._closed:
            raise StopAsyncIteration
        try:
            response = await self._next()
        except asyncio.CancelledError:
            if self._closed:  # our own close, from another task
                raise StopAsyncIteration from None
            self._core.raise_request_error(self._call)
            raise
        except grpc.RpcError as error:
            self._end()
            raise self._core.failed(error, self._call) from error
        if response is grpc.aio.EOF:
            self._end()
            raise StopAsyncIteration
        self.last = self._make(response)
        return self.last

    async def close(self) -> None:
        """End the call; the service stops generating. Closing twice does nothing."""
        self._closed = True
        if self._responses is not None:
            self._responses.cancel()
        self._give_back()

    async def __aenter__(self) -> AsyncStream[ItemT]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _next(self) -> Any:
        """The next response; a call that a quota refuses is opened again, when there is a slot."""
        while True:
            if self._responses is None:
                self._responses = await self._open()
            try:
                response = await self._responses.read()
            except grpc.RpcError as error:
                if self._closed or self.last is not None or self._admission is None:
                    raise
                if not self._admission.refused(error):
                    raise
                self._responses = None
            else:
                if self.last is None and self._admission is not None:
                    self._admission.answered()
                return response

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
        if self._closed:
            responses.cancel()
        return responses

    def _end(self) -> None:
        self._closed = True
        self._give_back()

    def _give_back(self) -> None:
        if self._admission is not None:
            self._admission.give_back()

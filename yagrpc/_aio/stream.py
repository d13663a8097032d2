"""Streamed answers of the asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc
import grpc.aio

from yagrpc.errors import YagrpcError

if TYPE_CHECKING:
    from yagrpc._aio.transport import AsyncTransport
    from yagrpc._core.client import ClientCore
    from yagrpc._core.flow import Call
    from yagrpc.ids import RequestIds

ItemT = TypeVar("ItemT")


class AsyncStream(Generic[ItemT]):
    """An iterator over the messages of one call; leaving the `async with` block, or `close()`, ends the call.

    Nothing is sent before the first message is asked for; after an error the stream is over, and where a task that
    waited for a message was cancelled. `last` is the message last given, also then: of a streamed completion, all the
    text so far. A stream that is collected gives its place under the quota back.
    """

    def __init__(
        self, core: ClientCore, transport: AsyncTransport, call: Call[Any, Any], make: Callable[[Any], ItemT]
    ) -> None:
        self.last: ItemT | None = None
        self._core = core
        self._transport = transport
        self._call = call
        self._make = make
        self._opening = False
        self._responses: Any = None
        self._closed = False

    def __aiter__(self) -> AsyncIterator[ItemT]:
        return self

    @property
    def ids(self) -> RequestIds:
        """What names the call; the service's part is there with the first message."""
        return self._call.ids

    async def __anext__(self) -> ItemT:
        if self._closed:
            raise StopAsyncIteration
        if self._responses is None:
            if self._opening:
                raise RuntimeError("another task waits for the first message of this stream: it is not sent twice")
            self._opening = True
        try:
            response = await (self._open() if self._responses is None else self._responses.read())
            if response is not grpc.aio.EOF:
                self.last = self._core.made(self._make, response, self._call)
                return self.last
        except asyncio.CancelledError as error:
            if self._closed:  # our own close, from another task
                raise StopAsyncIteration from None
            self._end()  # gRPC has ended it with the task
            self._core.raise_request_error(self._call)
            if isinstance(ended := self._transport.ended(error), grpc.RpcError):
                self._core.raise_broken(ended, self._call)
            raise
        except (grpc.RpcError, YagrpcError) as error:
            if self._closed:
                raise StopAsyncIteration from None
            self._end()
            if isinstance(error, YagrpcError):
                self._core.raise_request_error(self._call)
                raise
            self._core.raise_broken(error, self._call)
        except Exception:
            if self._responses is None:  # it may have been sent, so it is not sent again
                self._end()
            raise
        self._end()
        raise StopAsyncIteration

    def only(self) -> ItemT:
        """The last message of a stream that has been read to its end.

        Raises:
            ResultError: There was none.
        """
        if self.last is None:
            raise self._core.no_answer(self._call)
        return self.last

    async def close(self) -> None:
        """End the call; the service stops generating. Closing twice does nothing."""
        self._end()

    async def __aenter__(self) -> AsyncStream[ItemT]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self) -> Any:
        """Send the request; gives the first message, or gRPC's end mark."""
        self._responses, first = await self._transport.run(self._core.flow(self._call))
        return first

    def _end(self) -> None:
        self._closed = True
        self._call.end()

# Generated from _aio/stream.py by scripts/make_sync.py; do not edit.
"""Streamed answers of the blocking client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from yagrpc._core.failure.status import RpcStatus
from yagrpc._core.flow import END
from yagrpc.pickling import Unpicklable

if TYPE_CHECKING:
    from yagrpc._core.call.call import Call
    from yagrpc._core.client import ClientCore
    from yagrpc._core.reporting.calls import OpenCall
    from yagrpc._sync.transport import Responses, Transport
    from yagrpc.ids import RequestIds

ItemT = TypeVar("ItemT")


class Stream(Unpicklable, Generic[ItemT]):
    """An iterator over the messages of one call; leaving the `with` block, or `close()`, ends the call.

    Nothing is sent before the first message is asked for. After an error the stream is over. `last` is the last
    message, also then: of a streamed completion, all the text so far. A stream that is collected releases its slot
    under the quota.

    The iteration of a completion that has no message at all ends with a `ResultError`.
    With `strict`, the iteration of a completion that the model did not finish ends with an `IncompleteCompletionError`,
    after its last chunk.
    """

    def __init__(
        self, core: ClientCore, transport: Transport, call: Call[Any, Any], make: Callable[[Any], ItemT]
    ) -> None:
        self.last: ItemT | None = None
        self._core = core
        self._transport = transport
        self._call = call
        self._make = make
        self._opening = False
        self._responses: Responses | None = None
        self._reported: OpenCall | None = None
        self._closed = False

    def __iter__(self) -> Iterator[ItemT]:
        return self

    @property
    def ids(self) -> RequestIds:
        """The ids of the call; the service's part is there with the first message."""
        return self._call.ids

    def __next__(self) -> ItemT:
        if self._closed:
            raise StopIteration
        if self._responses is None:
            if self._opening:
                raise RuntimeError("the first message of this stream is being waited for: it is not sent twice")
            self._opening = True
        try:
            message = self._open() if self._responses is None else self._responses.read()
            if not self._closed and not isinstance(message, RpcStatus) and message is not END:
                self.last = self._core.result(self._make, message, self._call)
                if self._reported is not None:
                    self._reported.last = self.last
                return self.last
            if message is END and not self._closed:
                self._core.finish(self._make, self.last, self._call)
        except BaseException as error:
            if self._closed and isinstance(error, Exception):  # by another thread
                raise StopIteration from None
            if isinstance(error, Exception) or self._responses is None or self._responses.ended:
                self._end(error)
            raise
        if self._closed or not isinstance(message, RpcStatus):
            self._end()
            raise StopIteration
        broken = self._core.broken(message, self._call)
        self._end(broken)
        raise broken

    def only(self) -> ItemT:
        """The last message of a stream that has been read to its end.

        Raises:
            ResultError: There was none.
        """
        if self.last is None:
            raise self._core.no_answer(self._call)
        return self.last

    def close(self) -> None:
        """End the call; the service stops generating. Closing twice does nothing."""
        self._end()

    def __enter__(self) -> Stream[ItemT]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Any:
        """Send the request; gives the first message, or `END`."""
        opened = self._transport.run(self._core.send(self._call))
        self._responses, self._reported = opened.responses, self._core.opened(self._call)
        return opened.first

    def _end(self, error: BaseException | None = None) -> None:
        self._closed = True
        self._call.cancel()
        if self._reported is not None:
            self._reported.end(error)

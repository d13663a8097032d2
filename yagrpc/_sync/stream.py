"""Streamed answers of the blocking client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc

from yagrpc._core.flow import END
from yagrpc.errors import YagrpcError

if TYPE_CHECKING:
    from yagrpc._core.client import ClientCore
    from yagrpc._core.flow import Call
    from yagrpc._sync.transport import Transport
    from yagrpc.ids import RequestIds

ItemT = TypeVar("ItemT")


class Stream(Generic[ItemT]):
    """An iterator over the messages of one call; leaving the `with` block, or `close()`, ends the call.

    Nothing is sent before the first message is asked for; after an error the stream is over. `last` is the message last
    given, also then: of a streamed completion, all the text so far. A stream that is collected gives its place under
    the quota back.
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
        self._responses: Any = None
        self._closed = False

    def __iter__(self) -> Iterator[ItemT]:
        return self

    @property
    def ids(self) -> RequestIds:
        """What names the call; the service's part is there with the first message."""
        return self._call.ids

    def __next__(self) -> ItemT:
        if self._closed:
            raise StopIteration
        if self._responses is None:
            if self._opening:
                raise RuntimeError("another thread waits for the first message of this stream: it is not sent twice")
            self._opening = True
        try:
            response = self._open() if self._responses is None else next(self._responses)
            self.last = self._core.made(self._make, response, self._call)
            return self.last
        except StopIteration:
            self.close()
            raise
        except (grpc.RpcError, YagrpcError) as error:
            if self._closed:  # our own close, from another thread
                raise StopIteration from None
            self.close()
            if isinstance(error, YagrpcError):
                self._core.raise_request_error(self._call)
                raise
            self._core.raise_broken(error, self._call)
        except BaseException:
            if self._responses is None:  # it may have been sent, so it is not sent again
                self.close()
            raise

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
        self._closed = True
        self._call.end()

    def __enter__(self) -> Stream[ItemT]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Any:
        """Send the request; gives the first message.

        Raises:
            StopIteration: There is none.
        """
        self._responses, first = self._transport.run(self._core.flow(self._call))
        if first is END:
            raise StopIteration
        return first

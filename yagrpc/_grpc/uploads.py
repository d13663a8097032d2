"""Calls that stream their requests, and what they end with: the service's own status.

Where a request is being written while the service's refusal comes in, gRPC's asyncio API says INTERNAL, "Internal error
from Core", of the write that failed, in place of what the service said, before or just after it.

Rules: nothing but the status is touched; an INTERNAL that stays is passed on as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Final

import grpc
import grpc.aio

__all__ = ["bidirectional", "upload"]

_OF_A_WRITE: Final = "Internal error from Core"
"""The details that gRPC gives to a write that failed."""

_CHECKS: Final = 40
_CHECK_PAUSE: Final = 0.005
"""How often, and after how many seconds each time, the call's own status is checked: gRPC does not signal it."""


def upload(multicallable: Callable[..., Any]) -> Callable[..., Any]:
    """A client-streaming multicallable whose calls end with the service's status."""
    return lambda requests, **settings: _UploadCall(multicallable(requests, **settings))


def bidirectional(multicallable: Callable[..., Any]) -> Callable[..., Any]:
    """The same of a multicallable that streams both ways."""
    return lambda requests, **settings: _BidiCall(multicallable(requests, **settings))


class _UploadCall:
    """A call that streams its requests; awaiting it gives its one response."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._ending = _Ending(call)
        self.cancel: Callable[[], bool] = call.cancel

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer().__await__()

    async def _answer(self) -> Any:
        try:
            return await self._call
        except grpc.aio.AioRpcError as error:
            raise await self._ending.of(error) from None


class _BidiCall:
    """A call that streams both ways; all but `read` is gRPC's."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._ending = _Ending(call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def read(self) -> Any:
        """The next response, or `grpc.aio.EOF`."""
        try:
            return await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise await self._ending.of(error) from None


class _Ending:
    """Remembers the service's status of a call, which a failed write may replace.

    gRPC up to 1.83 calls back for each status in turn, and newer versions for the first one only.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._first: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    def _note(self, call: Any) -> None:
        if self._first is not None and not _of_a_write(self._first):
            return
        # The status is there, so that there is nothing to wait for: one step gives it, before another replaces it.
        status = _status(call)
        try:
            status.send(None)
        except StopIteration as stop:
            self._first = stop.value
        except Exception:  # an interceptor's call may know no status
            return
        else:  # an interceptor's call may still have to wait
            status.close()

    async def of(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """The error that the service sent, in place of one of a write."""
        if not _of_a_write(error):
            return error
        if self._first is not None and not _of_a_write(self._first):
            return self._first
        for _ in range(_CHECKS):
            await asyncio.sleep(_CHECK_PAUSE)
            try:
                later = await _status(self._call)
            except Exception:  # an interceptor's call may know no status
                break
            if not _of_a_write(later):
                return later
        return error


async def _status(call: Any) -> grpc.aio.AioRpcError:
    """How a call ended, as an error."""
    return grpc.aio.AioRpcError(
        await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
    )


def _of_a_write(error: grpc.aio.AioRpcError) -> bool:
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == _OF_A_WRITE

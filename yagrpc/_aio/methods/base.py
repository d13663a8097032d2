"""Calls of each kind, from a method and its request to what the caller gets: the typed methods use them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from yagrpc import _pb, methods
from yagrpc._aio.primitives import run_each
from yagrpc._core.operation.result import result_type_of
from yagrpc.method import BidiStreamMethod, OperationMethod, StreamMethod, UnaryMethod

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc._aio.operation import AsyncOperation
    from yagrpc._aio.poller import AsyncPoller
    from yagrpc._aio.primitives import Pollers
    from yagrpc._aio.stream import AsyncStream
    from yagrpc._aio.transport import AsyncTransport
    from yagrpc._core.call.parameters import CallParameters
    from yagrpc._core.client import ClientCore
    from yagrpc._core.operation.result import ResultType

RequestT = TypeVar("RequestT", bound="Message")
ResponseT = TypeVar("ResponseT", bound="Message")
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

AT_ONCE: Final = 16
"""Calls of one method call that run at once, at most: enough for 100 a second where an answer takes 0.1 s."""


class Calls:
    """A client's calls; the client gives what they go through."""

    _core: ClientCore
    _transport: AsyncTransport
    _pollers: Pollers

    @property
    def _poller(self) -> AsyncPoller:
        """The poller of this process, and of the event loop that runs."""
        return self._pollers.current()

    def _stream(
        self,
        method: StreamMethod[Any, Any] | BidiStreamMethod[Any, Any],
        request: Any,
        calling: CallParameters,
        make: Callable[[Any], ItemT],
    ) -> AsyncStream[ItemT]:
        """The stream of a call that streams its answer."""
        from yagrpc._aio.stream import AsyncStream

        call = self._core.call(method, request, calling)
        return AsyncStream(self._core, self._transport, call, make)

    async def _call(self, method: Any, request: Any, calling: CallParameters) -> Any:
        """The answer of any call that does not stream it: its message, or its operation."""
        if isinstance(method, OperationMethod):
            return await self._submit(method, request, calling, result_type_of(method))
        # The caller gets the message alone, which can't hold the ids of the call.
        call = self._core.call(method, request, calling, wants_ids=False)
        return await self._transport.run(self._core.send(call))

    async def _result(
        self,
        make: Callable[[ResponseT], ResultT],
        method: UnaryMethod[RequestT, ResponseT],
        request: RequestT,
        calling: CallParameters,
    ) -> ResultT:
        """The result of a unary call, with the ids of the call."""
        call = self._core.call(method, request, calling)
        return self._core.result(make, await self._transport.run(self._core.send(call)), call)

    async def _each(
        self,
        make: Callable[[ResponseT], ResultT],
        method: UnaryMethod[RequestT, ResponseT],
        requests: Iterable[RequestT],
        calling: CallParameters,
        name: str | None,
    ) -> list[ResultT]:
        """The results of one unary call for each request, in order; several calls run at once.

        The first failure ends the others; where there is a `name`, its message says which request it is about.
        """
        jobs = self._core.each(make, method, requests, calling, name)
        if name is None:
            return [await self._transport.run(flow) for _, flow in jobs]
        return await run_each(self._transport, jobs, AT_ONCE)

    async def _submit(
        self,
        method: OperationMethod[RequestT, Any, Any],
        request: RequestT,
        calling: CallParameters,
        result_type: ResultType[ResultT],
    ) -> AsyncOperation[ResultT, Any]:
        """The operation that a call of a long-running method starts."""
        from yagrpc._aio.operation import AsyncOperation

        call = self._core.call(method, request, calling)
        proto = await self._transport.run(self._core.send(call))
        return AsyncOperation(self, proto, result_type, self._core.clock(), call.ids)

    async def _cancel(self, operation_id: str, calling: CallParameters) -> _pb.operation_pb2.Operation:
        """The operation after the service was asked to stop it."""
        request = _pb.operation_service_pb2.CancelOperationRequest(operation_id=operation_id)
        call = self._core.call(methods.OperationService.Cancel, request, calling, operation_id=operation_id)
        proto: _pb.operation_pb2.Operation = await self._transport.run(self._core.send_about(call))
        return proto

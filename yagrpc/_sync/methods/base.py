# Generated from _aio/methods/base.py by scripts/make_sync.py; do not edit.
"""Calls of each kind, from a method and its request to what the caller gets: the typed methods use them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from yagrpc import _pb, methods
from yagrpc._core.operation.result import result_type_of
from yagrpc._sync.primitives import run_each
from yagrpc.method import BidiStreamMethod, OperationMethod, StreamMethod, UnaryMethod

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc._core.call.parameters import CallParameters
    from yagrpc._core.client import ClientCore
    from yagrpc._core.operation.result import ResultType
    from yagrpc._sync.operation import Operation
    from yagrpc._sync.poller import Poller
    from yagrpc._sync.primitives import Pollers
    from yagrpc._sync.stream import Stream
    from yagrpc._sync.transport import Transport

RequestT = TypeVar("RequestT", bound="Message")
ResponseT = TypeVar("ResponseT", bound="Message")
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

AT_ONCE: Final = 16
"""Calls of one method call that run at once, at most: enough for 100 a second where an answer takes 0.1 s."""


class Calls:
    """A client's calls; the client gives what they go through."""

    _core: ClientCore
    _transport: Transport
    _pollers: Pollers

    @property
    def _poller(self) -> Poller:
        """The poller of this process."""
        return self._pollers.current()

    def _stream(
        self,
        method: StreamMethod[Any, Any] | BidiStreamMethod[Any, Any],
        request: Any,
        calling: CallParameters,
        make: Callable[[Any], ItemT],
    ) -> Stream[ItemT]:
        """The stream of a call that streams its answer."""
        from yagrpc._sync.stream import Stream

        call = self._core.call(method, request, calling)
        return Stream(self._core, self._transport, call, make)

    def _call(self, method: Any, request: Any, calling: CallParameters) -> Any:
        """The answer of any call that does not stream it: its message, or its operation."""
        if isinstance(method, OperationMethod):
            return self._submit(method, request, calling, result_type_of(method))
        # The caller gets the message alone, which can't hold the ids of the call.
        call = self._core.call(method, request, calling, wants_ids=False)
        return self._transport.run(self._core.send(call))

    def _result(
        self,
        make: Callable[[ResponseT], ResultT],
        method: UnaryMethod[RequestT, ResponseT],
        request: RequestT,
        calling: CallParameters,
    ) -> ResultT:
        """The result of a unary call, with the ids of the call."""
        call = self._core.call(method, request, calling)
        return self._core.result(make, self._transport.run(self._core.send(call)), call)

    def _each(
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
            return [self._transport.run(flow) for _, flow in jobs]
        return run_each(self._transport, jobs, AT_ONCE)

    def _submit(
        self,
        method: OperationMethod[RequestT, Any, Any],
        request: RequestT,
        calling: CallParameters,
        result_type: ResultType[ResultT],
    ) -> Operation[ResultT, Any]:
        """The operation that a call of a long-running method starts."""
        from yagrpc._sync.operation import Operation

        call = self._core.call(method, request, calling)
        proto = self._transport.run(self._core.send(call))
        return Operation(self, proto, result_type, self._core.clock(), call.ids)

    def _cancel(self, operation_id: str, calling: CallParameters) -> _pb.operation_pb2.Operation:
        """The operation after the service was asked to stop it."""
        request = _pb.operation_service_pb2.CancelOperationRequest(operation_id=operation_id)
        call = self._core.call(methods.OperationService.Cancel, request, calling, operation_id=operation_id)
        proto: _pb.operation_pb2.Operation = self._transport.run(self._core.send_about(call))
        return proto

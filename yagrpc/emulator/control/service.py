"""The control service: how a test in another process, in any language, controls an emulator.

Rules: the contract is `control.proto`; here each rpc is a few lines on the state. Its calls do not pass the pipeline:
no fault, credential, quota or counter applies to them.
"""

from __future__ import annotations

import math
from typing import Any

import grpc
import grpc.aio

from yagrpc import _pb
from yagrpc.emulator.clock import END
from yagrpc.emulator.faults.fault import Fault
from yagrpc.emulator.scripting.replies import Script, replies_of
from yagrpc.emulator.state import State

__all__ = ["add_control", "make_control"]

_NANOS = 1_000_000_000


def add_control(server: grpc.aio.Server, state: State) -> None:
    """Register the control service."""
    _pb.control_pb2_grpc.add_ControlServiceServicer_to_server(make_control(state), server)


def make_control(state: State) -> _pb.control_pb2_grpc.ControlServiceServicer:
    """The servicer of an emulator's state."""
    return _Control(state)


class _Control(_pb.control_pb2_grpc.ControlServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def AddFaults(self, request: _pb.control_pb2.AddFaultsRequest, context: Any) -> Any:
        faults = []
        for number, message in enumerate(request.faults):
            try:
                faults.append(Fault.from_message(message))
            except ValueError as error:
                await _refuse(context, f"faults[{number}]: {error}")
        self._state.faults.add(*faults)
        return _pb.control_pb2.AddFaultsResponse()

    async def ClearFaults(self, request: _pb.control_pb2.ClearFaultsRequest, context: Any) -> Any:
        self._state.faults.clear()
        return _pb.control_pb2.ClearFaultsResponse()

    async def SetReplies(self, request: _pb.control_pb2.SetRepliesRequest, context: Any) -> Any:
        try:
            self._state.script = Script(replies_of(request.replies))
        except ValueError as error:
            await _refuse(context, f"replies: {error}")
        return _pb.control_pb2.SetRepliesResponse()

    async def AdvanceTime(self, request: _pb.control_pb2.AdvanceTimeRequest, context: Any) -> Any:
        state, move = self._state, request.WhichOneof("move")
        try:
            if move == "seconds":
                state.advance(request.seconds)
            elif move == "to":
                state.set_time(request.to.seconds + request.to.nanos / _NANOS)
        except ValueError as error:
            await _refuse(context, f"{move}: {error}")
        if request.HasField("frozen"):
            (state.clock.freeze if request.frozen else state.clock.unfreeze)()
        return _pb.control_pb2.AdvanceTimeResponse(now=_timestamp(state.clock.now()), frozen=state.clock.frozen)

    async def ListOperations(self, request: _pb.control_pb2.ListOperationsRequest, context: Any) -> Any:
        deliveries = self._state.received.deliveries
        response = _pb.control_pb2.ListOperationsResponse()
        for record in self._state.operations.records(self._state.clock.now()):
            response.operations.add(
                id=record.id,
                number=record.number,
                created_at=_timestamp(record.created),
                ends_at=None if record.ends > END else _timestamp(record.ends),
                done=record.done,
                deliveries=deliveries[record.id],
                model=record.model,
                words=record.words,
            )
        return response

    async def ReadCounters(self, request: _pb.control_pb2.ReadCountersRequest, context: Any) -> Any:
        received = self._state.received
        calls, refusals, generations = received.calls, received.refusals, received.generations
        busiest = received.most_in_a_second
        response = _pb.control_pb2.ReadCountersResponse()
        for path in sorted(calls):
            response.methods.add(
                path=path,
                calls=calls[path],
                refusals={code.value[0]: count for (of, code), count in refusals.items() if of == path},
                generations=generations[path],
                most_in_a_second=busiest[path],
            )
        return response

    async def Reset(self, request: _pb.control_pb2.ResetRequest, context: Any) -> Any:
        self._state.reset()
        return _pb.control_pb2.ResetResponse()


async def _refuse(context: Any, message: str) -> None:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)


def _timestamp(moment: float) -> _pb.timestamp_pb2.Timestamp:
    seconds = math.floor(moment)
    return _pb.timestamp_pb2.Timestamp(seconds=seconds, nanos=int((moment - seconds) * _NANOS))

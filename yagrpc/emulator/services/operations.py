"""`OperationService`."""

from __future__ import annotations

from typing import Any

import grpc.aio

from yagrpc import _pb
from yagrpc.emulator.received import CURRENT
from yagrpc.emulator.services import checks
from yagrpc.emulator.state import State

__all__ = ["add"]


def add(server: grpc.aio.Server, state: State) -> None:
    """Register the servicer."""
    _pb.operation_service_pb2_grpc.add_OperationServiceServicer_to_server(_Operations(state), server)


class _Operations(_pb.operation_service_pb2_grpc.OperationServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Get(
        self, request: _pb.operation_service_pb2.GetOperationRequest, context: Any
    ) -> _pb.operation_pb2.Operation:
        checks.check_required("operation_id", request.operation_id)
        return self._state.delivered(self._state.operations.get(request.operation_id, CURRENT.get().at))

    async def Cancel(
        self, request: _pb.operation_service_pb2.CancelOperationRequest, context: Any
    ) -> _pb.operation_pb2.Operation:
        checks.check_required("operation_id", request.operation_id)
        return self._state.delivered(self._state.operations.cancel(request.operation_id, CURRENT.get().at))

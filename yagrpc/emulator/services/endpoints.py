"""`ApiEndpointService`: discovery."""

from __future__ import annotations

from typing import Any, Final

import grpc
import grpc.aio

from yagrpc import _pb
from yagrpc.emulator.refusal import Refusal, make_status
from yagrpc.emulator.state import State

__all__ = ["ENDPOINT_IDS", "add"]

ENDPOINT_IDS: Final = (
    "ai-assistants",
    "ai-files",
    "ai-foundation-models",
    "ai-llm",
    "endpoint",
    "fomo-dataset",
    "fomo-tuning",
    "iam",
    "operation",
    "quota-manager",
    "quotamanager",
    "resource-manager",
    "resourcemanager",
    "searchapi",
)
"""Ids in discovery, a part of the service's about ninety; here all of them are this one address."""


def add(server: grpc.aio.Server, state: State) -> None:
    """Register the servicer."""
    _pb.api_endpoint_service_pb2_grpc.add_ApiEndpointServiceServicer_to_server(_ApiEndpoints(state), server)


class _ApiEndpoints(_pb.api_endpoint_service_pb2_grpc.ApiEndpointServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Get(
        self, request: _pb.api_endpoint_service_pb2.GetApiEndpointRequest, context: Any
    ) -> _pb.api_endpoint_pb2.ApiEndpoint:
        if request.api_endpoint_id not in ENDPOINT_IDS:
            message = f"API endpoint '{request.api_endpoint_id}' not found"
            raise Refusal(make_status(grpc.StatusCode.NOT_FOUND, message))
        return self._endpoint(request.api_endpoint_id)

    async def List(
        self, request: _pb.api_endpoint_service_pb2.ListApiEndpointsRequest, context: Any
    ) -> _pb.api_endpoint_service_pb2.ListApiEndpointsResponse:
        # All in one page: the paging fields of the request are deprecated.
        return _pb.api_endpoint_service_pb2.ListApiEndpointsResponse(endpoints=map(self._endpoint, ENDPOINT_IDS))

    def _endpoint(self, endpoint_id: str) -> _pb.api_endpoint_pb2.ApiEndpoint:
        return _pb.api_endpoint_pb2.ApiEndpoint(id=endpoint_id, address=self._state.address)

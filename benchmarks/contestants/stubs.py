"""The protos for contestants without a library: yagrpc's stubs, and nothing else of yagrpc."""

from __future__ import annotations

from typing import Any

from yagrpc_proto.yandex.cloud.ai.foundation_models.v1 import text_common_pb2
from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_generation import (
    text_generation_service_pb2,
    text_generation_service_pb2_grpc,
)
from yagrpc_proto.yandex.cloud.operation import operation_service_pb2, operation_service_pb2_grpc


def request(text: str) -> text_generation_service_pb2.CompletionRequest:
    """The request of a completion."""
    messages = [text_common_pb2.Message(role="user", text=text)]
    return text_generation_service_pb2.CompletionRequest(model_uri="gpt://f/yandexgpt/latest", messages=messages)


def stubs(channel: Any) -> tuple[Any, Any]:
    """The two calls: submit and Get."""
    generation = text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub(channel)
    return generation.Completion, operation_service_pb2_grpc.OperationServiceStub(channel).Get


def get_request(operation_id: str) -> operation_service_pb2.GetOperationRequest:
    """The request that polls an operation."""
    return operation_service_pb2.GetOperationRequest(operation_id=operation_id)


def text_of(operation: Any) -> str:
    """The text of an operation that is done."""
    response = text_generation_service_pb2.CompletionResponse()
    operation.response.Unpack(response)
    text: str = response.alternatives[0].message.text
    return text

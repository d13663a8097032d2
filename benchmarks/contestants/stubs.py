"""The protos that the bare contestants use: yagrpc's stubs, and nothing else of it."""

from __future__ import annotations

from typing import Any

from yagrpc_proto.yandex.cloud.ai.foundation_models.v1 import text_common_pb2
from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_generation import (
    text_generation_service_pb2,
    text_generation_service_pb2_grpc,
)
from yagrpc_proto.yandex.cloud.operation import operation_service_pb2, operation_service_pb2_grpc


def request(text: str) -> text_generation_service_pb2.CompletionRequest:
    """A request to complete."""
    messages = [text_common_pb2.Message(role="user", text=text)]
    return text_generation_service_pb2.CompletionRequest(model_uri="gpt://f/yandexgpt/latest", messages=messages)


def stubs(channel: Any) -> tuple[Any, Any]:
    """The two calls: submit and Get."""
    generation = text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub(channel)
    return generation.Completion, operation_service_pb2_grpc.OperationServiceStub(channel).Get


def look(operation_id: str) -> operation_service_pb2.GetOperationRequest:
    """A request to look."""
    return operation_service_pb2.GetOperationRequest(operation_id=operation_id)


def text_of(operation: Any) -> str:
    """The text of an operation that is done."""
    response = text_generation_service_pb2.CompletionResponse()
    operation.response.Unpack(response)
    text: str = response.alternatives[0].message.text
    return text

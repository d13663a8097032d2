"""What the type checkers make of calls: each `reveal_type` is told with what it has to say."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import grpc
import grpc.aio

import yagrpc
from yagrpc import methods
from yagrpc_proto.google.protobuf.wrappers_pb2 import DoubleValue, Int64Value
from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_common_pb2 import CompletionOptions, FunctionTool
from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2 import (
    BatchCompletionRequest,
    CompletionRequest,
    TokenizeRequest,
    TokenizeResponse,
)
from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2_grpc import (
    TextGenerationServiceStub,
    TokenizerServiceAsyncStub,
    TokenizerServiceStub,
)
from yagrpc_proto.yandex.cloud.operation.operation_pb2 import Operation

if TYPE_CHECKING:
    from typing_extensions import reveal_type

Up = yagrpc.ClientStreamMethod[TokenizeRequest, TokenizeResponse]
Both = yagrpc.BidiStreamMethod[TokenizeRequest, TokenizeResponse]


def blocking(client: yagrpc.Client, up: Up, both: Both, requests: Iterator[TokenizeRequest]) -> None:
    """The blocking client."""
    operation = client.call(methods.TextGenerationAsyncService.Completion, CompletionRequest())
    reveal_type(operation)  # Operation[CompletionResponse, None]
    reveal_type(operation.result(timeout=1))  # CompletionResponse
    reveal_type(operation.metadata)  # None
    batch = client.call(methods.TextGenerationBatchService.Completion, BatchCompletionRequest(), timeout=1)
    reveal_type(batch)  # Operation[BatchCompletionResponse, BatchCompletionMetadata]
    reveal_type(batch.result())  # BatchCompletionResponse
    reveal_type(batch.metadata)  # BatchCompletionMetadata | None
    reveal_type(client.call(methods.TokenizerService.Tokenize, TokenizeRequest()))  # TokenizeResponse
    stream = client.call(methods.TextGenerationService.Completion, CompletionRequest())
    reveal_type(stream)  # Stream[CompletionResponse]
    reveal_type(next(stream))  # CompletionResponse
    reveal_type(client.call(up, requests))  # TokenizeResponse
    reveal_type(client.call(both, [TokenizeRequest()]))  # Stream[TokenizeResponse]
    again = client.operation("id", methods.TextGenerationBatchService.Completion)
    reveal_type(again)  # Operation[BatchCompletionResponse, BatchCompletionMetadata]
    reveal_type(client.operation("id").result())  # Completion
    embeddings = client.text_embedding(["a", "b"], model="text-embeddings-v2-query", dim=256, timeout=1)
    reveal_type(embeddings)  # Embeddings
    reveal_type(embeddings.vectors)  # list[list[float]]
    reveal_type(embeddings[0])  # list[float]
    reveal_type(embeddings[:1])  # list[list[float]]
    reveal_type(embeddings.usage.total_tokens)  # int
    reveal_type(embeddings.ids.request_id)  # str


async def asynchronous(
    client: yagrpc.AsyncClient, up: Up, both: Both, requests: AsyncIterator[TokenizeRequest]
) -> None:
    """The asyncio client."""
    operation = await client.call(methods.TextGenerationAsyncService.Completion, CompletionRequest())
    reveal_type(operation)  # AsyncOperation[CompletionResponse, None]
    reveal_type(await operation)  # CompletionResponse
    batch = await client.call(methods.TextGenerationBatchService.Completion, BatchCompletionRequest(), timeout=1)
    reveal_type(batch)  # AsyncOperation[BatchCompletionResponse, BatchCompletionMetadata]
    reveal_type(await batch.result())  # BatchCompletionResponse
    reveal_type(batch.metadata)  # BatchCompletionMetadata | None
    reveal_type(await client.call(methods.TokenizerService.Tokenize, TokenizeRequest()))  # TokenizeResponse
    stream = client.call(methods.TextGenerationService.Completion, CompletionRequest())
    reveal_type(stream)  # AsyncStream[CompletionResponse]
    reveal_type(await stream.__anext__())  # CompletionResponse
    reveal_type(await client.call(up, requests))  # TokenizeResponse
    reveal_type(client.call(both, requests))  # AsyncStream[TokenizeResponse]
    again = client.operation("id", methods.TextGenerationBatchService.Completion)
    reveal_type(again)  # AsyncOperation[BatchCompletionResponse, BatchCompletionMetadata]
    reveal_type(await client.text_embedding("a"))  # Embeddings


def tables() -> None:
    """What a table says of its methods, and a message of its well-known fields."""
    reveal_type(methods.TextGenerationBatchService.Completion.metadata_type)  # type[BatchCompletionMetadata] | None
    reveal_type(methods.TokenizerService.Tokenize.request_type())  # TokenizeRequest
    options = CompletionOptions(temperature=DoubleValue(value=0.3), max_tokens=Int64Value(value=1))
    reveal_type(options)  # CompletionOptions
    reveal_type(CompletionOptions(temperature={"value": 0.3}).temperature.value)  # float
    reveal_type(FunctionTool(parameters={"type": "object"}))  # FunctionTool
    reveal_type(Operation(created_at={"seconds": 1}).created_at.seconds)  # int


async def stubs(channel: grpc.Channel, aio: grpc.aio.Channel) -> None:
    """The bare stubs, of both of gRPC's APIs."""
    reveal_type(TokenizerServiceStub(channel).Tokenize(TokenizeRequest()))  # TokenizeResponse
    asynchronous: TokenizerServiceAsyncStub = TokenizerServiceStub(aio)
    reveal_type(await asynchronous.Tokenize(TokenizeRequest()))  # TokenizeResponse
    for chunk in TextGenerationServiceStub(channel).Completion(CompletionRequest()):
        reveal_type(chunk)  # CompletionResponse
    async for later in TextGenerationServiceStub(aio).Completion(CompletionRequest()):
        reveal_type(later)  # CompletionResponse

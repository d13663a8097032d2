"""What the type checkers have to refuse: each line that ends in `# refused`, and no other."""

from google.protobuf import any_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2

import yagrpc
from yagrpc import methods
from yagrpc_proto.google.rpc.error_details_pb2 import RetryInfo
from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_common_pb2 import CompletionOptions, FunctionTool
from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2 import (
    BatchCompletionRequest,
    CompletionRequest,
    TokenizeRequest,
    TokenizeResponse,
)
from yagrpc_proto.yandex.cloud.operation.operation_pb2 import Operation

Up = yagrpc.ClientStreamMethod[TokenizeRequest, TokenizeResponse]
Both = yagrpc.BidiStreamMethod[TokenizeRequest, TokenizeResponse]


def blocking(client: yagrpc.Client, up: Up) -> None:
    """The blocking client."""
    client.call(methods.TokenizerService.Tokenize, CompletionRequest())  # refused
    client.call(methods.TokenizerService.Tokenize, [TokenizeRequest()])  # refused
    client.call(methods.TextGenerationAsyncService.Completion, BatchCompletionRequest())  # refused
    client.call(methods.TextGenerationService.Completion, TokenizeRequest())  # refused
    client.call(up, TokenizeRequest())  # refused
    client.call(up, [CompletionRequest()])  # refused
    client.call(methods.TokenizerService.Tokenize, TokenizeRequest(), timeot=1)  # refused
    client.call(methods.TokenizerService.Tokenize, TokenizeRequest()).token  # refused
    client.call(methods.TextGenerationAsyncService.Completion, CompletionRequest()).alternatives  # refused
    client.call(methods.TextGenerationBatchService.Completion, BatchCompletionRequest()).metadata.task_id  # refused
    client.call("TokenizerService/Tokenize", [TokenizeRequest()])  # refused
    client.call(methods.TokenizerService, TokenizeRequest())  # refused
    yagrpc.Client(api_key="secret")  # refused
    client.text_embedding([1, 2])  # refused
    client.text_embedding("a", dim="256")  # refused
    client.text_embedding("a", temperature=0.3)  # refused


async def asynchronous(client: yagrpc.AsyncClient, both: Both) -> None:
    """The asyncio client."""
    await client.call(methods.TokenizerService.Tokenize, CompletionRequest())  # refused
    await client.call(methods.TextGenerationService.Completion, CompletionRequest())  # refused
    client.call(both, TokenizeRequest())  # refused
    client.call(methods.TextGenerationAsyncService.Completion, CompletionRequest()).id  # refused


def well_known() -> None:
    """Objects of google.protobuf's own are of another pool; a number is no wrapper."""
    CompletionOptions(temperature=wrappers_pb2.DoubleValue(value=0.3))  # refused
    CompletionOptions(max_tokens=wrappers_pb2.Int64Value(value=1))  # refused
    CompletionOptions(temperature=0.3)  # refused
    CompletionOptions(temperature={1: 0.3})  # refused
    CompletionOptions().temperature = 0.3  # refused
    CompletionOptions().temperature.CopyFrom(wrappers_pb2.DoubleValue())  # refused
    FunctionTool(parameters=struct_pb2.Struct())  # refused
    Operation(created_at=timestamp_pb2.Timestamp())  # refused
    Operation(metadata=any_pb2.Any())  # refused
    RetryInfo(retry_delay=duration_pb2.Duration())  # refused

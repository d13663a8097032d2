"""What the emulator's tests share: emulators that end with the test, bare stubs on them, requests and refusals.

The stubs are the generated ones on a plain channel: nothing of the client takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import grpc
import pytest
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator import Emulator, EmulatorOptions
from yagrpc.emulator.state import State

MODEL = "gpt://b1gfolder/yandexgpt/latest"

Request: TypeAlias = "_pb.text_generation_service_pb2.CompletionRequest"
Response: TypeAlias = "_pb.text_generation_service_pb2.CompletionResponse"
Operation: TypeAlias = "_pb.operation_pb2.Operation"


class Service:
    """A running emulator, and a stub for each of its services."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.channel = grpc.insecure_channel(emulator.address)
        generation = _pb.text_generation_service_pb2_grpc
        self.text = generation.TextGenerationServiceStub(self.channel)
        self.text_async = generation.TextGenerationAsyncServiceStub(self.channel)
        self.batch = generation.TextGenerationBatchServiceStub(self.channel)
        self.tokenizer = generation.TokenizerServiceStub(self.channel)
        self.embeddings = _pb.embedding_service_pb2_grpc.EmbeddingsServiceStub(self.channel)
        self.classification = _pb.text_classification_service_pb2_grpc.TextClassificationServiceStub(self.channel)
        self.images = _pb.image_generation_service_pb2_grpc.ImageGenerationAsyncServiceStub(self.channel)
        self.operations = _pb.operation_service_pb2_grpc.OperationServiceStub(self.channel)
        self.endpoints = _pb.api_endpoint_service_pb2_grpc.ApiEndpointServiceStub(self.channel)
        self.tokens = _pb.iam_token_service_pb2_grpc.IamTokenServiceStub(self.channel)

    def complete(self, request: Request, **options: Any) -> Response:
        """The one answer to a synchronous request."""
        responses: list[Response] = list(self.text.Completion(request, **options))
        assert len(responses) == 1
        return responses[0]

    def stream(self, request: Request) -> list[Response]:
        """All messages of a streamed answer."""
        request.completion_options.stream = True
        return list(self.text.Completion(request))

    def get(self, operation_id: str, **options: Any) -> Operation:
        """One Get of an operation."""
        wanted = _pb.operation_service_pb2.GetOperationRequest(operation_id=operation_id)
        return self.operations.Get(wanted, **options)

    def cancel(self, operation_id: str) -> Operation:
        """Cancel an operation."""
        return self.operations.Cancel(_pb.operation_service_pb2.CancelOperationRequest(operation_id=operation_id))

    def result(self, operation: Operation) -> Response:
        """What an operation that is done resolves to."""
        assert operation.done
        assert operation.WhichOneof("result") == "response"
        response = _pb.text_generation_service_pb2.CompletionResponse()
        assert operation.response.Unpack(response)
        return response


Emulate: TypeAlias = Callable[..., Service]
Ask: TypeAlias = Callable[..., Request]
Refused: TypeAlias = "Callable[..., Refusal]"


class Refusal:
    """A call that failed: its code, text and details."""

    def __init__(self, error: grpc.RpcError) -> None:
        assert isinstance(error, grpc.Call)
        self.code: grpc.StatusCode = error.code()
        self.message: str = error.details() or ""
        self.initial_metadata: dict[str, str | bytes] = dict(error.initial_metadata() or ())
        trailing = dict(error.trailing_metadata() or ())
        self.status: _pb.status_pb2.Status | None = None
        if "grpc-status-details-bin" in trailing:
            packed = trailing["grpc-status-details-bin"]
            assert isinstance(packed, bytes)
            self.status = _pb.status_pb2.Status.FromString(packed)


@pytest.fixture
def emulate() -> Iterator[Emulate]:
    """Starts emulators with the given options."""
    started: list[Service] = []

    def start(**options: Any) -> Service:
        emulator = Emulator(**options)
        emulator.start()
        started.append(Service(emulator))
        return started[-1]

    yield start
    for service in started:
        service.channel.close()
        service.emulator.stop()


@pytest.fixture
def service(emulate: Emulate) -> Service:
    """An emulator with the default options."""
    return emulate()


@pytest.fixture
def state() -> State:
    """The state of an emulator, without a server."""
    return State(EmulatorOptions(seed=1))


@pytest.fixture(scope="session")
def ask() -> Ask:
    """Builds a request of texts, which are the user's, or of (role, text) pairs."""

    def make(*said: str | tuple[str, str], **fields: Any) -> Request:
        messages = [("user", one) if isinstance(one, str) else one for one in said]
        fields.setdefault("model_uri", MODEL)
        return _pb.text_generation_service_pb2.CompletionRequest(
            messages=[_pb.text_common_pb2.Message(role=role, text=text) for role, text in messages], **fields
        )

    return make


@pytest.fixture(scope="session")
def refused() -> Refused:
    """Sends a call that must fail; a stream is read to its end."""

    def call(method: Callable[..., Any], request: Message | str, **options: Any) -> Refusal:
        with pytest.raises(grpc.RpcError) as caught:
            read(method, request, options)
        return Refusal(caught.value)

    def read(method: Callable[..., Any], request: Message | str, options: dict[str, Any]) -> None:
        answer = method(request, **options)
        if hasattr(answer, "__next__"):
            list(answer)

    return call


@pytest.fixture(scope="session")
def text_of() -> Callable[[Response], str]:
    """The text of a response."""
    return lambda response: response.alternatives[0].message.text

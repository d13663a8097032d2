"""The servicers of text generation's neighbours: embeddings, classification, images.

Rules: as in `services`. Patterns of scripted replies are searched for in the text that is asked about; a reply is a
failure or a whole response of the method's own type, and one of another type is passed over.
"""

from __future__ import annotations

from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.answers import classification, embeddings, images
from yagrpc.emulator.cloud.kinds import IMAGE
from yagrpc.emulator.received import CURRENT
from yagrpc.emulator.refusal import Refusal
from yagrpc.emulator.state import State

__all__ = ["add_neighbours"]

_ResponseT = TypeVar("_ResponseT", bound=Message)


def add_neighbours(server: grpc.aio.Server, state: State) -> None:
    """Register the servicers."""
    classify = _pb.text_classification_service_pb2_grpc
    generate = _pb.image_generation_service_pb2_grpc
    _pb.embedding_service_pb2_grpc.add_EmbeddingsServiceServicer_to_server(_Embeddings(state), server)
    classify.add_TextClassificationServiceServicer_to_server(_Classification(state), server)
    generate.add_ImageGenerationAsyncServiceServicer_to_server(_Images(state), server)


def _scripted(state: State, text: str, response_type: type[_ResponseT]) -> _ResponseT | None:
    """What a script says to a text, a failure being one of the call."""
    found = state.script.find_for(text, response_type)
    if isinstance(found, _pb.status_pb2.Status):
        raise Refusal(found)
    return found


class _Embeddings(_pb.embedding_service_pb2_grpc.EmbeddingsServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def TextEmbedding(
        self, request: _pb.embedding_service_pb2.TextEmbeddingRequest, context: Any
    ) -> _pb.embedding_service_pb2.TextEmbeddingResponse:
        embeddings.check_embedding(request)
        scripted = _scripted(self._state, request.text, _pb.embedding_service_pb2.TextEmbeddingResponse)
        return embeddings.embed(request) if scripted is None else scripted


class _Classification(_pb.text_classification_service_pb2_grpc.TextClassificationServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Classify(
        self, request: _pb.text_classification_service_pb2.TextClassificationRequest, context: Any
    ) -> _pb.text_classification_service_pb2.TextClassificationResponse:
        classification.check_tuned(request)
        response_type = _pb.text_classification_service_pb2.TextClassificationResponse
        scripted = _scripted(self._state, request.text, response_type)
        return classification.classify(request) if scripted is None else scripted

    async def FewShotClassify(
        self, request: _pb.text_classification_service_pb2.FewShotTextClassificationRequest, context: Any
    ) -> _pb.text_classification_service_pb2.FewShotTextClassificationResponse:
        classification.check_few_shot(request)
        response_type = _pb.text_classification_service_pb2.FewShotTextClassificationResponse
        scripted = _scripted(self._state, request.text, response_type)
        return classification.few_shot_classify(request) if scripted is None else scripted


class _Images(_pb.image_generation_service_pb2_grpc.ImageGenerationAsyncServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Generate(
        self, request: _pb.image_generation_service_pb2.ImageGenerationRequest, context: Any
    ) -> _pb.operation_pb2.Operation:
        state = self._state
        images.check_image(request)
        response_type = _pb.image_generation_service_pb2.ImageGenerationResponse
        scripted = state.script.find_for(images.prompt_of(request), response_type)
        if isinstance(scripted, _pb.status_pb2.Status) and scripted.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]:
            raise Refusal(scripted)  # a prompt that may not be drawn is refused at once, not by its operation
        seconds = state.seconds(state.options.duration)
        operation = state.operations.submit(request, scripted, seconds=seconds, now=CURRENT.get().at, kind=IMAGE)
        state.received.generate(paths.IMAGE_GENERATE)
        return state.told(operation)

"""`EmbeddingsService`."""

from __future__ import annotations

from typing import Any, Final

import grpc.aio

from yagrpc import _pb
from yagrpc.emulator.answers.embeddings import count_tokens, embed, model_name
from yagrpc.emulator.refusal import invalid
from yagrpc.emulator.services import checks
from yagrpc.emulator.services.scripted import scripted_response
from yagrpc.emulator.state import State

__all__ = ["add"]

_MAX_TOKENS: Final = 2000
"""Tokens of one text. Source: Yandex Cloud documentation, "Quotas and limits in AI Studio"."""

_MAX_DIMENSION: Final = 2048
"""The largest `dim` of a tuned model; which values the service accepts is not documented."""

_FIXED: Final = ("text-search-doc", "text-search-query")
"""Models whose vectors have one length. Source: documentation, "Text vectorization models"."""

_DIMENSIONS: Final = {"text-embeddings-v2-doc": (256, 768), "text-embeddings-v2-query": (256, 768)}
"""The values of `dim` by model. Source: requests in public code; the service's refusals of others are not known."""


def add(server: grpc.aio.Server, state: State) -> None:
    """Register the servicer."""
    _pb.embedding_service_pb2_grpc.add_EmbeddingsServiceServicer_to_server(_Embeddings(state), server)


class _Embeddings(_pb.embedding_service_pb2_grpc.EmbeddingsServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def TextEmbedding(
        self, request: _pb.embedding_service_pb2.TextEmbeddingRequest, context: Any
    ) -> _pb.embedding_service_pb2.TextEmbeddingResponse:
        _check(request)
        scripted = scripted_response(self._state, request.text, _pb.embedding_service_pb2.TextEmbeddingResponse)
        return embed(request) if scripted is None else scripted


def _check(request: _pb.embedding_service_pb2.TextEmbeddingRequest) -> None:
    """Check the model, the text and the dimension. The scheme of a tuned model is `gpt`, of any other `emb`.

    Raises:
        Refusal: INVALID_ARGUMENT.
    """
    tuned = "@" in request.model_uri and request.model_uri.startswith("gpt:")
    checks.check_model_uri(request.model_uri, "gpt" if tuned else "emb")
    checks.check_text(request.text, "text")
    checks.check_token_count(count_tokens(request.text), _MAX_TOKENS)
    if request.HasField("dim"):
        _check_dimension(request.dim.value, model_name(request.model_uri))


def _check_dimension(dimension: int, model: str) -> None:
    if not 0 < dimension <= _MAX_DIMENSION:
        raise invalid(f"dim must be from 1 to {_MAX_DIMENSION}, got {dimension}")
    if model in _FIXED:
        raise invalid(f"dim is not available for the model {model}")
    if dimension not in _DIMENSIONS.get(model, (dimension,)):
        raise invalid(f"dim must be one of {', '.join(map(str, _DIMENSIONS[model]))}, got {dimension}")

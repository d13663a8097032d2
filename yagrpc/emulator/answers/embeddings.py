"""Vectors of texts: not a model's, but nearer to each other the more words two texts share.

So a search over them finds what it should in a test. Rules: pure; one text has one vector, whatever the model.
"""

from __future__ import annotations

import functools
import math
import random
import zlib
from typing import Final

from yagrpc import _pb
from yagrpc.emulator.answers import tokens
from yagrpc.emulator.answers.completion import MODEL_VERSION
from yagrpc.emulator.refusal import invalid
from yagrpc.emulator.services import checks as validation

__all__ = ["DIMENSION", "LONGEST_DIMENSION", "MAX_TOKENS", "check_embedding", "embed"]

MAX_TOKENS: Final = 2000
"""Tokens of one text. Source: Yandex Cloud documentation, "Quotas and limits in AI Studio"."""

DIMENSION: Final = 256
"""Numbers of a vector where the request does not say. Source: the same page, and recorded answers."""

LONGEST_DIMENSION: Final = 2048
"""The most that `dim` may ask for; which values the service takes is not documented."""

_ENDS: Final = 2
"""Tokens around a text: `hello`, one token, is counted as three. Source: recorded answers."""


def check_embedding(request: _pb.embedding_service_pb2.TextEmbeddingRequest) -> None:
    """Model, text and dimension.

    A tuned model's scheme is `gpt`; others' is `emb`.

    Raises:
        Refusal: INVALID_ARGUMENT.
    """
    tuned = "@" in request.model_uri and request.model_uri.startswith("gpt:")
    validation.check_model_uri(request.model_uri, "gpt" if tuned else "emb")
    validation.check_text(request.text, "text")
    validation.check_token_count(_count(request.text), MAX_TOKENS)
    if request.HasField("dim") and not 0 < request.dim.value <= LONGEST_DIMENSION:
        raise invalid(f"dim must be from 1 to {LONGEST_DIMENSION}, got {request.dim.value}")


def embed(
    request: _pb.embedding_service_pb2.TextEmbeddingRequest,
) -> _pb.embedding_service_pb2.TextEmbeddingResponse:
    """The vector of a valid request's text, of length 1."""
    dimension = request.dim.value if request.HasField("dim") else DIMENSION
    total = [0.0] * dimension
    for piece in tokens.pieces(request.text):
        for index, number in enumerate(_vector(piece.strip().casefold(), dimension)):
            total[index] += number
    length = math.hypot(*total) or 1.0
    return _pb.embedding_service_pb2.TextEmbeddingResponse(
        embedding=[number / length for number in total],
        num_tokens=_count(request.text),
        model_version=MODEL_VERSION,
    )


def _count(text: str) -> int:
    return len(tokens.pieces(text)) + _ENDS


@functools.lru_cache(maxsize=512)
def _vector(piece: str, dimension: int) -> tuple[float, ...]:
    """A token's direction: drawn once for each, so that two tokens' are as good as independent."""
    drawn = random.Random(zlib.crc32(piece.encode()))
    return tuple(drawn.uniform(-1, 1) for _ in range(dimension))

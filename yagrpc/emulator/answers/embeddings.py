"""Vectors of texts. No model computes them; the more words two texts share, the nearer their vectors are.

So that a search over the vectors finds in a test what it should find. Rules: pure; models of one generation, which are
named alike but for `-doc` and `-query`, give a text one vector, so that they compare; others give unlike ones, as the
service's do. A shorter vector has the direction of the beginning of a longer one.
"""

from __future__ import annotations

import functools
import math
import random
import zlib
from typing import Final

from yagrpc import _pb
from yagrpc.emulator.answers import tokens
from yagrpc.emulator.replies import MODEL_VERSION

__all__ = ["DIMENSION", "count_tokens", "embed", "model_name"]

DIMENSION: Final = 256
"""Length of a vector if the request does not say it. Source: the same page, and recorded answers."""

_ENDS: Final = 2
"""Tokens around a text: `hello`, one token, is counted as three. Source: recorded answers."""


def embed(
    request: _pb.embedding_service_pb2.TextEmbeddingRequest,
) -> _pb.embedding_service_pb2.TextEmbeddingResponse:
    """The vector of a valid request's text, of length 1."""
    dimension = request.dim.value if request.HasField("dim") else DIMENSION
    total = [0.0] * dimension
    generation = model_name(request.model_uri).removesuffix("-doc").removesuffix("-query")
    for piece in tokens.pieces(request.text):
        for index, number in enumerate(_vector(generation, piece.strip().casefold(), dimension)):
            total[index] += number
    length = math.hypot(*total) or 1.0
    return _pb.embedding_service_pb2.TextEmbeddingResponse(
        embedding=[number / length for number in total],
        num_tokens=count_tokens(request.text),
        model_version=MODEL_VERSION,
    )


def count_tokens(text: str) -> int:
    """How many tokens a text is billed as."""
    return len(tokens.pieces(text)) + _ENDS


def model_name(model_uri: str) -> str:
    """The name of the model within its URI."""
    return model_uri.partition("://")[2].split("/")[1]


@functools.lru_cache(maxsize=512)
def _vector(generation: str, piece: str, dimension: int) -> tuple[float, ...]:
    """The direction of a token: drawn once for each token, so that two directions are nearly independent."""
    drawn = random.Random(zlib.crc32(f"{generation} {piece}".encode()))
    return tuple(drawn.uniform(-1, 1) for _ in range(dimension))

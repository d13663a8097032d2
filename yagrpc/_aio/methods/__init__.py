"""The rpcs that have their own Python method, one module a service."""

from __future__ import annotations

from yagrpc._aio.methods.embeddings import EmbeddingMethods
from yagrpc._aio.methods.text import TextMethods
from yagrpc._aio.methods.tokenizer import TokenizerMethods


class Methods(TextMethods, TokenizerMethods, EmbeddingMethods):
    """All of them, for the client."""

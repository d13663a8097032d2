# Generated from _aio/methods/__init__.py by scripts/make_sync.py; do not edit.
"""The rpcs that have their own Python method, one module a service."""

from __future__ import annotations

from yagrpc._sync.methods.embeddings import EmbeddingMethods
from yagrpc._sync.methods.text import TextMethods
from yagrpc._sync.methods.tokenizer import TokenizerMethods


class Methods(TextMethods, TokenizerMethods, EmbeddingMethods):
    """All of them, for the client."""

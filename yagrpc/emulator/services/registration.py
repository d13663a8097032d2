"""All servicers, registered.

What is not here, such as `TextGenerationBatchService`, is answered with UNIMPLEMENTED.
"""

from __future__ import annotations

import grpc.aio

from yagrpc.emulator.services import (
    classification,
    embeddings,
    endpoints,
    iam_tokens,
    images,
    operations,
    text_generation,
    tokenizer,
)
from yagrpc.emulator.state import State

__all__ = ["add_services"]


def add_services(server: grpc.aio.Server, state: State) -> None:
    """Register all servicers with a server."""
    for service in (
        text_generation,
        tokenizer,
        operations,
        endpoints,
        iam_tokens,
        embeddings,
        classification,
        images,
    ):
        service.add(server, state)

"""`TokenizerService`."""

from __future__ import annotations

from typing import Any

import grpc.aio

from yagrpc import _pb
from yagrpc.emulator.answers import tokens
from yagrpc.emulator.replies import MODEL_VERSION
from yagrpc.emulator.services import checks
from yagrpc.emulator.state import State

__all__ = ["add"]


def add(server: grpc.aio.Server, state: State) -> None:
    """Register the servicer."""
    _pb.text_generation_service_pb2_grpc.add_TokenizerServiceServicer_to_server(_Tokenizer(), server)


class _Tokenizer(_pb.text_generation_service_pb2_grpc.TokenizerServiceServicer):
    async def Tokenize(
        self, request: _pb.text_generation_service_pb2.TokenizeRequest, context: Any
    ) -> _pb.text_generation_service_pb2.TokenizeResponse:
        checks.check_tokenize(request)
        return _pb.text_generation_service_pb2.TokenizeResponse(
            tokens=map(tokens.to_token, tokens.text_pieces(request.text)), model_version=MODEL_VERSION
        )

    async def TokenizeCompletion(
        self, request: _pb.text_generation_service_pb2.CompletionRequest, context: Any
    ) -> _pb.text_generation_service_pb2.TokenizeResponse:
        # Not the limit of a completion: callers ask this to learn whether a request is below it.
        checks.check_completion(request, max_input_tokens=checks.MAX_TOKENIZED)
        return _pb.text_generation_service_pb2.TokenizeResponse(
            tokens=map(tokens.to_token, tokens.prompt(request)), model_version=MODEL_VERSION
        )

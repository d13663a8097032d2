"""The servicers: each rpc in a few lines, from the parts that decide.

`TextGenerationBatchService` and everything else that is not here answers UNIMPLEMENTED.

Rules: a servicer validates, asks, and answers; it keeps nothing. Method names are the protos'.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import grpc.aio

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.answers import tokens
from yagrpc.emulator.answers.completion import MODEL_VERSION, Streamed, compose, partials
from yagrpc.emulator.cloud.auth import CREATED_BY
from yagrpc.emulator.received import CURRENT
from yagrpc.emulator.refusal import Refusal, invalid, make_status
from yagrpc.emulator.services import checks as validation
from yagrpc.emulator.state import State

__all__ = ["ENDPOINT_IDS", "add_services"]

ENDPOINT_IDS: Final = (
    "ai-assistants",
    "ai-files",
    "ai-foundation-models",
    "ai-llm",
    "endpoint",
    "fomo-dataset",
    "fomo-tuning",
    "iam",
    "operation",
    "quota-manager",
    "quotamanager",
    "resource-manager",
    "resourcemanager",
    "searchapi",
)
"""Ids in discovery, a part of the service's about ninety; here all of them are this one address."""


def add_services(server: grpc.aio.Server, state: State) -> None:
    """Register all servicers."""
    generation = _pb.text_generation_service_pb2_grpc
    generation.add_TextGenerationServiceServicer_to_server(_TextGeneration(state), server)
    generation.add_TextGenerationAsyncServiceServicer_to_server(_TextGenerationAsync(state), server)
    generation.add_TokenizerServiceServicer_to_server(_Tokenizer(), server)
    _pb.operation_service_pb2_grpc.add_OperationServiceServicer_to_server(_Operations(state), server)
    _pb.api_endpoint_service_pb2_grpc.add_ApiEndpointServiceServicer_to_server(_Endpoints(state), server)
    _pb.iam_token_service_pb2_grpc.add_IamTokenServiceServicer_to_server(_IamTokens(state), server)


class _TextGeneration(_pb.text_generation_service_pb2_grpc.TextGenerationServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Completion(
        self, request: _pb.text_generation_service_pb2.CompletionRequest, context: Any
    ) -> AsyncIterator[_pb.text_generation_service_pb2.CompletionResponse]:
        state = self._state
        validation.check_completion(request, max_input_tokens=validation.MAX_INPUT_TOKENS)
        scripted = state.script.find(request)
        answer = compose(request, scripted)
        begun, seconds = CURRENT.get().at, state.seconds(state.options.completion_duration)
        state.received.generate(paths.COMPLETION)
        if isinstance(answer, _pb.status_pb2.Status):
            await state.clock.wait_until(begun + seconds)
            raise Refusal(answer)
        messages = [*partials(answer, scripted), answer] if request.completion_options.stream else [answer]
        for number, message in enumerate(messages, start=1):
            await state.clock.wait_until(begun + seconds * number / len(messages))
            yield message


class _TextGenerationAsync(_pb.text_generation_service_pb2_grpc.TextGenerationAsyncServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Completion(
        self, request: _pb.text_generation_service_pb2.CompletionRequest, context: Any
    ) -> _pb.operation_pb2.Operation:
        state = self._state
        validation.check_no_stream(request)
        validation.check_completion(request, max_input_tokens=validation.MAX_INPUT_TOKENS_ASYNC)
        scripted = state.script.find(request)
        if isinstance(scripted, Streamed):
            scripted = scripted.texts[-1]
        seconds = state.seconds(state.options.duration)
        operation = state.operations.submit(request, scripted, seconds=seconds, now=CURRENT.get().at)
        state.received.generate(paths.COMPLETION_ASYNC)
        return state.told(operation)


class _Tokenizer(_pb.text_generation_service_pb2_grpc.TokenizerServiceServicer):
    async def Tokenize(
        self, request: _pb.text_generation_service_pb2.TokenizeRequest, context: Any
    ) -> _pb.text_generation_service_pb2.TokenizeResponse:
        validation.check_tokenize(request)
        return _pb.text_generation_service_pb2.TokenizeResponse(
            tokens=map(tokens.to_token, tokens.text_pieces(request.text)), model_version=MODEL_VERSION
        )

    async def TokenizeCompletion(
        self, request: _pb.text_generation_service_pb2.CompletionRequest, context: Any
    ) -> _pb.text_generation_service_pb2.TokenizeResponse:
        # No cap: it is what one asks to learn whether a request is under the cap.
        validation.check_completion(request, max_input_tokens=None)
        return _pb.text_generation_service_pb2.TokenizeResponse(
            tokens=map(tokens.to_token, tokens.prompt(request)), model_version=MODEL_VERSION
        )


class _Operations(_pb.operation_service_pb2_grpc.OperationServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Get(
        self, request: _pb.operation_service_pb2.GetOperationRequest, context: Any
    ) -> _pb.operation_pb2.Operation:
        validation.check_required("operation_id", request.operation_id)
        return self._state.told(self._state.operations.get(request.operation_id, CURRENT.get().at))

    async def Cancel(
        self, request: _pb.operation_service_pb2.CancelOperationRequest, context: Any
    ) -> _pb.operation_pb2.Operation:
        validation.check_required("operation_id", request.operation_id)
        return self._state.told(self._state.operations.cancel(request.operation_id, CURRENT.get().at))


class _Endpoints(_pb.api_endpoint_service_pb2_grpc.ApiEndpointServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Get(
        self, request: _pb.api_endpoint_service_pb2.GetApiEndpointRequest, context: Any
    ) -> _pb.api_endpoint_pb2.ApiEndpoint:
        if request.api_endpoint_id not in ENDPOINT_IDS:
            message = f"API endpoint '{request.api_endpoint_id}' not found"
            raise Refusal(make_status(grpc.StatusCode.NOT_FOUND, message))
        return self._endpoint(request.api_endpoint_id)

    async def List(
        self, request: _pb.api_endpoint_service_pb2.ListApiEndpointsRequest, context: Any
    ) -> _pb.api_endpoint_service_pb2.ListApiEndpointsResponse:
        # All in one page: the paging fields of the request are deprecated.
        return _pb.api_endpoint_service_pb2.ListApiEndpointsResponse(endpoints=map(self._endpoint, ENDPOINT_IDS))

    def _endpoint(self, endpoint_id: str) -> _pb.api_endpoint_pb2.ApiEndpoint:
        return _pb.api_endpoint_pb2.ApiEndpoint(id=endpoint_id, address=self._state.address)


class _IamTokens(_pb.iam_token_service_pb2_grpc.IamTokenServiceServicer):
    """Limits of length are the protos'. Whether an OAuth token or JWT is genuine is not looked at."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def Create(
        self, request: _pb.iam_token_service_pb2.CreateIamTokenRequest, context: Any
    ) -> _pb.iam_token_service_pb2.CreateIamTokenResponse:
        identity = request.WhichOneof("identity")
        if identity is None:
            raise invalid("identity: exactly one of yandex_passport_oauth_token, jwt is required")
        if identity == "jwt":
            validation.check_required("jwt", request.jwt, 8000)
        else:
            validation.check_required(identity, request.yandex_passport_oauth_token, 4000)
        return self._issue(CREATED_BY)

    async def CreateForServiceAccount(
        self, request: _pb.iam_token_service_pb2.CreateIamTokenForServiceAccountRequest, context: Any
    ) -> _pb.iam_token_service_pb2.CreateIamTokenResponse:
        validation.check_required("service_account_id", request.service_account_id, 50)
        return self._issue(request.service_account_id)

    async def Revoke(
        self, request: _pb.iam_token_service_pb2.RevokeIamTokenRequest, context: Any
    ) -> _pb.iam_token_service_pb2.RevokeIamTokenResponse:
        validation.check_required("iam_token", request.iam_token, 4096)
        subject = self._state.guard.revoke(request.iam_token)
        return _pb.iam_token_service_pb2.RevokeIamTokenResponse(subject_id=subject)

    def _issue(self, subject: str) -> _pb.iam_token_service_pb2.CreateIamTokenResponse:
        token, expires = self._state.guard.issue(subject, CURRENT.get().at)
        return _pb.iam_token_service_pb2.CreateIamTokenResponse(
            iam_token=token, expires_at=_pb.timestamp_pb2.Timestamp(seconds=int(expires))
        )

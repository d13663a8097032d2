"""`TextGenerationService` and `TextGenerationAsyncService`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.answers.completion import compose, partials
from yagrpc.emulator.received import CURRENT
from yagrpc.emulator.refusal import Refusal
from yagrpc.emulator.replies import Streamed
from yagrpc.emulator.services import checks
from yagrpc.emulator.state import State

__all__ = ["add"]


def add(server: grpc.aio.Server, state: State) -> None:
    """Register the servicers."""
    stubs = _pb.text_generation_service_pb2_grpc
    stubs.add_TextGenerationServiceServicer_to_server(_TextGeneration(state), server)
    stubs.add_TextGenerationAsyncServiceServicer_to_server(_TextGenerationAsync(state), server)


class _TextGeneration(_pb.text_generation_service_pb2_grpc.TextGenerationServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Completion(
        self, request: _pb.text_generation_service_pb2.CompletionRequest, context: Any
    ) -> AsyncIterator[_pb.text_generation_service_pb2.CompletionResponse]:
        state = self._state
        checks.check_completion(request, max_input_tokens=checks.MAX_INPUT_TOKENS)
        scripted = await state.script.find(request)
        answer = compose(request, scripted)
        arrived, seconds = CURRENT.get().at, state.seconds(state.options.completion_duration)
        state.received.generate(paths.COMPLETION)
        if isinstance(answer, _pb.status_pb2.Status):
            await state.clock.wait_until(arrived + seconds)
            raise Refusal(answer)
        messages = [*partials(answer, scripted), answer] if request.completion_options.stream else [answer]
        for number, message in enumerate(messages, start=1):
            await state.clock.wait_until(arrived + seconds * number / len(messages))
            yield message


class _TextGenerationAsync(_pb.text_generation_service_pb2_grpc.TextGenerationAsyncServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Completion(
        self, request: _pb.text_generation_service_pb2.CompletionRequest, context: Any
    ) -> _pb.operation_pb2.Operation:
        state = self._state
        checks.check_no_stream(request)
        checks.check_completion(request, max_input_tokens=checks.MAX_INPUT_TOKENS_ASYNC)
        scripted = await state.script.find(request)
        if isinstance(scripted, Streamed):
            scripted = scripted.texts[-1]
        seconds = state.seconds(state.options.duration)
        operation = state.operations.submit(request, scripted, seconds=seconds, now=CURRENT.get().at)
        state.received.generate(paths.COMPLETION_ASYNC)
        return state.delivered(operation)

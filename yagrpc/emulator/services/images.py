"""`ImageGenerationAsyncService`."""

from __future__ import annotations

from typing import Any, Final

import grpc
import grpc.aio

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.answers.images import prompt_of
from yagrpc.emulator.cloud.kinds import IMAGE
from yagrpc.emulator.received import CURRENT
from yagrpc.emulator.refusal import Refusal, invalid
from yagrpc.emulator.services import checks
from yagrpc.emulator.state import State

__all__ = ["add"]

_MAX_PROMPT_LENGTH: Final = 500
"""Characters of all parts together. Source: Yandex Cloud documentation, "Quotas and limits in AI Studio"."""


def add(server: grpc.aio.Server, state: State) -> None:
    """Register the servicer."""
    stubs = _pb.image_generation_service_pb2_grpc
    stubs.add_ImageGenerationAsyncServiceServicer_to_server(_ImageGenerationAsync(state), server)


class _ImageGenerationAsync(_pb.image_generation_service_pb2_grpc.ImageGenerationAsyncServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Generate(
        self, request: _pb.image_generation_service_pb2.ImageGenerationRequest, context: Any
    ) -> _pb.operation_pb2.Operation:
        state = self._state
        _check(request)
        response_type = _pb.image_generation_service_pb2.ImageGenerationResponse
        scripted = state.script.find_for(prompt_of(request), response_type)
        if isinstance(scripted, _pb.status_pb2.Status) and scripted.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]:
            raise Refusal(scripted)  # a prompt that is not allowed is refused at once, not by its operation
        seconds = state.seconds(state.options.duration)
        operation = state.operations.submit(request, scripted, seconds=seconds, now=CURRENT.get().at, kind=IMAGE)
        state.received.generate(paths.IMAGE_GENERATE)
        return state.delivered(operation)


def _check(request: _pb.image_generation_service_pb2.ImageGenerationRequest) -> None:
    """Check model, prompt, format, seed and shape. Field names are those of the protos; the texts are the emulator's.

    Raises:
        Refusal: INVALID_ARGUMENT.
    """
    checks.check_model_uri(request.model_uri, "art")
    if not request.messages:
        raise invalid("messages: at least one message is required")
    for index, message in enumerate(request.messages):
        checks.check_required(f"messages[{index}].text", message.text)
    length = sum(len(message.text) for message in request.messages)
    if length > _MAX_PROMPT_LENGTH:
        raise invalid(f"messages: text length is {length}, which is outside the range (0, {_MAX_PROMPT_LENGTH}]")
    options = request.generation_options
    if options.mime_type not in ("", "image/jpeg"):
        raise invalid(f"generation_options.mime_type must be image/jpeg, got '{options.mime_type}'")
    if options.seed < 0:
        raise invalid(f"generation_options.seed must be 0 or greater, got {options.seed}")
    width, height = options.aspect_ratio.width_ratio, options.aspect_ratio.height_ratio
    # The official SDK sends 0:0 if its user gives none.
    if (width, height) != (0, 0) and min(width, height) <= 0:
        raise invalid(f"generation_options.aspect_ratio must have both ratios greater than 0, got {width}:{height}")

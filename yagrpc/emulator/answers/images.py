"""Images: small real JPEG files, a pattern of greys that the request and its seed decide, with the request as comment.

So an image that reaches the wrong caller shows. Rules: pure; one request has one image, as one seed has in the
service (where a request without a seed has another one each time).
"""

from __future__ import annotations

import math
import random
from typing import Final

from yagrpc import _pb
from yagrpc.emulator.answers.jpeg import BLOCK, encode
from yagrpc.emulator.refusal import invalid
from yagrpc.emulator.services import checks as validation

__all__ = ["MAX_PROMPT_LENGTH", "check_image", "draw_image", "prompt_of"]

MAX_PROMPT_LENGTH: Final = 500
"""Characters of all parts together. Source: Yandex Cloud documentation, "Quotas and limits in AI Studio"."""

_SIDE: Final = 1024
"""Pixels of a square's side. Source: Yandex Cloud documentation, "Image generation" (about 1024 x 1024)."""

_LONGEST: Final = 4
"""The most that one side is longer than the other, whatever ratio is asked for; the service's bound is not known."""

_TILES: Final = 8
"""Tiles of one grey along each side."""


def check_image(request: _pb.image_generation_service_pb2.ImageGenerationRequest) -> None:
    """Model, prompt, format, seed and shape; the field names are the protos', the messages this emulator's.

    Raises:
        Refusal: INVALID_ARGUMENT.
    """
    validation.check_model_uri(request.model_uri, "art")
    if not request.messages:
        raise invalid("messages: at least one message is required")
    for index, message in enumerate(request.messages):
        validation.check_required(f"messages[{index}].text", message.text)
    length = sum(len(message.text) for message in request.messages)
    if length > MAX_PROMPT_LENGTH:
        raise invalid(f"messages: text length is {length}, which is outside the range (0, {MAX_PROMPT_LENGTH}]")
    options = request.generation_options
    if options.mime_type not in ("", "image/jpeg"):
        raise invalid(f"generation_options.mime_type must be image/jpeg, got '{options.mime_type}'")
    if options.seed < 0:
        raise invalid(f"generation_options.seed must be 0 or greater, got {options.seed}")
    width, height = options.aspect_ratio.width_ratio, options.aspect_ratio.height_ratio
    # The official SDK sends 0:0 where its user gives none.
    if (width, height) != (0, 0) and min(width, height) <= 0:
        raise invalid(f"generation_options.aspect_ratio must have both ratios greater than 0, got {width}:{height}")


def prompt_of(request: _pb.image_generation_service_pb2.ImageGenerationRequest) -> str:
    """The whole prompt: its parts, a line each."""
    return "\n".join(message.text for message in request.messages)


def draw_image(
    request: _pb.image_generation_service_pb2.ImageGenerationRequest,
) -> _pb.image_generation_service_pb2.ImageGenerationResponse:
    """The image of a valid request; `model_version` is empty, as recorded."""
    greys = random.Random(request.SerializeToString(deterministic=True))
    tiles = [[greys.randrange(32, 224) for _ in range(_TILES)] for _ in range(_TILES)]
    width, height = _size(request.generation_options)
    image = encode(
        [[tiles[y * _TILES // height][x * _TILES // width] for x in range(width)] for y in range(height)],
        prompt_of(request),
    )
    return _pb.image_generation_service_pb2.ImageGenerationResponse(image=image)


def _size(options: _pb.image_generation_pb2.ImageGenerationOptions) -> tuple[int, int]:
    """Width and height in blocks: any ratio has about the pixels of the square."""
    ratio = 1.0
    if options.aspect_ratio.height_ratio:
        ratio = options.aspect_ratio.width_ratio / options.aspect_ratio.height_ratio
    stretch = math.sqrt(min(max(ratio, 1 / _LONGEST), _LONGEST))
    return round(_SIDE * stretch / BLOCK), round(_SIDE / stretch / BLOCK)

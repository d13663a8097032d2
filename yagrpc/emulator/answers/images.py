"""Images: small real JPEG files, a pattern of greys that the request and its seed decide, with the prompt as comment.

So that an image that reaches the wrong caller is noticed. Rules: pure; equal requests have equal images, also without
a seed (in the service a request without a seed has a new image each time).
"""

from __future__ import annotations

import math
import random
from typing import Final

from yagrpc import _pb
from yagrpc.emulator.answers.jpeg import BLOCK, encode

__all__ = ["draw_image", "prompt_of"]

_SIDE: Final = 1024
"""Pixels of a square's side. Source: Yandex Cloud documentation, "Image generation" (about 1024 x 1024)."""

_LONGEST: Final = 4
"""The largest ratio of the sides, whatever the request says; the service's bound is not known."""

_TILES: Final = 8
"""Tiles of one grey along each side."""


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

"""The kinds of operations: how the operation of an image differs from the operation of a text, as the service shows it.

Rules: the id of an operation says its kind, so that the kind is not stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator.answers.completion import compose
from yagrpc.emulator.answers.images import draw_image

__all__ = ["IMAGE", "TEXT", "Kind", "kind_of"]


class Kind(NamedTuple):
    """What is known of a kind. Source of all values: recorded answers; prefixes are not documented."""

    prefix: str
    """The beginning of its ids, which have 20 characters."""

    description: str
    """`Operation.description`."""

    dated: bool
    """Whether `created_at`, `created_by` and `modified_at` are filled."""

    request_type: Callable[[], Message]
    """The class of the request."""

    compose: Callable[[Any, Any], Message]
    """The answer to a request and its scripted reply: a response, or a `google.rpc.Status`."""


def _draw(request: _pb.image_generation_service_pb2.ImageGenerationRequest, scripted: Message | None) -> Message:
    return draw_image(request) if scripted is None else scripted


TEXT: Final = Kind("d7q", "Async GPT Completion", True, _pb.text_generation_service_pb2.CompletionRequest, compose)
IMAGE: Final = Kind("fbv", "", False, _pb.image_generation_service_pb2.ImageGenerationRequest, _draw)


def kind_of(operation_id: str) -> Kind:
    """The kind of the operation of that id."""
    return IMAGE if operation_id.startswith(IMAGE.prefix) else TEXT

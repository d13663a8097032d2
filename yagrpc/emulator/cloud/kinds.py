"""The kinds of operations: what tells an image's operation from a text's, in what the service shows of it.

Rules: an operation's id says its kind, so that nothing else needs to be kept of it.
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
    """What is known of one kind. Source of all figures and words: recorded answers; prefixes are not documented."""

    prefix: str
    """What ids begin with; 20 characters in all."""

    description: str
    """`Operation.description`."""

    dated: bool
    """Whether `created_at`, `created_by` and `modified_at` are filled."""

    request_type: Callable[[], Message]
    """The class of the request."""

    compose: Callable[[Any, Any], Message]
    """The answer to a request and what a script says to it: a response, or a `google.rpc.Status`."""


def _draw(request: _pb.image_generation_service_pb2.ImageGenerationRequest, scripted: Message | None) -> Message:
    return draw_image(request) if scripted is None else scripted


TEXT: Final = Kind("d7q", "Async GPT Completion", True, _pb.text_generation_service_pb2.CompletionRequest, compose)
IMAGE: Final = Kind("fbv", "", False, _pb.image_generation_service_pb2.ImageGenerationRequest, _draw)


def kind_of(operation_id: str) -> Kind:
    """The kind of the operation of that id."""
    return IMAGE if operation_id.startswith(IMAGE.prefix) else TEXT

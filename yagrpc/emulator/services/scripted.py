"""Scripted replies of the services whose answer is one response: embeddings, classification."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator.refusal import Refusal
from yagrpc.emulator.state import State

__all__ = ["scripted_response"]

_ResponseT = TypeVar("_ResponseT", bound=Message)


def scripted_response(state: State, text: str, response_type: type[_ResponseT]) -> _ResponseT | None:
    """The scripted response to a text, or `None`. Replies of other types do not match.

    Raises:
        Refusal: The scripted reply is a failure.
    """
    found = state.script.find_for(text, response_type)
    if isinstance(found, _pb.status_pb2.Status):
        raise Refusal(found)
    return found

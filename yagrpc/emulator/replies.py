"""Replies that a user scripts: the types, without any rule of when a reply is used.

Rules: plain values. `scripting.replies` finds the reply to a request; `answers.completion` turns it into an answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import grpc
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator.refusal import make_status

__all__ = ["MODEL_VERSION", "Failure", "Outcome", "Replies", "Reply", "ScriptedReply", "Streamed"]

MODEL_VERSION: Final = "yagrpc-emulator"
"""`model_version` of every answer; the service gives a date such as `09.02.2025`."""

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


@dataclasses.dataclass(frozen=True)
class Failure:
    """A scripted failure: `Operation.error` in asynchronous mode, the status of the call in synchronous mode.

    Raises:
        TypeError: The code is no `grpc.StatusCode`.
        ValueError: The code is OK.
    """

    code: grpc.StatusCode
    """Any code but OK."""
    message: str = ""
    """The text of the status."""
    details: tuple[Message, ...] = ()
    """Messages that go into the status's details."""

    def __post_init__(self) -> None:
        if not isinstance(self.code, grpc.StatusCode):
            raise TypeError(f"code is {self.code!r}: it takes a grpc.StatusCode, such as grpc.StatusCode.UNAVAILABLE")
        if self.code is grpc.StatusCode.OK:
            raise ValueError("a failure has a code other than OK")

    @property
    def status(self) -> _pb.status_pb2.Status:
        """The failure as a `google.rpc.Status`."""
        return make_status(self.code, self.message, *self.details)

    @classmethod
    def from_status(cls, status: _pb.status_pb2.Status) -> Failure:
        """The failure that a `google.rpc.Status` describes.

        Raises:
            ValueError: The code is OK or unknown to gRPC, or the type of a detail is unknown here.
        """
        if status.code not in _CODES:
            raise ValueError(f"unknown status code {status.code}")
        details = []
        for packed in status.details:
            message_type = _pb.find_message(packed.TypeName())
            if message_type is None:
                raise ValueError(f"unknown message type {packed.TypeName()!r}")
            details.append(message_type.FromString(packed.value))
        return cls(_CODES[status.code], status.message, tuple(details))


class Streamed:
    """A scripted text that is sent in given messages: `Streamed("Helo", "Hello wor", "Hello, world")`.

    Each text is the whole text so far. A text that does not begin with the text before it revises the answer, as the
    service may do. Without a stream, and in asynchronous mode, the last text is the answer.

    Args:
        texts: At least one text.

    Raises:
        ValueError: No text is given.
    """

    def __init__(self, *texts: str) -> None:
        if not texts:
            raise ValueError("a streamed reply has at least one text")
        self.texts = texts


Reply: TypeAlias = "str | Streamed | Failure | Message"
"""A text, or the texts of a stream; a `Failure` or `google.rpc.Status`; or a whole response of the method, which is
sent unchanged. Messages may be of any descriptor pool."""

Replies: TypeAlias = "Mapping[str, Reply] | Callable[[_pb.text_generation_service_pb2.CompletionRequest], Reply | None]"
"""Patterns, searched for in the last user text in their order, with the reply to each; or a function of the request
(of yagrpc's own class), which is called once for each request, one after the other in order of arrival, in a thread of
its own: one that blocks holds up later completions, and nothing else. Without a match, or with `None`, the answer is
built from the request."""

Outcome: TypeAlias = "_pb.text_generation_service_pb2.CompletionResponse | _pb.status_pb2.Status"
"""How a completion ends: with a response, or with an error."""

ScriptedReply: TypeAlias = "str | Streamed | Outcome | None"
"""The scripted reply to a completion, in the emulator's own types; `None` where nothing is scripted."""

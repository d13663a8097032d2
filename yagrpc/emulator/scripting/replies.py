"""Which scripted reply answers a request; and scripted replies as messages of control.proto.

Rules: pure, but for the user's function, which `calling` calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeVar

from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator.answers.completion import last_user_text
from yagrpc.emulator.replies import Failure, Replies, ScriptedReply, Streamed
from yagrpc.emulator.scripting.calling import Called

__all__ = ["Script", "replies_of", "reply_messages"]

_ResponseT = TypeVar("_ResponseT", bound=Message)
_Scripted: TypeAlias = "str | Streamed | Message"
"""A reply in the emulator's own types."""


class Script:
    """Finds the scripted reply to a request.

    Args:
        replies: Patterns or a function, or `None` for no script.

    Raises:
        TypeError: A value is of a type that is no reply.
        ValueError: A scripted `google.rpc.Status` is OK, or a pattern is no regular expression.
    """

    def __init__(self, replies: Replies | None) -> None:
        self._function = Called(replies) if callable(replies) else None
        patterns = {} if replies is None or callable(replies) else replies
        self._patterns = [(_compile(pattern), _reply(reply)) for pattern, reply in patterns.items()]

    async def find(self, request: _pb.text_generation_service_pb2.CompletionRequest) -> ScriptedReply:
        """The scripted reply to a completion, or `None`.

        Raises:
            TypeError: The user's function returned a value of a type that is no reply.
            Exception: What the user's function raised.
        """
        if self._function is not None:
            reply = await self._function.call(request)
            return None if reply is None else _completion(_reply(reply))
        text = last_user_text(request)
        fitting = (_completion(reply) for pattern, reply in self._patterns if pattern.search(text))
        return next((reply for reply in fitting if reply is not None), None)

    async def leave(self, seconds: float) -> None:
        """Leave a user's function behind that does not return, with a warning; for the end of the emulator.

        Args:
            seconds: How long it may still take.
        """
        if self._function is not None:
            await self._function.leave(seconds)

    def find_for(self, text: str, response_type: type[_ResponseT]) -> _ResponseT | _pb.status_pb2.Status | None:
        """The scripted reply to a text of another method: a response of that type, or a failure; `None` without one.

        Only patterns are tried: a user's function is for completions.
        """
        for pattern, reply in self._patterns:
            if isinstance(reply, (response_type, _pb.status_pb2.Status)) and pattern.search(text):
                return reply
        return None


def _compile(pattern: str) -> re.Pattern[str]:
    if not isinstance(getattr(pattern, "pattern", pattern), str):  # one of bytes would fail at a call
        raise TypeError(f"a pattern of replies is {pattern!r}: it takes a text")
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the pattern {pattern!r} is no regular expression: {error}") from error


def _completion(reply: _Scripted) -> ScriptedReply:
    """The reply, if a completion can be answered with it."""
    ours = (str, Streamed, _pb.status_pb2.Status, _pb.text_generation_service_pb2.CompletionResponse)
    return reply if isinstance(reply, ours) else None


def _reply(reply: object) -> _Scripted:
    if isinstance(reply, (str, Streamed)):
        return reply
    if isinstance(reply, Failure):
        return reply.status
    if isinstance(reply, Message):
        for message_type in _reply_types():
            ours = message_type()
            if reply.DESCRIPTOR.full_name == ours.DESCRIPTOR.full_name:
                ours.ParseFromString(reply.SerializeToString())
                if isinstance(ours, _pb.status_pb2.Status) and ours.code == 0:
                    raise ValueError("a scripted google.rpc.Status has a code other than 0")
                return ours
    raise TypeError(
        "a scripted reply is a str, a Streamed, a Failure, a google.rpc.Status or a response of the method, "
        f"not {type(reply)}"
    )


def _reply_types() -> list[Callable[[], Message]]:
    return [
        _pb.status_pb2.Status,
        _pb.text_generation_service_pb2.CompletionResponse,
        _pb.embedding_service_pb2.TextEmbeddingResponse,
        _pb.text_classification_service_pb2.TextClassificationResponse,
        _pb.text_classification_service_pb2.FewShotTextClassificationResponse,
        _pb.image_generation_service_pb2.ImageGenerationResponse,
    ]


def replies_of(messages: Iterable[_pb.control_pb2.Reply]) -> dict[str, str | Failure]:
    """The scripted replies that messages describe.

    Raises:
        ValueError: A message has neither a text nor an error, or the error could not be sent.
    """
    replies: dict[str, str | Failure] = {}
    for message in messages:
        kind = message.WhichOneof("reply")
        if kind is None:
            raise ValueError(f"no reply to {message.pattern!r}: text or error is required")
        replies[message.pattern] = message.text if kind == "text" else Failure.from_status(message.error)
    return replies


def reply_messages(replies: Mapping[str, str | Failure]) -> list[_pb.control_pb2.Reply]:
    """Scripted replies as messages."""
    return [
        _pb.control_pb2.Reply(pattern=pattern, text=reply)
        if isinstance(reply, str)
        else _pb.control_pb2.Reply(pattern=pattern, error=reply.status)
        for pattern, reply in replies.items()
    ]

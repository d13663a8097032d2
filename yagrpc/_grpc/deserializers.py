"""Answers as they come off the wire: read, or told why they can't be.

gRPC answers a message over its own limit with RESOURCE_EXHAUSTED, just as the service answers a quota that is used up,
and nothing but the text tells the two apart (1.68 to 1.85, both APIs). So the channels that a client opens have that
limit lifted, and it is kept here, where an answer that is too large is known to be one: what it answers has run. One
that does not parse would be INTERNAL, which for a read is worth another try, and is not here.

Rules: a deserializer never raises: gRPC would log its traceback and drop what it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from yagrpc._grpc.options import RECEIVE_OPTION, SEND_OPTION
from yagrpc.errors import CallError, Code, MessageTooLargeError, ResultError, YagrpcError
from yagrpc.method import OperationMethod

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc._core.flow import AnyMethod, Call

_SIZES: Final = re.compile(r"(?P<sent>Sent)? message larger than max \((?P<size>\d+) vs\. (?P<limit>\d+)\)")
"""How gRPC words a message over a limit; read to say more, never to decide that something may be sent again."""


class Unreadable:
    """An answer that can't be read.

    Args:
        size: Its size in bytes.
        limit: The limit that it is over, in bytes; `None` where it does not parse.
        reason: Why it does not parse.
    """

    __slots__ = ("limit", "reason", "size")

    def __init__(self, size: int, limit: int | None, reason: str = "") -> None:
        self.size = size
        self.limit = limit
        self.reason = reason


def reader(method: AnyMethod, limit: int) -> Callable[[bytes], Any]:
    """A deserializer of a method's answers.

    Args:
        method: Whose.
        limit: The largest that is taken, in bytes; -1 for any.
    """
    kind: Any = method.operation_type if isinstance(method, OperationMethod) else method.response_type
    parse: Callable[[bytes], Message] = kind.FromString

    def read(data: bytes) -> Any:
        if -1 < limit < len(data):
            return Unreadable(len(data), limit)
        try:
            return parse(data)
        except Exception as error:  # protobuf's DecodeError, whose module is not loaded for this line
            return Unreadable(len(data), None, " ".join(str(error).split()))

    return read


def unreadable(answer: Unreadable, call: Call[Any, Any], endpoint: str, attempts: int) -> YagrpcError:
    """The error of an answer that can't be read."""
    if answer.limit is not None:
        return MessageTooLargeError(
            answer.size,
            answer.limit,
            RECEIVE_OPTION,
            method=call.method.path,
            endpoint=endpoint,
            attempts=attempts,
            operation_id=call.operation_id,
            **call.ids._asdict(),
        )
    text = f"the answer to {call.method.path} does not parse ({answer.size} bytes: {answer.reason})"
    return result_error(text, call).with_context(endpoint=endpoint)


def result_error(text: str, call: Call[Any, Any]) -> ResultError:
    """The error of an answer without a result, with what is known of its call."""
    return ResultError(text, method=call.method.path, operation_id=call.operation_id, **call.ids._asdict())


def too_large(failure: CallError, call: Call[Any, Any], send_limit: int) -> MessageTooLargeError | None:
    """The error that RESOURCE_EXHAUSTED really is, where a size and no quota is meant; `None` where a quota is.

    A request over the limit of a channel of our own is known by its size. With a channel of the host's only gRPC's
    wording tells, so an answer that is too large is called what it is, but see `proves_nothing_started`.
    """
    if failure.code is not Code.RESOURCE_EXHAUSTED:
        return None
    size = call.request.ByteSize() if hasattr(call.request, "ByteSize") else 0
    if -1 < send_limit < size:
        return MessageTooLargeError(size, send_limit, SEND_OPTION, **failure.context)
    if (found := _SIZES.search(failure.message)) and not failure.message.startswith("SERVER"):
        option = SEND_OPTION if found["sent"] else RECEIVE_OPTION
        return MessageTooLargeError(int(found["size"]), int(found["limit"]), option, **failure.context)
    return None

"""Answers that cannot be read, and messages over a size limit.

gRPC reports a size limit with the status of a used-up quota; this module separates the two.

Rules: a text of gRPC's is read to say more, never to decide that something may be sent again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from yagrpc.errors import CallError, MessageTooLargeError, ResultError, YagrpcError

if TYPE_CHECKING:
    from yagrpc._core.call.call import Call

RECEIVE_OPTION: Final = "grpc.max_receive_message_length"
SEND_OPTION: Final = "grpc.max_send_message_length"

_SIZES: Final = (
    r"(?P<sent>Sent)? message larger than max \((?P<size>\d+) vs\. (?P<limit>\d+)\)"
    r"|Decompressed message larger than max\b"
)
"""How gRPC words a message over a limit of its channel; newer versions word an answer that they have unpacked without
sizes."""


class Unreadable:
    """An answer that cannot be read, instead of a message.

    Args:
        size: Its size in bytes; `None` where it was not unpacked to its end.
        limit: The limit that it is over, in bytes; `None` where it does not parse.
        reason: Why it does not parse.
    """

    __slots__ = ("limit", "reason", "size")

    def __init__(self, size: int | None, limit: int | None, reason: str = "") -> None:
        self.size = size
        self.limit = limit
        self.reason = reason


def unreadable_error(answer: Unreadable, call: Call[Any, Any], endpoint: str) -> YagrpcError:
    """The error of an answer that cannot be read: the service answered, so that the call has run."""
    context = call.context(endpoint)
    if answer.limit is not None:
        return MessageTooLargeError(answer.size, answer.limit, RECEIVE_OPTION, **context)
    text = f"the answer to {call.method.path} does not parse ({answer.size} bytes: {answer.reason})"
    return ResultError(text, **context)


def too_large(error: CallError, call: Call[Any, Any], send_limit: int) -> MessageTooLargeError | None:
    """The error that RESOURCE_EXHAUSTED stands for where a size is meant; `None` where a quota is.

    A request over the limit of a channel of our own is known by its size. Otherwise only gRPC's wording shows it:
    with a channel of the host's, and for an answer far above the limit.
    """
    context = call.context(error.endpoint)
    size = call.request.ByteSize() if hasattr(call.request, "ByteSize") else 0
    if -1 < send_limit < size:
        return MessageTooLargeError(size, send_limit, SEND_OPTION, **context)
    if (found := re.search(_SIZES, error.message)) and not error.message.startswith("SERVER"):
        option = SEND_OPTION if found["sent"] else RECEIVE_OPTION
        if not found["size"]:
            return MessageTooLargeError(None, None, option, **context)
        return MessageTooLargeError(int(found["size"]), int(found["limit"]), option, **context)
    return None

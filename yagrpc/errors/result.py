"""The errors of answers that can't be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yagrpc.errors.base import YagrpcError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc.errors.base import Context

__all__ = ["CompletionFilteredError", "CompletionTruncatedError", "IncompleteCompletionError", "ResultError"]


class ResultError(YagrpcError):
    """The service answered, but without a result: no alternative, one of another type, or one that does not parse."""


class IncompleteCompletionError(ResultError):
    """The model did not finish a completion, and its caller asked for `strict`.

    The service has answered, and bills what it generated: the answer is in `completion`. Of another kind than the two
    classes below is a stream that ended before its last message.

    Args:
        completion: The `yagrpc.Completion` as it came, with its text, its ids and its usage; of a stream, the last
            `yagrpc.Chunk`.
        message: What happened.
        **context: As for any `YagrpcError`.
    """

    def __init__(self, completion: Any, message: str, **context: Unpack[Context]) -> None:
        self.completion = completion
        super().__init__(message, **context)

    @property
    def usage(self) -> Any:
        """What the request used, in tokens: a `yagrpc.Usage`."""
        return self.completion.usage


class CompletionFilteredError(IncompleteCompletionError):
    """The service's content filter stopped the completion: its text, if any, is a stock sentence of the service."""


class CompletionTruncatedError(IncompleteCompletionError):
    """The completion was cut off at `max_tokens`, or at the model's own limit: its text is not whole."""

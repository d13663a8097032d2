"""Response messages to Python values: `Completion`, `Chunk`, `Tokens`.

Rules: a value is a thin view of its proto, which is its attribute `.proto`; an answer without a result is a
`ResultError`, never an empty success; an enum value that is not known yet is kept as its number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from google.protobuf import json_format

from yagrpc import _pb
from yagrpc.errors import (
    CompletionFilteredError,
    CompletionTruncatedError,
    IncompleteCompletionError,
    RequestError,
    ResultError,
)
from yagrpc.errors.code import NamedNumber
from yagrpc.ids import Answer
from yagrpc.messages import Message, ToolCall, ToolResult

__all__ = ["Alternative", "Chunk", "Completion", "CompletionStatus", "Token", "Tokens", "Usage"]


class CompletionStatus(NamedNumber):
    """The state of an alternative (`Alternative.AlternativeStatus`)."""

    UNSPECIFIED = 0
    PARTIAL = 1
    """The stream has more messages."""
    TRUNCATED_FINAL = 2
    """Cut at `max_tokens`."""
    FINAL = 3
    CONTENT_FILTER = 4
    """Stopped by the service's ethics filter; the text, if any, is a stock sentence."""
    TOOL_CALLS = 5
    """The answer is tool calls, not text."""


class Usage(NamedTuple):
    """What a request used, in tokens.

    Args:
        input_text_tokens: All input, the chat template included.
        completion_tokens: Output.
        total_tokens: Both.
        reasoning_tokens: The part of the output spent on hidden reasoning.
    """

    input_text_tokens: int
    completion_tokens: int
    total_tokens: int
    reasoning_tokens: int

    def cost(
        self, model: str, mode: Literal["async", "sync"] = "async", *, prices: Mapping[str, Any] | None = None
    ) -> float | None:
        """What it has cost, in roubles; `None` where the model's price is not known.

        Args:
            model: The model: its name, its name and branch, or its URI.
            mode: `async` or `sync`.
            prices: Prices that go before those that yagrpc knows, in roubles for 1,000 tokens of input and of answer:
                `{"yandexgpt": {"async": [0.4, 0.4], "sync": 0.8}}`.

        Raises:
            ConfigError: The prices are something else.
            RequestError: The model is no text, or there is no such mode.
        """
        from yagrpc.prices import cost_of, parse_prices, price_of  # few ask

        if not isinstance(model, str):
            raise RequestError("model", model, "it takes a model's name, such as 'yandexgpt', or its URI")
        if mode not in ("async", "sync"):
            raise RequestError("mode", mode, "it is 'async' or 'sync'")
        own = None if prices is None else parse_prices(prices, "prices")
        return cost_of(self.input_text_tokens, self.completion_tokens, price_of(model, mode, own))


class Alternative(NamedTuple):
    """One answer.

    Args:
        message: The answer's message.
        status: Its state; a status that is not known yet is a plain number.
    """

    message: Message
    status: CompletionStatus | int


_MAY_BE_WITHOUT_CONTENT: frozenset[int] = frozenset(CompletionStatus) - {
    CompletionStatus.FINAL,
    CompletionStatus.UNSPECIFIED,
}


class Completion(Answer):
    """An answer of the model. The properties are those of the first alternative, unless documented otherwise.

    Args:
        proto: The response.

    Raises:
        ResultError: The response has no alternative, or its first one is finished and has no content.
    """

    __slots__ = ("proto",)

    def __init__(self, proto: _pb.text_generation_service_pb2.CompletionResponse) -> None:
        if not proto.alternatives:
            raise ResultError("the completion has no alternatives")
        first = proto.alternatives[0]
        if first.message.WhichOneof("Content") is None and first.status not in _MAY_BE_WITHOUT_CONTENT:
            raise ResultError("the completion's first alternative has neither text nor tool calls")
        self.proto = proto
        super().__init__()

    @property
    def text(self) -> str:
        """The text; empty where the answer is tool calls.

        It is not the model's whole answer where the completion is `filtered` or `truncated`.
        """
        return self.proto.alternatives[0].message.text

    @property
    def message(self) -> Message:
        """The message, to be sent back with the next request of a dialogue.

        Raises:
            ResultError: The arguments of a tool call can't be JSON.
        """
        return _to_value(self.proto.alternatives[0].message)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The functions that the model asks to be called."""
        return self.message.tool_calls

    @property
    def alternatives(self) -> tuple[Alternative, ...]:
        """All answers; the service gives one so far."""
        return tuple(
            Alternative(_to_value(alternative.message), _status(alternative.status))
            for alternative in self.proto.alternatives
        )

    @property
    def status(self) -> CompletionStatus | int:
        """The state of the answer; a status that is not known yet is a plain number."""
        return _status(self.proto.alternatives[0].status)

    @property
    def filtered(self) -> bool:
        """Whether the service's content filter stopped the answer: the text, if any, is a stock sentence."""
        return self.status == CompletionStatus.CONTENT_FILTER

    @property
    def truncated(self) -> bool:
        """Whether the answer was cut off at `max_tokens`, or at the model's own limit."""
        return self.status == CompletionStatus.TRUNCATED_FINAL

    @property
    def usage(self) -> Usage:
        """What the request used, in tokens."""
        usage = self.proto.usage
        return Usage(
            usage.input_text_tokens,
            usage.completion_tokens,
            usage.total_tokens,
            usage.completion_tokens_details.reasoning_tokens,
        )

    @property
    def model_version(self) -> str:
        """The model's version, usually a date (`09.02.2025`); may be empty."""
        return self.proto.model_version

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.proto == self.proto

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        status = self.status
        name = status.name if isinstance(status, CompletionStatus) else status
        return f"{type(self).__name__}(text={self.text!r}, status={name}, model_version={self.model_version!r})"


class Chunk(Completion):
    """One message of a streamed completion; `text` is the whole text so far.

    Earlier text may change from one message to the next. For any two neighbours
    `chunk.text == before.text[:chunk.kept] + chunk.delta`.

    Args:
        proto: The response message.
        previous: The text of the previous message.
    """

    __slots__ = ("delta", "kept", "revised")

    def __init__(self, proto: _pb.text_generation_service_pb2.CompletionResponse, previous: str = "") -> None:
        super().__init__(proto)
        text = self.text
        self.kept = len(previous) if text.startswith(previous) else _common_length(previous, text)
        """How many characters of the previous text are unchanged."""
        self.delta = text[self.kept :]
        """The new text, after the unchanged characters."""
        self.revised = self.kept < len(previous)
        """Whether earlier text has changed: everything after `kept` characters has to be replaced."""


class Token(NamedTuple):
    """One token.

    Args:
        id: Its number in the model's vocabulary.
        text: The token's text.
        special: Whether the token is of the chat template, and not of the text.
    """

    id: int
    text: str
    special: bool


class Tokens(Answer):
    """The tokens of a text or of a whole request; `len()` counts them.

    Args:
        proto: The response.
    """

    __slots__ = ("proto",)

    def __init__(self, proto: _pb.text_generation_service_pb2.TokenizeResponse) -> None:
        self.proto = proto
        super().__init__()

    def __len__(self) -> int:
        return len(self.proto.tokens)

    def __iter__(self) -> Iterator[Token]:
        return (Token(token.id, token.text, token.special) for token in self.proto.tokens)

    @property
    def model_version(self) -> str:
        """The model's version."""
        return self.proto.model_version

    def __repr__(self) -> str:
        return f"Tokens({len(self)}, model_version={self.model_version!r})"


def check_finished(completion: Completion) -> None:
    """Check that the model has finished an answer: what `strict` means.

    Raises:
        CompletionFilteredError: The content filter stopped it.
        CompletionTruncatedError: It was cut off.
        IncompleteCompletionError: It is a part of an answer that did not come to its end.
    """
    used = f"tokens used: {completion.usage.total_tokens}"
    if completion.filtered:
        text, hint = f"the service's content filter stopped the answer; {used}", "change the prompt"
        raise CompletionFilteredError(completion, text, hint=hint, **completion.ids._asdict())
    if completion.truncated:
        text, hint = f"the answer was cut off at its limit of tokens; {used}", "raise max_tokens, or ask for less text"
        raise CompletionTruncatedError(completion, text, hint=hint, **completion.ids._asdict())
    if completion.status == CompletionStatus.PARTIAL:
        text = f"the service's stream ended before the answer was finished; {used}"
        raise IncompleteCompletionError(completion, text, **completion.ids._asdict())


def _status(number: int) -> CompletionStatus | int:
    try:
        return CompletionStatus(number)
    except ValueError:
        return number


def _to_value(message: _pb.text_common_pb2.Message) -> Message:
    calls = tuple(
        ToolCall(call.function_call.name, _plain(call.function_call.arguments))
        for call in message.tool_call_list.tool_calls
    )
    results = tuple(
        ToolResult(result.function_result.name, result.function_result.content)
        for result in message.tool_result_list.tool_results
    )
    return Message(message.role, message.text, calls, results)


def _plain(struct: _pb.struct_pb2.Struct) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json_format.MessageToDict(struct)
    except (ValueError, RecursionError, json_format.Error) as error:
        raise ResultError(f"the arguments of a tool call are no JSON: {error}") from error
    return plain


def _common_length(left: str, right: str) -> int:
    """How many characters two texts begin with in common."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[:middle] == right[:middle]:
            low = middle
        else:
            high = middle - 1
    return low

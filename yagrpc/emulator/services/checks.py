"""Which requests the service refuses, and with which texts.

If a text is quoted from the service, its constant or function says so. The other rules are documented, but their texts
are the emulator's: do not branch on them, the texts of the service differ.

Rules: pure functions; each returns nothing or raises `Refusal`.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

from yagrpc import _pb
from yagrpc.emulator.answers import tokens
from yagrpc.emulator.refusal import Refusal, invalid

__all__ = [
    "MAX_INPUT_TOKENS",
    "MAX_INPUT_TOKENS_ASYNC",
    "MAX_TEXT_LENGTH",
    "MAX_TOKENIZED",
    "ROLES",
    "check_completion",
    "check_model_uri",
    "check_no_stream",
    "check_required",
    "check_text",
    "check_token_count",
    "check_tokenize",
]

MAX_INPUT_TOKENS: Final = 8192
"""Tokens of a synchronous request. Source: the message quoted in `check_completion`, and the limits page for
generation 4. Generation 5 accepts 32,000; the stricter limit shows which callers come near it."""

MAX_INPUT_TOKENS_ASYNC: Final = 32_000
"""Tokens of an asynchronous request. Source: Yandex Cloud documentation, "Quotas and limits in AI Studio"."""

MAX_TOKENIZED: Final = 1_000_000
"""Tokens of a request that is only tokenized. The service's limit is not known; this one is above the context of all
models, and keeps the answer below 64 MiB."""

MAX_TEXT_LENGTH: Final = 100_000
"""Characters of one text. Source: the message quoted in `check_text`."""

ROLES: Final = ("system", "user", "assistant")
"""Documented values of `Message.role`; the field itself is a free string."""

_MODEL_URI: Final = re.compile(r"([a-z]+)://([^/\s]+)/([^/\s]+)(?:/[^/\s]+)?/?")


def check_model_uri(model_uri: str, scheme: str = "gpt") -> None:
    """Check `<scheme>://<folder>/<model>[/<branch>]`, with an optional trailing slash; any model name is known.

    The three messages are quoted from the service; which mistake gets which message is the emulator's choice.

    Args:
        model_uri: The URI.
        scheme: The scheme of the models of this service: `gpt`, `emb`, `cls`, `art`.

    Raises:
        Refusal: INVALID_ARGUMENT: the URI is empty, malformed, or of another scheme.
    """
    if not model_uri:
        raise invalid("invalid model_uri")
    match = _MODEL_URI.fullmatch(model_uri)
    if match is None:
        raise invalid("Failed to parse model URI")
    if match[1] != scheme:
        raise invalid(f"Failed to get model {model_uri}")


def check_text(text: str, where: str) -> None:
    """Check the length of a text, in characters. The message is quoted from the service, except `where`.

    Raises:
        Refusal: INVALID_ARGUMENT: the text is empty or too long.
    """
    if not 0 < len(text) <= MAX_TEXT_LENGTH:
        raise invalid(f"{where}: text length is {len(text)}, which is outside the range (0, {MAX_TEXT_LENGTH}]")


def check_completion(request: _pb.text_generation_service_pb2.CompletionRequest, *, max_input_tokens: int) -> None:
    """Check everything that does not depend on the mode. The message about tokens is quoted from the service.

    Args:
        request: The request.
        max_input_tokens: How many tokens it may have.

    Raises:
        Refusal: INVALID_ARGUMENT, for the first mistake.
    """
    check_model_uri(request.model_uri)
    _check_options(request.completion_options)
    if not request.messages:
        raise invalid("messages: at least one message is required")
    for index, message in enumerate(request.messages):
        _check_message(message, f"messages[{index}]")
    _check_tool_choice(request)
    # No more are counted than can be tokenized at all: the rest of the request may be 64 MiB.
    counted = itertools.islice(tokens.prompt(request), MAX_TOKENIZED + 1)
    check_token_count(sum(1 for _ in counted), max_input_tokens)


def check_token_count(count: int, most: int) -> None:
    """Check the size of an input, in tokens. The message is quoted from the service.

    Raises:
        Refusal: INVALID_ARGUMENT: the count is above `most`.
    """
    if count > most:
        raise invalid(f"number of input tokens must be no more than {most}, got {count}")


def check_no_stream(request: _pb.text_generation_service_pb2.CompletionRequest) -> None:
    """Refuse streaming, which asynchronous mode does not have (documented); the refusal is the emulator's choice.

    Raises:
        Refusal: INVALID_ARGUMENT: `stream` is set.
    """
    if request.completion_options.stream:
        raise invalid("completion_options.stream is not available in asynchronous mode")


def check_tokenize(request: _pb.text_generation_service_pb2.TokenizeRequest) -> None:
    """Check model and text of a `Tokenize` call, by the rules for completions.

    Raises:
        Refusal: INVALID_ARGUMENT.
    """
    check_model_uri(request.model_uri)
    check_text(request.text, "text")


def check_required(name: str, value: str, longest: int | None = None) -> None:
    """Check a required string, and its length if the protos of the IAM service limit it.

    Raises:
        Refusal: INVALID_ARGUMENT: the value is empty or too long. The text does not repeat it: it may be a secret.
    """
    if not value:
        raise invalid(f"{name}: the field is required")
    if longest is not None and len(value) > longest:
        raise invalid(f"{name}: length must be at most {longest}, got {len(value)}")


def _check_options(options: _pb.text_common_pb2.CompletionOptions) -> None:
    if options.HasField("temperature"):
        temperature = options.temperature.value
        # Not `< 0 or > 1`: NaN, which compares false with everything, is refused too.
        if not 0 <= temperature <= 1:
            raise invalid(f"completion_options.temperature must be from 0 to 1, got {temperature:g}")
    if options.HasField("max_tokens") and options.max_tokens.value <= 0:
        raise invalid(f"completion_options.max_tokens must be greater than 0, got {options.max_tokens.value}")


def _check_message(message: _pb.text_common_pb2.Message, where: str) -> None:
    if message.role not in ROLES:
        raise invalid(f"{where}.role must be one of {', '.join(ROLES)}, got '{message.role}'")
    kind = message.WhichOneof("Content")
    if kind is None:
        raise invalid(f"{where}: content is required: text, tool_call_list or tool_result_list")
    if kind == "text":
        check_text(message.text, where)


def _check_tool_choice(request: _pb.text_generation_service_pb2.CompletionRequest) -> None:
    choice = request.tool_choice
    known = [tool.function.name for tool in request.tools]
    if choice.WhichOneof("ToolChoice") == "function_name":
        if choice.function_name not in known:
            raise _no_tool(f"function '{choice.function_name}' is not among the tools")
    elif choice.mode == _pb.text_common_pb2.ToolChoice.REQUIRED and not known:
        raise _no_tool("a call is required, but there are no tools")


def _no_tool(reason: str) -> Refusal:
    return invalid(f"tool_choice: {reason}")

"""What the service refuses, and in which words.

Where a message is quoted from the service, its constant or function says so. The other rules are documented, but
their messages are this emulator's: do not branch on them, the service's differ.

Rules: pure functions; each returns nothing or raises `Refusal`.
"""

from __future__ import annotations

import re
from typing import Final

from yagrpc import _pb
from yagrpc.emulator.answers import tokens
from yagrpc.emulator.refusal import Refusal, invalid

__all__ = [
    "MAX_INPUT_TOKENS",
    "MAX_INPUT_TOKENS_ASYNC",
    "MAX_TEXT_LENGTH",
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
generation 4; generation 5 takes 32,000, but the stricter figure shows callers that come near."""

MAX_INPUT_TOKENS_ASYNC: Final = 32_000
"""Tokens of an asynchronous request. Source: Yandex Cloud documentation, "Quotas and limits in AI Studio"."""

MAX_TEXT_LENGTH: Final = 100_000
"""Characters of one text. Source: the message quoted in `check_text`."""

ROLES: Final = ("system", "user", "assistant")
"""Documented values of `Message.role`; the field itself is a free string."""

_MODEL_URI: Final = re.compile(r"([a-z]+)://([^/\s]+)/([^/\s]+)(?:/[^/\s]+)?/?")


def check_model_uri(model_uri: str, scheme: str = "gpt") -> None:
    """`<scheme>://<folder>/<model>[/<branch>]`, a trailing slash allowed; any model name is known.

    The three messages are quoted from the service; which fault gets which is this emulator's reading of them.

    Args:
        model_uri: The URI.
        scheme: The scheme of the models that can do what is asked: `gpt`, `emb`, `cls`, `art`.

    Raises:
        Refusal: INVALID_ARGUMENT: empty, not of the grammar, or of another scheme.
    """
    if not model_uri:
        raise invalid("invalid model_uri")
    match = _MODEL_URI.fullmatch(model_uri)
    if match is None:
        raise invalid("Failed to parse model URI")
    if match[1] != scheme:
        raise invalid(f"Failed to get model {model_uri}")


def check_text(text: str, where: str) -> None:
    """The length of a text, in characters. The message is quoted from the service, but for `where`.

    Raises:
        Refusal: INVALID_ARGUMENT: the text is empty or too long.
    """
    if not 0 < len(text) <= MAX_TEXT_LENGTH:
        raise invalid(f"{where}: text length is {len(text)}, which is outside the range (0, {MAX_TEXT_LENGTH}]")


def check_completion(
    request: _pb.text_generation_service_pb2.CompletionRequest, *, max_input_tokens: int | None
) -> None:
    """Everything that does not depend on the mode. The message about tokens is quoted from the service.

    Args:
        request: The request.
        max_input_tokens: How many tokens it may have, or `None` where it is only to be tokenized.

    Raises:
        Refusal: INVALID_ARGUMENT, for the first thing that is wrong.
    """
    check_model_uri(request.model_uri)
    _check_options(request.completion_options)
    if not request.messages:
        raise invalid("messages: at least one message is required")
    for index, message in enumerate(request.messages):
        _check_message(message, f"messages[{index}]")
    _check_tool_choice(request)
    if max_input_tokens is not None:
        check_token_count(sum(1 for _ in tokens.prompt(request)), max_input_tokens)


def check_token_count(count: int, most: int) -> None:
    """The size of an input, in tokens. The message is quoted from the service.

    Raises:
        Refusal: INVALID_ARGUMENT: there are more than `most`.
    """
    if count > most:
        raise invalid(f"number of input tokens must be no more than {most}, got {count}")


def check_no_stream(request: _pb.text_generation_service_pb2.CompletionRequest) -> None:
    """Streaming is documented as not available in asynchronous mode; that it is refused is this emulator's choice.

    Raises:
        Refusal: INVALID_ARGUMENT: `stream` is set.
    """
    if request.completion_options.stream:
        raise invalid("completion_options.stream is not available in asynchronous mode")


def check_tokenize(request: _pb.text_generation_service_pb2.TokenizeRequest) -> None:
    """Model and text of a `Tokenize` call, by the rules for completions.

    Raises:
        Refusal: INVALID_ARGUMENT.
    """
    check_model_uri(request.model_uri)
    check_text(request.text, "text")


def check_required(name: str, value: str, longest: int | None = None) -> None:
    """A required string, with a length limit where the protos of the IAM service declare one.

    Raises:
        Refusal: INVALID_ARGUMENT: it is empty or too long. The value is not repeated: it may be a secret.
    """
    if not value:
        raise invalid(f"{name}: the field is required")
    if longest is not None and len(value) > longest:
        raise invalid(f"{name}: length must be at most {longest}, got {len(value)}")


def _check_options(options: _pb.text_common_pb2.CompletionOptions) -> None:
    if options.HasField("temperature"):
        temperature = options.temperature.value
        # Written so that NaN, which compares false with everything, is outside too.
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

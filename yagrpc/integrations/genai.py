"""What requests and answers say to telemetry: the model, its settings, the tokens; and texts, where they are wanted.

Rules: nothing here raises for any message: what is not there is left out. No text without `texts`, and no secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from yagrpc.hiding import without_secrets
from yagrpc.integrations import conventions

Attributes: TypeAlias = "dict[str, str | int | float | bool | tuple[str, ...]]"

_FOUNDATION_MODELS: Final = "yandex.cloud.ai.foundation_models.v1."
_OPERATIONS: Final = {
    f"{_FOUNDATION_MODELS}TextGenerationService": conventions.CHAT,
    f"{_FOUNDATION_MODELS}TextGenerationAsyncService": conventions.CHAT,
    f"{_FOUNDATION_MODELS}EmbeddingsService": conventions.EMBEDDINGS,
    f"{_FOUNDATION_MODELS}image_generation.ImageGenerationAsyncService": conventions.GENERATE,
}
"""What the services of models do; the others, such as the tokenizer, are rpcs as any."""

_FINISH_REASONS: Final = {2: "length", 3: "stop", 4: "content_filter", 5: "tool_calls"}
"""The values of the conventions, by `yagrpc.CompletionStatus`; others mean that the answer is not finished."""

_LONGEST_NAME: Final = 200
"""Characters of a model's name."""


def labels(service: str, request: Any) -> Attributes:
    """What spans and metrics are grouped by: what is done, and by which model; empty where no model works.

    Args:
        service: The full name of the service.
        request: The request, or a stream of them.
    """
    operation = _OPERATIONS.get(service)
    if operation is None:
        return {}
    found: Attributes = {conventions.OPERATION: operation, conventions.PROVIDER: conventions.YANDEX}
    if model := model_name(getattr(request, "model_uri", "")):
        found[conventions.REQUEST_MODEL] = model
    return found


def model_name(uri: str) -> str:
    """The model that a URI names, without its folder: `yandexgpt`, `yandexgpt/rc`, `yandexgpt/latest@suffix`."""
    _, separator, rest = uri.partition("://")
    name = rest.partition("/")[2] or rest if separator else uri
    return without_secrets(name.removesuffix("/latest"))[:_LONGEST_NAME]


def of_request(request: Any, *, texts: bool) -> Attributes:
    """What a span says of a request.

    Args:
        request: The message.
        texts: Whether it has its texts, too.
    """
    found: Attributes = {}
    options = getattr(request, "completion_options", None)
    if options is not None:
        found[conventions.REQUEST_STREAM] = bool(options.stream)
        if options.HasField("temperature"):
            found[conventions.REQUEST_TEMPERATURE] = options.temperature.value
        if options.HasField("max_tokens"):
            found[conventions.REQUEST_MAX_TOKENS] = options.max_tokens.value
        if texts:
            found[conventions.INPUT_MESSAGES] = _json(_message(message) for message in request.messages)
    return found


def tokens(answer: Any) -> dict[str, int]:
    """The tokens that an answer has used, by their type; empty where it does not say."""
    if usage := getattr(answer, "usage", None):
        return {conventions.INPUT: usage.input_text_tokens, conventions.OUTPUT: usage.completion_tokens}
    count = getattr(answer, "num_tokens", 0)
    return {conventions.INPUT: count} if count else {}


def of_answer(answer: Any, *, texts: bool) -> Attributes:
    """What a span says of an answer.

    Args:
        answer: The message; of a stream, the last one.
        texts: Whether it has its texts, too.
    """
    found: Attributes = {}
    if version := getattr(answer, "model_version", ""):
        found[conventions.RESPONSE_MODEL] = without_secrets(version)[:_LONGEST_NAME]
    used = tokens(answer)
    names = {conventions.INPUT: conventions.INPUT_TOKENS, conventions.OUTPUT: conventions.OUTPUT_TOKENS}
    found |= {names[kind]: count for kind, count in used.items()}
    details = getattr(getattr(answer, "usage", None), "completion_tokens_details", None)
    if reasoning := getattr(details, "reasoning_tokens", 0):
        found[conventions.REASONING_TOKENS] = reasoning
    if alternatives := getattr(answer, "alternatives", ()):
        reasons = tuple(_FINISH_REASONS[each.status] for each in alternatives if each.status in _FINISH_REASONS)
        if reasons:
            found[conventions.FINISH_REASONS] = reasons
        if texts:
            found[conventions.OUTPUT_MESSAGES] = _json(
                {**_message(each.message), "finish_reason": _FINISH_REASONS.get(each.status, "")}
                for each in alternatives
            )
    return found


def _message(message: Any) -> Mapping[str, Any]:
    """A message in the form of the conventions."""
    if message.HasField("tool_call_list"):
        calls = message.tool_call_list.tool_calls
        parts = [{"type": "tool_call", "name": each.function_call.name} for each in calls]
    elif message.HasField("tool_result_list"):
        results = message.tool_result_list.tool_results
        parts = [
            {"type": "tool_call_response", "response": without_secrets(each.function_result.content)}
            for each in results
        ]
    else:
        parts = [{"type": "text", "content": without_secrets(message.text)}]
    return {"role": message.role, "parts": parts}


def _json(messages: Iterable[Mapping[str, Any]]) -> str:
    return json.dumps(list(messages), ensure_ascii=False)

"""The answers to completions: a scripted reply, or an answer that is built from the request.

Rules: pure. Equal requests have equal answers. Without a script the answer quotes the request, so that an answer that
reaches the wrong caller is noticed.
"""

from __future__ import annotations

import json
import re
from typing import Final, TypeAlias

from yagrpc import _pb
from yagrpc.emulator.answers import tokens
from yagrpc.emulator.answers.instances import minimal_instance
from yagrpc.emulator.answers.values import to_python
from yagrpc.emulator.replies import MODEL_VERSION, Outcome, ScriptedReply, Streamed

__all__ = ["compose", "last_user_text", "partials"]

_STREAM_MESSAGES: Final = 20
"""The most messages in a stream, however long the text is: each message repeats all text before it."""

_Request: TypeAlias = "_pb.text_generation_service_pb2.CompletionRequest"
_Response: TypeAlias = "_pb.text_generation_service_pb2.CompletionResponse"


def last_user_text(request: _Request) -> str:
    """The text that is answered: the last text of a user or, without one, the content of the last message."""
    for message in reversed(request.messages):
        if message.role == "user" and message.WhichOneof("Content") == "text":
            return message.text
    return tokens.content(request.messages[-1])


def compose(request: _Request, scripted: ScriptedReply = None) -> Outcome:
    """The whole answer to a valid request.

    Reasoning is counted as many tokens as the input has, on top of the answer's; `max_tokens` cuts the answer only.

    Args:
        request: A request that has passed validation.
        scripted: What `Script.find` returned for it.
    """
    if isinstance(scripted, Streamed):
        scripted = scripted.texts[-1]
    if scripted is not None and not isinstance(scripted, str):
        return scripted
    text = scripted
    if text is None:
        calls = _tool_calls(request)
        if calls is not None:
            content = tokens.content(_pb.text_common_pb2.Message(tool_call_list=calls))
            message = _pb.text_common_pb2.Message(role="assistant", tool_call_list=calls)
            status = _pb.text_common_pb2.Alternative.ALTERNATIVE_STATUS_TOOL_CALLS
            return _response(message, status, _usage(request, len(tokens.pieces(content))))
        text = _echo(request)
    cut = tokens.pieces(text)
    status = _pb.text_common_pb2.Alternative.ALTERNATIVE_STATUS_FINAL
    options = request.completion_options
    if options.HasField("max_tokens") and len(cut) > options.max_tokens.value:
        cut = cut[: options.max_tokens.value]
        status = _pb.text_common_pb2.Alternative.ALTERNATIVE_STATUS_TRUNCATED_FINAL
    message = _pb.text_common_pb2.Message(role="assistant", text="".join(cut))
    return _response(message, status, _usage(request, len(cut)))


def partials(final: _Response, scripted: object = None) -> list[_Response]:
    """The messages that come before the last one in a stream: growing prefixes of its text, with growing usage.

    An answer that can't grow has none: tool calls, a filtered answer, one token.

    Args:
        final: The whole answer.
        scripted: What `Script.find` returned for the request. A `Streamed` has the messages itself.
    """
    if isinstance(scripted, Streamed):
        count = len(tokens.pieces(final.alternatives[0].message.text))
        return [_partial(final, text, count - len(tokens.pieces(text))) for text in scripted.texts[:-1]]
    grown: list[_Response] = []
    statuses = _pb.text_common_pb2.Alternative
    for alternative in final.alternatives[:1]:
        if alternative.status in (statuses.ALTERNATIVE_STATUS_FINAL, statuses.ALTERNATIVE_STATUS_TRUNCATED_FINAL):
            cut = tokens.pieces(alternative.message.text)
            for end in range(_step(len(cut)), len(cut), _step(len(cut))):
                grown.append(_partial(final, "".join(cut[:end]), len(cut) - end))
    return grown


def _step(count: int) -> int:
    return -(-count // _STREAM_MESSAGES) or 1


def _partial(final: _Response, text: str, missing: int) -> _Response:
    partial = _pb.text_generation_service_pb2.CompletionResponse()
    partial.CopyFrom(final)
    partial.alternatives[0].message.text = text
    partial.alternatives[0].status = _pb.text_common_pb2.Alternative.ALTERNATIVE_STATUS_PARTIAL
    partial.usage.completion_tokens = max(0, final.usage.completion_tokens - missing)
    partial.usage.total_tokens = partial.usage.input_text_tokens + partial.usage.completion_tokens
    return partial


def _echo(request: _Request) -> str:
    text, count = last_user_text(request), len(request.messages)
    kind = request.WhichOneof("ResponseFormat")
    if kind == "json_schema":
        return json.dumps(minimal_instance(to_python(request.json_schema.schema), text), ensure_ascii=False)
    if kind == "json_object" and request.json_object:
        return json.dumps({"text": text, "messages": count}, ensure_ascii=False)
    last = request.messages[-1]
    if last.WhichOneof("Content") == "tool_result_list":
        return f'You asked: "{text}". The tools say: {tokens.content(last)}.'
    plural = "" if count == 1 else "s"
    return f'You wrote: "{text}". This is the yagrpc emulator, and it has read {count} message{plural}.'


def _tool_calls(request: _Request) -> _pb.text_common_pb2.ToolCallList | None:
    """Calls with the least arguments that their schemas allow, or `None` if the answer is a text.

    A model decides by meaning; here a tool is called if the user's last text names it. A tool that the request
    requires is always called. Without `parallel_tool_calls`, which is on by default, there is one call at most.
    """
    choice = request.tool_choice
    functions = [tool.function for tool in request.tools if tool.WhichOneof("ToolType") == "function"]
    named = [function for function in functions if _names(last_user_text(request), function.name)]
    if choice.WhichOneof("ToolChoice") == "function_name":
        called = [function for function in functions if function.name == choice.function_name][:1]
    elif choice.mode == _pb.text_common_pb2.ToolChoice.REQUIRED:
        called = named or functions[:1]
    elif choice.mode == _pb.text_common_pb2.ToolChoice.NONE or _answers_a_call(request):
        called = []
    else:
        called = named
    if request.HasField("parallel_tool_calls") and not request.parallel_tool_calls.value:
        called = called[:1]
    if not called:
        return None
    calls = _pb.text_common_pb2.ToolCallList()
    for function in called:
        call = calls.tool_calls.add().function_call
        call.name = function.name
        arguments = minimal_instance(to_python(function.parameters), last_user_text(request))
        call.arguments.SetInParent()
        call.arguments.update(arguments if isinstance(arguments, dict) else {})
    return calls


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def _answers_a_call(request: _Request) -> bool:
    return request.messages[-1].WhichOneof("Content") == "tool_result_list"


def _usage(request: _Request, answer_tokens: int) -> _pb.text_common_pb2.ContentUsage:
    input_tokens = sum(1 for _ in tokens.prompt(request))
    hidden = _pb.text_common_pb2.ReasoningOptions.ENABLED_HIDDEN
    reasoning = input_tokens if request.completion_options.reasoning_options.mode == hidden else 0
    return _pb.text_common_pb2.ContentUsage(
        input_text_tokens=input_tokens,
        completion_tokens=answer_tokens + reasoning,
        total_tokens=input_tokens + answer_tokens + reasoning,
        completion_tokens_details=_pb.text_common_pb2.ContentUsage.CompletionTokensDetails(reasoning_tokens=reasoning),
    )


def _response(
    message: _pb.text_common_pb2.Message,
    status: _pb.text_common_pb2.Alternative.AlternativeStatus.ValueType,
    usage: _pb.text_common_pb2.ContentUsage,
) -> _Response:
    return _pb.text_generation_service_pb2.CompletionResponse(
        alternatives=[_pb.text_common_pb2.Alternative(message=message, status=status)],
        usage=usage,
        model_version=MODEL_VERSION,
    )

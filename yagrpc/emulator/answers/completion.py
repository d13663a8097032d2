"""What the emulator answers: a scripted reply, or one made from the request.

Rules: pure. The same request gives the same answer, and without a script the answer quotes the request, so that an
answer that reaches the wrong caller shows.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator.answers import tokens
from yagrpc.emulator.answers.instances import minimal_instance
from yagrpc.emulator.answers.values import to_python
from yagrpc.emulator.refusal import make_status

__all__ = [
    "MODEL_VERSION",
    "Failure",
    "Replies",
    "Reply",
    "Script",
    "Streamed",
    "compose",
    "last_user_text",
    "partials",
]

MODEL_VERSION: Final = "yagrpc-emulator"
"""`model_version` of every answer; the service gives a date such as `09.02.2025`."""

_STREAM_MESSAGES: Final = 20
"""At most so many messages in a stream, however long the text: each repeats all before it."""

Outcome: TypeAlias = "_pb.text_generation_service_pb2.CompletionResponse | _pb.status_pb2.Status"
_Request: TypeAlias = "_pb.text_generation_service_pb2.CompletionRequest"
_Response: TypeAlias = "_pb.text_generation_service_pb2.CompletionResponse"
_ResponseT = TypeVar("_ResponseT", bound=Message)


@dataclasses.dataclass(frozen=True)
class Failure:
    """A scripted failure: `Operation.error` in asynchronous mode, the status of the call in synchronous mode."""

    code: grpc.StatusCode
    """Any code but OK."""
    message: str = ""
    """The text of the status."""
    details: tuple[Message, ...] = ()
    """Messages that go into the status's details."""

    def __post_init__(self) -> None:
        if self.code is grpc.StatusCode.OK:
            raise ValueError("a failure has a code other than OK")


class Streamed:
    """A scripted text that comes in messages of its own: `Streamed("Helo", "Hello wor", "Hello, world")`.

    Each is all of the text so far. One that does not begin with the one before revises what was said, as the service
    may. Without a stream, and in asynchronous mode, the last one is the answer.

    Args:
        texts: At least one.

    Raises:
        ValueError: There is none.
    """

    def __init__(self, *texts: str) -> None:
        if not texts:
            raise ValueError("a streamed reply has at least one text")
        self.texts = texts


Reply: TypeAlias = "str | Streamed | Failure | Message"
"""A text, or the texts of a stream; a `Failure` or `google.rpc.Status`; or a whole response of the method, sent as it
is. Messages may be of any descriptor pool."""

_Scripted: TypeAlias = "str | Streamed | Message"
"""A reply in the emulator's own types."""

Replies: TypeAlias = "Mapping[str, Reply] | Callable[[_Request], Reply | None]"
"""Patterns, searched for in the last user text in their order, with the reply to each; or a function of the request
(of yagrpc's own class), which is called once for each, in the order they arrive, in the emulator's thread. Without
a match, or with `None`, the answer is made from the request."""


class Script:
    """Finds the scripted reply to a request.

    Args:
        replies: Patterns or a function, or `None` for no script.

    Raises:
        TypeError: A reply is of a type that cannot be one.
        re.error: A pattern is no regular expression.
    """

    def __init__(self, replies: Replies | None) -> None:
        self._function = replies if callable(replies) else None
        patterns = {} if replies is None or callable(replies) else replies
        self._patterns = [(re.compile(pattern), _reply(reply)) for pattern, reply in patterns.items()]

    def find(self, request: _Request) -> str | Streamed | Outcome | None:
        """The scripted reply to a completion, or `None`.

        Raises:
            TypeError: A function's reply is of a type that cannot be one.
        """
        if self._function is not None:
            reply = self._function(request)
            return None if reply is None else _completion(_reply(reply))
        text = last_user_text(request)
        fitting = (_completion(reply) for pattern, reply in self._patterns if pattern.search(text))
        return next((reply for reply in fitting if reply is not None), None)

    def find_for(self, text: str, response_type: type[_ResponseT]) -> _ResponseT | _pb.status_pb2.Status | None:
        """What patterns say to another method's text: a response of its type, or a failure; functions are not asked."""
        for pattern, reply in self._patterns:
            if isinstance(reply, (response_type, _pb.status_pb2.Status)) and pattern.search(text):
                return reply
        return None


def _completion(reply: _Scripted) -> str | Streamed | Outcome | None:
    """A reply where it can answer a completion."""
    ours = (str, Streamed, _pb.status_pb2.Status, _pb.text_generation_service_pb2.CompletionResponse)
    return reply if isinstance(reply, ours) else None


def _reply(reply: object) -> _Scripted:
    if isinstance(reply, (str, Streamed)):
        return reply
    if isinstance(reply, Failure):
        return make_status(reply.code, reply.message, *reply.details)
    if isinstance(reply, Message):
        for make in _reply_types():
            ours = make()
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


def last_user_text(request: _Request) -> str:
    """The text that is answered: the user's last one; where no user says anything, the last message's content."""
    for message in reversed(request.messages):
        if message.role == "user" and message.WhichOneof("Content") == "text":
            return message.text
    return tokens.content(request.messages[-1])


def compose(request: _Request, scripted: str | Streamed | Outcome | None = None) -> Outcome:
    """The whole answer to a valid request.

    Reasoning is counted as many tokens as the input has, on top of the answer's; `max_tokens` cuts the answer only.

    Args:
        request: A request that has passed validation.
        scripted: What `Script.find` gave for it.
    """
    if isinstance(scripted, Streamed):
        scripted = scripted.texts[-1]
    if scripted is not None and not isinstance(scripted, str):
        return scripted
    text = scripted
    if text is None:
        calls = _tool_calls(request)
        if calls is not None:
            said = tokens.content(_pb.text_common_pb2.Message(tool_call_list=calls))
            message = _pb.text_common_pb2.Message(role="assistant", tool_call_list=calls)
            status = _pb.text_common_pb2.Alternative.ALTERNATIVE_STATUS_TOOL_CALLS
            return _response(message, status, _usage(request, len(tokens.pieces(said))))
        text = _made_text(request)
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

    None where there is nothing to grow: tool calls, a filtered answer, one token.

    Args:
        final: The whole answer.
        scripted: What `Script.find` gave for it: a `Streamed` says itself what comes before.
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


def _made_text(request: _Request) -> str:
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
    """Calls with the least arguments that their schemas allow, or `None` where the answer is a text.

    A model decides by meaning; here a tool is called when the user's last text names it. One that the request insists
    on is called in any case. Without `parallel_tool_calls`, which is on by default, there is one call at most.
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

"""Python values to request messages: what a caller may write, and what is sent.

Rules: pure, no I/O. A value that the service is documented to refuse raises `RequestError` here, with the
argument's name, its value and what is allowed. An argument that is not given is not set: unset is not zero.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtoMessage

from yagrpc import _pb, quantities
from yagrpc.errors import ConfigError, RequestError
from yagrpc.hiding import has_form_of_secret, shown
from yagrpc.quantities import Number, WholeNumber

__all__ = ["Message", "MessageInput", "MessagesInput", "ToolCall", "ToolResult", "convert"]

ProtoT = TypeVar("ProtoT", bound=ProtoMessage)
ItemT = TypeVar("ItemT")

ROLES: Final = ("system", "user", "assistant")
"""Documented roles: behaviour and context, the person, previous answers of the model."""

_NOT_JSON: Final = (json_format.Error, TypeError, ValueError, OverflowError, RecursionError, SystemError)
"""What protobuf raises for values that JSON does not have, and for values that are nested too deeply.

`SystemError` is for a name with half of a surrogate pair.
"""

ReasoningMode = Literal["DISABLED", "ENABLED_HIDDEN"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model asks to be called.

    Args:
        name: The function's name; results are matched by it, there are no call ids.
        arguments: Its arguments. They are sent as a `Struct`, so every number is a float.
    """

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a called function.

    Args:
        name: The function's name, as in the `ToolCall`.
        content: Its result, as text.
    """

    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a dialogue; it holds a text, tool calls or tool results.

    Args:
        role: `system`, `user` or `assistant`.
        text: The text.
        tool_calls: The calls that an assistant's message asks for.
        tool_results: The results of such calls, under the role `user`.
    """

    role: str
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()


MessageInput: TypeAlias = "str | Mapping[str, Any] | Message | ProtoMessage"
"""One message: a user's text, a dict (`role` and `text`, or `role` and `content`, or the API's JSON), a `Message`, or a
proto."""

MessagesInput: TypeAlias = "MessageInput | Iterable[MessageInput]"
"""A message, or the messages of one dialogue in order, with their roles."""


def convert(target: type[ProtoT], message: ProtoMessage) -> ProtoT:
    """Convert a message of another descriptor pool (e.g. of the official package) to yagrpc's class, through its bytes.

    Args:
        target: The class of the result, e.g. a request class of `yagrpc.methods`.
        message: A message of the same full name.

    Raises:
        RequestError: The message has another full name, or its bytes do not parse; or the target is no such class.
    """
    if not (isinstance(target, type) and issubclass(target, ProtoMessage)):
        raise RequestError("target", target, "it takes a class of protobuf messages")
    return _converted(target, message, "message")


def parsed(target: type[ProtoT], value: Mapping[str, Any], field: str) -> ProtoT:
    """A message of the API's JSON, as a dict; names of fields are taken in both of their forms.

    Raises:
        RequestError: It is not the JSON of such a message.
    """
    pool: Any = target.DESCRIPTOR.file.pool  # a generated package has its own
    try:
        return json_format.ParseDict(dict(value), target(), descriptor_pool=pool)
    except _NOT_JSON as error:
        allowed = f"it takes a {target.DESCRIPTOR.full_name}, or its JSON as a dict ({_one_line(error)})"
        raise RequestError(field, dict(value), allowed) from error


def model_uri(model: str, folder_id: str | None, scheme: str = "gpt") -> str:
    """The URI of a model: `yandexgpt`, `yandexgpt/rc`, or a whole URI, which is returned unchanged.

    The folder and the scheme are used for short names only.

    Raises:
        RequestError: The model is neither.
        ConfigError: A short name without a folder.
    """
    if not isinstance(model, str) or has_form_of_secret(model):
        raise RequestError("model", model, "it takes a name such as 'yandexgpt/rc', or a whole URI")
    if "://" in _encodable(model, "model"):
        return model
    name, _, branch = model.partition("/")
    if not name or "/" in branch or model.endswith("/") or any(character.isspace() for character in model):
        raise RequestError("model", model, "it takes NAME, NAME/BRANCH, or a whole URI with '://'")
    if folder_id is None:
        remedy = "give folder_id or set YC_FOLDER_ID, or name the model by its whole URI"
        raise ConfigError(f"model {shown(model)} needs a folder: {remedy}")
    return f"{scheme}://{folder_id}/{name}/{branch or 'latest'}"


def to_messages(messages: MessagesInput, system: str | None = None) -> list[_pb.text_common_pb2.Message]:
    """Messages as protos; `system` comes first.

    Raises:
        RequestError: There are no messages, or one is not a message, has an unknown role, or is empty; or they are
            several texts without a role, which are no dialogue.
    """
    if isinstance(messages, (str, Mapping, Message, ProtoMessage)):
        given: Sequence[Any] = [messages]
    elif (
        isinstance(messages, Iterable)
        and not isinstance(messages, (bytes, bytearray))
        and getattr(messages, "ndim", 1) == 1  # iterating a table gives the names of its columns
    ):
        given = list(messages)
    else:
        raise RequestError("messages", messages, "it takes a text, a dict, a Message, or a sequence of these")
    if not given:
        raise RequestError("messages", given, "at least one message is needed")
    if len(given) > 1 and all(map(_is_without_role, given)):
        raise RequestError(
            "messages",
            given,
            "several texts without a role are no dialogue: client.bulk(texts) sends each of them, or give each message "
            "its role, such as {'role': 'user', 'text': ...}",
        )
    if isinstance(system, str) and not system:
        raise RequestError("system", system, "it takes a text that is not empty")
    protos = []
    if system is not None:
        protos.append(_pb.text_common_pb2.Message(role="system", text=_encodable(system, "system")))
    for index, message in enumerate(given):
        field = f"messages[{index}]"
        protos.append(checked_message(_to_message(message, field), field))
    return protos


def completion_request(
    messages: MessagesInput,
    *,
    model: str,
    folder_id: str | None,
    stream: bool = False,
    system: str | None = None,
    temperature: Number | None = None,
    max_tokens: WholeNumber | None = None,
    reasoning_mode: ReasoningMode | None = None,
    tools: Iterable[Mapping[str, Any] | ProtoMessage] | None = None,
    tool_choice: str | None = None,
    parallel_tool_calls: bool | None = None,
    json_object: bool | None = None,
    json_schema: Mapping[str, Any] | None = None,
) -> _pb.text_generation_service_pb2.CompletionRequest:
    """A completion request; the arguments are those of `yagrpc.CompletionParameters`.

    Raises:
        RequestError: An argument is one that the service would refuse.
        ConfigError: The model is a short name and no folder is known.
    """
    request = _pb.text_generation_service_pb2.CompletionRequest(
        model_uri=model_uri(model, folder_id), messages=to_messages(messages, system)
    )
    _set_options(request.completion_options, stream, temperature, max_tokens, reasoning_mode)
    if tools is not None and not isinstance(tools, Iterable):
        raise RequestError("tools", tools, "it takes a sequence of dicts with name, description and parameters")
    for index, tool in enumerate(() if tools is None else tools):
        request.tools.append(_to_tool(tool, f"tools[{index}]"))
    if tool_choice is not None:
        _set_tool_choice(request, tool_choice)
    if parallel_tool_calls is not None:
        request.parallel_tool_calls.value = _flag(parallel_tool_calls, "parallel_tool_calls")
    if json_object is not None and _flag(json_object, "json_object") and json_schema is not None:
        raise RequestError("json_object", json_object, "give json_object or json_schema, not both")
    if json_object is not None:
        request.json_object = json_object
    if json_schema is not None:
        _set_struct(request.json_schema.schema, json_schema, "json_schema")
    return request


def tokenize_request(
    text: str, *, model: str, folder_id: str | None
) -> _pb.text_generation_service_pb2.TokenizeRequest:
    """A request to count one text's tokens.

    Raises:
        RequestError: The text is not a string, or the model is not a model.
        ConfigError: The model is a short name and no folder is known.
    """
    checked = _encodable(text, "text")
    return _pb.text_generation_service_pb2.TokenizeRequest(model_uri=model_uri(model, folder_id), text=checked)


def checked_temperature(temperature: object, field: str = "temperature") -> float:
    """Check a temperature.

    Raises:
        RequestError: The value is not a number from 0 to 1.
    """
    number = quantities.number(temperature)
    if number is None or not 0 <= number <= 1:
        raise RequestError(field, temperature, "it takes a number from 0 to 1")
    return number


def checked_max_tokens(max_tokens: object, field: str = "max_tokens") -> int:
    """Check the length of the longest answer, in tokens.

    Raises:
        RequestError: The value is not a whole number above 0.
    """
    number = quantities.number(max_tokens, whole=True)
    if not isinstance(number, int) or not 0 < number < 2**63:
        raise RequestError(field, max_tokens, "it takes a whole number above 0, in tokens")
    return number


def checked_text(text: object, field: str) -> str:
    """A text that can be sent.

    Raises:
        RequestError: The value is not a string, is empty, or can't be encoded.
    """
    if not isinstance(text, str) or not text:
        raise RequestError(field, text, "it takes a text that is not empty")
    return str(_encodable(text, field))  # numpy has a kind of string of its own


def _set_options(
    options: _pb.text_common_pb2.CompletionOptions,
    stream: bool,
    temperature: Number | None,
    max_tokens: WholeNumber | None,
    reasoning_mode: str | None,
) -> None:
    options.stream = stream
    if temperature is not None:
        options.temperature.value = checked_temperature(temperature)
    if max_tokens is not None:
        options.max_tokens.value = checked_max_tokens(max_tokens)
    if reasoning_mode is not None:
        modes = _pb.text_common_pb2.ReasoningOptions.ReasoningMode
        if not isinstance(reasoning_mode, str) or reasoning_mode not in ("DISABLED", "ENABLED_HIDDEN"):
            raise RequestError("reasoning_mode", reasoning_mode, "it takes 'DISABLED' or 'ENABLED_HIDDEN'")
        options.reasoning_options.mode = modes.Value(reasoning_mode)


def _set_tool_choice(request: _pb.text_generation_service_pb2.CompletionRequest, choice: str) -> None:
    names = [tool.function.name for tool in request.tools]
    if not isinstance(choice, str) or choice not in ("NONE", "AUTO", "REQUIRED", *names):
        allowed = ", ".join(repr(name) for name in ("NONE", "AUTO", "REQUIRED", *names))
        raise RequestError("tool_choice", choice, f"it takes one of {allowed}")
    if choice in ("NONE", "AUTO", "REQUIRED"):
        request.tool_choice.mode = _pb.text_common_pb2.ToolChoice.ToolChoiceMode.Value(choice)
    else:
        request.tool_choice.function_name = choice


def _is_without_role(message: object) -> bool:
    """Whether a message is a text of somebody: a plain one, or the row of a file."""
    return isinstance(message, str) or (isinstance(message, Mapping) and "role" not in message)


def _to_message(message: object, field: str) -> _pb.text_common_pb2.Message:
    if isinstance(message, str):
        return _text_message("user", message, field)
    if isinstance(message, Message):
        return _from_value(message, field)
    if isinstance(message, ProtoMessage):
        return _converted(_pb.text_common_pb2.Message, message, field)
    if isinstance(message, Mapping):
        return _from_mapping(message, field)
    raise RequestError(field, message, "it takes a text, a dict with role and text, a Message, or a proto message")


def _from_value(message: Message, field: str) -> _pb.text_common_pb2.Message:
    if message.text is not None and not isinstance(message.text, str):
        raise RequestError(f"{field}.text", message.text, "it takes a string")
    if sum(map(bool, (message.text, message.tool_calls, message.tool_results))) > 1:
        raise RequestError(field, message, "a message holds a text, tool calls or tool results: one of them")
    if not message.tool_calls and not message.tool_results:
        return _text_message(message.role, message.text, field)
    proto = _pb.text_common_pb2.Message(role=_encodable(message.role, f"{field}.role"))
    for index, call in enumerate(_all_of(ToolCall, message.tool_calls, f"{field}.tool_calls")):
        function_call = proto.tool_call_list.tool_calls.add().function_call
        function_call.name = _encodable(call.name, f"{field}.tool_calls[{index}].name")
        _set_struct(function_call.arguments, call.arguments, f"{field}.tool_calls[{index}].arguments")
    for index, result in enumerate(_all_of(ToolResult, message.tool_results, f"{field}.tool_results")):
        function_result = proto.tool_result_list.tool_results.add().function_result
        function_result.name = _encodable(result.name, f"{field}.tool_results[{index}].name")
        function_result.content = _encodable(result.content, f"{field}.tool_results[{index}].content")
    return proto


def _from_content(message: Mapping[str, Any], field: str) -> _pb.text_common_pb2.Message:
    """A message in the form of the OpenAI API: `role` and `content`, which is a text or a list of parts."""
    further = sorted(
        str(name) for name, value in message.items() if name not in ("role", "content") and not _is_empty(value)
    )
    if further:
        what = "tool calls are a Message(..., tool_calls=...)" if "tool_calls" in further else "leave it out"
        raise RequestError(f"{field}.{further[0]}", message.get(further[0]), f"a message has role and text: {what}")
    content = message["content"]
    if isinstance(content, Iterable) and not isinstance(content, (str, bytes, bytearray, Mapping)):
        content = "\n".join(_part(part, f"{field}.content[{index}]") for index, part in enumerate(content))
    if not isinstance(content, str):
        raise RequestError(f"{field}.content", content, "it takes a string, or a list of parts with a text")
    return _text_message(message.get("role", "user"), content, field)


def _is_empty(value: object) -> bool:
    """Whether a value is nothing; not every value has a truth value."""
    return value is None or (isinstance(value, (str, bool, Mapping, list, tuple)) and not value)


def _part(part: object, field: str) -> str:
    text = part.get("text") if isinstance(part, Mapping) else part
    if not isinstance(text, str):
        raise RequestError(field, part, "it takes a part with a text; images and sound can't be sent")
    return text


def _from_mapping(message: Mapping[str, Any], field: str) -> _pb.text_common_pb2.Message:
    if "content" in message:
        return _from_content(message, field)
    if message.keys() <= {"role", "text"}:
        return _text_message(message.get("role", "user"), message.get("text", ""), field)
    try:
        proto = json_format.ParseDict(dict(message), _pb.text_common_pb2.Message())
        json_format.MessageToDict(proto)  # refuses nan and infinity, which JSON does not have
        return proto
    except _NOT_JSON as error:
        allowed = f"a dict has role and text, or the API's JSON of a message ({_one_line(error)})"
        raise RequestError(field, dict(message), allowed) from error


def _text_message(role: object, text: object, field: str) -> _pb.text_common_pb2.Message:
    if not isinstance(text, str):
        raise RequestError(f"{field}.text", text, "it takes a string")
    return _pb.text_common_pb2.Message(role=_encodable(role, f"{field}.role"), text=_encodable(text, f"{field}.text"))


def checked_message(proto: _pb.text_common_pb2.Message, field: str) -> _pb.text_common_pb2.Message:
    """A message whose role is known and that holds something.

    Raises:
        RequestError: The role is unknown, or the message is empty.
    """
    if proto.role not in ROLES:
        raise RequestError(f"{field}.role", proto.role, f"it takes one of {', '.join(ROLES)}")
    content = proto.WhichOneof("Content")
    if content is None or (content == "text" and not proto.text):
        raise RequestError(f"{field}.text", "", "a message needs a text, tool calls or tool results")
    return proto


def _to_tool(tool: Mapping[str, Any] | ProtoMessage, field: str) -> _pb.text_common_pb2.Tool:
    if isinstance(tool, ProtoMessage):
        return _converted(_pb.text_common_pb2.Tool, tool, field)
    if not isinstance(tool, Mapping):
        raise RequestError(field, tool, "it takes a dict with name, description and parameters")
    function = tool.get("function", tool)
    if not isinstance(function, Mapping):
        raise RequestError(f"{field}.function", function, "it takes a dict with name, description and parameters")
    unknown = set(function) - {"name", "description", "parameters", "strict"}
    if unknown or not function.get("name"):
        raise RequestError(field, dict(tool), "it takes name (needed), description, parameters and strict")
    proto = _pb.text_common_pb2.Tool()
    proto.function.name = _encodable(function["name"], f"{field}.name")
    proto.function.description = _encodable(function.get("description", ""), f"{field}.description")
    proto.function.strict = _flag(function.get("strict", False), f"{field}.strict")
    _set_struct(proto.function.parameters, function.get("parameters", {}), f"{field}.parameters")
    return proto


def _set_struct(struct: _pb.struct_pb2.Struct, value: object, field: str) -> None:
    if not isinstance(value, Mapping):
        raise RequestError(field, value, "it takes a dict of JSON values")
    try:
        json_format.ParseDict(dict(value), struct)
        json_format.MessageToDict(struct)  # refuses nan and infinity, which JSON does not have
        struct.SetInParent()
    except _NOT_JSON as error:
        raise RequestError(field, value, f"it takes JSON values only ({_one_line(error)})") from error


def _converted(target: type[ProtoT], message: ProtoMessage, field: str) -> ProtoT:
    if isinstance(message, target):
        return message
    wanted = target.DESCRIPTOR.full_name
    given = message.DESCRIPTOR.full_name if isinstance(message, ProtoMessage) else type(message).__name__
    if given != wanted:
        raise RequestError(field, message if isinstance(message, Coroutine) else given, f"it takes a {wanted}")
    try:
        return target.FromString(message.SerializeToString())
    except (DecodeError, ValueError, RecursionError) as error:
        raise RequestError(field, wanted, f"its bytes do not parse: {error}") from error


def _all_of(kind: type[ItemT], items: object, field: str) -> tuple[ItemT, ...]:
    """The items of a sequence, checked to be of one class."""
    if not isinstance(items, Iterable):
        raise RequestError(field, items, f"it takes a sequence of {kind.__name__}")
    found = tuple(items)
    for index, item in enumerate(found):
        if not isinstance(item, kind):
            raise RequestError(f"{field}[{index}]", item, f"it takes a {kind.__name__}")
    return found


def _flag(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise RequestError(field, value, "it takes True or False")
    return value


def _encodable(text: object, field: str) -> str:
    if not isinstance(text, str):
        raise RequestError(field, text, "it takes a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(field, text, "it holds half of a surrogate pair, which is no text") from error
    return text


def _one_line(error: Exception) -> str:
    return " ".join(str(error.__cause__ if isinstance(error, SystemError) else error).split())

"""What a caller may write, what goes on the wire for it, and how everything else is refused."""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy
import pandas  # type: ignore[import-untyped]
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf import struct_pb2 as installed_struct
from hypothesis import example, given
from hypothesis import strategies as st

from yagrpc import _pb, messages
from yagrpc.errors import ConfigError, RequestError
from yagrpc.messages import Message, ToolCall, ToolResult, completion_request, convert, to_messages, tokenize_request

CompletionRequest = _pb.text_generation_service_pb2.CompletionRequest
ProtoMessage = _pb.text_common_pb2.Message

HUGE = pytest.param(10**5000, id="10**5000")
"""A number that Python refuses to show."""


class Unshowable:
    """A value whose repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class ManyLines:
    """A value whose repr has several lines."""

    def __repr__(self) -> str:
        return "one\ntwo\r\nthree"


def request(messages: Any = "hi", model: Any = "yandexgpt", folder_id: str | None = "b1g", **rest: Any) -> Any:
    """A completion request of what may be of any type."""
    return completion_request(messages, model=model, folder_id=folder_id, **rest)


def refused(field: str, ask: Callable[[], object]) -> RequestError:
    """The error of what has to be refused for one argument."""
    with pytest.raises(RequestError) as caught:
        ask()
    assert caught.value.field == field
    assert caught.value.value in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(caught.value.value) <= 80
    return caught.value


def as_dict(proto: Any) -> dict[str, Any]:
    """A proto as JSON, with the names that its definition has."""
    found: dict[str, Any] = json_format.MessageToDict(proto, preserving_proto_field_name=True)
    return found


# Messages: what is taken


@pytest.mark.parametrize(
    "given_as",
    [
        "hi",
        ["hi"],
        ("hi",),
        {"text": "hi"},
        {"role": "user", "text": "hi"},
        [{"role": "user", "text": "hi"}],
        OrderedDict(role="user", text="hi"),
        MappingProxyType({"text": "hi"}),
        Message("user", "hi"),
        [Message(role="user", text="hi")],
        ProtoMessage(role="user", text="hi"),
        [ProtoMessage(role="user", text="hi")],
        {"hi": None}.keys(),
    ],
)
def test_one_message_may_be_given_in_many_ways(given_as: Any) -> None:
    assert to_messages(given_as) == [ProtoMessage(role="user", text="hi")]


def test_an_iterator_is_read_once() -> None:
    given = (Message(role, "a") for role in ("user", "assistant"))
    assert [proto.role for proto in to_messages(given)] == ["user", "assistant"]


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_roles_are_the_documented_ones(role: str) -> None:
    assert to_messages([{"role": role, "text": "hi"}])[0].role == role


def test_the_system_message_comes_first() -> None:
    protos = to_messages(["hi", {"role": "assistant", "text": "hello"}], "be brief")
    assert [(proto.role, proto.text) for proto in protos] == [
        ("system", "be brief"),
        ("user", "hi"),
        ("assistant", "hello"),
    ]


def test_a_dialogue_may_mix_all_shapes() -> None:
    protos = to_messages(
        ["a", {"role": "assistant", "text": "b"}, Message("user", "c"), ProtoMessage(role="user", text="d")]
    )
    assert [proto.text for proto in protos] == ["a", "b", "c", "d"]


ROWS = [
    ["a", "b"],
    ("a", "b", "c"),
    {"a": 1, "b": 2}.keys(),
    [{"text": "a"}, {"text": "b"}],
    ["a", {"text": "b"}],
    numpy.array(["a", "b"]),
    pandas.Series(["a", "b"]),
]


@pytest.mark.parametrize("rows", [*ROWS, lambda: (text for text in "ab"), lambda: io.StringIO("a\nb\n")])
def test_rows_are_no_dialogue(rows: Any) -> None:
    """Each is a question of its own; as one request they would be answered once, and billed together."""
    given_rows = rows() if callable(rows) else rows
    error = refused("messages", lambda: to_messages(given_rows, "be brief"))
    assert "client.bulk(texts) sends each of them" in str(error)


@pytest.mark.parametrize("table", [pandas.DataFrame({"text": ["a", "b"]}), numpy.array([["a", "b"]])])
def test_a_table_is_no_dialogue(table: Any) -> None:
    """Iterating a data frame gives the names of its columns."""
    assert "it takes a text" in str(refused("messages", lambda: to_messages(table)))


WITHOUT_TRUTH = [numpy.array(["a", "b"]), numpy.array([]), pandas.Series(["a"]), pandas.DataFrame(), pandas.NA]


@pytest.mark.parametrize("value", WITHOUT_TRUTH, ids=lambda value: type(value).__name__)
def test_a_value_without_a_truth_value_is_refused_by_the_name_of_its_argument(value: Any) -> None:
    """A column of a table, given by mistake: whether it is true, or equal to a text, can't be said."""
    for name in ("system", "json_object", "json_schema", "tool_choice", "reasoning_mode", "parallel_tool_calls"):
        given: Any = {"model": "yandexgpt", "folder_id": "f", name: value}
        refused(name, partial(completion_request, "a", **given))
    refused("messages[0].text", lambda: to_messages([Message("user", value)]))
    refused("messages[0].name", lambda: to_messages([{"role": "user", "content": "a", "name": value}]))


@pytest.mark.parametrize("one", [["a"], numpy.array(["a"]), pandas.Series(["a"])])
def test_one_text_in_a_sequence_is_a_message(one: Any) -> None:
    assert to_messages(one) == [ProtoMessage(role="user", text="a")]


def test_tool_calls_and_their_results_are_messages() -> None:
    call = ToolCall("weather", {"city": "Омск", "days": 3, "units": ["C", None], "deep": {"yes": True}})
    asked, answered = to_messages(
        [
            Message("assistant", tool_calls=(call,)),
            Message("user", tool_results=(ToolResult("weather", "cold"), ToolResult("other", ""))),
        ]
    )
    assert as_dict(asked) == {
        "role": "assistant",
        "tool_call_list": {
            "tool_calls": [
                {
                    "function_call": {
                        "name": "weather",
                        "arguments": {"city": "Омск", "days": 3.0, "units": ["C", None], "deep": {"yes": True}},
                    }
                }
            ]
        },
    }
    assert as_dict(answered) == {
        "role": "user",
        "tool_result_list": {
            "tool_results": [
                {"function_result": {"name": "weather", "content": "cold"}},
                {"function_result": {"name": "other", "content": ""}},
            ]
        },
    }


def test_tool_calls_without_arguments_have_an_empty_struct() -> None:
    (asked,) = to_messages(Message("assistant", tool_calls=(ToolCall("now", {}),)))
    assert asked.tool_call_list.tool_calls[0].function_call.HasField("arguments")


@pytest.mark.parametrize(
    "shape",
    [
        {"role": "assistant", "toolCallList": {"toolCalls": [{"functionCall": {"name": "f", "arguments": {"a": 1}}}]}},
        {
            "role": "assistant",
            "tool_call_list": {"tool_calls": [{"function_call": {"name": "f", "arguments": {"a": 1}}}]},
        },
    ],
)
def test_the_json_of_the_api_is_a_message(shape: dict[str, Any]) -> None:
    (proto,) = to_messages([shape])
    assert proto.tool_call_list.tool_calls[0].function_call.arguments.fields["a"].number_value == 1


# Messages: what is refused


@pytest.mark.parametrize("wrong", [None, 5, 1.5, b"hi", bytearray(b"hi"), object, ManyLines(), Unshowable()])
def test_messages_that_are_none_are_refused(wrong: Any) -> None:
    refused("messages", lambda: to_messages(wrong))


@pytest.mark.parametrize("wrong", [[], (), iter(())])
def test_no_message_is_refused(wrong: Any) -> None:
    assert "at least one" in refused("messages", lambda: to_messages(wrong)).allowed


@pytest.mark.parametrize("wrong", [None, 5, b"hi", ["hi"], ManyLines(), ToolCall("f", {})])
def test_a_message_that_is_none_is_refused_by_its_place(wrong: Any) -> None:
    refused("messages[1]", lambda: to_messages(["hi", wrong]))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ("", "messages[0].text"),
        ({}, "messages[0].text"),
        ({"role": "user"}, "messages[0].text"),
        ({"role": "user", "text": ""}, "messages[0].text"),
        ({"role": "user", "text": None}, "messages[0].text"),
        ({"role": "user", "text": b"hi"}, "messages[0].text"),
        ({"role": "user", "text": 5}, "messages[0].text"),
        ({"role": "user", "text": "\ud800"}, "messages[0].text"),
        ({"role": "tool", "text": "hi"}, "messages[0].role"),
        ({"role": "User", "text": "hi"}, "messages[0].role"),
        ({"role": "", "text": "hi"}, "messages[0].role"),
        ({"role": None, "text": "hi"}, "messages[0].role"),
        ({"role": ["user"], "text": "hi"}, "messages[0].role"),
        ({"role": "\ud800", "text": "hi"}, "messages[0].role"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "text": "hi", "name": "x"}, "messages[0]"),
        ({1: 2}, "messages[0]"),
        ({"\ud800": 2}, "messages[0]"),
        ({"role": "user", "toolCallList": 5}, "messages[0]"),
        ({"role": "user", "toolCallList": {"toolCalls": [{"functionCall": {"name": 5}}]}}, "messages[0]"),
        ({"role": "tool", "toolResultList": {"toolResults": []}}, "messages[0].role"),
        (Message("user"), "messages[0].text"),
        (Message("robot", "hi"), "messages[0].role"),
        (Message("user", 5), "messages[0].text"),  # type: ignore[arg-type]
        (Message(None, "hi"), "messages[0].role"),  # type: ignore[arg-type]
        (Message("user", "hi", (ToolCall("f", {}),)), "messages[0]"),
        (Message("user", "", (ToolCall("f", {}),), (ToolResult("f", ""),)), "messages[0]"),
        (Message("user", "", (ToolCall("f", {"a": 1}), ToolCall(5, {}))), "messages[0].tool_calls[1].name"),  # type: ignore[arg-type]
        (Message("user", "", (ToolCall("f", [("a", 1)]),)), "messages[0].tool_calls[0].arguments"),  # type: ignore[arg-type]
        (Message("user", "", ({"name": "f"},)), "messages[0].tool_calls[0]"),  # type: ignore[arg-type]
        (Message("user", "", ToolCall("f", {})), "messages[0].tool_calls"),  # type: ignore[arg-type]
        (Message("user", "", 5), "messages[0].tool_calls"),  # type: ignore[arg-type]
        (Message("user", "", (), (ToolResult("f", 5),)), "messages[0].tool_results[0].content"),  # type: ignore[arg-type]
        (Message("user", "", (), (ToolResult("\ud800", ""),)), "messages[0].tool_results[0].name"),
        (Message("user", "", (), ({"name": "f"},)), "messages[0].tool_results[0]"),  # type: ignore[arg-type]
        (Message("robot", "", (ToolCall("f", {}),)), "messages[0].role"),
        (Message(5, "", (ToolCall("f", {}),)), "messages[0].role"),  # type: ignore[arg-type]
        (ProtoMessage(text="hi"), "messages[0].role"),
        (ProtoMessage(role="user"), "messages[0].text"),
        (ProtoMessage(role="user", text=""), "messages[0].text"),
        (_pb.text_common_pb2.Tool(), "messages[0]"),
    ],
)
def test_a_wrong_message_is_refused_by_the_name_of_its_part(wrong: Any, field: str) -> None:
    refused(field, lambda: to_messages([wrong]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, b"x", {1}, object(), "\ud800", {1: 2}])
def test_arguments_that_json_has_not_are_refused(value: Any) -> None:
    arguments = {"outer": [{"inner": value}]}
    call = Message("assistant", tool_calls=(ToolCall("f", arguments),))
    refused("messages[0].tool_calls[0].arguments", lambda: to_messages(call))
    json = {
        "role": "assistant",
        "toolCallList": {"toolCalls": [{"functionCall": {"name": "f", "arguments": arguments}}]},
    }
    refused("messages[0]", lambda: to_messages(json))


@pytest.mark.parametrize(("system", "reported"), [("", "''"), (5, "5"), (b"x", "b'x'"), ("\ud800", r"'\ud800'")])
def test_a_wrong_system_message_is_refused(system: Any, reported: str) -> None:
    assert refused("system", lambda: to_messages("hi", system)).value == reported


# The model


@pytest.mark.parametrize(
    ("model", "folder_id", "uri"),
    [
        ("yandexgpt", "b1g", "gpt://b1g/yandexgpt/latest"),
        ("yandexgpt/rc", "b1g", "gpt://b1g/yandexgpt/rc"),
        ("yandexgpt-lite/latest", "b1g", "gpt://b1g/yandexgpt-lite/latest"),
        ("qwen3-235b-a22b-fp8", "b1g", "gpt://b1g/qwen3-235b-a22b-fp8/latest"),
        ("gpt://other/yandexgpt/rc", "b1g", "gpt://other/yandexgpt/rc"),
        ("gpt://other/yandexgpt/rc", None, "gpt://other/yandexgpt/rc"),
        ("ds://bt1", None, "ds://bt1"),
        ("emb://b1g/text-search-doc/latest", None, "emb://b1g/text-search-doc/latest"),
    ],
)
def test_a_model_is_a_name_or_a_uri(model: str, folder_id: str | None, uri: str) -> None:
    assert messages.model_uri(model, folder_id) == uri
    assert request(model=model, folder_id=folder_id).model_uri == uri
    assert tokenize_request("hi", model=model, folder_id=folder_id).model_uri == uri


@pytest.mark.parametrize(
    "model",
    [
        "",
        "/",
        "/rc",
        "yandexgpt/",
        "a/b/c",
        "yandex gpt",
        "yandexgpt\n",
        " yandexgpt",
        "\ud800",
        "gpt://\ud800",
        None,
        5,
        b"y",
    ],
)
def test_a_model_that_is_neither_is_refused(model: Any) -> None:
    refused("model", lambda: messages.model_uri(model, "b1g"))
    refused("model", lambda: request(model=model))
    refused("model", lambda: tokenize_request("hi", model=model, folder_id="b1g"))


def test_a_name_without_a_folder_is_a_matter_of_settings() -> None:
    with pytest.raises(ConfigError, match="model 'yandexgpt' needs a folder: give folder_id or set YC_FOLDER_ID"):
        request(folder_id=None)


# Options


def test_what_is_not_given_is_not_set() -> None:
    assert as_dict(request()) == {
        "model_uri": "gpt://b1g/yandexgpt/latest",
        "messages": [{"role": "user", "text": "hi"}],
        "completion_options": {},
    }


def test_all_options_reach_the_wire() -> None:
    asked = request(
        stream=True,
        system="be brief",
        temperature=0.25,
        max_tokens=2**63 - 1,
        reasoning_mode="ENABLED_HIDDEN",
        tools=[{"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}],
        tool_choice="f",
        parallel_tool_calls=False,
        json_object=True,
    )
    assert as_dict(asked) == {
        "model_uri": "gpt://b1g/yandexgpt/latest",
        "messages": [{"role": "system", "text": "be brief"}, {"role": "user", "text": "hi"}],
        "completion_options": {
            "stream": True,
            "temperature": 0.25,
            "max_tokens": str(2**63 - 1),
            "reasoning_options": {"mode": "ENABLED_HIDDEN"},
        },
        "tools": [{"function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}}],
        "tool_choice": {"function_name": "f"},
        "parallel_tool_calls": False,
        "json_object": True,
    }


@pytest.mark.parametrize("temperature", [0, 0.0, 1, 1.0, 5e-324, 0.3])
def test_temperatures_from_zero_to_one_are_taken(temperature: float) -> None:
    options = request(temperature=temperature).completion_options
    assert options.HasField("temperature")
    assert options.temperature.value == temperature


@pytest.mark.parametrize(
    "temperature",
    [-0.0001, 1.0001, math.nan, math.inf, -math.inf, 2, -1, 10**400, HUGE, "0.5", b"1", True, [0.5], Decimal("1.5")],
)
def test_other_temperatures_are_refused(temperature: Any) -> None:
    assert "from 0 to 1" in refused("temperature", lambda: request(temperature=temperature)).allowed


@pytest.mark.parametrize("max_tokens", [1, 2000, 2**63 - 1])
def test_limits_above_zero_are_taken(max_tokens: int) -> None:
    assert request(max_tokens=max_tokens).completion_options.max_tokens.value == max_tokens


@pytest.mark.parametrize("max_tokens", [0, -1, 2**63, HUGE, 1.0, math.nan, "5", True, b"5", [5]])
def test_other_limits_are_refused(max_tokens: Any) -> None:
    refused("max_tokens", lambda: request(max_tokens=max_tokens))


@pytest.mark.parametrize("mode", ["DISABLED", "ENABLED_HIDDEN"])
def test_reasoning_is_switched_by_name(mode: Any) -> None:
    options = _pb.text_common_pb2.ReasoningOptions
    assert options.ReasoningMode.Name(request(reasoning_mode=mode).completion_options.reasoning_options.mode) == mode


@pytest.mark.parametrize("mode", ["", "disabled", "REASONING_MODE_UNSPECIFIED", 1, True, ["DISABLED"], "\ud800"])
def test_other_modes_are_refused(mode: Any) -> None:
    refused("reasoning_mode", lambda: request(reasoning_mode=mode))


@pytest.mark.parametrize("name", ["parallel_tool_calls", "json_object"])
@pytest.mark.parametrize("value", [0, 1, "", "yes", 1.0, [], ManyLines()])
def test_flags_are_flags(name: str, value: Any) -> None:
    refused(name, lambda: request(**{name: value}))


@pytest.mark.parametrize("value", [True, False])
def test_flags_are_set_where_they_are_given(value: bool) -> None:
    asked = request(parallel_tool_calls=value)
    assert asked.HasField("parallel_tool_calls")
    assert asked.parallel_tool_calls.value == value
    asked = request(json_object=value)
    assert asked.WhichOneof("ResponseFormat") == "json_object"
    assert asked.json_object == value


# Tools


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True},
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}},
        MappingProxyType({"name": "f", "description": "d", "parameters": MappingProxyType(SCHEMA), "strict": True}),
    ],
)
def test_a_tool_is_a_dict(tool: Mapping[str, Any]) -> None:
    for tools in ([tool], (tool,), iter([tool])):
        (found,) = request(tools=tools).tools
        assert as_dict(found) == {"function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}}


def test_a_tool_is_a_name_at_least() -> None:
    (found,) = request(tools=[{"name": "f"}]).tools
    assert as_dict(found) == {"function": {"name": "f", "parameters": {}}}


def test_a_tool_may_be_a_proto() -> None:
    tool = _pb.text_common_pb2.Tool(function=_pb.text_common_pb2.FunctionTool(name="f"))
    assert list(request(tools=[tool]).tools) == [tool]


@pytest.mark.parametrize("tools", [None, [], ()])
def test_no_tools_are_no_tools(tools: Any) -> None:
    assert not request(tools=tools).tools


@pytest.mark.parametrize("tools", [5, True, object, _pb.text_common_pb2.Tool()])
def test_tools_are_a_sequence(tools: Any) -> None:
    refused("tools", lambda: request(tools=tools))


@pytest.mark.parametrize(
    ("tool", "field"),
    [
        ("f", "tools[1]"),
        (None, "tools[1]"),
        ({}, "tools[1]"),
        ({"name": ""}, "tools[1]"),
        ({"name": "f", "color": "red"}, "tools[1]"),
        ({1: 2}, "tools[1]"),
        ({"function": {}}, "tools[1]"),
        ({"function": None}, "tools[1].function"),
        ({"function": "f"}, "tools[1].function"),
        ({"function": ["name"]}, "tools[1].function"),
        ({"name": 5}, "tools[1].name"),
        ({"name": "\ud800"}, "tools[1].name"),
        ({"name": "f", "description": None}, "tools[1].description"),
        ({"name": "f", "description": "\udfff"}, "tools[1].description"),
        ({"name": "f", "parameters": None}, "tools[1].parameters"),
        ({"name": "f", "parameters": "{}"}, "tools[1].parameters"),
        ({"name": "f", "parameters": {"a": b"x"}}, "tools[1].parameters"),
        ({"name": "f", "parameters": {"a": math.nan}}, "tools[1].parameters"),
        ({"name": "f", "parameters": {"a": 10**400}}, "tools[1].parameters"),
        ({"name": "f", "strict": "yes"}, "tools[1].strict"),
        ({"name": "f", "strict": None}, "tools[1].strict"),
        (_pb.text_common_pb2.Message(), "tools[1]"),
    ],
)
def test_a_wrong_tool_is_refused_by_the_name_of_its_part(tool: Any, field: str) -> None:
    refused(field, lambda: request(tools=[{"name": "first"}, tool]))


@pytest.mark.parametrize("mode", ["NONE", "AUTO", "REQUIRED"])
def test_the_choice_of_a_tool_is_a_mode(mode: str) -> None:
    modes = _pb.text_common_pb2.ToolChoice.ToolChoiceMode
    assert modes.Name(request(tool_choice=mode).tool_choice.mode) == mode


def test_the_choice_of_a_tool_is_one_of_those_given() -> None:
    tools = [{"name": "f"}, {"name": "g"}]
    assert request(tools=tools, tool_choice="g").tool_choice.function_name == "g"
    error = refused("tool_choice", lambda: request(tools=tools, tool_choice="h"))
    assert str(error) == "tool_choice is 'h': it takes one of 'NONE', 'AUTO', 'REQUIRED', 'f', 'g'"


@pytest.mark.parametrize("choice", ["", "auto", "\ud800", 5, ["AUTO"], {"mode": "AUTO"}, ManyLines()])
def test_other_choices_are_refused(choice: Any) -> None:
    refused("tool_choice", lambda: request(tool_choice=choice))


def test_the_name_of_a_tool_may_be_anything_in_an_error() -> None:
    error = refused("tool_choice", lambda: request(tools=[{"name": "a\nb"}], tool_choice="h"))
    assert r"'a\nb'" in error.allowed


# The shape of the answer


def test_a_json_schema_is_a_struct() -> None:
    asked = request(json_schema=SCHEMA)
    assert asked.WhichOneof("ResponseFormat") == "json_schema"
    assert as_dict(asked.json_schema.schema) == SCHEMA


def test_an_empty_json_schema_is_sent() -> None:
    asked = request(json_schema={})
    assert asked.WhichOneof("ResponseFormat") == "json_schema"
    assert asked.json_schema.HasField("schema")


def nested(depth: int) -> dict[str, Any]:
    """A dict in a dict in a dict."""
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def endless() -> dict[str, Any]:
    """A dict that holds itself."""
    value: dict[str, Any] = {}
    value["a"] = value
    return value


@pytest.mark.parametrize(
    "schema",
    ["{}", 5, [1], {"a": {1, 2}}, {"a": math.inf}, {1: "a"}, nested(1000), nested(50_000), endless()],
    ids=type,
)
def test_other_schemas_are_refused(schema: Any) -> None:
    refused("json_schema", lambda: request(json_schema=schema))


def test_an_answer_has_one_shape() -> None:
    refused("json_object", lambda: request(json_object=True, json_schema={}))
    assert request(json_object=False, json_schema={}).WhichOneof("ResponseFormat") == "json_schema"


# Tokens


def test_a_text_to_count_may_be_empty() -> None:
    assert tokenize_request("", model="yandexgpt", folder_id="b1g").text == ""


@pytest.mark.parametrize("text", [None, 5, b"hi", ["hi"], "\ud800"])
def test_other_texts_to_count_are_refused(text: Any) -> None:
    refused("text", lambda: tokenize_request(text, model="yandexgpt", folder_id="b1g"))


# Anything at all


texts = st.text() | st.text(st.characters(exclude_categories=()), max_size=20)
"""Texts, halves of surrogate pairs included."""

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(2**63)
    | st.just(-(10**400))
    | st.floats(allow_nan=True, allow_infinity=True)
    | texts
    | st.binary(max_size=20)
    | st.just(10**4000)
    | st.builds(ManyLines)
)
anything = st.recursive(
    scalars | st.builds(object),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(texts | st.integers(), children, max_size=4)
        | st.tuples(children)
    ),
    max_leaves=12,
)
calls = st.builds(ToolCall, anything, anything)
results = st.builds(ToolResult, anything, anything)
roles = st.sampled_from(["user", "assistant", "system"]) | anything
message = (
    anything
    | texts
    | st.fixed_dictionaries({"role": roles, "text": texts | anything})
    | st.fixed_dictionaries(
        {"role": roles},
        optional={
            "toolCallList": st.fixed_dictionaries(
                {"toolCalls": st.lists(st.fixed_dictionaries({"functionCall": anything}), max_size=2) | anything}
            ),
            "toolResultList": anything,
        },
    )
    | st.builds(
        Message,
        roles,
        texts | st.just("") | anything,
        st.just(()) | st.lists(calls, max_size=2).map(tuple) | anything,
        st.just(()) | st.lists(results, max_size=2).map(tuple) | anything,
    )
    | st.builds(ProtoMessage, role=st.sampled_from(["user", "assistant", "other"]), text=st.text())
)
tool = anything | st.fixed_dictionaries(
    {"name": texts | anything},
    optional={"description": anything, "parameters": anything, "strict": anything, "other": anything},
)
arguments = st.fixed_dictionaries(
    {"messages": st.lists(message, max_size=3) | message},
    optional={
        "model": texts | anything,
        "folder_id": st.none(),
        "stream": st.booleans(),
        "system": texts | anything,
        "temperature": anything,
        "max_tokens": anything,
        "reasoning_mode": st.sampled_from(["DISABLED", "ENABLED_HIDDEN"]) | anything,
        "tools": st.lists(tool, max_size=2) | anything,
        "tool_choice": st.sampled_from(["AUTO", "NONE"]) | anything,
        "parallel_tool_calls": anything,
        "json_object": anything,
        "json_schema": anything,
    },
)


@given(arguments)
@example({"messages": "hi", "json_schema": {"a": -(10**400)}})
def test_anything_gives_a_request_or_one_of_two_errors(given_arguments: dict[str, Any]) -> None:
    try:
        asked = request(**given_arguments)
    except (RequestError, ConfigError) as error:
        assert len(str(error).splitlines()) == 1
        return
    assert CompletionRequest.FromString(asked.SerializeToString()) == asked
    assert asked.model_uri
    assert asked.messages
    assert {proto.role for proto in asked.messages} <= {"system", "user", "assistant"}
    json_format.MessageToDict(asked)


@given(messages=st.lists(message, min_size=1, max_size=3) | message, system=st.none() | texts | anything)
def test_any_messages_give_protos_or_an_error(messages: Any, system: Any) -> None:
    try:
        protos = to_messages(messages, system)
    except RequestError as error:
        assert error.field.startswith(("messages", "system"))
        assert len(str(error).splitlines()) == 1
        return
    for proto in protos:
        assert ProtoMessage.FromString(proto.SerializeToString()) == proto


@given(texts.filter(bool))
def test_any_text_is_a_message(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        refused("messages[0].text", lambda: to_messages(text))
    else:
        assert to_messages(text)[0].text == text


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**53), 2**53)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_any_json_object_is_a_schema_and_comes_back(schema: dict[str, Any]) -> None:
    asked = CompletionRequest.FromString(request(json_schema=schema).SerializeToString())
    assert as_dict(asked.json_schema.schema) == schema


# Messages of another pool


@pytest.fixture(scope="module")
def foreign() -> Callable[[str], Any]:
    """Makes message classes of a pool that has nothing to do with ours, from the same definitions."""
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()

    def add(file: Any) -> None:
        if file.name not in added:
            added.add(file.name)
            for dependency in file.dependencies:
                add(dependency)
            pool.AddSerializedFile(file.serialized_pb)

    def make(full_name: str) -> Any:
        add(_pb.POOL.FindMessageTypeByName(full_name).file)
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(full_name))

    return make


FOREIGN_MESSAGE = "yandex.cloud.ai.foundation_models.v1.Message"


def test_a_message_of_another_pool_is_converted(foreign: Callable[[str], Any]) -> None:
    theirs = foreign(CompletionRequest.DESCRIPTOR.full_name)
    assert theirs is not CompletionRequest
    original = request(["a", Message("assistant", "b")], temperature=0.5, json_schema=SCHEMA)
    given_message = theirs.FromString(original.SerializeToString())
    assert not isinstance(given_message, CompletionRequest)
    converted = convert(CompletionRequest, given_message)
    assert type(converted) is CompletionRequest
    assert converted == original


def test_fields_that_are_not_known_survive_the_conversion(foreign: Callable[[str], Any]) -> None:
    unknown = b"\xa2\x06\x03new"
    theirs = foreign(FOREIGN_MESSAGE).FromString(ProtoMessage(role="user").SerializeToString() + unknown)
    assert unknown in convert(ProtoMessage, theirs).SerializeToString()


def test_our_own_message_is_given_back() -> None:
    ours = ProtoMessage(role="user", text="hi")
    assert convert(ProtoMessage, ours) is ours


@pytest.mark.parametrize("wrong", [None, "CompletionRequest", str])
def test_what_is_no_class_of_messages_is_no_target(wrong: Any) -> None:
    assert "class of protobuf messages" in str(refused("target", lambda: convert(wrong, ProtoMessage())))


def test_messages_of_another_pool_are_messages(foreign: Callable[[str], Any]) -> None:
    theirs = foreign(FOREIGN_MESSAGE)(role="user", text="hi")
    assert to_messages(theirs) == to_messages([theirs]) == [ProtoMessage(role="user", text="hi")]
    tool = foreign("yandex.cloud.ai.foundation_models.v1.Tool")()
    tool.function.name = "f"
    assert request(tools=[tool]).tools[0].function.name == "f"


def test_a_struct_of_the_installed_package_is_ours_by_name() -> None:
    struct = installed_struct.Struct()
    struct.update({"a": 1})
    assert as_dict(convert(_pb.struct_pb2.Struct, struct)) == {"a": 1.0}


def test_another_message_is_refused_by_both_names(foreign: Callable[[str], Any]) -> None:
    for wrong in (foreign(FOREIGN_MESSAGE)(role="user"), ProtoMessage(role="user")):
        error = refused("message", lambda wrong=wrong: convert(CompletionRequest, wrong))  # type: ignore[misc]
        assert str(error) == f"message is {FOREIGN_MESSAGE!r}: it takes a {CompletionRequest.DESCRIPTOR.full_name}"


@pytest.mark.parametrize("wrong", [None, "hi", b"", 5, {}, ProtoMessage, object()])
def test_what_is_no_message_is_refused(wrong: Any) -> None:
    error = refused("message", lambda: convert(ProtoMessage, wrong))
    assert error.value == repr(type(wrong).__name__)


def test_bytes_that_do_not_parse_are_refused() -> None:
    file = json_format.ParseDict(
        {
            "name": "other.proto",
            "package": "yandex.cloud.ai.foundation_models.v1",
            "syntax": "proto3",
            "messageType": [
                {
                    "name": "Message",
                    "field": [{"name": "role", "number": 1, "type": "TYPE_BYTES", "label": "LABEL_OPTIONAL"}],
                }
            ],
        },
        _pb.descriptor_pb2.FileDescriptorProto(),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    other: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName(FOREIGN_MESSAGE))
    error = refused("message", lambda: convert(ProtoMessage, other(role=b"\xff")))
    assert "do not parse" in error.allowed
    assert error.__cause__ is not None
    refused("messages[0]", lambda: to_messages(other(role=b"\xff")))


# Values


def test_values_are_values() -> None:
    assert Message("user", "hi") == Message(role="user", text="hi")
    assert hash(Message("user", "hi")) == hash(Message("user", "hi"))
    assert ToolCall("f", {"a": 1}) == ToolCall("f", {"a": 1})
    with pytest.raises(AttributeError):
        Message("user").role = "assistant"  # type: ignore[misc]

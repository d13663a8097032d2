"""Answers as Python values: what is read from a proto, and what is no result."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yagrpc import _pb
from yagrpc._services.text import ChunkReader
from yagrpc.errors import ResultError
from yagrpc.messages import Message, ToolCall, ToolResult, to_messages
from yagrpc.results import Alternative, Chunk, Completion, CompletionStatus, Token, Tokens, Usage

Make = Callable[..., Any]


def asking(**arguments: Any) -> Any:
    """An assistant's message that asks for one function."""
    message = _pb.text_common_pb2.Message(role="assistant")
    call = message.tool_call_list.tool_calls.add().function_call
    call.name = "weather"
    call.arguments.update(arguments)
    return message


def of(*alternatives: Any, **fields: Any) -> Any:
    """A response of the model."""
    return _pb.text_generation_service_pb2.CompletionResponse(alternatives=alternatives, **fields)


def alternative(message: Any = None, status: Any = 3) -> Any:
    """One alternative."""
    return _pb.text_common_pb2.Alternative(message=message, status=status)


# Completion


def test_a_completion_is_a_view_of_its_proto(completion: Make) -> None:
    proto = completion("Быть")
    found = Completion(proto)
    assert found.proto is proto
    assert found.text == "Быть"
    assert found.message == Message("assistant", "Быть")
    assert found.tool_calls == ()
    assert found.status is CompletionStatus.FINAL
    assert found.alternatives == (Alternative(Message("assistant", "Быть"), CompletionStatus.FINAL),)
    assert found.usage == Usage(input_text_tokens=20, completion_tokens=7, total_tokens=27, reasoning_tokens=3)
    assert found.model_version == "09.02.2025"


def test_what_the_service_leaves_out_is_empty() -> None:
    found = Completion(of(alternative(_pb.text_common_pb2.Message(role="assistant", text="x"))))
    assert found.usage == Usage(0, 0, 0, 0)
    assert found.model_version == ""


def test_all_alternatives_are_to_be_had() -> None:
    texts = [_pb.text_common_pb2.Message(role="assistant", text=text) for text in "ab"]
    found = Completion(of(alternative(texts[0], 3), alternative(texts[1], 2)))
    assert [(one.message.text, one.status) for one in found.alternatives] == [("a", 3), ("b", 2)]
    assert found.text == "a"
    assert found.status is CompletionStatus.FINAL


@pytest.mark.parametrize("status", list(CompletionStatus))
def test_every_status_has_its_name(status: CompletionStatus, completion: Make) -> None:
    found = Completion(completion("x", status=int(status)))
    assert found.status is status
    names = {int(number): name for name, number in _pb.text_common_pb2.Alternative.AlternativeStatus.items()}
    name = names[status.value]
    assert name.removeprefix("ALTERNATIVE_STATUS_") == status.name


def test_the_statuses_are_those_of_the_proto() -> None:
    values = [int(value) for value in _pb.text_common_pb2.Alternative.AlternativeStatus.values()]
    assert sorted(values) == sorted(status.value for status in CompletionStatus)


@pytest.mark.parametrize("number", [6, 99, 2**31 - 1, -1])
def test_a_status_that_is_not_known_is_a_number(number: int, completion: Make) -> None:
    found = Completion(completion("x", status=number))
    assert type(found.status) is int
    assert found.status == number
    assert found.alternatives[0].status == number
    assert repr(found) == f"Completion(text='x', status={number}, model_version='09.02.2025')"


def test_no_alternative_is_no_result() -> None:
    with pytest.raises(ResultError, match="the completion has no alternatives"):
        Completion(of())


@pytest.mark.parametrize("message", [None, _pb.text_common_pb2.Message(role="assistant")])
@pytest.mark.parametrize("status", [0, 3, 6])
def test_a_finished_answer_without_content_is_no_result(message: Any, status: int) -> None:
    with pytest.raises(ResultError, match="neither text nor tool calls"):
        Completion(of(alternative(message, status)))


@pytest.mark.parametrize("status", [1, 2, 4, 5])
def test_a_partial_or_filtered_answer_may_be_without_content(status: int) -> None:
    found = Completion(of(alternative(None, status)))
    assert (found.text, found.message) == ("", Message(""))
    assert found.status == status


def test_an_empty_text_is_content() -> None:
    assert Completion(of(alternative(_pb.text_common_pb2.Message(text="")))).text == ""


def test_tool_calls_are_values() -> None:
    found = Completion(of(alternative(asking(city="Омск", days=3, deep={"a": [None, True]}), 5)))
    assert found.tool_calls == (ToolCall("weather", {"city": "Омск", "days": 3.0, "deep": {"a": [None, True]}}),)
    assert found.text == ""
    assert found.message.tool_calls == found.tool_calls


def test_an_answer_can_be_sent_back() -> None:
    proto = asking(city="Омск")
    assert to_messages(Completion(of(alternative(proto, 5))).message) == [proto]


def test_tool_results_are_values() -> None:
    message = _pb.text_common_pb2.Message(role="user")
    result = message.tool_result_list.tool_results.add().function_result
    result.name, result.content = "weather", "cold"
    assert Completion(of(alternative(message))).message == Message(
        "user", tool_results=(ToolResult("weather", "cold"),)
    )


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_arguments_that_json_has_not_are_no_result(number: float) -> None:
    found = Completion(of(alternative(asking(days=number), 5)))
    assert "TOOL_CALLS" in repr(found)
    with pytest.raises(ResultError, match="the arguments of a tool call are no JSON"):
        _ = found.tool_calls


def test_a_value_without_a_kind_is_null() -> None:
    message = asking()
    _ = message.tool_call_list.tool_calls[0].function_call.arguments.fields["a"]
    assert Completion(of(alternative(message, 5))).tool_calls[0].arguments == {"a": None}


def test_equal_answers_are_equal(completion: Make) -> None:
    assert Completion(completion("x")) == Completion(completion("x"))
    assert Completion(completion("x")) != Completion(completion("y"))
    assert Completion(completion("x")) != Chunk(completion("x"))
    assert Completion(completion("x")) != "x"
    with pytest.raises(TypeError, match="unhashable"):
        hash(Completion(completion("x")))


@given(text=st.text(st.characters(codec="utf-8")))
def test_a_repr_is_one_line(text: str, completion: Make) -> None:
    for found in (Completion(completion(text)), Chunk(completion(text))):
        assert len(repr(found).splitlines()) == 1


def test_a_repr_says_what_it_is(completion: Make) -> None:
    expected = "(text='a\\nb', status=PARTIAL, model_version='09.02.2025')"
    assert repr(Completion(completion("a\nb", status=1))) == f"Completion{expected}"
    assert repr(Chunk(completion("a\nb", status=1))) == f"Chunk{expected}"


@pytest.mark.parametrize("again", [lambda value: pickle.loads(pickle.dumps(value)), copy.copy, copy.deepcopy])
def test_values_survive_pickling_and_copying(again: Callable[[Any], Any], completion: Make) -> None:
    tokens = _pb.text_generation_service_pb2.TokenizeResponse(tokens=[_pb.text_common_pb2.Token(id=1, text="x")])
    answer = Completion(completion("x"))
    assert again(answer) == answer
    assert again(answer).usage == answer.usage
    chunk = Chunk(completion("to be"), "to bite")
    assert (again(chunk), again(chunk).delta, again(chunk).kept, again(chunk).revised) == (chunk, "e", 4, True)
    assert list(again(Tokens(tokens))) == [Token(1, "x", False)]
    message = Completion(of(alternative(asking(a=1), 5))).message
    assert again(message) == message


# Chunk


@given(before=st.text(alphabet="ab\N{SNOWMAN}", max_size=40), after=st.text(alphabet="ab\N{SNOWMAN}", max_size=40))
def test_chunk_has_the_whole_text_and_the_new_part(before: str, after: str, completion: Make) -> None:
    chunk = Chunk(completion(after), before)
    assert chunk.text == after == before[: chunk.kept] + chunk.delta
    assert chunk.revised == (not after.startswith(before))
    assert 0 <= chunk.kept <= min(len(before), len(after))
    longer = chunk.kept + 1
    assert longer > min(len(before), len(after)) or before[:longer] != after[:longer]


@given(texts=st.lists(st.text(alphabet="ab ", max_size=12), max_size=12))
def test_a_reader_of_chunks_has_the_text_at_every_step(texts: list[str], completion: Make) -> None:
    read, shown = ChunkReader(), ""
    for text in texts:
        chunk = read(completion(text, status=1))
        shown = shown[: chunk.kept] + chunk.delta
        assert shown == chunk.text == text


def test_a_growing_text_is_given_in_parts(completion: Make) -> None:
    read = ChunkReader()
    deltas = [read(completion(text)).delta for text in ("To", "To be", "To be", "To be!")]
    assert deltas == ["To", " be", "", "!"]


def test_the_first_chunk_is_all_new(completion: Make) -> None:
    chunk = Chunk(completion("To be"))
    assert (chunk.kept, chunk.delta, chunk.revised) == (0, "To be", False)


def test_a_text_that_shrinks_is_revised(completion: Make) -> None:
    chunk = Chunk(completion("To"), "To be")
    assert (chunk.kept, chunk.delta, chunk.revised) == (2, "", True)


def test_a_chunk_without_alternatives_is_no_result() -> None:
    with pytest.raises(ResultError):
        ChunkReader()(of())


# Tokens


def test_tokens_are_counted_and_listed() -> None:
    protos = [_pb.text_common_pb2.Token(id=3, text="To", special=False), _pb.text_common_pb2.Token(id=1, special=True)]
    proto = _pb.text_generation_service_pb2.TokenizeResponse(tokens=protos, model_version="v")
    tokens = Tokens(proto)
    assert len(tokens) == 2
    assert list(tokens) == list(tokens) == [Token(3, "To", False), Token(1, "", True)]
    assert tokens.model_version == "v"
    assert tokens.proto is proto
    assert repr(tokens) == "Tokens(2, model_version='v')"


def test_no_tokens_are_no_error() -> None:
    tokens = Tokens(_pb.text_generation_service_pb2.TokenizeResponse())
    assert (len(tokens), list(tokens)) == (0, [])

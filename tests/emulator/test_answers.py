"""Answers without a script: their content, and how they are counted, cut and streamed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yagrpc import _pb
from yagrpc.emulator import MODEL_VERSION
from yagrpc.emulator.answers.completion import compose, partials

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Response, Service

ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

STATUS = _pb.text_common_pb2.Alternative
Choice = _pb.text_common_pb2.ToolChoice
Mode = _pb.text_common_pb2.ReasoningOptions
TextOf = Callable[["Response"], str]

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "numbers": {"type": "array", "items": {"type": "integer"}}},
    "required": ["title", "numbers"],
}


def tool(name: str) -> _pb.text_common_pb2.Tool:
    built = _pb.text_common_pb2.Tool(function=_pb.text_common_pb2.FunctionTool(name=name))
    built.function.parameters.update(SCHEMA)
    return built


def test_an_answer_quotes_the_last_user_text(service: Service, ask: Ask, text_of: TextOf) -> None:
    response = service.complete(ask(("system", "Be brief"), "first", ("assistant", "yes"), "second"))
    assert "second" in text_of(response)
    assert "first" not in text_of(response)
    assert "4 messages" in text_of(response)
    assert response.alternatives[0].message.role == "assistant"
    assert response.alternatives[0].status == STATUS.ALTERNATIVE_STATUS_FINAL
    assert response.model_version == MODEL_VERSION


def test_an_answer_without_any_user_quotes_the_last_message(service: Service, ask: Ask, text_of: TextOf) -> None:
    assert "only this" in text_of(service.complete(ask(("system", "only this"))))


def test_the_same_request_has_the_same_answer(service: Service, ask: Ask) -> None:
    assert service.complete(ask("ping")) == service.complete(ask("ping"))


def test_usage_agrees_with_the_tokenizer(service: Service, ask: Ask, text_of: TextOf) -> None:
    request = ask(("system", "Answer in\ntwo lines"), "Hello, world", tools=[tool("f")])
    response = service.complete(request)
    usage = response.usage
    assert usage.input_text_tokens == len(service.tokenizer.TokenizeCompletion(request).tokens)
    said = _pb.text_generation_service_pb2.TokenizeRequest(model_uri=request.model_uri, text=text_of(response))
    assert usage.completion_tokens == len(service.tokenizer.Tokenize(said).tokens)
    assert usage.total_tokens == usage.input_text_tokens + usage.completion_tokens
    assert usage.HasField("completion_tokens_details")
    assert usage.completion_tokens_details.reasoning_tokens == 0


def test_hidden_reasoning_is_counted(service: Service, ask: Ask) -> None:
    plain = service.complete(ask("ping")).usage
    request = ask("ping")
    request.completion_options.reasoning_options.mode = Mode.ENABLED_HIDDEN
    usage = service.complete(request).usage
    reasoning = usage.completion_tokens_details.reasoning_tokens
    assert reasoning > 0
    assert usage.completion_tokens == plain.completion_tokens + reasoning
    assert usage.total_tokens == usage.input_text_tokens + usage.completion_tokens


def test_max_tokens_cuts(service: Service, ask: Ask, text_of: TextOf) -> None:
    whole = service.complete(ask("ping"))
    request = ask("ping")
    request.completion_options.max_tokens.value = 5
    cut = service.complete(request)
    assert cut.alternatives[0].status == STATUS.ALTERNATIVE_STATUS_TRUNCATED_FINAL
    assert cut.usage.completion_tokens == 5
    assert text_of(whole).startswith(text_of(cut))
    assert text_of(whole) != text_of(cut)


def test_max_tokens_that_suffice_do_not_cut(service: Service, ask: Ask) -> None:
    whole = service.complete(ask("ping"))
    request = ask("ping")
    request.completion_options.max_tokens.value = whole.usage.completion_tokens
    assert service.complete(request) == whole


def test_a_stream_grows_to_the_whole_answer(service: Service, ask: Ask, text_of: TextOf) -> None:
    *growing, last = service.stream(ask("Tell me a story"))
    assert last == service.complete(ask("Tell me a story"))
    assert growing
    assert {response.alternatives[0].status for response in growing} == {STATUS.ALTERNATIVE_STATUS_PARTIAL}
    for before, after in itertools.pairwise([*growing, last]):
        assert text_of(after).startswith(text_of(before))
        assert len(text_of(after)) > len(text_of(before))
        assert after.usage.completion_tokens > before.usage.completion_tokens
        assert before.usage.total_tokens == before.usage.input_text_tokens + before.usage.completion_tokens


def test_a_stream_is_spread_over_the_time_that_it_takes(emulate: Emulate, ask: Ask) -> None:
    service = emulate(completion_duration=100, replies={"": "one two three four"})
    request = ask("count")
    request.completion_options.stream = True
    call = service.text.Completion(request)
    call.initial_metadata()
    said = []
    for _ in range(4):
        service.emulator.advance(25)
        said.append(next(call).alternatives[0].message.text)
    assert said == ["one", "one two", "one two three", "one two three four"]
    assert list(call) == []


@ANY_MACHINE
@given(said=st.text(min_size=1), hidden=st.booleans(), limit=st.none() | st.integers(1, 30))
def test_any_stream_is_bounded_and_counts_up(said: str, hidden: bool, limit: int | None, ask: Ask) -> None:
    request = ask(said)
    request.completion_options.reasoning_options.mode = Mode.ENABLED_HIDDEN if hidden else Mode.DISABLED
    if limit is not None:
        request.completion_options.max_tokens.value = limit
    final = compose(request)
    assert isinstance(final, _pb.text_generation_service_pb2.CompletionResponse)
    growing = partials(final)
    assert len(growing) < 20
    counts = [response.usage.completion_tokens for response in [*growing, final]]
    assert counts == sorted(set(counts))
    texts = [response.alternatives[0].message.text for response in [*growing, final]]
    assert all(after.startswith(before) for before, after in itertools.pairwise(texts))


def test_one_token_is_not_divided(service: Service, ask: Ask) -> None:
    request = ask("ping")
    request.completion_options.max_tokens.value = 1
    assert len(service.stream(request)) == 1


def test_a_json_object_quotes_the_text(service: Service, ask: Ask, text_of: TextOf) -> None:
    said = json.loads(text_of(service.complete(ask('say "hi"', json_object=True))))
    assert said == {"text": 'say "hi"', "messages": 1}


def test_json_object_false_asks_for_plain_text(service: Service, ask: Ask) -> None:
    assert service.complete(ask("ping", json_object=False)) == service.complete(ask("ping"))


def test_a_schema_is_followed(service: Service, ask: Ask, text_of: TextOf) -> None:
    request = ask("a book")
    request.json_schema.schema.update(SCHEMA)
    response = service.complete(request)
    assert json.loads(text_of(response)) == {"title": "a book", "numbers": []}
    assert response.usage.input_text_tokens > service.complete(ask("a book")).usage.input_text_tokens
    assert response.usage.input_text_tokens == len(service.tokenizer.TokenizeCompletion(request).tokens)


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        (Choice(mode=Choice.REQUIRED), "first"),
        (Choice(function_name="second"), "second"),
    ],
)
def test_a_call_that_the_request_requires_is_in_the_answer(
    service: Service, ask: Ask, choice: Any, called: str
) -> None:
    request = ask("a book", tools=[tool("first"), tool("second")], tool_choice=choice)
    for response in (service.complete(request), *service.stream(request)):
        (alternative,) = response.alternatives
        assert alternative.status == STATUS.ALTERNATIVE_STATUS_TOOL_CALLS
        assert alternative.message.WhichOneof("Content") == "tool_call_list"
        (call,) = alternative.message.tool_call_list.tool_calls
        assert call.function_call.name == called
        assert call.function_call.arguments["title"] == "a book"
        assert response.usage.completion_tokens > 0


def test_a_call_of_a_tool_without_a_schema_has_no_arguments(service: Service, ask: Ask) -> None:
    bare = _pb.text_common_pb2.Tool(function=_pb.text_common_pb2.FunctionTool(name="now"))
    request = ask("what time is it", tools=[bare], tool_choice=Choice(mode=Choice.REQUIRED))
    (call,) = service.complete(request).alternatives[0].message.tool_call_list.tool_calls
    assert call.function_call.HasField("arguments")
    assert not call.function_call.arguments.fields


@pytest.mark.parametrize("mode", [Choice.TOOL_CHOICE_MODE_UNSPECIFIED, Choice.NONE, Choice.AUTO])
def test_tools_may_be_left_alone(service: Service, ask: Ask, text_of: TextOf, mode: Any) -> None:
    request = ask("ping", tools=[tool("first")], tool_choice=Choice(mode=mode))
    assert "ping" in text_of(service.complete(request))


@pytest.mark.parametrize("mode", [Choice.TOOL_CHOICE_MODE_UNSPECIFIED, Choice.AUTO])
def test_a_tool_that_the_user_names_is_called(service: Service, ask: Ask, mode: Any) -> None:
    """So it was recorded: "do a SOMETHING with all the numbers" calls the tool `something`."""
    tools = [tool("first"), tool("second"), tool("third")]
    request = ask("do a FIRST, then the third thing", tools=tools, tool_choice=Choice(mode=mode))
    assert called_by(service.complete(request)) == ["first", "third"]
    request.parallel_tool_calls.value = False
    assert called_by(service.complete(request)) == ["first"]
    request.tool_choice.mode = Choice.NONE
    assert called_by(service.complete(request)) == []


def test_a_part_of_a_word_names_no_tool(service: Service, ask: Ask) -> None:
    assert called_by(service.complete(ask("unfirst, firstly", tools=[tool("first")]))) == []


def test_a_call_that_was_answered_is_not_repeated(service: Service, ask: Ask, text_of: TextOf) -> None:
    request = ask("first, please", tools=[tool("first")])
    request.messages.append(service.complete(request).alternatives[0].message)
    result = _pb.text_common_pb2.ToolResult(
        function_result=_pb.text_common_pb2.FunctionResult(name="first", content="20")
    )
    results = _pb.text_common_pb2.ToolResultList(tool_results=[result])
    request.messages.append(_pb.text_common_pb2.Message(role="user", tool_result_list=results))
    assert "20" in text_of(service.complete(request))


def called_by(response: Response) -> list[str]:
    """The tools that an answer calls; none if it is a text."""
    (alternative,) = response.alternatives
    calls = alternative.message.tool_call_list.tool_calls
    assert (alternative.status == STATUS.ALTERNATIVE_STATUS_TOOL_CALLS) == bool(calls)
    return [call.function_call.name for call in calls]


def test_the_results_of_a_call_are_read(service: Service, ask: Ask, text_of: TextOf) -> None:
    request = ask("a book", tools=[tool("first")], tool_choice=Choice(mode=Choice.REQUIRED))
    request.messages.append(service.complete(request).alternatives[0].message)
    result = _pb.text_common_pb2.ToolResult(
        function_result=_pb.text_common_pb2.FunctionResult(name="first", content="Moby Dick")
    )
    results = _pb.text_common_pb2.ToolResultList(tool_results=[result])
    request.messages.append(_pb.text_common_pb2.Message(role="user", tool_result_list=results))
    request.ClearField("tool_choice")
    response = service.complete(request)
    assert "Moby Dick" in text_of(response)
    assert "a book" in text_of(response)
    assert response.usage.input_text_tokens == len(service.tokenizer.TokenizeCompletion(request).tokens)

"""What is refused, with which code and text, and that the validation itself never fails."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.refusal import Refusal
from yagrpc.emulator.services import checks as validation

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused, Service

ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

Choice = _pb.text_common_pb2.ToolChoice
Options = _pb.text_common_pb2.CompletionOptions
Message = _pb.text_common_pb2.Message
Double = _pb.wrappers_pb2.DoubleValue
Int = _pb.wrappers_pb2.Int64Value


@pytest.mark.parametrize(
    "uri",
    [
        "gpt://b1gfolder/yandexgpt",
        "gpt://b1gfolder/yandexgpt-lite/rc",
        "gpt://b1gfolder/some-model-of-tomorrow/latest",
        "gpt://b1gfolder/yandexgpt-lite/latest@tamrsuffix",
        "gpt://yc.fomo.storage.prod.service/yandexgpt-lite/rc@tamrsuffix",
        "gpt://b1gfolder/gemma-3-12b-it/",
    ],
)
def test_a_model_uri_of_the_grammar_is_taken(service: Service, ask: Ask, uri: str) -> None:
    assert service.complete(ask("ping", model_uri=uri))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "invalid model_uri"),
        ("yandexgpt", "Failed to parse model URI"),
        ("gpt:///yandexgpt", "Failed to parse model URI"),
        ("gpt://b1gfolder", "Failed to parse model URI"),
        ("gpt://b1gfolder/", "Failed to parse model URI"),
        ("gpt://b1gfolder//latest", "Failed to parse model URI"),
        ("gpt://b1gfolder/yandexgpt/latest/more", "Failed to parse model URI"),
        ("gpt://b1gfolder/yandexgpt/latest\n", "Failed to parse model URI"),
        ("gpt://b1g folder/yandexgpt", "Failed to parse model URI"),
        ("://b1gfolder/yandexgpt", "Failed to parse model URI"),
        ("emb://b1gfolder/text-search-doc/latest", "Failed to get model emb://b1gfolder/text-search-doc/latest"),
        ("art://b1gfolder/yandex-art", "Failed to get model art://b1gfolder/yandex-art"),
    ],
)
def test_another_model_uri_is_refused(service: Service, ask: Ask, refused: Refused, uri: str, message: str) -> None:
    request = ask("ping", model_uri=uri)
    tokenize = _pb.text_generation_service_pb2.TokenizeRequest(model_uri=uri, text="ping")
    for method, sent in (
        (service.text.Completion, request),
        (service.text_async.Completion, request),
        (service.tokenizer.TokenizeCompletion, request),
        (service.tokenizer.Tokenize, tokenize),
    ):
        refusal = refused(method, sent)
        assert (refusal.code, refusal.message) == (grpc.StatusCode.INVALID_ARGUMENT, message)
        assert refusal.status is None


def bad(**fields: Any) -> dict[str, Any]:
    return {"messages": [Message(role="user", text="ping")], **fields}


def tool(name: str) -> _pb.text_common_pb2.Tool:
    return _pb.text_common_pb2.Tool(function=_pb.text_common_pb2.FunctionTool(name=name))


REFUSED = {
    "no messages": (bad(messages=[]), "messages"),
    "unknown role": (bad(messages=[Message(role="bot", text="ping")]), "role"),
    "no role": (bad(messages=[Message(text="ping")]), "role"),
    "no content": (bad(messages=[Message(role="user", text="ping"), Message(role="user")]), "messages[1]"),
    "empty text": (
        bad(messages=[Message(role="user", text="")]),
        "text length is 0, which is outside the range (0, 100000]",
    ),
    "long text": (
        bad(messages=[Message(role="user", text="x" * 349_354)]),
        "text length is 349354, which is outside the range (0, 100000]",
    ),
    "hot": (bad(completion_options=Options(temperature=Double(value=1.01))), "temperature"),
    "cold": (bad(completion_options=Options(temperature=Double(value=-0.01))), "temperature"),
    "no temperature at all": (bad(completion_options=Options(temperature=Double(value=math.nan))), "temperature"),
    "nothing to say": (bad(completion_options=Options(max_tokens=Int(value=0))), "max_tokens"),
    "less than nothing": (bad(completion_options=Options(max_tokens=Int(value=-1))), "max_tokens"),
    "no such tool": (bad(tools=[tool("a")], tool_choice=Choice(function_name="b")), "'b'"),
    "no tools": (bad(tool_choice=Choice(mode=Choice.REQUIRED)), "tool_choice"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_request_that_breaks_a_rule_is_refused(service: Service, ask: Ask, refused: Refused, case: str) -> None:
    fields, words = REFUSED[case]
    request = _pb.text_generation_service_pb2.CompletionRequest(model_uri="gpt://b1gfolder/yandexgpt", **fields)
    for method in (
        service.text.Completion,
        service.text_async.Completion,
        service.tokenizer.TokenizeCompletion,
    ):
        refusal = refused(method, request)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert words in refusal.message
    refusals = service.emulator.refusals
    assert refusals[paths.COMPLETION, grpc.StatusCode.INVALID_ARGUMENT] == 1
    assert refusals[paths.COMPLETION_ASYNC, grpc.StatusCode.INVALID_ARGUMENT] == 1


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_bounds_are_allowed(service: Service, ask: Ask, temperature: float) -> None:
    options = Options(temperature=Double(value=temperature), max_tokens=Int(value=1))
    assert service.complete(ask("ping", completion_options=options))


def test_the_longest_text_has_100_000_characters(service: Service) -> None:
    def request(text: str) -> _pb.text_generation_service_pb2.TokenizeRequest:
        return _pb.text_generation_service_pb2.TokenizeRequest(model_uri="gpt://b1gfolder/yandexgpt", text=text)

    assert len(service.tokenizer.Tokenize(request("я" * 100_000)).tokens) > 1000


@pytest.mark.parametrize("text", ["", "x" * 100_001])
def test_a_text_to_tokenize_has_the_same_bounds(service: Service, refused: Refused, text: str) -> None:
    request = _pb.text_generation_service_pb2.TokenizeRequest(model_uri="gpt://b1gfolder/yandexgpt", text=text)
    refusal = refused(service.tokenizer.Tokenize, request)
    assert f"text length is {len(text)}, which is outside the range (0, 100000]" in refusal.message


def test_input_tokens_are_capped_by_mode(service: Service, ask: Ask, refused: Refused) -> None:
    template = len(service.tokenizer.TokenizeCompletion(ask("a")).tokens) - 1
    for method, cap in ((service.text.Completion, 8192), (service.text_async.Completion, 32_000)):
        # One token for each sign, in texts below the limit of one text.
        assert method(ask("!" * (cap - template)))
        refusal = refused(method, ask("!" * (cap - template + 1)))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.message == f"number of input tokens must be no more than {cap}, got {cap + 1}"


def test_a_request_of_any_size_can_be_tokenized(service: Service, ask: Ask) -> None:
    assert len(service.tokenizer.TokenizeCompletion(ask("!" * 40_000)).tokens) > 40_000


def test_requests_above_the_default_message_size_arrive(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    request = ask(*["я" * 100_000] * 30)
    assert request.ByteSize() > 4 * 1024 * 1024
    assert "number of input tokens" in refused(emulate().text_async.Completion, request).message


texts = st.text(max_size=20)
structs = st.dictionaries(texts, st.floats() | texts | st.booleans() | st.none(), max_size=3)
messages = st.builds(Message, role=texts) | st.builds(
    Message, role=st.sampled_from(validation.ROLES), text=texts | st.just("x" * 100_001)
)


@ANY_MACHINE
@given(
    uri=texts | st.just("gpt://b1gfolder/yandexgpt"),
    said=st.lists(messages, max_size=4),
    temperature=st.none() | st.floats(),
    limit=st.none() | st.integers(-(2**63), 2**63 - 1),
    mode=st.integers(-(2**31), 2**31 - 1),
    schema=structs,
    tools=st.lists(st.builds(tool, texts), max_size=2),
    cap=st.none() | st.integers(0, 100),
)
def test_validation_accepts_or_refuses_and_nothing_else(
    uri: str,
    said: list[Message],
    temperature: float | None,
    limit: int | None,
    mode: int,
    schema: dict[str, Any],
    tools: list[Any],
    cap: int | None,
) -> None:
    request = _pb.text_generation_service_pb2.CompletionRequest(model_uri=uri, messages=said, tools=tools)
    if temperature is not None:
        request.completion_options.temperature.value = temperature
    if limit is not None:
        request.completion_options.max_tokens.value = limit
    request.tool_choice.mode = mode  # type: ignore[assignment]
    request.json_schema.schema.update(schema)
    check(request, validation.MAX_TOKENIZED if cap is None else cap)


@ANY_MACHINE
@given(junk=st.binary(max_size=200))
def test_validation_takes_any_bytes_that_parse(junk: bytes) -> None:
    try:
        request = _pb.text_generation_service_pb2.CompletionRequest.FromString(junk)
    except DecodeError:
        return
    check(request, 10)


def check(request: _pb.text_generation_service_pb2.CompletionRequest, cap: int) -> None:
    refusal = None
    try:
        validation.check_completion(request, max_input_tokens=cap)
        validation.check_no_stream(request)
    except Refusal as error:
        refusal = error
    assert refusal is None or (refusal.code is grpc.StatusCode.INVALID_ARGUMENT and refusal.message)

"""Request messages: what is taken, what is refused, and what a stream of them remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from yagrpc import _pb, methods
from yagrpc._core.call.call import Call
from yagrpc._core.call.policy import policy_of
from yagrpc._core.call.requests import (
    AsyncRequestStream,
    RequestStream,
    check_completion,
    check_operation_id,
    checked_request,
    request_error,
)
from yagrpc.errors import RequestError

TOKENIZE = methods.TokenizerService.Tokenize
DEFERRED = methods.TextGenerationAsyncService.Completion
STREAMED = methods.TextGenerationService.Completion
TEXTS = _pb.text_generation_service_pb2


def words(text: str = "a") -> Any:
    return TEXTS.TokenizeRequest(text=text)


def completion(**fields: Any) -> Any:
    """A completion request that is right, but for some fields."""
    message = _pb.text_common_pb2.Message(role="user", text="hello")
    return TEXTS.CompletionRequest(**{"model_uri": "gpt://f/yandexgpt", "messages": [message], **fields})


def streaming() -> Any:
    return completion(completion_options={"stream": True})


def test_a_request_of_the_methods_class_is_taken_as_it_is() -> None:
    request = words()
    assert checked_request(TOKENIZE, request) is request
    assert checked_request(TOKENIZE, {"text": "a"}) == request
    with pytest.raises(RequestError):
        checked_request(TOKENIZE, completion())


def test_only_a_deferred_completion_has_no_stream() -> None:
    assert checked_request(STREAMED, streaming()).completion_options.stream  # type: ignore[attr-defined]
    assert checked_request(DEFERRED, completion())
    with pytest.raises(RequestError, match=r"completion_options\.stream .*asynchronous mode has no stream"):
        checked_request(DEFERRED, streaming())


@pytest.mark.parametrize("method", [methods.TextGenerationBatchService.Completion, TOKENIZE])
def test_methods_whose_paths_come_after_it_are_checked_for_their_class_alone(method: Any) -> None:
    assert method.path > DEFERRED.path
    assert checked_request(method, method.request_type()) == method.request_type()


def test_an_operation_id_is_a_text_that_can_be_sent() -> None:
    assert check_operation_id("d7q") == "d7q"
    for wrong in ("", "d 7q\n", "d" * 1000, None, b"d7q"):
        with pytest.raises(RequestError, match="operation_id"):
            check_operation_id(wrong)  # type: ignore[arg-type]


def test_a_completion_that_is_right_passes() -> None:
    check_completion(completion())
    check_completion(completion(completion_options={"temperature": {"value": 0.3}, "max_tokens": {"value": 100}}))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model_uri": ""}, "model_uri"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "text": "a"}, {"text": "b"}]}, r"messages\[1\]"),
        ({"completion_options": {"temperature": {"value": 7.0}}}, r"completion_options\.temperature"),
        ({"completion_options": {"max_tokens": {"value": 0}}}, r"completion_options\.max_tokens"),
    ],
)
def test_a_completion_that_the_service_refuses_is_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(RequestError, match=named):
        check_completion(completion(**fields))


# Streams


async def later(requests: list[Any]) -> AsyncIterator[Any]:
    for request in requests:
        yield request


def sent(stream: Any) -> list[Any]:
    """What a stream of requests gives, however it is read."""
    if isinstance(stream, RequestStream):
        return list(iter(stream))

    async def collected() -> list[Any]:
        return [message async for message in aiter(stream)]

    return asyncio.run(collected())


STREAMS: dict[str, Callable[[list[Any]], Any]] = {
    "blocking": lambda requests: RequestStream(TOKENIZE, requests),
    "asyncio": lambda requests: AsyncRequestStream(TOKENIZE, requests),
    "asynchronous": lambda requests: AsyncRequestStream(TOKENIZE, later(requests)),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_each_request_of_a_stream_is_checked_when_it_is_sent(kind: str) -> None:
    stream = STREAMS[kind]([words("a"), {"text": "b"}])
    assert sent(stream) == [words("a"), words("b")]
    assert stream.error is None


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_remembers_what_went_wrong(kind: str) -> None:
    stream = STREAMS[kind]([words(), completion()])
    with pytest.raises(RequestError) as caught:
        sent(stream)
    call: Call[Any, Any] = Call(TOKENIZE, policy_of(TOKENIZE), stream, None, (), "client-id")
    assert request_error(call) is stream.error is caught.value


def test_a_call_of_one_request_has_no_such_error() -> None:
    assert request_error(Call(TOKENIZE, policy_of(TOKENIZE), words(), None, (), "client-id")) is None


@pytest.mark.parametrize("kind", [RequestStream, AsyncRequestStream])
@pytest.mark.parametrize("given", [7, {"text": "a"}])
def test_what_is_no_stream_is_refused(kind: Any, given: Any) -> None:
    with pytest.raises(RequestError, match="it takes an iterable"):
        kind(TOKENIZE, given)


def endless() -> Iterator[Any]:
    while True:
        yield words()


def test_no_request_is_read_before_it_is_sent() -> None:
    stream = iter(RequestStream(TOKENIZE, endless()))
    assert [next(stream) for _ in range(3)] == [words()] * 3

"""Answers that the model did not finish: what shows them, and `strict`, which makes them errors."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import yagrpc
from yagrpc import _pb
from yagrpc.emulator import Emulator

Alternative = _pb.text_common_pb2.Alternative
FILTERED, TRUNCATED = Alternative.ALTERNATIVE_STATUS_CONTENT_FILTER, Alternative.ALTERNATIVE_STATUS_TRUNCATED_FINAL
ERRORS = {
    FILTERED: yagrpc.CompletionFilteredError,
    TRUNCATED: yagrpc.CompletionTruncatedError,
    Alternative.ALTERNATIVE_STATUS_PARTIAL: yagrpc.IncompleteCompletionError,
}


def reply(status: Any, text: str = "There is plenty on this in the search.") -> Any:
    response = _pb.text_generation_service_pb2.CompletionResponse()
    response.alternatives.add(status=status).message.text = text
    response.usage.total_tokens = 23
    return response


@pytest.fixture
def answering() -> Iterator[Callable[[Any], Emulator]]:
    """Starts an emulator that gives every completion one status."""
    started: list[Emulator] = []

    def start(status: Any) -> Emulator:
        emulator = Emulator(duration=0, replies={"": reply(status)})
        emulator.start()
        started.append(emulator)
        return emulator

    yield start
    for emulator in started:
        emulator.stop()


def wait(subject: Any, client: Any, **parameters: Any) -> Any:
    """The result of a submit."""
    return subject(subject(client.completion_async("hi", **parameters)).result())


def attach(subject: Any, client: Any) -> Any:
    """The result of an operation that is known by its id."""
    operation_id = subject(client.completion_async("hi")).id
    return subject(client.operation(operation_id).result())


def gathered(subject: Any, client: Any) -> Any:
    """The results of several operations."""
    operation = subject(client.completion_async("hi"))
    return subject(subject.in_loop(lambda: yagrpc.gather(operation)))[0]


def awaited(subject: Any, client: Any) -> Any:
    """The result of a future."""
    operation = subject(client.completion_async("hi"))
    future = subject.in_loop(operation.future)
    return future.result() if subject.kind == "sync" else subject(future)


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "completion": lambda subject, client: subject(client.completion("hi")),
    "completion_stream": lambda subject, client: subject(client.completion_stream("hi"))[-1],
    "completion_async": wait,
    "operation": attach,
    "gather": gathered,
    "future": awaited,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [FILTERED, TRUNCATED, Alternative.ALTERNATIVE_STATUS_FINAL])
def test_an_answer_shows_that_it_is_not_finished(subject: Any, answering: Any, status: Any, way: str) -> None:
    answer = WAYS[way](subject, subject.client(answering(status)))
    assert answer.text == "There is plenty on this in the search."
    assert (answer.filtered, answer.truncated) == (status == FILTERED, status == TRUNCATED)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", ERRORS)
def test_a_strict_client_raises(subject: Any, answering: Any, status: Any, way: str) -> None:
    client = subject.client(answering(status), strict=True)
    with pytest.raises(yagrpc.IncompleteCompletionError, match="tokens used: 23") as caught:
        WAYS[way](subject, client)
    error = pickle.loads(pickle.dumps(caught.value))
    assert type(error) is ERRORS[status]
    assert error.completion.text == "There is plenty on this in the search."
    assert error.usage.total_tokens == 23
    if way == "operation":  # another client may have submitted it
        assert error.operation_id
    else:
        assert error.client_request_id == error.completion.ids.client_request_id != ""
        assert bool(error.operation_id) == (way in ("completion_async", "gather", "future"))


@pytest.mark.parametrize("way", WAYS)
def test_a_strict_client_gives_what_is_finished(subject: Any, answering: Any, way: str) -> None:
    for status in (Alternative.ALTERNATIVE_STATUS_FINAL, Alternative.ALTERNATIVE_STATUS_TOOL_CALLS, 99):
        assert WAYS[way](subject, subject.client(answering(status), strict=True)).text


@pytest.mark.parametrize("method", ["completion", "completion_stream", "completion_async"])
def test_a_call_says_otherwise_than_its_client(subject: Any, answering: Any, method: str) -> None:
    emulator = answering(TRUNCATED)
    for strict in (True, False):
        client = subject.client(emulator, strict=not strict)
        given = subject(getattr(client, method)("hi", strict=strict) if method == "completion_async" else None)
        call = (
            given.result
            if given is not None
            else lambda client=client, strict=strict: getattr(client, method)("hi", strict=strict)
        )
        if strict:
            with pytest.raises(yagrpc.CompletionTruncatedError):
                subject(call())
        else:
            subject(call())


def test_a_wait_says_otherwise_than_its_submit(subject: Any, answering: Any) -> None:
    client = subject.client(answering(FILTERED))
    lax, strict = subject(client.completion_async("hi")), subject(client.completion_async("hi", strict=True))
    with pytest.raises(yagrpc.CompletionFilteredError):
        subject(lax.result(strict=True))
    assert subject(lax.result()).filtered
    assert subject(strict.result(strict=False)).filtered
    with pytest.raises(yagrpc.CompletionFilteredError):
        subject(strict.result())


def test_a_strict_stream_gives_its_last_chunk_first(subject: Any, answering: Any) -> None:
    client = subject.client(answering(TRUNCATED))
    stream = client.completion_stream("hi", strict=True)
    while stream.last is None or not stream.last.truncated:
        subject.first(stream)
    with pytest.raises(yagrpc.CompletionTruncatedError) as caught:
        subject.first(stream)
    assert caught.value.completion is stream.last
    assert subject(stream) == []  # it is over, and stays so


def test_strict_is_true_or_false(subject: Any, answering: Any) -> None:
    client = subject.client(answering(FILTERED))
    with pytest.raises(yagrpc.ConfigError, match="strict is 1"):
        subject.client(strict=1)
    with pytest.raises(yagrpc.RequestError, match="strict is 'yes'"):
        subject(client.completion("hi", strict="yes"))
    operation = subject(client.completion_async("hi"))
    with pytest.raises(yagrpc.RequestError, match="strict is 1"):
        subject(operation.result(strict=1))
    assert len(subject(client.tokenize_completion("hi", strict=True)))


def test_strict_is_refused_where_it_can_not_be_checked(subject: Any, answering: Any) -> None:
    client = subject.client(answering(FILTERED))
    request = _pb.text_generation_service_pb2.CompletionRequest(model_uri="gpt://folder/yandexgpt/latest")
    request.messages.add(role="user", text="hi")
    operation = subject(client.call(yagrpc.methods.TextGenerationAsyncService.Completion, request))
    with pytest.raises(yagrpc.RequestError, match="completions of completion_async"):
        subject(operation.result(strict=True))
    assert subject(operation.result()).usage.total_tokens == 23

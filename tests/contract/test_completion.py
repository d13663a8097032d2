"""Synchronous completions, streams and the tokenizer, on both clients."""

from __future__ import annotations

import asyncio
import functools
import signal
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb
from yagrpc.emulator import Emulator, Failure, paths


def test_a_completion_answers_its_request(subject: Any, client: Any, emulator: Emulator) -> None:
    completion = subject(
        client.completion(
            "To be, or not to be", system="Translate", model="yandexgpt/rc", temperature=0, max_tokens=900
        )
    )
    assert "To be, or not to be" in completion.text
    assert completion.status is yagrpc.CompletionStatus.FINAL
    assert completion.message == yagrpc.Message("assistant", completion.text)
    assert completion.usage.total_tokens == completion.usage.input_text_tokens + completion.usage.completion_tokens
    sent: Any = emulator.requests[-1].request
    assert sent.model_uri == "gpt://folder/yandexgpt/rc"
    assert [(message.role, message.text) for message in sent.messages] == [
        ("system", "Translate"),
        ("user", "To be, or not to be"),
    ]
    assert sent.completion_options.HasField("temperature")
    assert sent.completion_options.temperature.value == 0
    assert sent.completion_options.max_tokens.value == 900
    assert not sent.completion_options.stream


def test_what_is_not_given_is_not_sent(subject: Any, client: Any, emulator: Emulator) -> None:
    subject(client.completion("hello"))
    sent: Any = emulator.requests[-1].request
    assert sent.model_uri == "gpt://folder/yandexgpt/latest"
    assert sent.completion_options == _pb.text_common_pb2.CompletionOptions()


def test_a_stream_grows_and_its_deltas_make_the_text(subject: Any, client: Any) -> None:
    stream = client.completion_stream("Tell me about platypuses at some length, please")
    chunks = subject(stream)
    assert len(chunks) > 2
    text = ""
    for chunk in chunks:
        assert chunk.text == text[: chunk.kept] + chunk.delta
        assert not chunk.revised
        text = chunk.text
    assert {chunk.status for chunk in chunks[:-1]} == {yagrpc.CompletionStatus.PARTIAL}
    assert chunks[-1].status is yagrpc.CompletionStatus.FINAL
    assert stream.last is chunks[-1]
    assert subject(stream) == []  # it has ended, and stays so


def test_stream_text_that_changes_is_reported(subject: Any, served: Any) -> None:
    def completion(request: Any, context: Any) -> Iterator[Any]:
        yield _response("The platypus is a fish", 1)
        yield _response("The platypus is a mammal", 3)

    client = subject.client(endpoint=served.start(completion=completion).address, plaintext=True)
    first, second = subject(client.completion_stream("What is a platypus?"))
    assert (first.delta, first.revised) == ("The platypus is a fish", False)
    assert (second.delta, second.revised, second.kept) == ("mammal", True, len("The platypus is a "))


def test_closing_a_stream_ends_the_call(subject: Any, served: Any) -> None:
    ended = []

    def completion(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(lambda: ended.append(context.is_active()))
        number = 0
        while context.is_active():
            number += 1
            yield _response("word " * number, 1)

    client = subject.client(endpoint=served.start(completion=completion).address, plaintext=True)
    stream = client.completion_stream("Go on for ever")
    assert subject.first(stream).text == "word "
    subject(stream.close())
    subject(stream.close())
    assert subject(stream) == []
    served.server.stop(None).wait()
    assert ended == [False]


def test_leaving_the_with_block_closes_a_stream(subject: Any, client: Any) -> None:
    stream = client.completion_stream("hello, this is a longer text")
    if subject.kind == "sync":
        with stream as entered:
            next(entered)
    else:

        async def enter() -> None:
            async with stream as entered:
                await entered.__anext__()

        subject(enter())
    assert subject(stream) == []


def test_a_stream_that_breaks_keeps_what_it_had(subject: Any, served: Any) -> None:
    def completion(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield _response("half a", 1)
        context.abort(grpc.StatusCode.UNAVAILABLE, "going down")

    client = subject.client(endpoint=served.start(completion=completion).address, plaintext=True)
    stream = client.completion_stream("hello")
    assert subject.first(stream).text == "half a"
    with pytest.raises(yagrpc.UnavailableError, match="going down"):
        subject.first(stream)
    assert stream.last.text == "half a"
    assert served.calls == ["completion"]  # a generation is not sent again


class Slow:
    """A completion whose first message comes when the test lets it."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.sent = threading.Event()
        self.gone = threading.Event()

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(self.gone.set)
        self.sent.set()
        self.go.wait(10)
        yield _response("at last", 1)


async def test_a_stream_whose_opening_was_cancelled_is_not_sent_again(served: Any) -> None:
    slow = Slow()
    address = served.start(completion=slow).address
    key = yagrpc.ApiKey("secret")
    async with yagrpc.AsyncClient(endpoint=address, plaintext=True, folder_id="f", credentials=key) as client:
        stream = client.completion_stream("hello")
        task = asyncio.ensure_future(anext(stream))
        await asyncio.to_thread(slow.sent.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        slow.go.set()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert served.calls == ["completion"]


def test_a_stream_whose_opening_was_interrupted_is_not_sent_again(served: Any) -> None:
    slow, main = Slow(), threading.get_ident()

    def interrupt() -> None:
        slow.sent.wait(10)
        signal.pthread_kill(main, signal.SIGINT)

    address = served.start(completion=slow).address
    key = yagrpc.ApiKey("secret")
    with yagrpc.Client(endpoint=address, plaintext=True, folder_id="f", credentials=key) as client:
        stream = client.completion_stream("hello")
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            next(stream)
        thread.join()
        assert slow.gone.wait(10)
        slow.go.set()
        with pytest.raises(StopIteration):
            next(stream)
    assert served.calls == ["completion"]


def test_a_stream_that_is_read_twice_at_once_is_sent_once(subject: Any, served: Any) -> None:
    slow = Slow()
    client = subject.client(endpoint=served.start(completion=slow).address, plaintext=True)
    stream = client.completion_stream("hello")

    def too_early() -> Any:
        if subject.kind == "sync":
            slow.sent.wait(10)
            try:
                return next(stream)
            finally:
                slow.go.set()
        return too_early_too()

    async def too_early_too() -> Any:
        await asyncio.to_thread(slow.sent.wait, 10)
        try:
            return await anext(stream)
        finally:
            slow.go.set()

    first = functools.partial(next if subject.kind == "sync" else anext, stream)
    chunk, refused = subject.together([first, too_early])
    assert chunk.text == "at last"
    assert isinstance(refused, RuntimeError)
    assert served.calls == ["completion"]


@pytest.mark.parametrize("sizes", [[5000], [10, 5000]], ids=["first", "second"])
def test_a_message_that_cannot_be_given_ends_the_call(sizes: list[int], subject: Any, served: Any) -> None:
    gone = threading.Event()

    def completion(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(gone.set)
        for size in sizes:
            yield _response("x" * size, 1)
        gone.wait(10)

    options = [("grpc.max_receive_message_length", 1000)]
    address = served.start(completion=completion).address
    client = subject.client(endpoint=address, plaintext=True, channel_options=options)
    stream = client.completion_stream("hello")
    with pytest.raises(yagrpc.MessageTooLargeError):
        subject(stream)
    assert client.limits.concurrent_completions.used == 0
    assert gone.wait(5)
    assert subject(stream) == []


def test_a_whole_answer_that_breaks_may_be_billed(subject: Any, served: Any) -> None:
    def completion(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield _response("half a", 1)
        context.abort(grpc.StatusCode.UNAVAILABLE, "going down")

    client = subject.client(endpoint=served.start(completion=completion).address, plaintext=True)
    with pytest.raises(yagrpc.AmbiguousSubmitError, match="going down") as caught:
        subject(client.completion("hello"))
    assert isinstance(caught.value.__cause__, yagrpc.UnavailableError)
    assert isinstance(caught.value.__cause__.__cause__, grpc.RpcError)
    assert served.calls == ["completion"]


def test_a_stream_closed_before_its_start_sends_nothing(subject: Any, client: Any, emulator: Emulator) -> None:
    stream = client.completion_stream("hello")
    subject(stream.close())
    assert subject(stream) == []
    assert not emulator.calls


def test_no_answer_is_not_an_empty_success(subject: Any, served: Any) -> None:
    client = subject.client(endpoint=served.start(completion=lambda request, context: iter(())).address, plaintext=True)
    for call in (client.completion, client.completion_stream):
        with pytest.raises(yagrpc.ResultError, match="without a completion") as caught:
            subject(call("hello"))
        error = caught.value
        assert (error.endpoint, error.attempts) == (served.address, 1)
        assert error.client_request_id


def test_a_stream_of_any_other_call_may_be_empty(subject: Any, served: Any) -> None:
    served.start(completion=lambda request, context: iter(()))
    client = subject.client(endpoint=served.address, plaintext=True)
    assert subject(client.call(yagrpc.methods.TextGenerationService.Completion, {})) == []


def test_an_answer_without_alternatives_is_not_an_empty_success(subject: Any, served: Any) -> None:
    empty = _pb.text_generation_service_pb2.CompletionResponse(model_version="1")
    served.start(completion=lambda request, context: iter([empty]))
    client = subject.client(endpoint=served.address, plaintext=True)
    with pytest.raises(yagrpc.ResultError, match="no alternatives") as caught:
        subject(client.completion("hello"))
    assert (caught.value.endpoint, caught.value.attempts) == (served.address, 1)


def test_tool_calls_and_their_results_make_a_dialogue(subject: Any, client: Any, emulator: Emulator) -> None:
    tool = {"name": "weather", "description": "Weather of a place", "parameters": {"type": "object"}}
    asked = subject(client.completion("Weather in Omsk?", tools=[tool], tool_choice="weather"))
    assert asked.status is yagrpc.CompletionStatus.TOOL_CALLS
    (call,) = asked.tool_calls
    assert call.name == "weather"
    answer = yagrpc.Message("user", tool_results=(yagrpc.ToolResult(call.name, "-30"),))
    reported = subject(client.completion(["Weather in Omsk?", asked.message, answer], tools=[tool]))
    assert reported.status is yagrpc.CompletionStatus.FINAL
    sent: Any = emulator.requests[-1].request
    assert [message.WhichOneof("Content") for message in sent.messages] == [
        "text",
        "tool_call_list",
        "tool_result_list",
    ]
    assert sent.messages[2].tool_result_list.tool_results[0].function_result.content == "-30"


def test_a_json_schema_is_followed(subject: Any, client: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert '"n"' in subject(client.completion("a number", json_schema=schema)).text


def test_tokens_are_counted_as_they_are_billed(subject: Any, client: Any) -> None:
    tokens = subject(client.tokenize("one two three"))
    assert len(tokens) == len(list(tokens)) > 0
    whole = subject(client.tokenize_completion("one two three", system="Count"))
    assert len(whole) == subject(client.completion("one two three", system="Count")).usage.input_text_tokens


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, yagrpc.PermissionDeniedError),
        (grpc.StatusCode.FAILED_PRECONDITION, yagrpc.FailedPreconditionError),
        (grpc.StatusCode.INTERNAL, yagrpc.AmbiguousSubmitError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, yagrpc.SubmitTimeoutError),
    ],
)
def test_a_refusal_is_an_error_of_its_status(subject: Any, code: grpc.StatusCode, error: type[Exception]) -> None:
    with Emulator(replies={"refuse": Failure(code, "as reported")}) as emulator:
        client = subject.client(emulator)
        with pytest.raises(error) as caught:
            subject(client.completion("refuse this", request_id="mine"))
        reported: Any = caught.value
        assert (reported.message, reported.method, reported.endpoint) == (
            "as reported",
            paths.COMPLETION,
            emulator.address,
        )
        assert reported.client_request_id == "mine"
        reported = reported if isinstance(reported, yagrpc.CallError) else reported.__cause__
        # grpc.aio drops the headers of a streamed call whose status arrives right behind them.
        assert reported.request_id or subject.kind == "aio"
        assert emulator.calls[paths.COMPLETION] == 1  # never sent twice: it may be billed


def test_the_service_says_who_is_not_let_in(subject: Any) -> None:
    with Emulator(auth="present") as emulator:
        client = subject.client(emulator, credentials=yagrpc.NoCredentials())
        with pytest.raises(yagrpc.UnauthenticatedError, match="has to be passed") as caught:
            subject(client.completion("hello"))
        assert any(detail["@type"].endswith("google.rpc.RequestInfo") for detail in caught.value.details)
        assert "hello" in subject(subject.client(emulator).completion("hello")).text


@pytest.mark.parametrize(
    "credentials", [yagrpc.ApiKey("abc"), yagrpc.IamToken("t1.abc"), yagrpc.IamToken(lambda: "t1.x")]
)
def test_credentials_go_into_the_metadata(subject: Any, emulator: Emulator, credentials: yagrpc.Credentials) -> None:
    subject(subject.client(emulator, credentials=credentials).tokenize("a"))
    assert emulator.requests[-1].metadata["authorization"] == credentials.authorization()


def test_what_every_call_takes_reaches_the_service(subject: Any, client: Any, emulator: Emulator) -> None:
    subject(client.tokenize("a", metadata={"x-folder-id": "f2"}, request_id="r1", data_logging=False, timeout=5))
    metadata = emulator.requests[-1].metadata
    assert metadata["x-folder-id"] == "f2"
    assert metadata["x-client-request-id"] == "r1"
    assert metadata["x-data-logging-enabled"] == "false"
    assert str(metadata["user-agent"]).startswith(f"yagrpc/{yagrpc.__version__} python/3.")
    subject(client.tokenize("a", metadata=[("authorization", "Bearer other")]))
    assert emulator.requests[-1].metadata["authorization"] == "Bearer other"
    assert "x-data-logging-enabled" not in emulator.requests[-1].metadata


def test_a_client_can_ask_for_no_logging_once_for_all(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, data_logging=False)
    subject(client.tokenize("a"))
    assert emulator.requests[-1].metadata["x-data-logging-enabled"] == "false"
    subject(client.tokenize("a", data_logging=True))
    assert emulator.requests[-1].metadata["x-data-logging-enabled"] == "true"


def test_every_call_has_an_id_of_its_own(subject: Any, client: Any, emulator: Emulator) -> None:
    for _ in range(3):
        subject(client.tokenize("a"))
    assert len({received.metadata["x-client-request-id"] for received in emulator.requests}) == 3


def test_a_read_is_repeated_until_it_gets_through(subject: Any, served: Any) -> None:
    def tokenize(request: Any, context: grpc.ServicerContext) -> Any:
        if len(served.calls) < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return _pb.text_generation_service_pb2.TokenizeResponse(tokens=[_pb.text_common_pb2.Token(id=7, text="a")])

    client = subject.client(endpoint=served.start(tokenize=tokenize).address, plaintext=True)
    assert list(subject(client.tokenize("a"))) == [yagrpc.Token(7, "a", False)]
    assert served.calls == ["tokenize"] * 3


def test_the_timeout_is_over_all_attempts(subject: Any, served: Any) -> None:
    served.start(tokenize=lambda request, context: context.abort(grpc.StatusCode.UNAVAILABLE, "never"))
    client = subject.client(endpoint=served.address, plaintext=True)
    # Five attempts, and the pauses between them, take more. On a busy machine the last attempt's answer may not be
    # there in time, or its request may not leave.
    with pytest.raises((yagrpc.UnavailableError, yagrpc.DeadlineExceededError)) as caught:
        subject(client.tokenize("a", timeout=1.5))
    assert 1 <= len(served.calls) <= caught.value.attempts < 5


def test_a_call_ends_at_its_timeout(subject: Any) -> None:
    with Emulator(completion_duration=3600.0) as emulator:
        client = subject.client(emulator)
        with pytest.raises(yagrpc.SubmitTimeoutError) as caught:
            subject(client.completion("slow", timeout=0.2))
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value.__cause__, yagrpc.DeadlineExceededError)


def _response(text: str, status: int) -> _pb.text_generation_service_pb2.CompletionResponse:
    return _pb.text_generation_service_pb2.CompletionResponse(
        alternatives=[{"message": {"role": "assistant", "text": text}, "status": status}]  # type: ignore[list-item]
    )


def test_closing_the_client_ends_a_generation_that_may_have_run(subject: Any) -> None:
    asked = threading.Event()

    def reply(request: Any) -> None:
        asked.set()

    with Emulator(completion_duration=3600.0, replies=reply) as emulator:
        client = subject.client(emulator)

        def close() -> Any:
            if subject.kind == "sync":
                assert asked.wait(10)
                return client.close()

            async def closing() -> None:
                assert await asyncio.to_thread(asked.wait, 10)
                await client.close()

            return closing()

        outcome, _ = subject.together([lambda: client.completion("hello", request_id="mine"), close])
    assert isinstance(outcome, yagrpc.AmbiguousSubmitError)
    assert outcome.client_request_id == "mine"

"""Mistakes of people who know Python, and other clients: each is an error that says what to write, or is taken."""

from __future__ import annotations

import asyncio
import copy
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb, methods
from yagrpc.emulator import Emulator, paths

TOKENIZE = {"modelUri": "gpt://folder/yandexgpt/latest", "text": "hello world"}
COMPLETION = {"modelUri": "gpt://folder/yandexgpt/latest", "messages": [{"role": "user", "text": "hi"}]}


# Methods by name, and requests as dicts


@pytest.mark.parametrize(
    "method", ["TokenizerService/Tokenize", paths.TOKENIZE, paths.TOKENIZE[1:], methods.TokenizerService.Tokenize]
)
@pytest.mark.parametrize("request_", [TOKENIZE, {"model_uri": "gpt://folder/yandexgpt/latest", "text": "hello world"}])
def test_a_method_has_a_name_and_a_request_may_be_a_dict(
    subject: Any, client: Any, method: Any, request_: dict[str, Any]
) -> None:
    answer = subject(client.call(method, request_))
    assert type(answer) is methods.TokenizerService.Tokenize.response_type
    assert len(answer.tokens) == 2


def test_a_name_gives_what_its_method_gives(subject: Any, client: Any, emulator: Emulator) -> None:
    operation = subject(client.call("TextGenerationAsyncService/Completion", COMPLETION))
    emulator.advance(3600)
    assert subject(operation.result(timeout=30)).alternatives[0].message.text
    streamed = {**COMPLETION, "completionOptions": {"stream": True}}
    assert len(subject(client.call("TextGenerationService/Completion", streamed))) > 2


def test_requests_of_a_stream_may_be_dicts(subject: Any) -> None:
    service = "yandex.cloud.ai.tests.v1.Uploads"
    request_type = methods.TokenizerService.Tokenize.request_type
    home = f"{request_type.__module__}:"
    upload = yagrpc.ClientStreamMethod[Any, Any](
        f"/{service}/Upload", request=f"{home}TokenizeRequest", response=f"{home}TokenizeRequest"
    )
    joined = grpc.stream_unary_rpc_method_handler(
        lambda requests, context: request_type(text=" ".join(request.text for request in requests)),
        request_type.FromString,
        request_type.SerializeToString,
    )
    from concurrent import futures

    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Upload": joined}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = subject.client(endpoint=f"127.0.0.1:{port}", plaintext=True)
    answer = subject(client.call(upload, [{"text": "hello"}, request_type(text="world")]))
    assert answer.text == "hello world"
    for wrong in ({"text": "hello"}, request_type(text="hello")):
        with pytest.raises(yagrpc.RequestError, match="streams its requests: it takes an iterable of them"):
            subject(client.call(upload, wrong))
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("method", "request_", "expected"),
    [
        ("TokenizerService/Tokenise", TOKENIZE, "method is .*: did you mean 'TokenizerService/Tokenize'"),
        ("nothing", TOKENIZE, "it takes a method of yagrpc.methods, or its name, such as 'TokenizerService/Tokenize'"),
        (methods.TokenizerService, TOKENIZE, "it takes a method of yagrpc.methods"),
        (None, TOKENIZE, "it takes a method of yagrpc.methods"),
        ("TokenizerService/Tokenize", {"txt": "hello"}, r"it takes a yandex\.\S+TokenizeRequest, .* named \"txt\""),
        ("TokenizerService/Tokenize", {"text": 5}, "or its JSON as a dict"),
        ("TokenizerService/Tokenize", {"text": ["a"]}, "or its JSON as a dict"),
        ("TokenizerService/Tokenize", "hello", "it takes a yandex"),
        (
            "TextGenerationAsyncService/Completion",
            {**COMPLETION, "completionOptions": {"stream": True}},
            "asynchronous mode has no stream",
        ),
    ],
)
def test_a_wrong_name_or_dict_is_refused(
    subject: Any, client: Any, emulator: Emulator, method: Any, request_: Any, expected: str
) -> None:
    with pytest.raises(yagrpc.RequestError, match=expected):
        subject(client.call(method, request_))
    assert not emulator.calls


# The messages of OpenAI's form


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "hi there"},
        {"role": "user", "content": "hi there", "refusal": None, "tool_calls": None, "annotations": []},
        {"role": "user", "content": [{"type": "text", "text": "hi there"}]},
        {"content": "hi there"},
    ],
)
def test_a_message_may_have_content_in_place_of_text(
    subject: Any, client: Any, emulator: Emulator, message: dict[str, Any]
) -> None:
    subject(client.completion([{"role": "system", "content": "be brief"}, {"role": "user", **message}]))
    subject(client.completion(message))
    for record in emulator.requests:
        sent: Any = record.request
        assert [(each.role, each.text) for each in sent.messages][-1] == ("user", "hi there")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": None}, r"messages\[0\]\.content is None: it takes a string"),
        ({"role": "user", "content": "a", "text": "b"}, r"messages\[0\]\.text is 'b': .* leave it out"),
        ({"role": "user", "content": "a", "name": "b"}, r"messages\[0\]\.name is 'b': .* leave it out"),
        ({"role": "assistant", "content": "", "tool_calls": [{}]}, r"tool_calls .* a Message\(..., tool_calls=...\)"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, r"content\[0\] .* images and sound"),
        ({"role": "developer", "content": "a"}, "it takes one of system, user, assistant"),
    ],
)
def test_what_content_can_not_hold_is_refused(
    subject: Any, client: Any, emulator: Emulator, message: Any, expected: str
) -> None:
    with pytest.raises(yagrpc.RequestError, match=expected):
        subject(client.completion(message))
    assert not emulator.calls


# Arguments of clients


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"api_key": "s3cr3t"}, r"write credentials=yagrpc\.ApiKey\('\.\.\.'\), or set YC_API_KEY"),
        ({"iam_token": "s3cr3t"}, r"write credentials=yagrpc\.IamToken"),
        ({"folder": "s3cr3t"}, "write folder_id="),
        ({"base_url": "s3cr3t"}, "write endpoint="),
        ({"timeout": 5}, "give it to each call"),
        ({"credential": "s3cr3t"}, "did you mean 'credentials'"),
        ({"zzz": "s3cr3t"}, "'zzz'$"),
    ],
)
@pytest.mark.parametrize("kind", [yagrpc.Client, yagrpc.AsyncClient])
def test_an_argument_that_no_client_has_says_what_to_write(kind: Any, settings: Any, expected: str) -> None:
    with pytest.raises(
        TypeError, match=rf"^{kind.__name__}\(\) got an unexpected keyword argument .*{expected}"
    ) as caught:
        kind(folder_id="b1g", **settings)
    assert "s3cr3t" not in variables(caught.value)


def variables(error: BaseException) -> str:
    """The variables of our frames, as crash reporters show them."""
    summary = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), capture_locals=True)
    return str([frame.locals for frame in summary if "/yagrpc/" in frame.filename.replace("\\", "/")])


# Operations


def test_operations_in_a_sequence_are_not_gathered(subject: Any, client: Any) -> None:
    operation = subject(client.completion_async("hi"))
    for given in ([operation], (operation, operation)):
        with pytest.raises(yagrpc.RequestError, match=r"write gather\(\*operations\)"):
            yagrpc.gather(given)  # type: ignore[call-overload]
    with pytest.raises(yagrpc.RequestError, match=r"write client\.operation\(id\)"):
        yagrpc.gather(operation.id)
    for function in (yagrpc.as_completed, yagrpc.wait):
        for wrong in (operation, operation.id):
            with pytest.raises(yagrpc.RequestError, match=r"it takes an iterable of operations: write \[operation"):
                function(wrong, operation)


def test_a_coroutine_is_to_be_awaited_first() -> None:
    async def forgotten() -> Any:
        raise AssertionError("it is not awaited")

    coroutine = forgotten()
    client = yagrpc.Client(folder_id="b1g", credentials=yagrpc.ApiKey("secret"))
    asks: list[Callable[[], object]] = [
        lambda: yagrpc.gather(coroutine),  # type: ignore[call-overload]
        lambda: yagrpc.as_completed([coroutine]),  # type: ignore[type-var]
        lambda: client.completion(coroutine),  # type: ignore[arg-type]
        lambda: client.completion("hi", system=coroutine),  # type: ignore[arg-type]
        lambda: client.operation(coroutine),  # type: ignore[call-overload]
        lambda: client.call("TokenizerService/Tokenize", coroutine),  # type: ignore[call-overload]
    ]
    for ask in asks:
        with pytest.raises(yagrpc.RequestError, match="this is a coroutine: await it, and give its result"):
            ask()
    coroutine.close()
    client.close()


def test_what_belongs_to_a_process_is_not_pickled(subject: Any, client: Any) -> None:
    operation = subject(client.completion_async("hi"))
    expected = rf"operation {operation.id} can't be pickled, .* pickle operation\.id, and write client\.operation\(id\)"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=expected):
            pickle.dumps(operation, protocol)
        with pytest.raises(TypeError, match="Client can't be pickled, since it has connections"):
            pickle.dumps(client, protocol)
        with pytest.raises(TypeError, match="Stream can't be pickled"):
            pickle.dumps(client.completion_stream("hi"), protocol)
    assert copy.copy(operation) is copy.deepcopy(operation) is operation


def test_operations_of_an_event_loop_say_where_none_runs(emulator: Emulator) -> None:
    async def submit() -> Any:
        client = yagrpc.AsyncClient(
            endpoint=emulator.address, plaintext=True, folder_id="b1g", credentials=yagrpc.NoCredentials()
        )
        return client, await client.completion_async("hi")

    loop = asyncio.new_event_loop()
    client, operation = loop.run_until_complete(submit())
    for ask in (
        lambda: yagrpc.gather(operation),
        operation.future,
        lambda: operation.add_done_callback(print),
    ):
        with pytest.raises(yagrpc.ConfigError, match="where no event loop runs: call it in a coroutine"):
            ask()
    loop.run_until_complete(client.close())
    loop.close()


# Streams


@pytest.mark.parametrize("ended", [True, False])
def test_a_stream_belongs_to_its_event_loop(served: Any, ended: bool) -> None:
    """Whether the other loop has ended or not."""

    def completion(request: Any, context: Any) -> Iterator[Any]:
        response = _pb.text_generation_service_pb2.CompletionResponse()
        response.alternatives.add(status=1).message.text = "To be"
        yield response
        yield response

    address = served.start(completion=completion).address

    async def opened() -> tuple[Any, Any]:
        client = yagrpc.AsyncClient(
            endpoint=address, plaintext=True, folder_id="b1g", credentials=yagrpc.NoCredentials()
        )
        stream = client.completion_stream("hi")
        assert (await anext(stream)).text == "To be"
        return client, stream

    async def read(stream: Any) -> None:
        with pytest.raises(yagrpc.ConfigError, match="opened in another event loop: read it there, or make the call"):
            await anext(stream)

    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    client, stream = first.run_until_complete(opened())
    if ended:
        first.run_until_complete(client.close())
        first.close()
    second.run_until_complete(read(stream))
    second.close()
    if not ended:
        first.run_until_complete(client.close())
        first.close()


# Names of numbers


def test_numbers_with_names_print_their_names(subject: Any, client: Any) -> None:
    completion = subject(client.completion("hi"))
    assert f"{completion.status}" == str(completion.status) == "CompletionStatus.FINAL"
    assert f"{completion.status:d}" == "3"
    assert (completion.status, f"{yagrpc.Code.NOT_FOUND}") == (3, "Code.NOT_FOUND")
    assert f"{yagrpc.Code.NOT_FOUND:>15}" == " Code.NOT_FOUND"

"""Bad input: one clear error of the right class, and nothing is sent."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from typing import Any

import pytest

import yagrpc
from yagrpc import _pb, methods
from yagrpc.emulator import Emulator, paths

HELLO = "hello"


@pytest.mark.parametrize(
    ("messages", "parameters", "field"),
    [
        ([], {}, "messages"),
        ("", {}, "messages[0].text"),
        ([{"role": "user", "text": ""}], {}, "messages[0].text"),
        ([HELLO, {"role": "robot", "text": "hi"}], {}, "messages[1].role"),
        ([HELLO, 5], {}, "messages[1]"),
        (None, {}, "messages"),
        ({"role": "user", "content": 5}, {}, "messages[0].content"),
        (HELLO, {"system": ""}, "system"),
        (HELLO, {"temperature": 2}, "temperature"),
        (HELLO, {"temperature": math.nan}, "temperature"),
        (HELLO, {"temperature": "warm"}, "temperature"),
        (HELLO, {"max_tokens": 0}, "max_tokens"),
        (HELLO, {"max_tokens": 1.5}, "max_tokens"),
        (HELLO, {"reasoning_mode": "LOUD"}, "reasoning_mode"),
        (HELLO, {"model": "a/b/c"}, "model"),
        (HELLO, {"tool_choice": "weather"}, "tool_choice"),
        (HELLO, {"tools": [{"name": "f", "parameters": {"x": object()}}]}, "tools[0].parameters"),
        (HELLO, {"json_object": True, "json_schema": {}}, "json_object"),
        (HELLO, {"timeout": -1}, "timeout"),
        (HELLO, {"timeout": "soon"}, "timeout"),
        (HELLO, {"metadata": {"Upper-Case": "x"}}, "metadata"),
        (HELLO, {"metadata": {"key": "new\nline"}}, "metadata"),
        (HELLO, {"metadata": ["pair"]}, "metadata"),
        (HELLO, {"metadata": {"x-bin": "text"}}, "metadata"),
        (HELLO, {"request_id": "two\nlines"}, "request_id"),
        (HELLO, {"stream": True}, "stream"),
    ],
)
@pytest.mark.parametrize("name", ["completion", "completion_stream", "completion_async", "tokenize_completion"])
def test_wrong_argument_is_reported_with_its_name(
    subject: Any, client: Any, emulator: Emulator, name: str, messages: Any, parameters: Any, field: str
) -> None:
    with pytest.raises(yagrpc.RequestError) as caught:
        subject(getattr(client, name)(messages, **parameters))
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field} is ")
    assert "\n" not in str(caught.value)
    assert not emulator.calls


def test_an_unknown_keyword_names_the_method_that_was_called(subject: Any, client: Any, emulator: Emulator) -> None:
    for name in ("completion", "completion_stream", "completion_async", "tokenize_completion"):
        with pytest.raises(TypeError) as caught:
            subject(getattr(client, name)(HELLO, temprature=1))
        said = f"{name}() got an unexpected keyword argument 'temprature': did you mean 'temperature'?"
        assert str(caught.value) == said
    with pytest.raises(TypeError) as caught:
        subject(client.tokenize(HELLO, temprature=1))
    assert str(caught.value) == "tokenize() got an unexpected keyword argument 'temprature'"
    with pytest.raises(TypeError) as caught:
        subject(client.call(methods.OperationService.Get, _pb.operation_service_pb2.GetOperationRequest(), timout=1))
    assert str(caught.value) == "call() got an unexpected keyword argument 'timout': did you mean 'timeout'?"
    with pytest.raises(TypeError) as caught:
        subject(client.operation("d7q").cancel(timout=1))
    assert str(caught.value) == "cancel() got an unexpected keyword argument 'timout': did you mean 'timeout'?"
    assert not emulator.calls


@pytest.mark.parametrize("flag", ["resubmit", "data_logging"])
def test_a_flag_that_is_none_is_refused_by_every_call(subject: Any, client: Any, emulator: Emulator, flag: str) -> None:
    get = _pb.operation_service_pb2.GetOperationRequest()
    calls: list[Callable[[], Any]] = [
        lambda: client.completion(HELLO, **{flag: "no"}),
        lambda: client.completion_stream(HELLO, **{flag: "no"}),
        lambda: client.completion_async(HELLO, **{flag: "no"}),
        lambda: client.tokenize(HELLO, **{flag: "no"}),
        lambda: client.tokenize_completion(HELLO, **{flag: "no"}),
        lambda: client.call(methods.OperationService.Get, get, **{flag: "no"}),
        lambda: client.operation("d7q").cancel(**{flag: "no"}),
    ]
    for call in calls:
        with pytest.raises(yagrpc.RequestError, match=f"^{flag} is 'no': it takes True or False$"):
            subject(call())
    assert not emulator.calls


def test_a_model_needs_a_folder(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, folder_id=None)
    with pytest.raises(yagrpc.ConfigError, match="'yandexgpt' needs a folder"):
        subject(client.completion(HELLO))
    assert not emulator.calls
    whole = "gpt://elsewhere/yandexgpt/latest"
    assert HELLO in subject(client.completion(HELLO, model=whole)).text
    assert emulator.requests[-1].request.model_uri == whole  # type: ignore[attr-defined]


def test_the_folder_comes_from_the_environment(
    subject: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YC_FOLDER_ID", "from-outside")
    subject(subject.client(emulator, folder_id=None).tokenize("a"))
    assert emulator.requests[-1].request.model_uri == "gpt://from-outside/yandexgpt/latest"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        ({"credentials": "mystery"}, "unknown shape"),
        ({"credentials": 5}, "credentials is a int"),
        ({"folder_id": "a/b"}, "folder_id is 'a/b'"),
        ({"folder_id": ""}, "folder_id is ''"),
        ({"endpoint": "https://llm.api"}, "host:port"),
        ({"endpoint": "llm.api"}, "host:port"),
        ({"endpoint": "host:99999"}, "host:port"),
        ({"operation_endpoint": ":443"}, "host:port"),
        ({"endpoint": "10.1.2.3:80", "plaintext": True}, "plaintext goes to loopback only"),
        ({"endpoint": "localhost:1", "operation_endpoint": "example.com:2", "plaintext": True}, "loopback only"),
        ({"plaintext": True}, "without an endpoint"),
    ],
)
def test_settings_that_can_not_work_are_refused_at_once(subject: Any, settings: Any, reported: str) -> None:
    with pytest.raises(yagrpc.ConfigError, match=reported):
        subject.client(**settings)


def test_the_emulator_of_the_environment_takes_everything(
    subject: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YAGRPC_EMULATOR_HOST", emulator.address)
    client = subject.client(folder_id=None, credentials=None)
    operation = subject(client.completion_async(HELLO))
    emulator.advance(3600)
    assert HELLO in subject(operation.result(timeout=10)).text
    subject(subject.client(credentials=yagrpc.ApiKey("AQVN-secret")).tokenize("a"))
    assert all("authorization" not in received.metadata for received in emulator.requests)


@pytest.mark.parametrize("address", ["example.com:443", "10.0.0.1:443", "nonsense"])
def test_an_emulator_elsewhere_is_refused(subject: Any, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("YAGRPC_EMULATOR_HOST", address)
    with pytest.raises(yagrpc.ConfigError, match="YAGRPC_EMULATOR_HOST is"):
        subject.client()


def test_an_emulator_elsewhere_can_be_forced(subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAGRPC_EMULATOR_HOST", "emulator.example:50051")
    monkeypatch.setenv("YAGRPC_EMULATOR_ANYWHERE", "1")
    assert subject.client()


@pytest.mark.parametrize("secret", ["AQVN-secret\n", " AQVN-secret", "Api-Key AQVN-secret", "ключ", ""])
def test_a_credential_that_can_not_be_sent_is_refused_and_not_shown(secret: str) -> None:
    for kind in (yagrpc.ApiKey, yagrpc.IamToken):
        with pytest.raises(yagrpc.ConfigError) as caught:
            kind(secret)
        assert "secret" not in str(caught.value).replace("give the secret alone", "")


def test_a_token_that_changes_for_the_worse_is_refused_before_it_is_sent(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, credentials=yagrpc.IamToken(lambda: "t1.secret\n"))
    with pytest.raises(yagrpc.ConfigError, match="white space") as caught:
        subject(client.completion_async(HELLO))
    assert "secret" not in str(caught.value)
    assert not emulator.calls


@pytest.mark.parametrize("operation_id", ["", " d7q", None, 5])
def test_an_operation_needs_an_id(client: Any, operation_id: Any) -> None:
    with pytest.raises(yagrpc.RequestError, match="operation_id"):
        client.operation(operation_id)


def test_an_operation_resolves_to_a_message(client: Any) -> None:
    with pytest.raises(yagrpc.RequestError, match="a message class, or a long-running method"):
        client.operation("op1", str)


def test_a_wait_takes_seconds(subject: Any, client: Any) -> None:
    for wait in ("result", "done", "refresh"):
        with pytest.raises(yagrpc.RequestError, match="timeout"):
            subject(getattr(client.operation("op1"), wait)(timeout="soon"))


@pytest.mark.parametrize("timeout", [math.inf, 1e300, 10**400, None])
def test_a_timeout_may_be_as_long_as_it_likes(subject: Any, client: Any, emulator: Emulator, timeout: Any) -> None:
    subject(client.tokenize(HELLO, timeout=timeout))
    subject(client.completion(HELLO, timeout=timeout))
    operation = subject(client.completion_async(HELLO, timeout=timeout))
    assert not subject(operation.done(timeout=timeout))
    emulator.advance(3600)
    assert HELLO in subject(operation.result(timeout=timeout)).text


def test_a_stream_is_refused_in_asynchronous_mode(subject: Any, client: Any, emulator: Emulator) -> None:
    request = _pb.text_generation_service_pb2.CompletionRequest(model_uri="gpt://f/yandexgpt")
    request.completion_options.stream = True
    with pytest.raises(yagrpc.RequestError, match="stream"):
        subject(client.call(methods.TextGenerationAsyncService.Completion, request))
    assert not emulator.calls


def test_a_request_of_another_method_is_refused(subject: Any, client: Any, emulator: Emulator) -> None:
    for wrong in (_pb.operation_service_pb2.GetOperationRequest(operation_id="x"), "text", None):
        with pytest.raises(yagrpc.RequestError, match=r"it takes a yandex\.cloud\.ai"):
            subject(client.call(methods.TextGenerationAsyncService.Completion, wrong))
    assert not emulator.calls


def test_an_endpoint_that_does_not_answer(subject: Any) -> None:
    with socket.socket() as bound:  # bound and not listening: nobody else takes the port, and nobody answers
        bound.bind(("127.0.0.1", 0))
        client = subject.client(endpoint=f"127.0.0.1:{bound.getsockname()[1]}", plaintext=True)
        for call in (client.completion_async, client.completion):
            with pytest.raises(yagrpc.UnavailableError, match="nothing was sent") as caught:
                subject(call(HELLO, timeout=0.3))
            assert caught.value.attempts == 0
        with pytest.raises(yagrpc.CallError) as refused:
            subject(client.tokenize(HELLO, timeout=0.3))
        assert refused.value.endpoint in str(refused.value)


def test_a_closed_client_says_so(subject: Any, client: Any, emulator: Emulator) -> None:
    subject(client.tokenize("a"))
    subject(client.close())
    for call in (client.completion, client.completion_stream, client.completion_async, client.tokenize):
        with pytest.raises(yagrpc.ClientClosedError):
            subject(call(HELLO))
    with pytest.raises(yagrpc.ClientClosedError):
        subject(client.operation("op1").result())
    assert emulator.calls.total() == emulator.calls[paths.TOKENIZE] == 1

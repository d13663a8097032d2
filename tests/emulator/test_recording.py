"""Recorded answers: matched by request, in their order, all others refused; and files that are none."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc import _pb
from yagrpc.emulator import Recording, paths

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused

URI = "gpt://b1gfolder/yandexgpt/latest"


def completion(text: str, *answers: str, path: str = paths.COMPLETION) -> dict[str, Any]:
    """A recorded completion."""
    return {
        "method": path,
        "request": {"modelUri": URI, "messages": [{"role": "user", "text": text}]},
        "responses": [
            {"alternatives": [{"message": {"role": "assistant", "text": answer}}], "modelVersion": "then"}
            for answer in answers
        ],
    }


def operation(**fields: Any) -> dict[str, Any]:
    """A recorded Get of an operation."""
    return {
        "method": paths.OPERATION_GET,
        "request": {"operationId": "d7qthen"},
        "responses": [{"id": "d7qthen", "createdAt": "2024-06-06T12:45:48Z", **fields}],
    }


RESPONSE = {
    "@type": "type.googleapis.com/yandex.cloud.ai.foundation_models.v1.CompletionResponse",
    "modelVersion": "then",
}


def test_answers_are_those_of_equal_requests(emulate: Emulate, ask: Ask) -> None:
    calls = [completion("ping", "pong"), completion("story", "Once", "Once upon a time")]
    service = emulate(recording=Recording(calls))
    assert service.complete(ask("ping")).alternatives[0].message.text == "pong"
    said = list(service.text.Completion(ask("story")))
    assert [message.alternatives[0].message.text for message in said] == ["Once", "Once upon a time"]
    assert said[0].model_version == "then"
    assert service.emulator.calls == {paths.COMPLETION: 2}


def test_equal_requests_have_their_answers_in_order_and_then_the_last(emulate: Emulate) -> None:
    service = emulate(recording=Recording([operation(), operation(done=True, response=RESPONSE)]))
    gets = [service.get("d7qthen") for _ in range(3)]
    assert [get.done for get in gets] == [False, True, True]
    assert service.result(gets[2]).model_version == "then"
    assert gets[0].created_at.seconds == 1717677948


def test_a_request_that_was_not_recorded_is_refused_and_shown(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(recording=Recording([completion("ping", "pong"), operation()]))
    other = ask("ping")
    other.completion_options.temperature.value = 0.5
    refusal = refused(service.text.Completion, other)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.message.startswith(
        f"the recording has 1 other requests to {paths.COMPLETION}, and no answer to this one: "
    )
    assert '"temperature": 0.5' in refusal.message
    tokenize = _pb.text_generation_service_pb2.TokenizeRequest(model_uri=URI, text="x" * 2000)
    never = refused(service.tokenizer.Tokenize, tokenize)
    assert never.message.startswith(f"the recording has 0 other requests to {paths.TOKENIZE}, and no answer")
    assert len(never.message) < 700
    assert service.emulator.refusals[paths.TOKENIZE, grpc.StatusCode.FAILED_PRECONDITION] == 1


def test_a_stream_that_was_not_recorded_is_refused(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(recording=Recording([operation()]))
    assert refused(service.text.Completion, ask("ping")).code is grpc.StatusCode.FAILED_PRECONDITION


def test_what_the_emulator_does_not_serve_can_be_recorded(emulate: Emulate, refused: Refused) -> None:
    path = "/yandex.cloud.ai.foundation_models.v1.TextGenerationBatchService/Completion"
    batch = {"method": path, "request": {"modelUri": URI}, "responses": [{"id": "fbithen"}]}
    service = emulate(recording=Recording([batch]))
    request = _pb.text_generation_service_pb2.BatchCompletionRequest(model_uri=URI)
    assert service.batch.Completion(request).id == "fbithen"
    service = emulate(recording=Recording([]))
    assert refused(service.batch.Completion, request).code is grpc.StatusCode.UNIMPLEMENTED


def test_discovery_and_tokens_stay_and_credentials_hold(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(recording=Recording([completion("ping", "pong")]), auth={"Api-Key secret"})
    endpoints = service.endpoints.List(_pb.api_endpoint_service_pb2.ListApiEndpointsRequest()).endpoints
    assert {endpoint.address for endpoint in endpoints} == {service.emulator.address}
    assert refused(service.text.Completion, ask("ping")).code is grpc.StatusCode.UNAUTHENTICATED
    assert service.complete(ask("ping"), metadata=[("authorization", "Api-Key secret")])


def test_an_answer_that_is_broken_is_sent_as_it_is(emulate: Emulate, ask: Ask) -> None:
    service = emulate(recording=Recording([completion("ping")]))
    assert list(service.text.Completion(ask("ping"))) == []


def test_a_file_is_read(tmp_path: Path, emulate: Emulate, ask: Ask) -> None:
    file = tmp_path / "calls.json"
    file.write_text(json.dumps([completion("ping", "понг")], ensure_ascii=False), "utf-8")
    service = emulate(recording=Recording.load(file))
    assert service.complete(ask("ping")).alternatives[0].message.text == "понг"


@pytest.mark.skipif("YAGRPC_RECORDINGS" not in os.environ, reason="YAGRPC_RECORDINGS is not set")
def test_real_recordings_are_played(emulate: Emulate) -> None:
    files = sorted(Path(os.environ["YAGRPC_RECORDINGS"]).glob("*.json"))
    assert files
    for file in files:
        recording = Recording.load(file)
        service = emulate(recording=recording)
        for (path, request), answers in recording.answers.items():
            method = recording.methods[path]
            kind: Any = service.channel.unary_stream
            if not method.descriptor.server_streaming:
                kind = service.channel.unary_unary
            call = kind(path, response_deserializer=method.response_type.FromString)
            for expected in answers:
                answer = call(request)
                found = list(answer) if method.descriptor.server_streaming else [answer]
                assert found == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[", "not JSON: "),
        ("[" * 100_000, "not JSON: "),
        ("{}", "a recording is a JSON list of objects with method, request, responses"),
        ("[1]", "entry 1: it takes an object with method, request, responses"),
        ('[{"method": "/x"}]', "entry 1: it takes an object with method, request, responses, not 'method'"),
        ("[{}]", "entry 1: it takes an object with method, request, responses, not nothing"),
        (
            json.dumps([completion("a", "b"), {**completion("a", "b"), "comment": 1}]),
            "entry 2: it takes an object with method, request, responses, not 'method', ",
        ),
        (json.dumps([completion("a", "b", path="/a.B/C")]), "entry 1: method: there is no '/a.B/C'"),
        (json.dumps([{**operation(), "method": f"{paths.OPERATION_GET}s"}]), "Gets'; it is a gRPC path"),
        (json.dumps([{**operation(), "method": 7}]), "entry 1: method: there is no 7"),
        (json.dumps([{**operation(), "request": {"operation": "x"}}]), 'entry 1: request: Message type "yandex.cloud.'),
        (json.dumps([{**operation(), "request": []}]), "entry 1: request: it is an object, as proto JSON"),
        (json.dumps([operation(don=True)]), 'entry 1: responses[0]: Message type "yandex.cloud.operation.Operation"'),
        (
            json.dumps([{**operation(), "responses": []}]),
            f"entry 1: responses: {paths.OPERATION_GET} answers with a list of one message",
        ),
        (json.dumps([{**completion("a"), "responses": {}}]), "answers with a list of messages"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / "calls.json"
    file.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=re.escape(f"{file}: ")) as caught:
        Recording.load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.json: No such file"):
        Recording.load(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not JSON"):
        Recording.load(tmp_path / "bytes.json")


def test_replies_and_a_recording_exclude_each_other(emulate: Emulate) -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        emulate(recording=Recording([]), replies={"": "x"})

"""REST on the emulator: the same service as over gRPC, in the form that the guide prints."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import json_format

from tests.emulator.conftest import Service
from yagrpc import _pb
from yagrpc.emulator import (
    Crash,
    Delay,
    DropConnection,
    Emulator,
    EmulatorOptions,
    EmulatorQuota,
    EmulatorServer,
    Failure,
    Fault,
    Garbage,
    Hang,
    LostReply,
    Oversize,
    Recording,
    Streamed,
    paths,
)
from yagrpc.emulator.clock import END
from yagrpc.emulator.http.app import all_methods

MODELS = "/foundationModels/v1"
BODY = {
    "modelUri": "gpt://b1gfolder/yandexgpt",
    "completionOptions": {"stream": False, "temperature": 0.1, "maxTokens": "2000"},
    "messages": [{"role": "system", "text": "Переведи текст"}, {"role": "user", "text": "To be, or not to be"}],
}


class Rest:
    """An emulator with REST, and clients of both halves."""

    def __init__(self, **options: Any) -> None:
        self.emulator = Emulator(rest=True, **options)
        self.emulator.start()
        self.service = Service(self.emulator)
        self.http = httpx.Client(base_url=f"http://{self.emulator.rest_address}", trust_env=False)

    def close(self) -> None:
        """Stop it."""
        self.http.close()
        self.service.channel.close()
        self.emulator.stop()

    def post(self, name: str, body: Any = BODY, **options: Any) -> httpx.Response:
        """Call a method of the models."""
        return self.http.post(f"{MODELS}/{name}", json=body, **options)


@pytest.fixture
def rest(request: pytest.FixtureRequest) -> Iterator[Rest]:
    """An emulator with the options of the test's parameter."""
    made = Rest(**getattr(request, "param", {"duration": 10}))
    yield made
    made.close()


def with_options(**options: Any) -> pytest.MarkDecorator:
    """The options of the test's emulator."""
    return pytest.mark.parametrize("rest", [options], indirect=True, ids=[""])


def test_the_guides_two_requests_get_its_two_answers(rest: Rest) -> None:
    headers = {"authorization": "Bearer t1.x", "x-folder-id": "b1gfolder"}
    submitted = rest.post("completionAsync", headers=headers)
    assert submitted.status_code == 200
    operation = submitted.json()
    assert list(operation) == ["id", "description", "createdAt", "createdBy", "modifiedAt", "done", "metadata"]
    assert operation["description"] == "Async GPT Completion"
    assert operation["done"] is False
    assert operation["metadata"] is None
    assert operation["createdAt"].endswith("Z")
    assert len(operation["createdAt"]) == len("2023-11-30T18:31:32Z"), "whole seconds"
    assert b" " not in submitted.content.replace(b"Async GPT Completion", b"")
    path = f"/operations/{operation['id']}"
    assert rest.http.get(path, headers=headers).json() == operation
    rest.emulator.advance(10)
    done = rest.http.get(path, headers=headers).json()
    assert list(done) == ["done", "response", "id", "description", "createdAt", "createdBy", "modifiedAt"]
    assert done["done"] is True
    assert list(done["response"]) == ["@type", "alternatives", "usage", "modelVersion"]
    assert done["response"]["@type"].endswith("/yandex.cloud.ai.foundation_models.v1.CompletionResponse")
    (alternative,) = done["response"]["alternatives"]
    assert list(alternative) == ["message", "status"]
    assert list(alternative["message"]) == ["role", "text"]
    assert all(isinstance(done["response"]["usage"][name], str) for name in ("inputTextTokens", "totalTokens"))
    assert rest.emulator.generations == {paths.COMPLETION_ASYNC: 1}
    assert rest.emulator.deliveries == {operation["id"]: 1}


def test_an_operation_of_one_half_is_there_in_the_other(rest: Rest) -> None:
    request = _pb.text_generation_service_pb2.CompletionRequest()
    json_format.ParseDict(BODY, request, descriptor_pool=_pb.POOL)
    by_grpc = rest.service.text_async.Completion(request).id
    by_rest = rest.post("completionAsync").json()["id"]
    assert rest.http.get(f"/operations/{by_grpc}").json()["id"] == by_grpc
    assert rest.http.get(f"/operations/{by_rest}:cancel").json()["error"]["message"] == "The operation was cancelled"
    assert rest.service.get(by_rest).error.code == grpc.StatusCode.CANCELLED.value[0]
    assert rest.emulator.calls[paths.OPERATION_CANCEL] == 1


@with_options(replies={"be": Streamed("To", "To be", "To be or")})
def test_a_completion_is_lines_of_results(rest: Rest) -> None:
    (line,) = rest.post("completion").text.splitlines()
    assert json.loads(line)["result"]["alternatives"][0]["message"]["text"] == "To be or"
    streamed = rest.post("completion", {**BODY, "completionOptions": {"stream": True}})
    texts = [json.loads(line)["result"]["alternatives"][0]["message"]["text"] for line in streamed.text.splitlines()]
    assert texts == ["To", "To be", "To be or"]
    assert streamed.headers["content-type"] == "application/json"


@with_options(completion_duration=30)
def test_a_stream_is_sent_as_it_comes(rest: Rest) -> None:
    body = {**BODY, "completionOptions": {"stream": True}}
    with rest.http.stream("POST", f"{MODELS}/completion", json=body, timeout=60) as response:
        lines = response.iter_lines()
        rest.emulator.advance(29.9)
        assert "result" in next(lines)
        rest.emulator.advance(30)
        assert "ALTERNATIVE_STATUS_FINAL" in list(lines)[-1]


def test_headers_become_metadata_and_come_back(rest: Rest) -> None:
    sent = {
        "authorization": "Api-Key abc",
        "x-folder-id": "b1gfolder",
        "x-data-logging-enabled": "false",
        "x-client-request-id": "6a8b3c52-0000-4000-8000-000000000001",
    }
    answer = rest.post("completionAsync", headers=sent)
    received = rest.emulator.requests[-1]
    assert received.path == paths.COMPLETION_ASYNC
    assert {name: received.metadata[name] for name in sent} == sent
    assert "host" not in received.metadata
    assert answer.headers["x-client-request-id"] == sent["x-client-request-id"]
    assert answer.headers["x-request-id"] != answer.headers["x-server-trace-id"]
    assert answer.headers["date"].endswith("GMT")
    assert len(answer.headers.get_list("date")) == 1


@with_options(auth={"Api-Key secret"}, duration=0)
def test_credentials_are_checked_as_over_grpc(rest: Rest) -> None:
    refused = rest.post("completionAsync", headers={"authorization": "Api-Key wrong"})
    assert refused.status_code == 401
    assert refused.json()["error"]["grpcCode"] == 16
    assert refused.headers["x-request-id"]
    operation = rest.http.get("/operations/d7qx")
    assert operation.status_code == 401
    assert operation.json()["code"] == 16
    token = rest.http.post("/iam/v1/tokens", json={"yandexPassportOauthToken": "y0_x"}).json()["iamToken"]
    assert rest.post("completionAsync", headers={"authorization": f"Bearer {token}"}).json()["done"] is True
    assert rest.http.get("/endpoints/operation").json()["address"] == rest.emulator.address


@with_options(quota=EmulatorQuota(submit_per_second=1), frozen=True)
def test_quotas_are_those_of_grpc(rest: Rest) -> None:
    request = _pb.text_generation_service_pb2.CompletionRequest()
    json_format.ParseDict(BODY, request, descriptor_pool=_pb.POOL)
    rest.service.text_async.Completion(request)
    refused = rest.post("completionAsync")
    assert (refused.status_code, refused.json()["error"]["httpStatus"]) == (429, "Too Many Requests")
    assert "allowed 1 requests" in refused.json()["error"]["message"]
    assert rest.emulator.refusals[paths.COMPLETION_ASYNC, grpc.StatusCode.RESOURCE_EXHAUSTED] == 1
    rest.emulator.advance(1)
    assert rest.post("completionAsync").status_code == 200


DETAIL = _pb.error_details_pb2.RequestInfo(request_id="r-1")


@with_options(replies={"be": Failure(grpc.StatusCode.INVALID_ARGUMENT, "no such thing", (DETAIL,))})
def test_a_scripted_failure_keeps_its_details(rest: Rest) -> None:
    error = rest.post("completion").json()["error"]
    assert (error["grpcCode"], error["message"]) == (3, "no such thing")
    assert error["details"][0]["requestId"] == "r-1"


@pytest.mark.parametrize(
    ("verb", "path", "status", "text"),
    [
        ("GET", "/nothing", 404, "no method has this path"),
        ("GET", f"{MODELS}/completion", 405, "takes POST"),
        ("DELETE", "/operations/x", 405, "takes GET"),
        ("OPTIONS", f"{MODELS}/completion", 405, "takes POST"),
        ("POST", f"{MODELS}/completionBatch", 501, "Method not found!"),
        ("GET", "/operations/d7q%2Fx", 404, "Operation d7q/x not found"),
        ("GET", "/operations/d7q?x=1", 400, "the query has 'x'"),
        ("POST", f"{MODELS}/completionAsync", 400, "the body is empty"),
    ],
)
def test_what_is_no_request_gets_a_status(rest: Rest, verb: str, path: str, status: int, text: str) -> None:
    answer = rest.http.request(verb, path)
    assert answer.status_code == status
    assert text in answer.text
    assert answer.headers["x-request-id"]
    assert answer.json()
    if status == 405:
        assert answer.headers["allow"] in ("POST", "GET")


@with_options(frozen=True)
def test_a_clock_at_the_last_date_answers_and_refuses(rest: Rest) -> None:
    rest.emulator.set_time(END)
    for path, status in ((f"{MODELS}/tokenize", 200), ("/nothing", 404)):
        answer = rest.http.post(path, json={"modelUri": "gpt://f/yandexgpt", "text": "x"})
        assert answer.status_code == status
        assert answer.headers["date"].endswith("31 Dec 9999 23:59:59 GMT")


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"model": "x"}, 'no field named "model"'),
        ({"completionOptions": {"stream": True}}, "stream is not available in asynchronous mode"),
        ({"completionOptions": {"temperature": "hot"}}, "temperature"),
        ({"messages": "hi"}, "messages"),
        ({"modelUri": ""}, "model_uri"),
    ],
)
def test_a_body_that_the_service_refuses_gets_a_status(rest: Rest, changed: dict[str, Any], text: str) -> None:
    answer = rest.post("completionAsync", {**BODY, **changed})
    assert answer.status_code == 400
    assert text in answer.json()["error"]["message"]
    assert rest.emulator.refusals == {(paths.COMPLETION_ASYNC, grpc.StatusCode.INVALID_ARGUMENT): 1}
    assert not rest.emulator.generations


def test_a_body_may_have_four_mebibytes(rest: Rest) -> None:
    longest = json.dumps(BODY).encode().ljust(4 * 1024 * 1024)
    url = f"{MODELS}/completionAsync"
    assert rest.http.post(url, content=longest).status_code == 200
    refused = rest.http.post(url, content=longest + b" ")
    assert refused.status_code == 413
    assert refused.json()["error"]["httpStatus"]
    assert "larger than 4194304 bytes" in refused.json()["error"]["message"]


@with_options(faults=[Fault(Failure(grpc.StatusCode.UNAVAILABLE, "try again"), method=paths.COMPLETION, times=1)])
def test_a_fault_fails_a_call(rest: Rest) -> None:
    assert rest.post("completion").status_code == 503
    assert rest.post("completion").status_code == 200


@with_options(faults=[Fault(LostReply(), times=1)], duration=10)
def test_a_lost_reply_is_a_connection_without_an_answer(rest: Rest) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        rest.post("completionAsync")
    assert rest.emulator.generations == {paths.COMPLETION_ASYNC: 1}
    assert rest.post("completionAsync").status_code == 200


@with_options(faults=[Fault(DropConnection(), times=1)])
def test_a_dropped_connection_drops_only_that_one(rest: Rest) -> None:
    other = grpc.channel_ready_future(rest.service.channel)
    other.result(timeout=30)
    with pytest.raises(httpx.TransportError):
        rest.post("completion")
    assert rest.post("completion").status_code == 200


@with_options(faults=[Fault(DropConnection(after=1))], replies={"be": Streamed("To", "To be")})
def test_a_stream_is_dropped_in_the_middle(rest: Rest) -> None:
    body = {**BODY, "completionOptions": {"stream": True}}
    received = []
    with (  # noqa: PT012
        pytest.raises(httpx.TransportError),
        rest.http.stream("POST", f"{MODELS}/completion", json=body) as response,
    ):
        for line in response.iter_lines():
            received.append(line)
    assert len(received) <= 1


@with_options(faults=[Fault(Garbage(b"\xff\x00"), times=1), Fault(Oversize(10_000), times=1, calls=[2])], duration=0)
def test_garbage_is_sent_unchanged_and_an_oversized_answer_is_json_of_that_size(rest: Rest) -> None:
    assert rest.post("completionAsync").content == b"\xff\x00"
    large = rest.post("completionAsync")
    assert 10_000 <= len(large.content) < 10_100
    assert large.json()["done"] is True


@with_options(faults=[Fault(Hang(), times=1)])
def test_a_call_ends_when_its_client_leaves(rest: Rest) -> None:
    with pytest.raises(httpx.ReadTimeout):
        rest.post("completion", timeout=0.5)
    assert rest.post("completion").status_code == 200


@with_options(faults=[Fault(Hang(), method=paths.COMPLETION)], quota=EmulatorQuota(concurrent_completions=1))
def test_a_call_that_was_left_frees_its_slot(rest: Rest) -> None:
    with pytest.raises(httpx.ReadTimeout):
        rest.post("completion", timeout=0.5)
    rest.emulator.faults.clear()
    for _ in range(100):  # the emulator learns of it a moment later
        if rest.post("completion").status_code == 200:
            return
    pytest.fail("the slot of a call that was left is never free")


@with_options(faults=[Fault(Delay(60), times=1)])
def test_a_delay_is_of_the_emulators_clock(rest: Rest) -> None:
    async def ask() -> int:
        async with httpx.AsyncClient(base_url=rest.http.base_url, trust_env=False, timeout=60) as client:
            call = asyncio.ensure_future(client.post(f"{MODELS}/completion", json=BODY))
            while not rest.emulator.requests:
                await asyncio.wait({call}, timeout=0.01)
            rest.emulator.advance(60)
            return (await call).status_code

    assert asyncio.run(ask()) == 200


@with_options(faults=[Fault(Crash(down=30), method=paths.COMPLETION)], duration=0)
def test_a_crash_takes_rest_with_it_and_brings_it_back(rest: Rest) -> None:
    kept = rest.post("completionAsync").json()["id"]
    with pytest.raises(httpx.TransportError):
        rest.post("completion")
    rest.emulator.advance(30)
    while True:  # it starts again in a moment
        try:
            assert rest.http.get(f"/operations/{kept}").status_code in (200, 404)
        except httpx.TransportError:
            continue
        break


def test_a_second_start_has_the_same_address() -> None:
    emulator = Emulator(rest=True)
    assert emulator.rest_address == emulator.page_url == ""
    addresses = []
    for _ in range(2):
        with emulator:
            addresses.append(emulator.rest_address)
            assert httpx.get(f"http://{emulator.rest_address}/operations/x", trust_env=False).status_code == 404
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{emulator.rest_address}/operations/x", trust_env=False)
    assert addresses[0] == addresses[1]


def test_without_the_option_there_is_no_rest(service: Service) -> None:
    assert service.emulator.rest_address == service.emulator.page_url == ""


def test_a_port_can_be_chosen_and_one_in_use_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        emulator = Emulator(rest=port)
        with pytest.raises(RuntimeError, match=rf"can't serve REST on 127\.0\.0\.1:{port}: .*in use"):
            emulator.start()
    with emulator:
        assert emulator.rest_address == f"127.0.0.1:{port}"


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=f"a port is from 0 to 65535, not {port}"):
        EmulatorOptions(rest=port)
    with pytest.raises(TypeError, match="rest is '80': it takes True, False or a port"):
        EmulatorOptions(rest="80")  # type: ignore[arg-type]


def test_with_tls_rest_has_the_same_certificate() -> None:
    with Emulator(rest=True, tls=True) as emulator:
        assert emulator.ca_file is not None
        assert emulator.page_url.startswith("https://")
        trusting = ssl.create_default_context(cafile=emulator.ca_file)
        with httpx.Client(verify=trusting, trust_env=False) as client:
            assert client.get(f"https://{emulator.rest_address}/operations/x").status_code == 404
        with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ConnectError):
            client.get(f"https://{emulator.rest_address}/operations/x")


async def test_in_an_event_loop_of_ones_own() -> None:
    server = EmulatorServer(EmulatorOptions(rest=True, duration=0))
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://{server.rest_address}", trust_env=False) as client:
            assert (await client.post(f"{MODELS}/completionAsync", json=BODY)).json()["done"] is True
    finally:
        await server.stop()


@pytest.mark.skipif("YAGRPC_RECORDINGS" not in os.environ, reason="YAGRPC_RECORDINGS is not set")
@pytest.mark.parametrize("name", ["completion", "completion_async", "completion_stream", "function_call"])
def test_recordings_come_back_as_json(name: str) -> None:
    calls = json.loads((Path(os.environ["YAGRPC_RECORDINGS"]) / f"{name}.json").read_text("utf-8"))
    rules = {method.path: method.http for method in all_methods()}
    with (
        Emulator(rest=True, recording=Recording(calls)) as emulator,
        httpx.Client(base_url=f"http://{emulator.rest_address}", trust_env=False) as client,
    ):
        for call in calls:
            rule, request = rules[call["method"]], call["request"]
            path = rule.path.replace("{operation_id}", request.get("operationId", ""))
            answer = client.request(rule.verb, path, json=None if rule.verb == "GET" else request)
            found = [json.loads(line) for line in answer.text.splitlines()]
            if call["method"] == paths.COMPLETION:
                found = [one["result"] for one in found]
            assert [set_fields(one) for one in found] == [set_fields(one) for one in call["responses"]]


def set_fields(value: Any) -> Any:
    """JSON without the fields that have their default: recordings do not have these."""
    if isinstance(value, dict):
        shown = {name: set_fields(one) for name, one in value.items()}
        return {name: one for name, one in shown.items() if one not in (None, False, "", "0", 0, [], {})}
    return [set_fields(one) for one in value] if isinstance(value, list) else value

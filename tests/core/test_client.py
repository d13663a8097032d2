"""What a client makes of its settings and of arguments: calls, their metadata, and what becomes of answers."""

from __future__ import annotations

from typing import Any

import pytest

import yagrpc
from yagrpc import _pb, methods
from yagrpc._core.call.call import Call
from yagrpc._core.client import ClientCore
from yagrpc._core.failure.sizes import Unreadable
from yagrpc._core.failure.status import RpcStatus
from yagrpc._core.flow import Flow, Send
from yagrpc._grpc.runtime import RUNTIME
from yagrpc.config import Polling
from yagrpc.errors import (
    ClientClosedError,
    Code,
    MessageTooLargeError,
    OperationError,
    OperationResultError,
    RequestError,
    ResultError,
    UnavailableError,
    YagrpcError,
)
from yagrpc.hiding import revealed
from yagrpc.ids import Answer

TOKENIZE, SUBMIT, GET = (
    methods.TokenizerService.Tokenize,
    methods.TextGenerationAsyncService.Completion,
    methods.OperationService.Get,
)
WORDS = _pb.text_generation_service_pb2.TokenizeRequest(text="hello")


class Polled(yagrpc.Events):
    """Keeps the outcomes of Gets."""

    def __init__(self) -> None:
        self.outcomes: list[Any] = []

    def polled(self, operation_id: str, outcome: Any) -> None:
        self.outcomes.append(outcome)


def core(**settings: Any) -> ClientCore:
    """A client of nobody."""
    return ClientCore(
        RUNTIME,
        **{
            "folder_id": "b1g",
            "credentials": yagrpc.ApiKey("AQVNsecret"),
            "model": "yandexgpt",
            "endpoint": "127.0.0.1:1",
            "operation_endpoint": None,
            "plaintext": True,
            "endpoints": None,
            "quota": None,
            "polling": Polling(),
            "data_logging": None,
            **settings,
        },
    )


def metadata(call: Call[Any, Any]) -> dict[str, Any]:
    found = dict(revealed(call.metadata))
    assert len(found) == len(call.metadata), "each key once"
    return found


# Calls


@pytest.mark.parametrize(
    ("setting", "given", "sent"),
    [
        (None, None, None),
        (True, None, "true"),
        (False, None, "false"),
        (None, True, "true"),
        (True, False, "false"),
        (False, True, "true"),
    ],
)
def test_data_logging_is_a_setting_that_a_call_may_change(
    setting: bool | None, given: bool | None, sent: str | None
) -> None:
    parameters: Any = {} if given is None else {"data_logging": given}
    call = core(data_logging=setting).call(TOKENIZE, WORDS, parameters)
    assert metadata(call).get("x-data-logging-enabled") == sent


def test_a_call_has_the_clients_metadata_and_its_callers_in_their_place() -> None:
    plain = core().call(TOKENIZE, WORDS, {})
    assert metadata(plain) == {"x-client-request-id": plain.client_request_id, "authorization": "Api-Key AQVNsecret"}
    own = core().call(TOKENIZE, WORDS, {"metadata": {"authorization": "Bearer t1.mine", "x-one": "1"}})
    assert metadata(own) == {
        "x-client-request-id": own.client_request_id,
        "authorization": "Bearer t1.mine",
        "x-one": "1",
    }


def test_each_call_has_an_id_of_its_own_or_its_callers() -> None:
    client = core()
    assert client.call(TOKENIZE, WORDS, {}).client_request_id != client.call(TOKENIZE, WORDS, {}).client_request_id
    call = client.call(TOKENIZE, WORDS, {"request_id": "mine"})
    assert call.client_request_id == metadata(call)["x-client-request-id"] == "mine"


def test_what_a_call_is_given_is_kept() -> None:
    client = core()
    plain = client.call(TOKENIZE, WORDS, {})
    assert (plain.timeout, plain.queues, plain.resubmit) == (plain.policy.timeout, True, False)
    assert (plain.wants_ids, plain.watched, plain.operation_id) == (True, False, "")
    given = client.call(TOKENIZE, WORDS, {"timeout": 5, "resubmit": True}, "op", wants_ids=False)
    assert (given.timeout, given.queues, given.resubmit) == (5.0, False, True)
    assert (given.wants_ids, given.operation_id) == (False, "op")
    assert client.call(TOKENIZE, WORDS, {"timeout": None}).timeout is None


def test_a_request_is_checked_unless_it_is_plainly_right() -> None:
    client = core()
    assert client.call(TOKENIZE, WORDS, {}).request is WORDS
    with pytest.raises(RequestError):
        client.call(TOKENIZE, _pb.operation_pb2.Operation(), {})
    streaming = _pb.text_generation_service_pb2.CompletionRequest()
    streaming.completion_options.stream = True
    with pytest.raises(RequestError, match="asynchronous mode has no stream"):
        client.call(SUBMIT, streaming, {})


@pytest.mark.parametrize("authorization", [True, False])
def test_a_token_is_obtained_unless_the_caller_gives_one(authorization: bool) -> None:
    client = core(credentials=yagrpc.YcCli())
    parameters: Any = {"metadata": {"authorization": "Bearer t1.mine"}} if authorization else {}
    assert client.call(TOKENIZE, WORDS, parameters).needs_token is not authorization
    assert not core().call(TOKENIZE, WORDS, {}).needs_token


# Answers


class Found(Answer):
    """A result with ids."""


def test_a_result_has_the_ids_of_its_call() -> None:
    client = core()
    call = client.call(TOKENIZE, WORDS, {"request_id": "mine"})
    assert client.result(lambda answer: Found(), object(), call).ids is call.ids
    assert client.result(lambda answer: "text", object(), call) == "text"


def test_a_result_that_is_none_says_whose_it_is() -> None:
    client = core()
    call = client.call(TOKENIZE, WORDS, {"request_id": "mine"})

    def refuse(answer: Any) -> Any:
        raise ResultError("no text")

    with pytest.raises(ResultError) as caught:
        client.result(refuse, object(), call)
    assert (caught.value.method, caught.value.client_request_id) == (TOKENIZE.path, "mine")
    with pytest.raises(MessageTooLargeError) as large:
        client.result(refuse, Unreadable(5, 4), call)
    assert large.value.endpoint == "127.0.0.1:1"


# Gets


def polled(client: ClientCore, outcome: Any) -> Any:
    """What one Get gives where sending it does something."""
    flow: Flow[Any] = client.poll(client.get_call("op"))
    try:
        effect = next(flow)
        while not isinstance(effect, Send):
            effect = flow.send(True)
        flow.throw(outcome) if isinstance(outcome, BaseException) else flow.send(outcome)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the flow goes on")


def test_a_get_is_reported_with_its_operation() -> None:
    events = Polled()
    operation = _pb.operation_pb2.Operation(id="op", done=True)
    assert polled(core(events=events), operation) is operation
    assert events.outcomes == [operation]


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (KeyError("an interceptor's"), OperationError),
        (_pb.operation_pb2.Operation(id="another"), OperationResultError),
    ],
)
def test_a_get_that_fails_in_any_way_is_reported_as_an_error_of_ours(outcome: Any, kind: type[YagrpcError]) -> None:
    events = Polled()
    with pytest.raises(kind) as caught:
        polled(core(events=events), outcome)
    assert caught.value.operation_id == "op"
    assert events.outcomes == [caught.value]


def test_a_poll_is_one_get_for_the_scheduler_decides_about_the_next() -> None:
    client = core()
    with pytest.raises(UnavailableError):
        polled(client, RpcStatus(Code.UNAVAILABLE, "down"))
    assert client.get_call("op").policy.attempts == 1


def test_a_get_of_a_client_that_was_closed_is_not_reported() -> None:
    events = Polled()
    with pytest.raises(ClientClosedError):
        polled(core(events=events), ClientClosedError())
    assert events.outcomes == []

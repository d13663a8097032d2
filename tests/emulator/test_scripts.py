"""Scripted replies: patterns and functions, texts, whole responses and failures, in both modes."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from yagrpc import _pb
from yagrpc.emulator import Emulator, EmulatorOptions, EmulatorServer, Failure, Streamed

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused, Request, Response

TextOf = Callable[["Response"], str]
STATUS = _pb.text_common_pb2.Alternative

SOON = 20.0
"""Seconds within which everything happens here that happens at all."""


def filtered() -> Response:
    response = _pb.text_generation_service_pb2.CompletionResponse()
    alternative = response.alternatives.add(status=STATUS.ALTERNATIVE_STATUS_CONTENT_FILTER)
    alternative.message.role, alternative.message.text = "assistant", "There is plenty on this in the search."
    response.usage.SetInParent()
    return response


def test_the_first_pattern_found_in_the_last_user_text_answers(emulate: Emulate, ask: Ask, text_of: TextOf) -> None:
    service = emulate(replies={"(?i)ping": "pong", "p": "another"}, duration=0)
    assert text_of(service.complete(ask("PING!"))) == "pong"
    assert text_of(service.complete(ask("ping", ("assistant", "pong"), "stop"))) == "another"
    assert "who?" in text_of(service.complete(ask("ping", "who?")))
    assert text_of(service.result(service.text_async.Completion(ask("ping")))) == "pong"


def test_a_scripted_text_is_counted_cut_and_streamed(emulate: Emulate, ask: Ask, text_of: TextOf) -> None:
    service = emulate(replies={"": "one two three"})
    request = ask("count")
    assert service.complete(request).usage.completion_tokens == 3
    assert [text_of(response) for response in service.stream(request)] == ["one", "one two", "one two three"]
    request.completion_options.max_tokens.value = 2
    assert [text_of(response) for response in service.stream(request)] == ["one", "one two"]


def test_a_stream_of_scripted_messages_may_revise_itself(emulate: Emulate, ask: Ask, text_of: TextOf) -> None:
    said = ("Helo", "Hello wor", "Hello, world!")
    service = emulate(replies={"": Streamed(*said)}, duration=0)
    messages = service.stream(ask("greet"))
    assert tuple(map(text_of, messages)) == said
    partial, final = STATUS.ALTERNATIVE_STATUS_PARTIAL, STATUS.ALTERNATIVE_STATUS_FINAL
    assert [message.alternatives[0].status for message in messages] == [partial, partial, final]
    assert [message.usage.completion_tokens for message in messages] == [1, 2, 4]
    assert text_of(service.complete(ask("greet"))) == said[-1]
    assert text_of(service.result(service.text_async.Completion(ask("greet")))) == said[-1]


def test_a_stream_has_at_least_one_message() -> None:
    with pytest.raises(ValueError, match="at least one text"):
        Streamed()


def test_an_empty_text_is_an_answer(emulate: Emulate, ask: Ask, text_of: TextOf) -> None:
    service = emulate(replies={"": ""})
    (response,) = service.stream(ask("ping"))
    assert text_of(response) == ""
    assert response.usage.completion_tokens == 0


def test_a_whole_response_is_sent_as_it_is(emulate: Emulate, ask: Ask) -> None:
    service = emulate(replies={"": filtered()}, duration=0)
    request = ask("ping")
    assert service.complete(request) == filtered()
    assert service.result(service.text_async.Completion(request)) == filtered()
    assert service.stream(request) == [filtered()]


def test_a_whole_response_is_streamed(emulate: Emulate, ask: Ask, text_of: TextOf) -> None:
    response = filtered()
    response.alternatives[0].message.text = "one two"
    response.alternatives[0].status = STATUS.ALTERNATIVE_STATUS_FINAL
    service = emulate(replies={"": response})
    first, last = service.stream(ask("ping"))
    assert text_of(first) == "one"
    assert first.usage.completion_tokens == 0, "never below nothing, whatever was scripted"
    assert last == response


def test_an_empty_response_is_sent(emulate: Emulate, ask: Ask) -> None:
    empty = _pb.text_generation_service_pb2.CompletionResponse()
    service = emulate(replies={"": empty})
    assert service.stream(ask("ping")) == [empty]


DETAIL = error_details_pb2.ErrorInfo(reason="TRIED")
STATUS_OF_ANOTHER_POOL = status_pb2.Status(code=13, message="broken")
STATUS_OF_ANOTHER_POOL.details.add().Pack(DETAIL)


@pytest.mark.parametrize(
    "failure", [Failure(grpc.StatusCode.INTERNAL, "broken", (DETAIL,)), STATUS_OF_ANOTHER_POOL], ids=["own", "google"]
)
def test_a_failure_is_the_status_of_a_call_or_the_error_of_an_operation(
    emulate: Emulate, ask: Ask, refused: Refused, failure: Any
) -> None:
    service = emulate(replies={"ping": failure}, duration=0)
    refusal = refused(service.text.Completion, ask("ping"))
    assert (refusal.code, refusal.message) == (grpc.StatusCode.INTERNAL, "broken")
    operation = service.text_async.Completion(ask("ping"))
    assert operation.done
    assert operation.WhichOneof("result") == "error"
    for status in (refusal.status, operation.error):
        assert status is not None
        assert (status.code, status.message) == (13, "broken")
        info = _pb.error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.reason == "TRIED"


def test_a_code_that_grpc_does_not_know_is_unknown(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(replies={"": status_pb2.Status(code=99, message="odd")}, duration=0)
    assert refused(service.text.Completion, ask("ping")).code is grpc.StatusCode.UNKNOWN
    assert service.text_async.Completion(ask("ping")).error.code == 99


def test_a_function_is_asked_once_for_each_request_in_their_order(emulate: Emulate, ask: Ask, text_of: TextOf) -> None:
    seen: list[Request] = []

    def reply(request: Request) -> str | None:
        seen.append(request)
        return f"answer {len(seen)}" if len(seen) < 3 else None

    service = emulate(replies=reply, duration=10)
    requests = [ask("a"), ask("b"), ask("c")]
    submitted = [service.text_async.Completion(request) for request in requests]
    assert seen == requests
    service.emulator.advance(10)
    # Read in another order than submitted, and twice: an operation's answer is its own, and stays.
    for _ in range(2):
        for number in (2, 0, 1):
            text = text_of(service.result(service.get(submitted[number].id)))
            assert ("c" in text) if number == 2 else (text == f"answer {number + 1}")
    assert len(seen) == 3


@pytest.mark.parametrize("leave", [lambda: sys.exit("left"), lambda: pytest.fail("left")], ids=["exit", "fail"])
def test_a_function_that_leaves_fails_its_call_and_no_other(
    emulate: Emulate, ask: Ask, refused: Refused, leave: Callable[[], None]
) -> None:
    """What it raises is no Exception, which would end the emulator's thread."""
    left: list[Request] = []

    def reply(request: Request) -> str:
        if not left:
            left.append(request)
            leave()
        return "here"

    service = emulate(replies=reply, duration=0)
    refusal = refused(service.text.Completion, ask("ping"))
    assert refusal.code is grpc.StatusCode.UNKNOWN
    assert "left" in refusal.message
    assert service.result(service.text_async.Completion(ask("ping"))).alternatives[0].message.text == "here"


class Blocking:
    """A function of replies whose first call returns only when it may; the others return at once."""

    def __init__(self) -> None:
        self.called, self.may_return = threading.Event(), threading.Event()

    def reply(self, request: Request) -> str:
        if not self.called.is_set():
            self.called.set()
            self.may_return.wait()
        return "here"


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    """A function that blocks, and returns at the end of the test."""
    function = Blocking()
    yield function
    function.may_return.set()


def test_a_function_that_blocks_holds_up_later_completions_and_nothing_else(
    emulate: Emulate, ask: Ask, text_of: TextOf, blocking: Blocking
) -> None:
    service = emulate(replies=blocking.reply, duration=0)
    operations = [service.text_async.Completion.future(ask("ping")) for _ in range(3)]
    assert blocking.called.wait(SOON)
    assert service.endpoints.List(_pb.api_endpoint_service_pb2.ListApiEndpointsRequest()).endpoints
    operations[1].cancel()
    blocking.may_return.set()
    answers = [text_of(service.result(operations[number].result())) for number in (0, 2)]
    assert answers == ["here", "here"]


def left_behind(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_function_that_blocks_does_not_hold_up_the_stop(
    emulate: Emulate, ask: Ask, text_of: TextOf, blocking: Blocking, caplog: pytest.LogCaptureFixture
) -> None:
    service = emulate(replies=blocking.reply)
    address = service.emulator.address
    calls = [service.text_async.Completion.future(ask("ping")) for _ in range(2)]
    assert blocking.called.wait(SOON)
    service.emulator.stop()
    assert {call.code() for call in calls} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    (warning,) = left_behind(caplog)
    assert "test_scripts.Blocking.reply" in warning
    service.emulator.start()
    assert service.emulator.address == address
    assert text_of(service.complete(ask("ping"), wait_for_ready=True)) == "here"
    service.emulator.stop()
    assert len(left_behind(caplog)) == 1


@pytest.mark.parametrize("grace", [None, 0.3])
def test_a_function_that_blocks_does_not_hold_up_a_server_in_an_event_loop(
    ask: Ask, blocking: Blocking, caplog: pytest.LogCaptureFixture, grace: float | None
) -> None:
    async def run() -> None:
        server = EmulatorServer(EmulatorOptions(replies=blocking.reply))
        await server.start()
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub: Any = _pb.text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub(channel)  # type: ignore[no-untyped-call,unused-ignore]
            call = stub.Completion(ask("ping"))
            assert await asyncio.to_thread(blocking.called.wait, SOON)
            await server.stop(grace)
            assert await call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

    asyncio.run(run())
    assert "test_scripts.Blocking.reply" in "".join(left_behind(caplog))


def test_a_function_that_returns_in_time_is_not_left_behind(
    emulate: Emulate, ask: Ask, blocking: Blocking, caplog: pytest.LogCaptureFixture
) -> None:
    blocking.may_return.set()
    service = emulate(replies=blocking.reply)
    service.complete(ask("ping"))
    service.emulator.stop()
    assert left_behind(caplog) == []


def test_a_reply_of_another_type_is_refused(emulate: Emulate) -> None:
    with pytest.raises(TypeError, match="a scripted reply is"):
        emulate(replies={"": 5})
    with pytest.raises(TypeError, match="ErrorInfo"):
        emulate(replies={"": DETAIL})


def test_a_failure_must_fail(emulate: Emulate) -> None:
    with pytest.raises(ValueError, match="other than OK"):
        Failure(grpc.StatusCode.OK)
    with pytest.raises(TypeError, match=r"code is 'INVALID_ARGUMENT': it takes a grpc\.StatusCode"):
        Failure("INVALID_ARGUMENT", "wrong")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="other than 0"):
        emulate(replies={"": status_pb2.Status()})


def test_a_pattern_must_be_one(emulate: Emulate) -> None:
    for pattern in ("(", "a{99999999999}", "(" * 5000):
        with pytest.raises(
            ValueError, match=re.escape(f"the pattern {pattern!r} is no regular expression: ")
        ) as caught:
            Emulator(replies={"fine": "x", pattern: "x"})
        assert type(caught.value) is ValueError
    service = emulate(replies={"fine": "x"})
    with pytest.raises(ValueError, match=r"the pattern '\(' is no regular expression"):
        service.emulator.set_replies({"(": "x"})
    replies: Any
    for replies in ({b"bytes": "x"}, {5: "x"}, {re.compile(b"x"): "x"}):
        with pytest.raises(TypeError, match="a pattern of replies is .*: it takes a text"):
            Emulator(replies=replies)
    replies = {re.compile("PING", re.IGNORECASE): "x"}
    Emulator(replies=replies)

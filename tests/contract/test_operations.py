"""Operations: submitting, waiting, attaching, and every way in which they end, on both clients."""

from __future__ import annotations

import logging
import logging.handlers
import pickle
import queue
import sys
import threading
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb, methods
from yagrpc.emulator import Emulator, Failure, paths

HOUR = 3600.0


def test_a_submitted_completion_is_delivered(subject: Any, client: Any, emulator: Emulator) -> None:
    operation = subject(client.completion_async("hello there"))
    assert operation.status.value == "running"
    assert (operation.description, operation.metadata, operation.response) == ("Async GPT Completion", None, None)
    assert operation.created_by
    assert not subject(operation.done())
    emulator.advance(HOUR)
    completion = subject(operation.result(timeout=10))
    assert "hello there" in completion.text
    assert operation.status.value == "succeeded"
    assert operation.proto.done
    assert operation.response.DESCRIPTOR.name == "CompletionResponse"
    assert timedelta(seconds=3599) <= operation.modified_at - operation.created_at <= timedelta(seconds=3601)


def test_a_result_has_the_ids_of_the_submit(subject: Any, client: Any, emulator: Emulator) -> None:
    operation = subject(client.completion_async("hello", request_id="mine"))
    emulator.advance(HOUR)
    completion = subject(operation.result(timeout=10))
    assert completion.ids == operation.ids
    assert completion.ids.client_request_id == "mine"
    assert completion.ids.request_id
    attached = subject(subject.client(emulator).operation(operation.id).result(timeout=10))
    assert (attached.text, attached.ids) == (completion.text, yagrpc.RequestIds())


def test_an_operation_is_awaitable(subject: Any, client: Any, emulator: Emulator) -> None:
    operation = subject(client.completion_async("hello"))
    emulator.advance(HOUR)
    if subject.kind == "aio":

        async def wait() -> str:
            return str((await operation).text)

        assert "hello" in subject(wait())
    else:
        assert not hasattr(operation, "__await__")


def test_an_id_is_enough_in_another_client(subject: Any, client: Any, emulator: Emulator) -> None:
    kept = subject(client.completion_async("hello")).id
    emulator.advance(HOUR)
    attached = subject.client(emulator).operation(kept)
    assert attached.id == kept
    assert attached.created_at is None  # nothing has been asked yet
    assert "hello" in subject(attached.result(timeout=10)).text


def test_a_raw_call_gives_an_operation_of_its_response(subject: Any, client: Any, emulator: Emulator) -> None:
    request = _request("raw")
    operation = subject(client.call(methods.TextGenerationAsyncService.Completion, request))
    emulator.advance(HOUR)
    response = subject(operation.result(timeout=10))
    assert type(response) is _pb.text_generation_service_pb2.CompletionResponse
    for result in (_pb.text_generation_service_pb2.CompletionResponse, methods.TextGenerationAsyncService.Completion):
        assert subject(client.operation(operation.id, result).result()) == response


def test_answer_of_another_type_is_reported_with_both_names(subject: Any, client: Any, emulator: Emulator) -> None:
    operation = subject(client.completion_async("hello"))
    emulator.advance(HOUR)
    with pytest.raises(yagrpc.OperationResultError) as caught:
        subject(client.operation(operation.id, methods.ImageGenerationAsyncService.Generate).result(timeout=10))
    assert caught.value.operation_id == operation.id
    assert "CompletionResponse" in str(caught.value)
    assert "ImageGenerationResponse" in str(caught.value)


def test_done_without_a_result_is_not_an_empty_success(subject: Any, served: Any) -> None:
    served.start(get=lambda request, context: _pb.operation_pb2.Operation(id=request.operation_id, done=True))
    client = subject.client(endpoint=served.address, plaintext=True)
    with pytest.raises(yagrpc.OperationResultError, match="neither a result nor an error"):
        subject(client.operation("op1").result(timeout=10))


def test_an_operation_that_is_done_at_once_costs_no_get(subject: Any) -> None:
    with Emulator(duration=0.0) as emulator:
        operation = subject(subject.client(emulator).completion_async("hello"))
        assert subject(operation.done())
        assert "hello" in subject(operation.result(timeout=0)).text
        assert emulator.calls[paths.OPERATION_GET] == 0


def test_done_and_refresh_make_one_get_until_the_end_is_known(subject: Any, client: Any, emulator: Emulator) -> None:
    operation = subject(client.completion_async("hello"))
    assert subject(operation.refresh()) is operation
    assert not subject(operation.done())
    assert emulator.calls[paths.OPERATION_GET] == 2
    emulator.advance(HOUR)
    assert subject(operation.done())
    assert subject(operation.done())
    assert subject(operation.refresh()).status.value == "succeeded"
    assert emulator.calls[paths.OPERATION_GET] == 3


def test_a_failure_of_the_service_is_raised_with_its_details(subject: Any) -> None:
    info = _pb.error_details_pb2.RequestInfo(request_id="r-9")
    failure = Failure(grpc.StatusCode.INTERNAL, "generation broke", (info,))
    with Emulator(duration=0.0, replies={"break": failure}) as emulator:
        operation = subject(subject.client(emulator).completion_async("break it"))
        with pytest.raises(yagrpc.OperationFailedError, match="INTERNAL: generation broke") as caught:
            subject(operation.result())
        assert (caught.value.operation_id, caught.value.code) == (operation.id, yagrpc.Code.INTERNAL)
        assert caught.value.details[0]["requestId"] == "r-9"
        assert operation.status.value == "failed"
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_cancelling_ends_an_operation(subject: Any, client: Any) -> None:
    operation = subject(client.completion_async("hello"))
    subject(operation.cancel(request_id="stop-1"))
    assert operation.status.value == "cancelled"
    with pytest.raises(yagrpc.OperationCancelledError) as caught:
        subject(operation.result())
    assert caught.value.operation_id == operation.id


def test_timeout_0_is_one_poll(subject: Any, client: Any, emulator: Emulator) -> None:
    operation = subject(client.completion_async("hello"))
    with pytest.raises(yagrpc.OperationTimeoutError, match="waited for again") as caught:
        subject(operation.result(timeout=0))
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.operation_id == operation.id
    assert emulator.calls[paths.OPERATION_GET] == 1
    emulator.advance(HOUR)
    assert "hello" in subject(operation.result(timeout=0)).text


def test_a_timeout_ends_the_wait_and_not_the_operation(subject: Any, client: Any, emulator: Emulator) -> None:
    operation = subject(client.completion_async("hello"))
    with pytest.raises(yagrpc.OperationTimeoutError):
        subject(operation.result(timeout=0.2))
    emulator.advance(HOUR)
    assert "hello" in subject(operation.result(timeout=10)).text
    assert emulator.calls[paths.OPERATION_CANCEL] == 0


def test_an_unknown_id_is_an_error_of_its_own(subject: Any, client: Any) -> None:
    for ask in ("result", "done", "refresh"):
        with pytest.raises(yagrpc.OperationNotFoundError, match="no such operation") as caught:
            subject(getattr(client.operation("d7q00000000000000000"), ask)())
        assert caught.value.operation_id == "d7q00000000000000000"
        assert not isinstance(caught.value, yagrpc.OperationExpiredError)


def test_a_result_older_than_three_days_has_probably_expired(subject: Any, served: Any) -> None:
    def get(request: Any, context: grpc.ServicerContext) -> Any:
        if len(served.calls) > 1:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such operation")
        running = _pb.operation_pb2.Operation(id=request.operation_id)
        running.created_at.FromDatetime(datetime.now(timezone.utc) - timedelta(days=3, minutes=1))
        return running

    operation = subject.client(endpoint=served.start(get=get).address, plaintext=True).operation("op1")
    assert not subject(operation.done())
    with pytest.raises(yagrpc.OperationExpiredError, match=r"probably deleted: it was created 3\.0 days ago") as caught:
        subject(operation.result())
    assert caught.value.operation_id == "op1"


def test_the_emulator_forgets_after_three_days(subject: Any, client: Any, emulator: Emulator) -> None:
    kept = subject(client.completion_async("hello")).id
    emulator.advance(3 * 24 * HOUR + 1)
    with pytest.raises(yagrpc.OperationNotFoundError):
        subject(client.operation(kept).result())


def test_two_hundred_answers_reach_their_own_requests(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, quota=None)
    operations = subject.together([lambda i=i: client.completion_async(f"request <{i}>") for i in range(200)])
    emulator.advance(HOUR)
    results = subject.together([lambda operation=operation: operation.result(timeout=30) for operation in operations])
    for number, result in enumerate(results):
        assert f"request <{number}>" in result.text


def test_an_operation_that_several_wait_for_is_polled_once(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, polling=yagrpc.Polling(first=0.3, shortest=0.3, longest=0.3))
    operation = subject(client.completion_async("hello"))
    emulator.advance(HOUR)
    other = client.operation(operation.id)
    waits = [lambda: operation.result(timeout=10)] * 5 + [lambda: other.result(timeout=10)] * 5
    results = subject.together(waits)
    assert len({result.text for result in results}) == 1
    assert emulator.calls[paths.OPERATION_GET] == 1


def test_callbacks_and_futures_need_nobody_who_waits(subject: Any, client: Any, emulator: Emulator) -> None:
    called: queue.SimpleQueue[Any] = queue.SimpleQueue()
    failing = subject(client.completion_async("one"))
    watched = subject(client.completion_async("two"))
    subject.in_loop(lambda: failing.add_done_callback(lambda operation: 1 / 0))
    subject.in_loop(lambda: watched.add_done_callback(called.put))
    future = subject.in_loop(watched.future)
    emulator.advance(HOUR)
    result = future.result(timeout=10) if subject.kind == "sync" else subject(future)
    assert "two" in result.text
    subject(failing.result(timeout=10))
    assert called.get(timeout=10) is watched
    subject.in_loop(lambda: watched.add_done_callback(called.put))  # known: at once
    assert called.get_nowait() is watched
    subject.in_loop(lambda: watched.add_done_callback(lambda operation: 1 / 0))  # logged, as ever
    assert subject.in_loop(watched.future).result().text == result.text


def test_a_callback_that_fails_is_logged(subject: Any, client: Any, emulator: Emulator) -> None:
    operation = subject(client.completion_async("one"))
    reported: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    log = logging.getLogger("yagrpc.operations")
    listening = logging.handlers.QueueHandler(reported)
    listening.setLevel(logging.ERROR)

    def fail(operation: Any) -> None:
        raise ValueError("of the callback's own")

    subject.in_loop(lambda: operation.add_done_callback(fail))
    log.addHandler(listening)
    try:
        emulator.advance(HOUR)
        subject(operation.result(timeout=10))
        # Another thread calls back, and may do so after the result is there.
        assert reported.get(timeout=10).getMessage().startswith(f"a callback of operation {operation.id} failed")
    finally:
        log.removeHandler(listening)


def test_a_callback_may_wait_for_other_operations(emulator: Emulator) -> None:
    """Answers come through one thread of gRPC's: a callback that waited there would wait for ever."""
    reported: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with yagrpc.Client(
        endpoint=emulator.address, plaintext=True, folder_id="f", credentials=yagrpc.NoCredentials()
    ) as client:
        first, second, third, fourth = (client.completion_async(f"<{number}>") for number in range(4))

        def wait(operation: Any) -> None:
            reported.put(second.result(timeout=10).text)
            reported.put(third.future().result(timeout=10).text)
            reported.put(yagrpc.gather(fourth, timeout=10)[0].text)

        first.add_done_callback(lambda operation: sys.exit(1))  # ends no thread that others need
        first.add_done_callback(wait)
        emulator.advance(HOUR)
        for number in (1, 2, 3):
            assert f"<{number}>" in reported.get(timeout=30)


def test_future_callback_that_waits_gets_an_error(emulator: Emulator) -> None:
    reported: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with yagrpc.Client(
        endpoint=emulator.address, plaintext=True, folder_id="f", credentials=yagrpc.NoCredentials()
    ) as client:
        first, second = client.completion_async("one"), client.completion_async("two")

        def wait(future: Any) -> None:
            try:
                reported.put(second.result(timeout=10))
            except RuntimeError as error:
                reported.put(error)

        first.future().add_done_callback(wait)
        emulator.advance(HOUR)
        assert "add_done_callback" in str(reported.get(timeout=30))
        assert "two" in second.result(timeout=10).text


def test_failed_future_has_the_cause(subject: Any, client: Any) -> None:
    future = subject.in_loop(client.operation("d7q00000000000000000").future)
    with pytest.raises(yagrpc.OperationNotFoundError):
        future.result(timeout=10) if subject.kind == "sync" else subject(future)


def test_nobody_polls_for_a_future_that_was_cancelled(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, polling=yagrpc.Polling(first=60.0))
    operation = subject(client.completion_async("one"))
    future = subject.in_loop(operation.future)
    subject.in_loop(future.cancel)
    emulator.advance(HOUR)
    assert "one" in subject(operation.result(timeout=0)).text
    assert emulator.calls[paths.OPERATION_GET] == 1


def test_closing_the_client_ends_waits_with_the_id(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator)
    operation = subject(client.completion_async("hello"))
    future = subject.in_loop(operation.future)

    def close_when_polled() -> Any:
        if subject.kind == "sync":
            assert not operation.done()
            client.close()
            return None

        async def close() -> None:
            assert not await operation.done()
            await client.close()

        return close()

    waited, _ = subject.together([lambda: operation.result(timeout=30), close_when_polled])
    assert isinstance(waited, yagrpc.ClientClosedError)
    assert waited.operation_id == operation.id
    assert isinstance(future.exception(), yagrpc.ClientClosedError)
    with pytest.raises(yagrpc.ClientClosedError):
        subject(operation.result())
    with pytest.raises(yagrpc.ClientClosedError):
        subject(client.completion_async("more"))
    subject(client.close())


def test_an_accepted_id_is_in_the_log(subject: Any, client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "yagrpc.operations"):
        operation = subject(client.completion_async("a secret text", request_id="r-1"))
    (record,) = [record for record in caplog.records if record.name == "yagrpc.operations"]
    assert operation.id in record.getMessage()
    assert record.__dict__["operation_id"] == operation.id
    assert "r-1" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_a_wait_outlives_failures_that_pass(subject: Any, served: Any) -> None:
    done = _pb.operation_pb2.Operation(id="op1", done=True)
    done.response.Pack(_response("after all"))
    failures = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN]

    def get(request: Any, context: grpc.ServicerContext) -> Any:
        if len(served.calls) <= len(failures):
            context.abort(failures[len(served.calls) - 1], "for now")
        return done

    client = subject.client(endpoint=served.start(get=get).address, plaintext=True)
    assert subject(client.operation("op1").result(timeout=10)).text == "after all"
    assert len(served.calls) == len(failures) + 1


def test_a_refusal_that_will_not_pass_ends_the_wait_with_the_id(subject: Any, served: Any) -> None:
    served.start(get=lambda request, context: context.abort(grpc.StatusCode.PERMISSION_DENIED, "not yours"))
    client = subject.client(endpoint=served.address, plaintext=True)
    with pytest.raises(yagrpc.PermissionDeniedError, match="operation op1") as caught:
        subject(client.operation("op1").result())
    assert caught.value.operation_id == "op1"
    assert served.calls == ["get"]


def test_not_found_right_after_our_own_submit_is_a_replica_that_lags(subject: Any, served: Any) -> None:
    done = _pb.operation_pb2.Operation(id="op1", done=True)
    done.response.Pack(_response("found"))

    def get(request: Any, context: grpc.ServicerContext) -> Any:
        if Counter(served.calls)["get"] < 3:
            context.abort(grpc.StatusCode.NOT_FOUND, "not here")
        return done

    served.start(get=get, completion_async=lambda request, context: _pb.operation_pb2.Operation(id="op1"))
    client = subject.client(endpoint=served.address, plaintext=True)
    assert subject(subject(client.completion_async("hello")).result(timeout=10)).text == "found"


def test_a_token_that_can_not_be_had_ends_the_wait(subject: Any, emulator: Emulator) -> None:
    tokens = iter(["t1.first"])
    client = subject.client(emulator, credentials=yagrpc.IamToken(lambda: next(tokens)))
    operation = subject(client.completion_async("hello"))
    with pytest.raises(yagrpc.ConfigError, match="callable that gives the IAM token failed with StopIteration"):
        subject(operation.result())


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_a_submit_that_may_have_been_accepted_is_not_sent_again(
    subject: Any, served: Any, code: grpc.StatusCode
) -> None:
    def submit(request: Any, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata((("x-request-id", "req"), ("x-server-trace-id", "trace")))
        context.abort(code, "after the work was done")

    served.start(completion_async=submit)
    client = subject.client(endpoint=served.address, plaintext=True)
    with pytest.raises(yagrpc.AmbiguousSubmitError, match="may or may not") as caught:
        subject(client.completion_async("hello", request_id="r-7"))
    assert caught.value.client_request_id == "r-7"
    assert (caught.value.request_id, caught.value.server_trace_id) == ("req", "trace")
    cause = caught.value.__cause__
    assert isinstance(cause, yagrpc.CallError)
    assert caught.value.context == cause.context
    assert served.calls == ["completion_async"]


def test_an_error_about_an_operation_has_the_ids_of_its_submit(subject: Any, served: Any) -> None:
    def submit(request: Any, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata((("x-request-id", "req"), ("x-server-trace-id", "trace")))
        return _pb.operation_pb2.Operation(id="op1")

    def get(request: Any, context: grpc.ServicerContext) -> Any:
        operation = _pb.operation_pb2.Operation(id="op1", done=failed.is_set())
        if operation.done:
            operation.error.code = grpc.StatusCode.INTERNAL.value[0]
        return operation

    failed = threading.Event()
    client = subject.client(endpoint=served.start(completion_async=submit, get=get).address, plaintext=True)
    operation = subject(client.completion_async("hello", request_id="r-7"))
    ids = {"client_request_id": "r-7", "request_id": "req", "server_trace_id": "trace", "operation_id": "op1"}
    with pytest.raises(yagrpc.OperationTimeoutError) as late:
        subject(operation.result(timeout=0))
    assert late.value.context == ids
    failed.set()
    with pytest.raises(yagrpc.OperationFailedError) as ended:
        subject(operation.result(timeout=10))
    assert ended.value.context == {**ids, "code": yagrpc.Code.INTERNAL}
    subject(client.close())
    with pytest.raises(yagrpc.ClientClosedError) as closed:
        subject(client.operation("op1").result())
    assert closed.value.context == {"operation_id": "op1"}  # another client may have submitted it


def test_acceptance_without_an_id_is_reported(subject: Any, served: Any) -> None:
    served.start(completion_async=lambda request, context: _pb.operation_pb2.Operation())
    client = subject.client(endpoint=served.address, plaintext=True)
    with pytest.raises(yagrpc.ResultError, match="gave no operation id") as caught:
        subject(client.completion_async("hello", request_id="r-7"))
    assert (caught.value.client_request_id, caught.value.method) == ("r-7", paths.COMPLETION_ASYNC)
    assert (caught.value.endpoint, caught.value.attempts) == (served.address, 1)


def test_a_submit_that_the_quota_refused_is_sent_again(subject: Any, served: Any) -> None:
    def submit(request: Any, context: grpc.ServicerContext) -> Any:
        if len(served.calls) < 3:
            context.set_trailing_metadata((("x-request-id", "theirs"),))  # as the service does: it proves who refused
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the quota is used up")
        return _pb.operation_pb2.Operation(id="op1")

    client = subject.client(endpoint=served.start(completion_async=submit).address, plaintext=True)
    assert subject(client.completion_async("hello")).id == "op1"
    assert len(served.calls) == 3


def _request(text: str) -> _pb.text_generation_service_pb2.CompletionRequest:
    return _pb.text_generation_service_pb2.CompletionRequest(
        model_uri="gpt://folder/yandexgpt/latest", messages=[_pb.text_common_pb2.Message(role="user", text=text)]
    )


def _response(text: str) -> _pb.text_generation_service_pb2.CompletionResponse:
    message = _pb.text_common_pb2.Message(role="assistant", text=text)
    alternative = _pb.text_common_pb2.Alternative(
        message=message, status=_pb.text_common_pb2.Alternative.ALTERNATIVE_STATUS_FINAL
    )
    return _pb.text_generation_service_pb2.CompletionResponse(alternatives=[alternative])


def test_an_interrupted_wait_leaves_the_others_alone(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes at any point of the main thread, here while it sends a Get that another thread waits for too."""
    settings: dict[str, Any] = {"endpoint": emulator.address, "plaintext": True, "polling": yagrpc.Polling(first=0.0)}
    with yagrpc.Client(folder_id="f", credentials=yagrpc.NoCredentials(), **settings) as client:
        operation = client.completion_async("hello")
        other = client.operation(operation.id)
        interrupting = client._core.get_call

        def interrupt(operation_id: str) -> Any:
            monkeypatch.setattr(client._core, "get_call", interrupting)
            waiting.start()
            raise KeyboardInterrupt

        texts: list[str] = []
        waiting = threading.Thread(target=lambda: texts.append(other.result(timeout=10).text))
        monkeypatch.setattr(client._core, "get_call", interrupt)
        emulator.advance(HOUR)
        with pytest.raises(KeyboardInterrupt):
            operation.result(timeout=10)
        waiting.join(10)
        assert ["hello" in text for text in texts] == [True]

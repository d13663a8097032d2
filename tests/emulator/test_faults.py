"""Scripted faults: what each does to a call, as the bare stubs see it, and which calls a rule applies to."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc import _pb
from yagrpc.emulator import (
    Control,
    Crash,
    Delay,
    DropConnection,
    EarlyError,
    Emulator,
    ExpireToken,
    Failure,
    Fault,
    Garbage,
    Hang,
    LostReply,
    NoResult,
    Oversize,
    Take,
    WrongType,
    paths,
)
from yagrpc.emulator.connections import shut_connections
from yagrpc.emulator.faults.fault import ACTIONS

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused, Response, Service

TextOf = Callable[["Response"], str]
UNAVAILABLE = Failure(grpc.StatusCode.UNAVAILABLE, "try again")
GET = "OperationService/Get"
SUBMIT = "TextGenerationAsyncService/Completion"
PATIENCE_SECONDS = 60.0


def outcomes(service: Service, operation_id: str, count: int) -> str:
    """How some Gets go: `.` is well, `x` UNAVAILABLE."""
    seen = ""
    for _ in range(count):
        try:
            service.get(operation_id)
            seen += "."
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            seen += "x"
    return seen


def on_a_new_connection(call: Callable[[], Any]) -> Any:
    """Make a call, and repeat it if it used a connection that is lost, which this side did not know yet."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            lost = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            if error.code() not in lost or time.monotonic() > limit:
                raise


def arrived(service: Service, path: str) -> None:
    """Wait until a call's request has been read: its time is known then."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while not any(received.path == path for received in service.emulator.requests):
        assert time.monotonic() < limit
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"method": GET}, "xxxxxx"),
        ({"method": paths.OPERATION_GET}, "xxxxxx"),
        ({"method": "OperationService"}, "xxxxxx"),
        ({"method": "yandex.cloud.operation.OperationService"}, "xxxxxx"),
        ({"method": "OperationService/Cancel"}, "......"),
        ({"method": GET, "calls": 2}, ".x...."),
        ({"method": GET, "calls": [2, 5]}, ".x..x."),
        ({"method": GET, "calls": range(2, 5)}, ".xxx.."),
        ({"method": GET, "times": 2}, "xx...."),
        ({"operation": 1}, "xxxxxx"),
        ({"operation": 2}, "......"),
        ({"operation": 1, "calls": 3}, "..x..."),
        ({"operation": "d7qanother0000000000"}, "......"),
        ({"method": GET, "probability": 0.0}, "......"),
    ],
    ids=str,
)
def test_a_rule_applies_to_the_calls_that_it_names(
    emulate: Emulate, ask: Ask, conditions: dict[str, Any], expected: str
) -> None:
    service = emulate()
    operation = service.text_async.Completion(ask("ping"))
    service.emulator.faults.add(Fault(UNAVAILABLE, **conditions))
    assert outcomes(service, operation.id, 6) == expected
    assert [applied for _, applied in service.emulator.faults.list()] == [expected.count("x")]
    service.emulator.faults.clear()
    assert outcomes(service, operation.id, 2) == ".."


def test_an_operation_is_named_by_its_id(service: Service, ask: Ask) -> None:
    one, other = (service.text_async.Completion(ask("ping")).id for _ in range(2))
    service.emulator.faults.add(Fault(UNAVAILABLE, operation=one))
    assert outcomes(service, other, 2) + outcomes(service, one, 2) == "..xx"


def test_a_probability_is_repeated_by_a_seed(emulate: Emulate, ask: Ask) -> None:
    def run(seed: int, own: int | None) -> str:
        service = emulate(seed=seed, faults=[Fault(UNAVAILABLE, method=GET, probability=0.5, seed=own)])
        return outcomes(service, service.text_async.Completion(ask("ping")).id, 40)

    first = run(1, None)
    assert run(1, None) == first
    assert run(2, None) != first
    assert run(1, 7) == run(2, 7) != first
    assert 5 < first.count("x") < 35


def test_a_failure_has_details_and_headers_and_does_no_work(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    detail = _pb.error_details_pb2.ErrorInfo(reason="TRIED")
    failure = Failure(grpc.StatusCode.UNAVAILABLE, "try again", (detail,))
    service = emulate(faults=[Fault(failure, method=SUBMIT, calls=1)])
    refusal = refused(service.text_async.Completion, ask("ping"))
    assert (refusal.code, refusal.message) == (grpc.StatusCode.UNAVAILABLE, "try again")
    assert refusal.status is not None
    info = _pb.error_details_pb2.ErrorInfo()
    assert refusal.status.details[0].Unpack(info)
    assert info == detail
    assert refusal.initial_metadata["x-request-id"]
    assert service.emulator.operations == []
    assert service.emulator.generations == {}
    assert service.emulator.refusals == {(paths.COMPLETION_ASYNC, grpc.StatusCode.UNAVAILABLE): 1}


def test_all_rules_that_apply_to_a_call_are_carried_out(emulate: Emulate, ask: Ask) -> None:
    service = emulate(frozen=True, faults=[Fault(Delay(5), method=GET), Fault(UNAVAILABLE, method=GET)])
    operation = service.text_async.Completion(ask("ping"))
    wanted = _pb.operation_service_pb2.GetOperationRequest(operation_id=operation.id)
    call = service.operations.Get.future(wanted)
    arrived(service, paths.OPERATION_GET)
    assert not call.done()
    service.emulator.advance(5)
    assert call.code() is grpc.StatusCode.UNAVAILABLE


def test_a_delayed_call_is_answered_later(emulate: Emulate, ask: Ask) -> None:
    service = emulate(frozen=True, duration=3, faults=[Fault(Delay(5), method=GET, calls=1)])
    operation = service.text_async.Completion(ask("ping"))
    call = service.operations.Get.future(_pb.operation_service_pb2.GetOperationRequest(operation_id=operation.id))
    arrived(service, paths.OPERATION_GET)
    service.emulator.advance(4)
    assert not call.done()
    service.emulator.advance(1)
    assert not call.result().done, "it is processed as of its arrival"
    assert service.get(operation.id).done


def test_what_a_call_starts_takes_as_long_as_a_fault_says(emulate: Emulate, ask: Ask) -> None:
    service = emulate(frozen=True, duration=1, faults=[Fault(Take(100), method=SUBMIT, calls=2)])
    first, second = (service.text_async.Completion(ask("ping")).id for _ in range(2))
    service.emulator.advance(1)
    assert service.get(first).done
    assert not service.get(second).done
    service.emulator.advance(99)
    assert service.get(second).done


def test_a_call_that_hangs_ends_with_its_deadline(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(faults=[Fault(Hang(), method=GET, calls=1)])
    operation = service.text_async.Completion(ask("ping"))
    assert refused(service.get, operation.id, timeout=0.1).code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert service.get(operation.id).id == operation.id


def test_a_token_ends_after_its_life(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(frozen=True, auth="present", faults=[Fault(ExpireToken(60))])
    old, new = ([("authorization", f"Bearer t1.{name}")] for name in ("old", "new"))
    service.complete(ask("ping"), metadata=old)
    service.emulator.advance(59)
    service.complete(ask("ping"), metadata=old)
    service.emulator.advance(1)
    refusal = refused(service.text.Completion, ask("ping"), metadata=old)
    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    assert refusal.status is not None
    info = _pb.error_details_pb2.RequestInfo()
    assert refusal.status.details[0].Unpack(info)
    assert info.request_id == refusal.initial_metadata["x-request-id"]
    service.complete(ask("ping"), metadata=new)


@pytest.mark.parametrize("connection", [False, True])
def test_a_lost_reply_leaves_its_operation(emulate: Emulate, ask: Ask, refused: Refused, connection: bool) -> None:
    service = emulate(faults=[Fault(LostReply(connection), method=SUBMIT, calls=1)])
    refusal = refused(service.text_async.Completion, ask("ping"))
    assert refusal.code is grpc.StatusCode.UNAVAILABLE
    assert refusal.initial_metadata == {}
    (started,) = service.emulator.operations
    assert on_a_new_connection(lambda: service.get(started.id, wait_for_ready=True)).id == started.id
    service.text_async.Completion(ask("ping"))
    assert service.emulator.generations == {paths.COMPLETION_ASYNC: 2}


@pytest.mark.parametrize("connection", [False, True])
def test_a_stream_loses_its_end(emulate: Emulate, ask: Ask, text_of: TextOf, connection: bool) -> None:
    service = emulate(replies={"": "one two three"}, faults=[Fault(LostReply(connection), calls=1)])
    request = ask("count")
    request.completion_options.stream = True
    said: list[str] = []
    with pytest.raises(grpc.RpcError) as caught:
        said.extend(text_of(response) for response in service.text.Completion(request))
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    # What was under way when the connection went may have arrived or not.
    assert said == ["one", "one two", "one two three"][: len(said) if connection else 3]


@pytest.mark.parametrize("after", [0, 1, 2, 10])
def test_a_connection_is_dropped_amid_a_stream(emulate: Emulate, ask: Ask, text_of: TextOf, after: int) -> None:
    service = emulate(
        frozen=True,
        replies={"": "one two three"},
        completion_duration=0.3,
        faults=[Fault(DropConnection(after), method="TextGenerationService", calls=1)],
    )
    request = ask("count")
    request.completion_options.stream = True
    call = service.text.Completion(request)
    said: list[str] = []

    def read() -> None:
        if after:
            call.initial_metadata()
        for _ in range(4):
            service.emulator.advance(0.11)
            said.append(text_of(next(call)))

    with pytest.raises(grpc.RpcError) as caught:
        read()
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    # The last message was under way when the connection went at the stream's end.
    assert len(said) in ([2, 3] if after > 3 else [after])
    request.completion_options.stream = False
    service.emulator.unfreeze()
    (whole,) = on_a_new_connection(lambda: list(service.text.Completion(request, wait_for_ready=True)))
    assert text_of(whole) == "one two three"


def test_a_dropped_connection_takes_all_its_calls_along(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(completion_duration=3600)
    running = service.text.Completion(ask("ping"))
    running.initial_metadata()
    with grpc.insecure_channel(service.emulator.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        apart = _pb.text_generation_service_pb2_grpc.TextGenerationServiceStub(channel).Completion(ask("ping"))
        apart.initial_metadata()
        service.emulator.faults.add(Fault(DropConnection(), method=GET))
        assert refused(service.get, "d7q").code is grpc.StatusCode.UNAVAILABLE
        assert running.code() is grpc.StatusCode.UNAVAILABLE
        assert apart.is_active(), "another connection is another matter"
        service.emulator.advance(3600)
        assert len(list(apart)) == 1


def test_a_connection_with_tls_is_dropped_too(ask: Ask) -> None:
    faults = [Fault(DropConnection(), method=GET, calls=1)]
    with Emulator(tls=True, control=True, faults=faults) as emulator:
        assert emulator.ca_file is not None
        trusted = Path(emulator.ca_file).read_bytes()
        with grpc.secure_channel(emulator.address, grpc.ssl_channel_credentials(trusted)) as channel:
            stub = _pb.operation_service_pb2_grpc.OperationServiceStub(channel)
            wanted = _pb.operation_service_pb2.GetOperationRequest(operation_id="d7q")
            with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
                stub.Get(wanted)
            with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
                on_a_new_connection(lambda: stub.Get(wanted, wait_for_ready=True))
        with Control(emulator.address, root_certificates=trusted) as control:
            assert control.counters()[paths.OPERATION_GET].calls == 2


def test_where_open_files_are_not_listed_the_call_alone_is_lost(
    emulate: Emulate, ask: Ask, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = emulate(faults=[Fault(DropConnection(), method=GET)])
    monkeypatch.setattr("yagrpc.emulator.connections._OPEN_FILES", "/no/such/folder")
    assert shut_connections(1) == 0
    assert refused(service.get, "d7q").code is grpc.StatusCode.UNAVAILABLE


def test_operations_are_damaged_in_answers_only(emulate: Emulate, ask: Ask) -> None:
    service = emulate(
        duration=0,
        faults=[
            Fault(WrongType(), operation=1),
            Fault(WrongType("yandex.cloud.operation.Operation"), operation=2),
            Fault(NoResult(), operation=3),
            Fault(EarlyError(code=8, message="too early"), operation=4),
        ],
    )
    submitted = [service.text_async.Completion(ask("ping")) for _ in range(4)]
    empty, other, nothing, early = (service.get(operation.id) for operation in submitted)
    assert empty.done
    assert empty.response.type_url == "type.googleapis.com/google.protobuf.Empty"
    assert empty.response.Unpack(_pb.empty_pb2.Empty())
    assert other.response.type_url == "type.googleapis.com/yandex.cloud.operation.Operation"
    assert nothing.done
    assert nothing.WhichOneof("result") is None
    assert not early.done
    assert (early.error.code, early.error.message) == (8, "too early")
    service.emulator.faults.clear()
    assert [service.get(operation.id) for operation in submitted] == submitted


def test_an_answer_of_six_mebibytes(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(duration=0, faults=[Fault(Oversize(), method=GET), Fault(Oversize(100), method=SUBMIT)])
    operation = service.text_async.Completion(ask("ping " * 100))
    assert operation.ByteSize() < 10_000
    assert refused(service.get, operation.id).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    options = [("grpc.max_receive_message_length", 64 * 1024 * 1024)]
    with grpc.insecure_channel(service.emulator.address, options=options) as channel:
        stub = _pb.operation_service_pb2_grpc.OperationServiceStub(channel)
        got = stub.Get(_pb.operation_service_pb2.GetOperationRequest(operation_id=operation.id))
    assert 6 * 1024 * 1024 <= got.ByteSize() < 6 * 1024 * 1024 + 20
    assert got.response == operation.response


def test_an_answer_over_every_limit_is_sent(emulate: Emulate, ask: Ask) -> None:
    size = 65 * 1024 * 1024
    emulator = emulate(faults=[Fault(Oversize(size))]).emulator
    with grpc.insecure_channel(emulator.address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        stub = _pb.text_generation_service_pb2_grpc.TextGenerationServiceStub(channel)
        (answer,) = stub.Completion(ask("ping"))
    assert answer.ByteSize() >= size


def test_garbage_is_no_message(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(faults=[Fault(Garbage(), calls=[1, 2]), Fault(Garbage(b""), calls=3)])
    assert refused(service.endpoints.List, _pb.api_endpoint_service_pb2.ListApiEndpointsRequest()).code is (
        grpc.StatusCode.INTERNAL
    )
    assert refused(service.text.Completion, ask("ping")).code is grpc.StatusCode.INTERNAL
    assert service.complete(ask("ping")) == _pb.text_generation_service_pb2.CompletionResponse()


@pytest.mark.parametrize("keep", [True, False])
def test_a_crash_and_a_restart(emulate: Emulate, ask: Ask, refused: Refused, keep: bool) -> None:
    service = emulate(duration=60, completion_duration=3600)
    address = service.emulator.address
    operation = service.text_async.Completion(ask("ping"))
    running = service.text.Completion(ask("ping"))
    running.initial_metadata()
    service.emulator.faults.add(Fault(Crash(keep=keep), method=GET, times=1))
    assert refused(service.get, operation.id).code is grpc.StatusCode.UNAVAILABLE
    assert running.code() is grpc.StatusCode.UNAVAILABLE
    if keep:
        assert on_a_new_connection(lambda: service.get(operation.id, wait_for_ready=True)).id == operation.id
    else:
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            on_a_new_connection(lambda: service.get(operation.id, wait_for_ready=True))
        assert service.emulator.operations == []
    assert service.emulator.address == address


def test_a_crashed_emulator_is_down_for_a_while(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(frozen=True, faults=[Fault(Crash(down=60), calls=2)])
    operation = service.text_async.Completion(ask("ping"))
    assert refused(service.get, operation.id).code is grpc.StatusCode.UNAVAILABLE
    # One that came through in the last moment is ended by gRPC itself.
    lost = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert refused(service.get, operation.id).code in lost
    assert refused(service.get, operation.id, timeout=1).code in (*lost, grpc.StatusCode.DEADLINE_EXCEEDED)
    service.emulator.advance(60)
    assert on_a_new_connection(lambda: service.get(operation.id, wait_for_ready=True)).id == operation.id


def test_an_emulator_may_be_stopped_while_it_is_down(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(faults=[Fault(Crash(down=3600))])
    assert refused(service.text.Completion, ask("ping")).code is grpc.StatusCode.UNAVAILABLE
    service.emulator.stop()
    service.emulator.faults.clear()
    service.emulator.start()
    assert on_a_new_connection(lambda: list(service.text.Completion(ask("ping"), wait_for_ready=True)))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Fault("fail"), "an action is one of Failure, Delay"),  # type: ignore[arg-type]
        (lambda: Fault(Hang(), method="OperationService/List"), "unknown method 'OperationService/List'; served are"),
        (lambda: Fault(Hang(), method=""), "unknown method ''"),
        (lambda: Fault(Hang(), calls=0), "calls are numbers from 1; got 0"),
        (lambda: Fault(Hang(), calls=[]), "calls are numbers from 1"),
        (lambda: Fault(Hang(), operation=0), "a number from 1; got 0"),
        (lambda: Fault(Hang(), probability=1.5), "from 0 to 1; got 1.5"),
        (lambda: Fault(Hang(), times=0), "times is a number from 1"),
        (lambda: Fault(WrongType("no.such.Message")), "unknown message type 'no.such.Message'"),
        (lambda: Delay(-1), "seconds is a finite number, 0 or more; got -1"),
        (lambda: Take(float("nan")), "seconds is a number, 0 or more; got nan"),
        (lambda: ExpireToken(float("inf")), "seconds is a finite number"),
        (lambda: DropConnection(-1), "after is a whole number, 0 or more; got -1"),
        (lambda: Crash(down=-1), "down is a finite number"),
        (lambda: Oversize(-1), "size is a whole number, 0 or more; got -1"),
        (lambda: EarlyError(code=0), "code of an error is not 0"),
    ],
)
def test_a_fault_that_could_not_happen_is_refused(make: Callable[[], object], expected: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert expected in str(caught.value)


def test_every_action_has_a_name() -> None:
    assert len(set(ACTIONS.values())) == len(ACTIONS) == 13


def test_thousands_of_calls_meet_faults_of_their_own(emulate: Emulate, ask: Ask, text_of: TextOf) -> None:
    service = emulate(duration=0, seed=3, faults=[Fault(LostReply(), method=SUBMIT, probability=0.3)])
    questions = [f"question number {number}." for number in range(300)]
    random.Random(1).shuffle(questions)
    calls = [service.text_async.Completion.future(ask(question)) for question in questions]
    kept = [(question, call.result()) for question, call in zip(questions, calls, strict=True) if not call.exception()]
    assert 150 < len(kept) < 270
    for question, operation in kept:
        assert f'"{question}"' in text_of(service.result(operation))
    assert len(service.emulator.operations) == 300

"""Operations: their shape, when they are done, cancelling, keeping, and that answers are never mixed up."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc

from yagrpc import _pb
from yagrpc.emulator import Uniform
from yagrpc.emulator.cloud.operations import RETENTION_SECONDS, Operations
from yagrpc.emulator.state import State

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused, Response

TextOf = Callable[["Response"], str]


def test_an_operation_starts_as_the_service_starts_it(emulate: Emulate, ask: Ask) -> None:
    service = emulate(duration=60)
    operation = service.text_async.Completion(ask("ping"))
    assert re.fullmatch(r"d7q[a-z0-9]{17}", operation.id)
    assert operation.description == "Async GPT Completion"
    assert len(operation.created_by) == 20
    assert abs(operation.created_at.seconds - service.emulator.now()) < 5
    assert operation.created_at.nanos == 0
    assert operation.modified_at == operation.created_at
    assert not operation.done
    assert operation.WhichOneof("result") is None
    assert not operation.HasField("metadata")
    assert service.get(operation.id) == operation


def test_it_is_done_when_its_time_has_passed(emulate: Emulate, ask: Ask, text_of: TextOf) -> None:
    service = emulate(duration=60)
    submitted = service.text_async.Completion(ask("ping"))
    service.emulator.advance(30)
    assert not service.get(submitted.id).done
    service.emulator.advance(30)
    done = service.get(submitted.id)
    assert "ping" in text_of(service.result(done))
    type_url = "type.googleapis.com/yandex.cloud.ai.foundation_models.v1.CompletionResponse"
    assert done.response.type_url == type_url
    # To the second: both ends are cut to whole ones.
    assert done.modified_at.seconds - done.created_at.seconds in (60, 61)
    assert done.modified_at.nanos == 0
    service.emulator.advance(3600)
    assert service.get(submitted.id) == done, "the same for as long as it is kept"


def test_its_answer_is_the_synchronous_one(emulate: Emulate, ask: Ask) -> None:
    service = emulate(duration=0)
    assert service.result(service.text_async.Completion(ask("ping"))) == service.complete(ask("ping"))


def test_without_a_duration_it_is_done_in_the_first_reply(emulate: Emulate, ask: Ask) -> None:
    assert emulate(duration=0).text_async.Completion(ask("ping")).done


def test_an_endless_operation_never_ends(emulate: Emulate, ask: Ask) -> None:
    service = emulate(duration=math.inf)
    operation = service.text_async.Completion(ask("ping"))
    service.emulator.advance(RETENTION_SECONDS - 60)
    assert not service.get(operation.id).done


def test_no_streaming_in_asynchronous_mode(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate()
    request = ask("ping")
    request.completion_options.stream = True
    refusal = refused(service.text_async.Completion, request)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "stream" in refusal.message


def test_an_idempotency_key_starts_two_operations_all_the_same(emulate: Emulate, ask: Ask) -> None:
    service = emulate()
    metadata = (("idempotency-key", "8b1a1b60-95d0-4c1a-9d2f-0f0d1c5b7e11"),)
    first, second = (service.text_async.Completion(ask("ping"), metadata=metadata) for _ in range(2))
    assert first.id != second.id
    assert service.get(first.id).id == first.id


def test_an_unknown_id_is_not_found(emulate: Emulate, refused: Refused) -> None:
    service = emulate()
    for call in (service.get, service.cancel):
        refusal = refused(call, "d7qnosuchoperation00")
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        assert "d7qnosuchoperation00" in refusal.message
        assert refused(call, "").code is grpc.StatusCode.INVALID_ARGUMENT


def test_results_are_kept_for_three_days(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(duration=1)
    operation = service.text_async.Completion(ask("ping"))
    service.emulator.advance(RETENTION_SECONDS - 60)
    assert service.get(operation.id).done
    service.emulator.advance(60)
    assert refused(service.get, operation.id).code is grpc.StatusCode.NOT_FOUND
    assert refused(service.cancel, operation.id).code is grpc.StatusCode.NOT_FOUND


def test_expired_operations_are_forgotten(state: State, ask: Ask) -> None:
    store = Operations(state.durations)
    old = [store.submit(ask("old"), None, seconds=1, now=0.0) for _ in range(3)]
    newer = store.submit(ask("newer"), None, seconds=1, now=100.0)
    assert len({operation.id for operation in old}) == 3
    store.submit(ask("now"), None, seconds=1, now=RETENTION_SECONDS + 1)
    assert len(store) == 2
    assert store.get(newer.id, RETENTION_SECONDS + 1).done


def test_cancelling_ends_a_running_operation(emulate: Emulate, ask: Ask) -> None:
    service = emulate(duration=60)
    operation = service.text_async.Completion(ask("ping"))
    service.emulator.advance(20)
    cancelled = service.cancel(operation.id)
    assert cancelled.done
    assert cancelled.error.code == grpc.StatusCode.CANCELLED.value[0]
    assert cancelled.modified_at.seconds - cancelled.created_at.seconds in (20, 21)
    service.emulator.advance(60)
    assert service.get(operation.id) == cancelled
    assert service.cancel(operation.id) == cancelled


def test_cancelling_comes_too_late_for_one_that_is_done(emulate: Emulate, ask: Ask) -> None:
    service = emulate(duration=60)
    operation = service.text_async.Completion(ask("ping"))
    service.emulator.advance(60)
    assert service.cancel(operation.id).WhichOneof("result") == "response"


def test_a_seed_repeats_ids_and_durations(emulate: Emulate, ask: Ask) -> None:
    def run(seed: int | None, low: float) -> list[tuple[str, bool]]:
        service = emulate(seed=seed, duration=Uniform(low, 100))
        submitted = [service.text_async.Completion(ask("ping")) for _ in range(20)]
        service.emulator.advance(50)
        return [(operation.id, service.get(operation.id).done) for operation in submitted]

    first = run(7, 0)
    assert first == run(7, 0)
    assert {done for _, done in first} == {True, False}
    assert [one for one, _ in first] == [one for one, _ in run(7, 99)], "ids do not hang on durations"
    assert first != run(8, 0)
    assert run(None, 0) != run(None, 0)


def test_two_hundred_at_once_each_get_their_own_answer(emulate: Emulate, ask: Ask, text_of: TextOf) -> None:
    service = emulate(duration=5)
    questions = [f"question number {number}." for number in range(200)]
    submits = [service.text_async.Completion.future(ask(question)) for question in questions]
    ids = [submit.result().id for submit in submits]
    assert len(set(ids)) == 200
    service.emulator.advance(5)
    wanted = [_pb.operation_service_pb2.GetOperationRequest(operation_id=operation_id) for operation_id in ids]
    gets = [service.operations.Get.future(request) for request in wanted]
    for question, get in zip(questions, gets, strict=True):
        assert f'"{question}"' in text_of(service.result(get.result()))
    assert service.emulator.calls.total() == 400

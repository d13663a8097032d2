"""What is known of an operation, and what its end means."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf import any_pb2 as installed_any
from google.protobuf import descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

import yagrpc
from yagrpc import _pb
from yagrpc._core.operation.result import ResultType, attached_type, itself, result_type_of
from yagrpc._core.operation.view import OperationStatus, OperationView
from yagrpc._core.polling.scheduler import Scheduler
from yagrpc._core.polling.watch import Watch
from yagrpc._grpc.runtime import RUNTIME
from yagrpc._services.text import completion_type
from yagrpc.config import Polling
from yagrpc.errors import (
    Code,
    OperationCancelledError,
    OperationError,
    OperationFailedError,
    OperationResultError,
    OperationTimeoutError,
    RequestError,
    ResultError,
)
from yagrpc.results import Completion

Make = Callable[..., Any]

RESPONSE = "yandex.cloud.ai.foundation_models.v1.CompletionResponse"
CompletionResponse = _pb.text_generation_service_pb2.CompletionResponse
Status = _pb.status_pb2.Status


NOBODY: Any = None
"""No poller: nothing is waited for here."""


def view(proto: Any, result_type: Any = None) -> OperationView[Any, Any]:
    """An operation as it was seen."""
    return OperationView(NOBODY, proto, result_type or completion_type(), None)


def raised(kind: type[OperationError], proto: Any, result_type: Any = None) -> Any:
    """The error that an operation ended with; a pickled copy says the same."""
    with pytest.raises(kind) as caught:
        (result_type or completion_type()).unpack(proto)
    error: Any = caught.value
    assert type(error) is kind
    assert error.operation_id == proto.id
    assert len(str(error).splitlines()) == 1
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    return error


# The result


def test_a_completion_is_unpacked(operation: Make, packed: Make, completion: Make) -> None:
    result = completion_type().unpack(operation(done=True, response=packed(completion("hi"))))
    assert isinstance(result, Completion)
    assert result.text == "hi"


def test_method_determines_the_result_type(operation: Make, packed: Make, completion: Make) -> None:
    result_type = result_type_of(yagrpc.methods.TextGenerationAsyncService.Completion)
    result = result_type.unpack(operation(done=True, response=packed(completion("hi"))))
    assert type(result) is CompletionResponse
    assert result == completion("hi")


def test_the_prefix_of_a_type_does_not_matter(operation: Make, completion: Make) -> None:
    value = completion("hi").SerializeToString()
    for url in (f"type.googleapis.com/{RESPONSE}", f"type.yandexcloud/{RESPONSE}", f"/{RESPONSE}", RESPONSE):
        response = _pb.any_pb2.Any(type_url=url, value=value)
        assert completion_type().unpack(operation(done=True, response=response)).text == "hi"


def test_operation_error_is_raised_with_all_its_details(operation: Make, packed: Make) -> None:
    info = packed(_pb.error_details_pb2.RequestInfo(request_id="req"))
    error = raised(
        OperationFailedError,
        operation(done=True, error=Status(code=3, message="wrong\n  model", details=[info])),
    )
    assert str(error) == "operation op failed: INVALID_ARGUMENT: wrong model"
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, "wrong model")
    assert error.details == ({"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "req"},)


def test_an_error_without_a_message_says_so(operation: Make) -> None:
    assert str(raised(OperationFailedError, operation(done=True, error=Status(code=13)))) == (
        "operation op failed: INTERNAL: no message"
    )


@pytest.mark.parametrize("number", [17, 99, -1, 2**31 - 1])
def test_a_code_that_is_not_known_is_kept(number: int, operation: Make) -> None:
    error = raised(OperationFailedError, operation(done=True, error=Status(code=number, message="odd")))
    assert type(error.code) is int
    assert error.code == number
    assert str(error) == f"operation op failed: status {number}: odd"


def test_an_error_with_the_code_of_success_is_an_error(operation: Make) -> None:
    assert raised(OperationFailedError, operation(done=True, error=Status())).code is Code.OK


def test_an_operation_that_was_cancelled_says_so(operation: Make) -> None:
    error = raised(OperationCancelledError, operation(done=True, error=Status(code=1, message="by\nthe user")))
    assert str(error) == "operation op: cancelled: by the user"


def test_neither_a_result_nor_an_error_is_an_error(operation: Make) -> None:
    error = raised(OperationResultError, operation(done=True))
    assert str(error) == "operation op: it is done, with neither a result nor an error"


def test_result_of_another_type_is_reported_with_both_names(operation: Make, packed: Make) -> None:
    other = packed(_pb.text_common_pb2.Message(role="user"))
    error = raised(OperationResultError, operation(done=True, response=other))
    assert str(error) == (
        f"operation op: its result is a yandex.cloud.ai.foundation_models.v1.Message, not a {RESPONSE}"
    )


@pytest.mark.parametrize(
    ("url", "reported"), [("", "message of no type"), ("type.googleapis.com/", "message of no type"), ("a/b\nc", "b c")]
)
def test_result_of_an_odd_type_is_reported_in_one_line(url: str, reported: str, operation: Make) -> None:
    error = raised(OperationResultError, operation(done=True, response=_pb.any_pb2.Any(type_url=url, value=b"x")))
    assert f"its result is a {reported}, not a" in str(error)


def test_result_that_does_not_parse_is_reported(operation: Make) -> None:
    garbage = _pb.any_pb2.Any(type_url=f"type.googleapis.com/{RESPONSE}", value=b"\xff\xff\xff")
    error = raised(OperationResultError, operation(done=True, response=garbage))
    assert str(error).startswith(f"operation op: its {RESPONSE} does not parse: ")
    assert error.__cause__ is not None


def test_result_without_an_answer_is_reported(operation: Make, packed: Make) -> None:
    error = raised(OperationResultError, operation(done=True, response=packed(CompletionResponse())))
    assert str(error) == "operation op: the completion has no alternatives"


@given(url=st.text(st.characters(codec="utf-8"), max_size=60), value=st.binary(max_size=60))
def test_any_result_gives_a_value_or_the_error(url: str, value: bytes, operation: Make) -> None:
    for type_url in (url, f"type.googleapis.com/{RESPONSE}"):
        proto = operation(done=True, response=_pb.any_pb2.Any(type_url=type_url, value=value))
        try:
            assert isinstance(completion_type().unpack(proto), Completion)
        except OperationResultError as error:
            assert len(str(error).splitlines()) == 1


def test_a_class_of_another_pool_gets_its_own_message(operation: Make, packed: Make, completion: Make) -> None:
    pool = descriptor_pool.DescriptorPool()

    def add(file: Any) -> None:
        for dependency in file.dependencies:
            add(dependency)
        pool.AddSerializedFile(file.serialized_pb)

    add(CompletionResponse.DESCRIPTOR.file)
    theirs: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName(RESPONSE))
    proto = operation(done=True, response=packed(completion("hi")))
    result = ResultType(theirs, itself).unpack(proto)
    assert type(result) is theirs
    assert result.alternatives[0].message.text == "hi"
    assert type(view(proto, ResultType(theirs, itself)).response) is theirs


# What it is declared to be


def test_the_type_of_an_attached_operation_is_a_completion_by_default() -> None:
    client = yagrpc.Client(credentials=yagrpc.NoCredentials())
    other = yagrpc.AsyncClient(credentials=yagrpc.NoCredentials())
    assert client.operation("d7q")._type.message is CompletionResponse
    assert other.operation("d7q")._type.message is CompletionResponse
    assert attached_type(CompletionResponse).message is CompletionResponse
    method = yagrpc.methods.TextGenerationBatchService.Completion
    assert attached_type(method).message is method.response_type
    assert attached_type(method).metadata is method.metadata_type


@pytest.mark.parametrize(
    "wrong", [5, "Completion", Completion, int, CompletionResponse(), yagrpc.methods.TokenizerService.Tokenize]
)
def test_what_is_no_type_of_a_result_is_refused(wrong: Any) -> None:
    with pytest.raises(RequestError, match="result is .*: it takes a message class, or a long-running method"):
        attached_type(wrong)


# What is seen of it


def test_what_is_missing_is_empty(operation: Make) -> None:
    seen = view(operation("d7q"))
    assert seen.id == "d7q"
    assert seen.status is OperationStatus.RUNNING
    assert (seen.description, seen.created_by) == ("", "")
    assert (seen.created_at, seen.modified_at, seen.metadata, seen.response) == (None, None, None, None)
    assert repr(seen) == "<OperationView d7q running>"


def test_present_fields_are_shown(operation: Make, packed: Make) -> None:
    proto = operation(
        description="Async GPT Completion",
        created_by="aje",
        created_at=_pb.timestamp_pb2.Timestamp(seconds=1_740_000_000, nanos=123_456_789),
        modified_at=_pb.timestamp_pb2.Timestamp(seconds=1_740_000_010),
        metadata=packed(_pb.text_generation_service_pb2.BatchCompletionMetadata(task_id="task")),
    )
    seen = view(proto)
    assert (seen.description, seen.created_by, seen.proto) == ("Async GPT Completion", "aje", proto)
    assert seen.created_at == datetime(2025, 2, 19, 21, 20, 0, 123_456, tzinfo=timezone.utc)
    assert seen.modified_at is not None
    assert seen.created_at is not None
    assert seen.modified_at - seen.created_at == timedelta(seconds=9, microseconds=876_544)
    assert isinstance(seen.metadata, _pb.text_generation_service_pb2.BatchCompletionMetadata)
    assert seen.metadata.task_id == "task"


def test_the_beginning_of_time_is_a_time(operation: Make) -> None:
    seen = view(operation(created_at=_pb.timestamp_pb2.Timestamp()))
    assert seen.created_at == datetime(1970, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(("seconds", "nanos"), [(10**15, 0), (-(10**15), 0), (0, -1), (0, 2 * 10**9)])
def test_invalid_time_is_reported(seconds: int, nanos: int, operation: Make) -> None:
    seen = view(operation(created_at=_pb.timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)))
    with pytest.raises(OperationResultError, match="operation op: its created_at is not a valid time"):
        _ = seen.created_at
    assert seen.status is OperationStatus.RUNNING


def test_response_of_any_type_is_shown(operation: Make, packed: Make) -> None:
    message = _pb.text_common_pb2.Message(role="user")
    seen = view(operation(done=True, response=packed(message)))
    assert seen.response == message
    assert type(seen.response) is type(message)
    assert view(operation(done=True, response=packed(_pb.empty_pb2.Empty()))).response == _pb.empty_pb2.Empty()


@pytest.mark.parametrize("field", ["response", "metadata"])
def test_a_type_that_is_not_known_is_not_unpacked(field: str, operation: Make) -> None:
    unknown = _pb.any_pb2.Any(type_url="type.googleapis.com/some.Other", value=b"\xff")
    assert getattr(view(operation(**{field: unknown})), field) is None


@pytest.mark.parametrize("field", ["response", "metadata"])
def test_bytes_that_do_not_parse_are_reported(field: str, operation: Make) -> None:
    garbage = _pb.any_pb2.Any(type_url=f"type.googleapis.com/{RESPONSE}", value=b"\xff")
    with pytest.raises(OperationResultError, match=f"operation op: its {RESPONSE} does not parse"):
        getattr(view(operation(**{field: garbage})), field)


@given(url=st.text(st.characters(codec="utf-8"), max_size=60), value=st.binary(max_size=60))
def test_any_response_is_a_message_or_none_or_the_error(url: str, value: bytes, operation: Make) -> None:
    seen = view(operation(response=_pb.any_pb2.Any(type_url=url, value=value)))
    assert seen.response is None or url


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, OperationStatus.RUNNING),
        ({"error": Status(code=3)}, OperationStatus.RUNNING),
        ({"done": True}, OperationStatus.SUCCEEDED),
        ({"done": True, "response": _pb.any_pb2.Any()}, OperationStatus.SUCCEEDED),
        ({"done": True, "error": Status(code=3)}, OperationStatus.FAILED),
        ({"done": True, "error": Status()}, OperationStatus.FAILED),
        ({"done": True, "error": Status(code=1)}, OperationStatus.CANCELLED),
    ],
)
def test_the_status_is_what_was_last_seen(fields: dict[str, Any], status: OperationStatus, operation: Make) -> None:
    seen = view(operation(**fields))
    assert seen.status is status
    assert repr(seen) == f"<OperationView op {status.value}>"


def test_the_type_of_an_operation_may_be_written_down() -> None:
    assert repr(yagrpc.Operation[Completion]).endswith("Operation[yagrpc.results.Completion]")
    assert OperationView[Completion, None] is not None


# Futures


@pytest.fixture(params=["concurrent", "asyncio"])
def future(request: pytest.FixtureRequest) -> Any:
    """A future of each kind."""
    if request.param == "concurrent":
        yield Future()
        return
    loop = asyncio.new_event_loop()
    yield loop.create_future()
    loop.close()


def test_a_future_gets_the_result(future: Any, operation: Make, packed: Make, completion: Make) -> None:
    view(operation(done=True, response=packed(completion("hi"))))._settle(future)
    assert future.result().text == "hi"


def test_a_future_gets_what_a_watch_saw(future: Any, operation: Make, packed: Make, completion: Make) -> None:
    scheduler = Scheduler(None, Polling(), RUNTIME)
    seen = view(operation())
    watch = scheduler.watch(seen.proto, 0.0)
    scheduler.take(0.0)
    scheduler.answered(watch, operation(done=True, response=packed(completion("hi"))), 0.0)
    seen._saw(watch)
    seen._settle(future)
    assert future.result().text == "hi"
    assert seen.status is OperationStatus.SUCCEEDED


def test_a_future_gets_the_error(future: Any, operation: Make) -> None:
    view(operation(done=True, error=Status(code=3)))._settle(future)
    assert isinstance(future.exception(), OperationFailedError)


def test_a_future_gets_why_it_cannot_be_waited_for(future: Any, operation: Make) -> None:
    scheduler = Scheduler(None, Polling(), RUNTIME)
    seen = view(operation())
    watch = scheduler.watch(seen.proto, 0.0)
    watch.failure = OperationTimeoutError("op", "over")
    seen._saw(watch)
    seen._settle(future)
    assert isinstance(future.exception(), OperationTimeoutError)
    assert future.exception() is not watch.failure


def test_an_any_of_the_installed_package_is_not_ours() -> None:
    with pytest.raises(TypeError):
        _pb.operation_pb2.Operation(metadata=installed_any.Any())  # type: ignore[arg-type]


# Strict


def checked(result: str) -> None:
    if result == "cut off":
        raise ResultError("it was cut off")


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("strict", [True, False, None])
def test_a_wait_says_whether_results_are_checked_or_else_the_submit(declared: bool, strict: bool | None) -> None:
    result_type = ResultType(CompletionResponse, itself, check=checked, strict=declared)
    result_type.check_strict(strict)
    result_type.check("whole", "op", strict)
    if declared if strict is None else strict:
        with pytest.raises(ResultError, match="it was cut off") as caught:
            result_type.check("cut off", "op", strict)
        assert caught.value.operation_id == "op"
    else:
        result_type.check("cut off", "op", strict)


def test_a_result_that_nothing_checks_takes_no_strict() -> None:
    result_type = ResultType(CompletionResponse, itself, strict=True)
    result_type.check("cut off", "op", None)
    result_type.check_strict(None)
    result_type.check_strict(False)
    with pytest.raises(RequestError, match="strict"):
        result_type.check_strict(True)
    for wrong in (1, 0, "yes"):
        with pytest.raises(RequestError, match="it takes True or False"):
            ResultType(CompletionResponse, itself, check=checked).check_strict(wrong)


def test_the_last_failure_of_a_get_is_known_once_there_was_one() -> None:
    seen = view(_pb.operation_pb2.Operation(id="op"))
    assert seen.last_error is None
    seen.watch = Watch(seen.proto, 0.0, 0.0, attached=False)
    assert seen.last_error is None
    seen.watch.last_error = error = ResultError("down")
    assert seen.last_error is error

"""The errors that callers get in the end: of answers without an operation's id or with another's, and of waits."""

from __future__ import annotations

from typing import Any

import pytest

from yagrpc import _pb, methods
from yagrpc._core.failure.final import FINAL_GET_FAILURES, ambiguous, another_operation, ends_wait, without_id
from yagrpc.errors import (
    CALL_ERRORS,
    AmbiguousSubmitError,
    CallError,
    Code,
    ConfigError,
    DeadlineExceededError,
    MessageTooLargeError,
    SubmitTimeoutError,
    UnavailableError,
)

GET, SUBMIT = methods.OperationService.Get, methods.TextGenerationAsyncService.Completion


@pytest.fixture
def get(a_call: Any) -> Any:
    """A Get of the operation `op`."""
    return a_call(GET, operation_id="op")


def named(operation_id: str) -> Any:
    return _pb.operation_pb2.Operation(id=operation_id)


def test_an_answer_about_the_operation_is_no_error(get: Any) -> None:
    assert another_operation(named("op"), get, "host:443") is None


@pytest.mark.parametrize(
    ("given", "said"),
    [("oo", "operation oo"), ("oq", "operation oq"), ("", "an operation without an id"), ("o\np", "operation o p")],
)
def test_an_answer_about_another_operation_names_it(given: str, said: str, get: Any) -> None:
    error = another_operation(named(given), get, "host:443")
    assert error is not None
    assert error.message == f"the service answered with {said}"
    assert (error.operation_id, error.client_request_id, error.method) == ("op", "client-id", GET.path)
    assert error.endpoint == "host:443"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("d7q", None),
        ("", "gave no operation id"),
        (" d7q", "an operation id that is none: ' d7q'"),
        ("d" * 201, "an operation id that is none: '" + "d" * 199),
    ],
)
def test_a_submit_is_accepted_with_an_id_that_can_be_kept(given: str, said: str | None, a_call: Any) -> None:
    error = without_id(named(given), a_call(SUBMIT), "host:443")
    if said is None:
        assert error is None
        return
    assert error is not None
    assert error.message.endswith(said)
    assert error.method == SUBMIT.path


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(DeadlineExceededError("late"), SubmitTimeoutError), (UnavailableError("down"), AmbiguousSubmitError)],
)
def test_a_generation_that_may_have_run_is_ambiguous(failure: CallError, kind: type[AmbiguousSubmitError]) -> None:
    failure.with_context(client_request_id="mine")
    error = ambiguous(failure, 3)
    assert type(error) is kind
    assert (error.message, error.attempts, error.client_request_id) == (failure.message, 3, "mine")


def test_a_wait_ends_with_what_another_get_would_give_again() -> None:
    final = {Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED, Code.UNAUTHENTICATED}
    assert final == FINAL_GET_FAILURES
    assert {code for code, kind in CALL_ERRORS.items() if ends_wait(kind("as scripted"))} == final
    assert ends_wait(MessageTooLargeError(5, 4, "grpc.max_receive_message_length"))
    assert ends_wait(ConfigError("no credentials"))

"""What is read from the outcome of a Get: ages, durations, and what a failure means for those who wait."""

from __future__ import annotations

from typing import Any

import pytest

from yagrpc import _pb
from yagrpc._core.polling.reading import created_ago, poll_failure, time_taken, wait_failure
from yagrpc.errors import (
    CallError,
    ClientClosedError,
    ConfigError,
    NotFoundError,
    OperationError,
    OperationExpiredError,
    OperationFailedError,
    OperationNotFoundError,
    OperationResultError,
    PermissionDeniedError,
    ResultError,
    UnavailableError,
    YagrpcError,
)

NOW = 1_800_000_000.0
DAY = 24 * 3600.0


def operation(created: float | None = None, modified: float | None = None) -> Any:
    """An operation, created and modified so many seconds ago."""
    found = _pb.operation_pb2.Operation(id="op")
    if created is not None:
        found.created_at.seconds = int(NOW - created)
    if modified is not None:
        found.modified_at.seconds = int(NOW - modified)
    return found


@pytest.mark.parametrize(("ago", "seconds"), [(None, 0.0), (10.0, 10.0), (0.0, 0.0), (-10.0, 0.0)])
def test_an_age_is_never_negative(ago: float | None, seconds: float) -> None:
    assert created_ago(operation(ago), NOW) == seconds


@pytest.mark.parametrize(
    ("created", "modified", "seconds"),
    [
        (None, None, None),
        (10.0, None, None),
        (None, 5.0, None),
        (10.0, 4.0, 6),
        (10.0, 9.0, 1),
        (5.0, 5.0, None),
        (4.0, 10.0, None),
    ],
)
def test_the_time_taken_is_known_where_both_times_are(
    created: float | None, modified: float | None, seconds: int | None
) -> None:
    assert time_taken(operation(created, modified)) == seconds


@pytest.mark.parametrize("believed", [True, False])
@pytest.mark.parametrize(
    ("created", "kind"),
    [
        (None, OperationNotFoundError),
        (3 * DAY, OperationNotFoundError),
        (3 * DAY + 1, OperationExpiredError),
    ],
)
def test_not_found_ends_a_wait_where_it_is_believed(
    created: float | None, kind: type[OperationNotFoundError], believed: bool
) -> None:
    error = NotFoundError("no such operation", operation_id="op", client_request_id="mine")
    failure, final = wait_failure(error, operation(created), NOW, believed=believed)
    assert type(failure) is kind
    assert final is believed
    assert failure.__cause__ is error
    assert (failure.operation_id, failure.client_request_id) == ("op", "mine")


def test_an_expired_operation_says_how_old_it_is() -> None:
    error = NotFoundError("no such operation", operation_id="op")
    failure, _ = wait_failure(error, operation(4.5 * DAY), NOW, believed=True)
    assert "it was created 4.5 days ago" in str(failure)


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (UnavailableError("down"), False),
        (PermissionDeniedError("no"), True),
        (OperationResultError("op", "another"), True),
    ],
)
def test_other_failures_are_passed_on(error: YagrpcError, final: bool) -> None:
    assert wait_failure(error, operation(4 * DAY), NOW, believed=True) == (error, final)


@pytest.mark.parametrize("error", [CallError("down"), OperationFailedError("", "failed"), YagrpcError("of ours")])
def test_an_error_of_ours_gets_the_operations_id(error: YagrpcError) -> None:
    assert poll_failure(error, "op") is error
    assert error.operation_id == "op"


def test_a_client_that_was_closed_names_the_operation() -> None:
    failure = poll_failure(ClientClosedError(), "op")
    assert type(failure) is ClientClosedError
    assert failure.operation_id == "op"


def test_a_setting_that_is_wrong_does_not_affect_the_operation() -> None:
    error = ConfigError("no credentials", client_request_id="mine")
    failure = poll_failure(error, "op")
    assert type(failure) is ConfigError
    assert failure.message == "its Get could not be sent: no credentials; the operation is not affected"
    assert (failure.operation_id, failure.client_request_id) == ("op", "mine")
    assert failure.__cause__ is error
    error.__cause__ = OSError("no file")
    assert poll_failure(error, "op").__cause__ is error.__cause__


def test_an_answer_without_a_result_is_the_operations() -> None:
    error = ResultError("no message")
    failure = poll_failure(error, "op")
    assert type(failure) is OperationResultError
    assert failure.__cause__ is error
    own = OperationResultError("op", "of another type")
    assert poll_failure(own, "op") is own


@pytest.mark.parametrize(("error", "said"), [(KeyError("mine"), "'mine'"), (ValueError(), "ValueError")])
def test_an_exception_of_any_kind_is_an_error_of_the_operation(error: Exception, said: str) -> None:
    failure = poll_failure(error, "op")
    assert type(failure) is OperationError
    assert failure.message == f"its Get could not be sent: {said}"
    assert failure.__cause__ is error

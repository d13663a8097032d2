"""What the scheduler reads from the outcome of a Get: ages, durations, and what a failure means for the waiters.

Rules: no clock of its own: the caller passes the time of the wall, in seconds since the epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yagrpc import config
from yagrpc._core.failure.final import ends_wait
from yagrpc.errors import (
    CallError,
    ClientClosedError,
    Code,
    ConfigError,
    OperationError,
    OperationExpiredError,
    OperationNotFoundError,
    OperationResultError,
    ResultError,
    YagrpcError,
)

if TYPE_CHECKING:
    from yagrpc import _pb


def wait_failure(
    error: YagrpcError, latest: _pb.operation_pb2.Operation, wall: float, *, believed: bool
) -> tuple[YagrpcError, bool]:
    """What a failed Get means for the waiters, and whether it ends the wait.

    Args:
        error: How the Get failed.
        latest: The operation as last seen.
        wall: The time, in seconds since the epoch.
        believed: Whether NOT_FOUND is believed: right after a submit it is not.
    """
    if not isinstance(error, CallError) or error.code is not Code.NOT_FOUND:
        return error, ends_wait(error)
    failure: OperationNotFoundError
    age = wall - latest.created_at.seconds if latest.HasField("created_at") else 0.0
    if age > config.RESULT_LIFETIME:
        text = f"probably deleted: it was created {age / 86400:.1f} days ago, and results are kept for 3"
        failure = OperationExpiredError(error.operation_id, text)
    else:
        failure = OperationNotFoundError(error.operation_id, f"the service knows no such operation ({error.message})")
    failure.with_context(**error.context)
    failure.__cause__ = error
    return failure, believed


def poll_failure(error: BaseException, operation_id: str) -> YagrpcError:
    """Why a Get failed, as an error of ours with the operation's id."""
    if isinstance(error, (CallError, OperationError)):
        return error.with_context(operation_id=operation_id)
    if isinstance(error, ClientClosedError):
        return ClientClosedError(operation_id)
    if isinstance(error, ConfigError):
        text = f"its Get could not be sent: {error.message}; the operation is not affected"
        failure: YagrpcError = ConfigError(text, operation_id=operation_id).with_context(**error.context)
        failure.__cause__ = error.__cause__ or error
        return failure
    if isinstance(error, ResultError) and not isinstance(error, OperationResultError):
        failure = OperationResultError(operation_id, error.message).with_context(**error.context)
    elif isinstance(error, YagrpcError):
        return error.with_context(operation_id=operation_id)
    else:
        failure = OperationError(operation_id, f"its Get could not be sent: {str(error) or type(error).__name__}")
    failure.__cause__ = error
    return failure


def created_ago(operation: _pb.operation_pb2.Operation, wall: float) -> float:
    """Seconds since an operation was created; 0 where the service gives no time, or its clock is ahead."""
    return max(0.0, wall - operation.created_at.seconds) if operation.HasField("created_at") else 0.0


def time_taken(operation: _pb.operation_pb2.Operation) -> float | None:
    """Seconds from an operation's creation to its end, to whole ones; `None` where the service gives no times."""
    if not (operation.HasField("created_at") and operation.HasField("modified_at")):
        return None
    taken = operation.modified_at.seconds - operation.created_at.seconds
    return taken if taken > 0 else None


def exact_time_taken(operation: _pb.operation_pb2.Operation) -> float | None:
    """The same as exactly as the service says it, and 0 where it took no time."""
    if not (operation.HasField("created_at") and operation.HasField("modified_at")):
        return None
    start, end = operation.created_at, operation.modified_at
    return max(0.0, end.seconds - start.seconds + (end.nanos - start.nanos) / 1e9)

"""The errors that callers get once no attempt follows: of calls, of streams that break, of waits for operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from yagrpc._core.call.policy import Kind
from yagrpc._core.failure.retry import TABLE, Action
from yagrpc._core.failure.status import Cause, RpcStatus, classify
from yagrpc.errors import (
    AmbiguousSubmitError,
    CallError,
    ClientClosedError,
    Code,
    MessageTooLargeError,
    OperationResultError,
    ResultError,
    SubmitTimeoutError,
    YagrpcError,
)
from yagrpc.foreign import ID, identifier, is_id

if TYPE_CHECKING:
    from yagrpc import _pb
    from yagrpc._core.call.call import Call

_NO_ID: Final = "the service accepted the request and gave no operation id"

FINAL_GET_FAILURES: Final = frozenset(
    {Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED, Code.UNAUTHENTICATED}
)
"""Statuses of a Get that end the wait for an operation; after all others it is polled again."""


def broken_stream(status: RpcStatus, call: Call[Any, Any], *, endpoint: str, send_limit: int) -> Exception:
    """The error of a stream that fails after its first message.

    A completion that was not asked for as a stream leaves its caller without any text: it may be billed
    without a result. Of another stream the caller has the messages so far, and gets the call's own error.
    """
    failure = classify(status, call, endpoint=endpoint, send_limit=send_limit)
    whole = call.policy.kind is Kind.GENERATION and not call.request.completion_options.stream
    error: YagrpcError = failure.error
    if call.caller is not None and call.caller.gone:
        error = call.caller.error(**call.context(endpoint))
    if whole and TABLE[failure.cause][call.policy.kind] is Action.AMBIGUOUS:
        error = ambiguous(failure.error, call.attempts)
    elif failure.cause is Cause.CLOSED:
        error = ClientClosedError(call.operation_id)
    if error is not failure.error:
        error.__cause__ = failure.error
    return error


def ambiguous(failure: Exception, attempts: int) -> AmbiguousSubmitError:
    """The error of a generation that may have run, from the failure that left it open."""
    assert isinstance(failure, CallError)
    kind = SubmitTimeoutError if failure.code is Code.DEADLINE_EXCEEDED else AmbiguousSubmitError
    context = failure.context
    context["attempts"] = attempts
    return kind(failure.message, **context)


def no_result(text: str, call: Call[Any, Any], endpoint: str) -> ResultError:
    """The error of an answer without a result, with all that is known of its call."""
    return ResultError(text, **call.context(endpoint))


def without_id(operation: _pb.operation_pb2.Operation, call: Call[Any, Any], endpoint: str) -> ResultError | None:
    """The error of a submit that was accepted without an id that can be kept, logged and sent; else `None`."""
    if not operation.id:
        return no_result(_NO_ID, call, endpoint)
    if not is_id(operation.id):
        text = f"the service accepted the request and gave an operation id that is none: {ascii(operation.id)[:ID]}"
        return no_result(text, call, endpoint)
    return None


def another_operation(
    operation: _pb.operation_pb2.Operation, call: Call[Any, Any], endpoint: str
) -> OperationResultError | None:
    """The error of an answer about another operation than the call's; else `None`."""
    if operation.id == call.operation_id:
        return None
    given = f"operation {identifier(operation.id)}" if operation.id else "an operation without an id"
    error = OperationResultError(call.operation_id, f"the service answered with {given}")
    return error.with_context(**call.context(endpoint))


def ends_wait(error: YagrpcError) -> bool:
    """Whether the failure of a Get ends the wait for its operation."""
    if isinstance(error, MessageTooLargeError) or not isinstance(error, CallError):
        return True
    return error.code in FINAL_GET_FAILURES

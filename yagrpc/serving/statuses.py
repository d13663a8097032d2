"""An error as a status of gRPC, with its details, for either kind of server."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, overload

import grpc

from yagrpc.context import CURRENT, Caller
from yagrpc.errors import ConfigError, YagrpcError
from yagrpc.hiding import shown
from yagrpc.serving.callers import OPERATION_ID, log, owed
from yagrpc.serving.table import Expose, Exposure, pause, row_of

if TYPE_CHECKING:
    import grpc.aio

    from yagrpc import _pb

DOMAIN: Final = "yagrpc"
"""`ErrorInfo.domain`: whose reasons they are."""

STATUSES: Final = {status.value[0]: status for status in grpc.StatusCode}


class Status(NamedTuple):
    """A status to end a call with; it is a `grpc.Status`.

    Args:
        code: The code.
        details: The text.
        trailing_metadata: The details as protobuf, and the ids of operations.
    """

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


@overload
def abort(context: grpc.ServicerContext, error: YagrpcError, *, expose: Expose = False) -> NoReturn: ...
@overload
def abort(
    context: grpc.aio.ServicerContext[Any, Any], error: YagrpcError, *, expose: Expose = False
) -> Coroutine[Any, Any, NoReturn]: ...
def abort(context: Any, error: YagrpcError, *, expose: Expose = False) -> Any:
    """End a call with the status that an error of yagrpc stands for; await it in a `grpc.aio` server.

    Args:
        context: The servicer's context, of either kind.
        error: The error.
        expose: Of which codes the error's own text is passed on; by default callers get a text of the table.

    Raises:
        ConfigError: It is no error of yagrpc, or `expose` can't work.
        Exception: gRPC's, which ends the handler.
    """
    return end(context, error, Exposure(expose))


def end(context: Any, error: YagrpcError, exposure: Exposure) -> Any:
    """The same, with a setting that was checked."""
    if not isinstance(error, YagrpcError):
        raise ConfigError(f"abort takes an error of yagrpc, and got {shown(error)}")
    log_error(error)
    status = status_of(error, exposure, CURRENT.get() or Caller())
    metadata = _with_those_before(context, status)
    if isinstance(context, grpc.ServicerContext):
        context.set_trailing_metadata(metadata)
        context.abort(status.code, status.details)
    return context.abort(status.code, status.details, metadata)


def end_stream(context: Any, error: YagrpcError, exposure: Exposure) -> None:
    """Set the status of an error for a blocking handler of a stream, which then returns.

    A `grpc.aio` server takes messages of such a handler while it still sends the one before: there `abort` fails now
    and then, and leaves the caller without a status.
    """
    log_error(error)
    status = status_of(error, exposure, CURRENT.get() or Caller())
    context.set_trailing_metadata(_with_those_before(context, status))
    context.set_code(status.code)
    context.set_details(status.details)


def status_of(error: YagrpcError, exposure: Exposure, caller: Caller) -> Status:
    """The status of an error, to end a call with."""
    request_id = error.client_request_id or caller.request_id
    status = rpc_status(error, exposure, operation_id=error.operation_id, request_id=request_id)
    ids = [(OPERATION_ID, operation_id) for operation_id in owed(caller, error)]
    details: tuple[str, str | bytes] = ("grpc-status-details-bin", status.SerializeToString())
    return Status(STATUSES[status.code], status.message, (details, *ids))


def rpc_status(error: YagrpcError, exposure: Exposure, *, operation_id: str, request_id: str) -> _pb.status_pb2.Status:
    """The status of an error as a message, with its details.

    Args:
        error: The error.
        exposure: Whose own texts are passed on.
        operation_id: The operation that it is about, as the caller knows it; may be empty.
        request_id: The id of the request, as the caller knows it; may be empty.
    """
    from yagrpc import _pb  # only failures need it

    row = row_of(error)
    known = {"operation_id": operation_id, "quota": str(getattr(error, "quota", ""))}
    status = _pb.status_pb2.Status(code=row.status, message=exposure.text(error, row))
    status.details.add().Pack(error_info(row.reason, known))
    if (seconds := pause(error, row)) is not None:
        delay = _pb.duration_pb2.Duration()
        delay.FromMicroseconds(round(seconds * 1e6))
        status.details.add().Pack(_pb.error_details_pb2.RetryInfo(retry_delay=delay))
    if request_id:
        status.details.add().Pack(_pb.error_details_pb2.RequestInfo(request_id=request_id))
    return status


def error_info(reason: str, known: Mapping[str, str]) -> _pb.error_details_pb2.ErrorInfo:
    """The detail that says what went wrong, for programs."""
    from yagrpc import _pb

    return _pb.error_details_pb2.ErrorInfo(
        reason=reason, domain=DOMAIN, metadata={name: value for name, value in known.items() if value}
    )


def log_error(error: YagrpcError) -> None:
    """Log the error of a handler, whole: its caller gets less. What is this side's own fault is an error."""
    level = logging.ERROR if row_of(error).ours else logging.INFO
    log.log(level, "a call failed: %s", error, extra={"operation_id": error.operation_id})


def owe(context: Any, caller: Caller) -> None:
    """Put the ids of the operations that a caller does not have the outcome of into its trailing metadata."""
    before = _set_before(context)
    there = {pair[1] for pair in before if pair[0] == OPERATION_ID}
    if ids := [each for each in owed(caller) if each not in there]:
        context.set_trailing_metadata((*before, *((OPERATION_ID, each) for each in ids)))


def _with_those_before(context: Any, status: Status) -> tuple[Any, ...]:
    """The trailing metadata of a status, and those that a handler has set."""
    replaced = {key for key, _ in status.trailing_metadata}
    return (*(pair for pair in _set_before(context) if pair[0] not in replaced), *status.trailing_metadata)


def _set_before(context: Any) -> tuple[Any, ...]:
    """The trailing metadata that a handler has set."""
    read: Any = getattr(context, "trailing_metadata", tuple)
    return tuple(read() or ())

"""What both servicers decide alike: how an operation is created, shown and ended, and what its result is.

Rules: no I/O, no threads and no event loop.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yagrpc import _pb
from yagrpc.context import CURRENT
from yagrpc.errors import Code, ConfigError, OperationError, OperationResultError, RequestError, YagrpcError
from yagrpc.hiding import shown
from yagrpc.serving.callers import checked_seconds, log
from yagrpc.serving.operations.records import StoredOperation
from yagrpc.serving.statuses import error_info, log_error, rpc_status
from yagrpc.serving.table import Expose, Exposure

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc.quantities import Seconds

Operation = _pb.operation_pb2.Operation

RETENTION: Final = 3 * 24 * 3600.0
"""Seconds for which an operation that has ended is kept, as the cloud keeps its own."""

CANCEL_TIMEOUT: Final = 5.0
"""Seconds for the request to the model to stop what was cancelled."""

PURGE: Final = 60.0
"""Seconds between two removals of what is older than the retention."""

KEPT: Final = 60.0
"""Seconds for which a handler's result is offered to a store that fails."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between two offers; the pause doubles."""

STATUS: Final = "google.rpc.Status"
"""A handler that returns such a message, of any package, ends its operation with that error."""

_ID_LENGTH: Final = 20
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"


class Kind(NamedTuple):
    """How a handler's operations get their result.

    Args:
        name: The handler's name, under which a store keeps its operations.
        function: Takes the request; gives a message, or an operation of the model's.
        answer: Makes the message of the result of the model's operation; `None` for the model's own.
        result: What the model's operation resolves to; `None` for a completion.
        restart: The class of the requests with which the function is run again after a restart; `None` for never.
    """

    name: str
    function: Callable[[Any], Any] | None
    answer: Callable[[Any], Message] | None = None
    result: Any = None
    restart: type[Message] | None = None


MODELS_OWN: Final = Kind("", None)
"""For an operation that resolves to the model's own result."""

NO_CLIENT: Final = "an operation of the model is followed, and there is no client for it: give the servicer a client="

STILL_RUNS: Final = "operation %s of the model still runs: it was cancelled, and could not be stopped: %s"

LEFT: Final = "operation %s is left to the next start"


class Resumed(NamedTuple):
    """How an operation of an earlier process is continued: by its outcome, by its handler, or by the model's operation.

    Args:
        kind: How it gets its result.
        outcome: What it ends with now.
        request: What its handler is run with.
    """

    kind: Kind
    outcome: Message | None = None
    request: Message | None = None


class Models:
    """The model's operations, as the client of a servicer has them.

    Args:
        client: The client; `None` where handlers give messages only.
        client_type: Its class.
        operation_type: The class of its operations.
        other: The servicer for clients of the other kind.

    Raises:
        ConfigError: It is no such client.
    """

    def __init__(self, client: Any, client_type: type[Any], operation_type: type[Any], other: str) -> None:
        self._takes = f"yagrpc.{client_type.__name__}"
        if client is not None and not isinstance(client, client_type):
            raise ConfigError(f"client is {shown(client)}: it takes a {self._takes}; use {other}")
        self._client = client
        self._type = operation_type

    def give(self, found: Any) -> bool:
        """Whether something is an operation of the model's."""
        return isinstance(found, self._type)

    def check(self, operation: Any) -> None:
        """Check what is to be followed.

        Raises:
            RequestError: It is no operation of such a client.
            ConfigError: There is no client, which would be needed after a restart.
        """
        if not self.give(operation):
            raise RequestError("operation", operation, f"it takes an operation of a {self._takes}")
        if self._client is None:
            raise ConfigError(NO_CLIENT)

    def check_found(self, kind: Kind, found: Any) -> None:
        """Check what a handler gave: a message, or an operation of the model's.

        Raises:
            TypeError: It is something else.
            ConfigError: There is no client for the operation.
        """
        if self.give(found):
            self.check(found)
        else:
            checked_message(kind, found)

    def attached(self, kind: Kind, stored: StoredOperation) -> Any:
        """The model's operation that an operation waits for.

        Raises:
            ConfigError: There is no client for it.
        """
        if self._client is None:
            raise ConfigError(NO_CLIENT)
        result = () if kind.result is None else (kind.result,)
        return self._client.operation(stored.model_operation_id, *result)

    def to_stop(self, stored: StoredOperation | None) -> Any:
        """The model's operation that a cancelled operation waited for; `None` where there is none to be stopped."""
        if stored is None or not stored.model_operation_id or self._client is None:
            return None
        return self._client.operation(stored.model_operation_id)


class Offers:
    """The attempts to store a handler's own result, which nobody else has.

    Args:
        stored: The operation.
        clock: Gives passed time, in seconds.
    """

    def __init__(self, stored: StoredOperation, clock: Callable[[], float] = time.monotonic) -> None:
        self._id = stored.id
        self._clock = clock
        self._ends = clock() + KEPT
        self._pause = 0.0

    def pause(self, error: Exception, *, closed: bool) -> float | None:
        """Seconds until the next attempt; `None` where the result is given up, which is logged without it.

        Args:
            error: Why the store failed. Only its class is logged: a database's own text may have the row.
            closed: Whether the servicer is closed.
        """
        left = self._ends - self._clock()
        extra, why = {"operation_id": self._id}, type(error).__name__
        if closed or left <= 0:
            log.error("the result of operation %s is lost: the store fails (%s)", self._id, why, extra=extra)
            return None
        if not self._pause:
            text = "the result of operation %s can't be stored now (%s): this is tried again for %.0f s"
            log.warning(text, self._id, why, KEPT, extra=extra)
        self._pause = min(LONGEST_PAUSE, 2 * self._pause or FIRST_PAUSE)
        return min(self._pause, left)


class Rules:
    """The settings of a servicer, and what follows from them.

    Args:
        retention: Seconds for which an operation that has ended is kept.
        expose: Of which codes an error's own text is passed on.
        clock: Gives the seconds since the epoch.
        operation_type: The class of the operations that handlers give.

    Raises:
        ConfigError: A setting can't work.
    """

    def __init__(
        self,
        retention: Seconds,
        expose: Expose,
        clock: Callable[[], float],
        operation_type: type[Message],
    ) -> None:
        self.retention = checked_seconds("retention", retention) or 0.0
        if not self.retention or math.isinf(self.retention):
            raise ConfigError(f"retention is {shown(retention)}: it takes seconds, above 0, or a timedelta")
        name = getattr(getattr(operation_type, "DESCRIPTOR", None), "full_name", None)
        if name != Operation.DESCRIPTOR.full_name:
            raise ConfigError(
                f"operation_type is {shown(operation_type)}: it takes the class of {Operation.DESCRIPTOR.full_name} in "
                "a generated package"
            )
        self._exposure = Exposure(expose)
        self._clock = clock
        self._type: Any = operation_type
        self._purged = -math.inf
        self._kinds = {MODELS_OWN.name: MODELS_OWN}

    def declare(self, kind: Kind) -> Kind:
        """Add a handler.

        Raises:
            ConfigError: Its settings can't work.
        """
        if not kind.name:
            raise ConfigError(f"the function {shown(kind.function)} has no name: give one with name=")
        if kind.name in self._kinds:
            raise ConfigError(f"there are two handlers named {kind.name!r}: give one another name=")
        if kind.restart is not None and not hasattr(kind.restart, "DESCRIPTOR"):
            raise ConfigError(f"restart is {shown(kind.restart)}: it takes the class of the handler's requests")
        self._kinds[kind.name] = kind
        return kind

    def kind_of(self, stored: StoredOperation) -> Kind | None:
        """How an operation gets its result; `None`, which is logged, where its handler is not declared any more."""
        kind = self._kinds.get(stored.handler)
        if kind is None:
            text = "operation %s stays as it is: there is no handler %r any more"
            log.error(text, stored.id, stored.handler, extra={"operation_id": stored.id})
        return kind

    def resumed(self, stored: StoredOperation) -> Resumed | None:
        """How an operation of an earlier process is continued; `None` where its handler is not declared any more."""
        kind = self.kind_of(stored)
        if kind is None or stored.model_operation_id:
            return None if kind is None else Resumed(kind)
        if kind.restart is None:
            return Resumed(kind, self.restarted(stored))
        try:
            return Resumed(kind, None, kind.restart.FromString(stored.request))
        except Exception as error:  # an earlier version of the server has stored another one
            return Resumed(kind, self.failure(stored, error))

    def unfollowed(self, stored: StoredOperation, followed: Container[str]) -> Kind | None:
        """How an operation gets its result that waits for the model's, which nobody follows now; `None` for others."""
        waits = not stored.done and stored.model_operation_id and stored.id not in followed
        return self.kind_of(stored) if waits else None

    def settled(self, kind: Kind, stored: StoredOperation, operation: Any, result: Callable[[], Any]) -> Message | None:
        """What an operation ends with, since the model's has ended; `None`, which is logged, where that is not sure.

        Args:
            kind: How it gets its result.
            stored: The operation.
            operation: The model's.
            result: Gives the result of the model's, or raises why there is none.
        """
        try:
            return result_message(kind, operation, result)
        except Exception as error:
            if not unsure(error):
                return self.failure(stored, error)
            # the next Get of the operation, or the next start, follows it again
            log.error("operation %s can't be followed now: %s", stored.id, error, extra={"operation_id": stored.id})
            return None

    def created(
        self, kind: Kind, request: Message | None, description: str, metadata: Message | None, model_operation_id: str
    ) -> StoredOperation:
        """A new operation."""
        now = self._clock()
        proto = Operation(id=_new_id(), description=description)
        _stamp(proto.created_at, now)
        _stamp(proto.modified_at, now)
        if metadata is not None:
            _pack(proto.metadata, metadata)
        kept = request.SerializeToString() if kind.restart is not None and request is not None else b""
        return StoredOperation(proto.id, kind.name, proto.SerializeToString(), now, False, kept, model_operation_id)

    def shown(self, stored: StoredOperation) -> Any:
        """An operation, as the host's own package has it."""
        return self._type.FromString(stored.proto)

    def visible(self, stored: StoredOperation | None) -> bool:
        """Whether there is an operation, and it is not over its retention."""
        return stored is not None and not (stored.done and self._clock() >= stored.modified + self.retention)

    def purge_before(self) -> float | None:
        """What ended before which moment is to be removed now; `None` where that was done a short time ago."""
        now = self._clock()
        if now - self._purged < PURGE:
            return None
        self._purged = now
        return now - self.retention

    def ended(self, stored: StoredOperation, outcome: Message) -> StoredOperation:
        """An operation with its outcome: a response, or a status of any package."""
        now = self._clock()
        proto = Operation.FromString(stored.proto)
        proto.done = True
        _stamp(proto.modified_at, now)
        if isinstance(outcome, _pb.any_pb2.Any):
            proto.response.CopyFrom(outcome)
        elif outcome.DESCRIPTOR.full_name == STATUS:
            proto.error.ParseFromString(outcome.SerializeToString())
        else:
            _pack(proto.response, outcome)
        return stored._replace(proto=proto.SerializeToString(), modified=now, done=True)

    def failure(self, stored: StoredOperation, error: BaseException) -> _pb.status_pb2.Status:
        """The status of an operation whose handler failed; the error is logged."""
        if isinstance(error, YagrpcError):
            log_error(error)
            return rpc_status(error, self._exposure, operation_id=stored.id, request_id=error.client_request_id)
        extra = {"operation_id": stored.id}
        log.error("the handler of operation %s failed", stored.id, exc_info=error, extra=extra)
        return status("INTERNAL", "HANDLER_FAILED", "the handler failed", stored.id)

    def restarted(self, stored: StoredOperation) -> _pb.status_pb2.Status:
        """The status of an operation whose handler ran in a process that has ended."""
        text = "the server was restarted before the operation ended; it may have had an effect, and may be billed"
        return status("ABORTED", "SERVER_RESTARTED", text, stored.id)

    def cancelled(self, stored: StoredOperation) -> _pb.status_pb2.Status:
        """The status of an operation that a caller has cancelled."""
        return status("CANCELLED", "CANCELLED", "the operation was cancelled", stored.id)


def status(code: str, reason: str, text: str, operation_id: str) -> _pb.status_pb2.Status:
    """A status that is no error of yagrpc's."""
    found = _pb.status_pb2.Status(code=Code[code], message=text)
    found.details.add().Pack(error_info(reason, {"operation_id": operation_id}))
    return found


def result_message(kind: Kind, operation: Any, result: Callable[[], Any]) -> Message:
    """The response of an operation, from the result of the model's.

    Args:
        kind: How.
        operation: The model's operation, which has ended.
        result: Gives its result, or raises why there is none.

    Raises:
        YagrpcError: There is none.
        Exception: The handler's `answer` failed, or gave something else than a message.
    """
    try:
        found = result()
    except OperationResultError:
        if kind.answer is not None or not operation.proto.HasField("response"):
            raise
    else:
        if kind.answer is not None:
            return checked_message(kind, kind.answer(found))
    response: Message = operation.proto.response
    return response


def unsure(error: Exception) -> bool:
    """Whether a failed wait says nothing of the model's operation, which may still run, or be done."""
    return isinstance(error, YagrpcError) and not isinstance(error, OperationError)


def checked_message(kind: Kind, found: Any) -> Message:
    """What a handler gave, which has to be a message.

    Raises:
        TypeError: It is something else, or a status that is no error.
    """
    if not hasattr(type(found), "DESCRIPTOR") or not hasattr(found, "SerializeToString"):
        raise TypeError(f"handler {kind.name!r} gave {shown(found)}: it takes a message, or an operation of the client")
    if found.DESCRIPTOR.full_name == STATUS and not found.code:
        raise TypeError(f"handler {kind.name!r} gave a {STATUS} with the code OK: it takes the code of an error")
    message: Message = found
    return message


def not_noted(stored: StoredOperation, model_operation_id: str) -> bool:
    """Log that a store has failed to learn the model's operation that another waits for; gives that it still waits.

    The store may have the result later: the model's operation is billed, and its id is here alone.
    """
    text = "operation %s waits for the model's operation %s, which could not be stored: a restart would lose it"
    log.exception(text, stored.id, model_operation_id, extra={"operation_id": model_operation_id})
    return True


def kept(model_operation_id: str) -> None:
    """The store has the id of a model's operation: the caller of the rpc needs it no longer."""
    if (caller := CURRENT.get()) is not None:
        caller.operations.pop(model_operation_id, None)


def not_found(operation_id: str) -> str:
    """What a caller gets for an id that is not known."""
    return f"Operation {operation_id[:100]} not found"


def system_clock() -> float:
    """The seconds since the epoch."""
    return time.time()


def _new_id() -> str:
    """An id that nobody guesses: 100 random bits."""
    return "".join(_ALPHABET[byte & 31] for byte in os.urandom(_ID_LENGTH))


def _pack(packed: _pb.any_pb2.Any, message: Message) -> None:
    """Pack a message of any package."""
    packed.type_url = f"type.googleapis.com/{message.DESCRIPTOR.full_name}"
    packed.value = message.SerializeToString()


def _stamp(stamp: _pb.timestamp_pb2.Timestamp, moment: float) -> None:
    stamp.FromMicroseconds(round(moment * 1e6))

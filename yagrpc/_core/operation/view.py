"""What an operation is, as last seen; the shells add the waiting, `result` says what its end means.

Rules: what is known is read from the last `Operation` message, and nothing here asks for another.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from datetime import datetime, timezone
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol

from yagrpc import _pb
from yagrpc.context import CURRENT
from yagrpc.errors import Code, OperationResultError, YagrpcError
from yagrpc.errors.base import own_copy
from yagrpc.foreign import identifier
from yagrpc.ids import NO_IDS, Answer, RequestIds
from yagrpc.pickling import Unpicklable

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from typing_extensions import Self, TypeVar

    from yagrpc._core.operation.result import ResultType
    from yagrpc._core.polling.watch import Watch

    MetadataT = TypeVar("MetadataT", default=None)
else:
    # The default, which spares users the second parameter, is the type checker's alone: typing has none before 3.13.
    from typing import TypeVar

    MetadataT = TypeVar("MetadataT")

log = logging.getLogger("yagrpc.operations")

ResultT = TypeVar("ResultT")
ContraT = TypeVar("ContraT", contravariant=True)


class OperationStatus(enum.Enum):
    """How far an operation is, as last seen."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Settled(Protocol[ContraT]):
    """What the futures of both worlds have in common."""

    def set_result(self, result: ContraT, /) -> None:
        """Settle it with a result."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Settle it with an exception."""


class OperationView(Unpicklable, Generic[ResultT, MetadataT]):
    """What is known of an operation without a Get: the part that both shells' operations share."""

    if not TYPE_CHECKING:
        # `Operation[Completion]` in an annotation that is evaluated: typing knows no default before Python 3.13.
        __class_getitem__ = classmethod(GenericAlias)

    __slots__ = ("__weakref__", "_client", "_failure", "_proto", "_type", "ids", "submitted", "watch")

    _client: Any
    """The client that created it; `_poller` there is the poller of this process and this event loop."""

    blocking: ClassVar[bool]
    """Whether waiting for it blocks a thread, or is awaited in an event loop."""

    def __init__(
        self,
        client: object,
        proto: _pb.operation_pb2.Operation,
        result_type: ResultType[ResultT],
        submitted: float | None,
        ids: RequestIds = NO_IDS,
    ) -> None:
        self._client = client
        self._failure: YagrpcError | None = None
        self._proto = proto
        self._type = result_type
        self.submitted = submitted
        """When this client submitted it, by its monotonic clock; `None` where another did."""
        self.ids = ids
        """What names the call that submitted it; empty where another client did."""
        self.watch: Watch | None = None
        """What a poller knows of it, once it was asked for."""

    @property
    def id(self) -> str:
        """The operation's id. Keep it: there is no way to find it again."""
        return self._proto.id

    @property
    def description(self) -> str:
        """What the service says that it is; may be empty."""
        return self._proto.description

    @property
    def created_at(self) -> datetime | None:
        """When it was created, in UTC; `None` where the service does not say (images)."""
        return _moment(self._proto, "created_at")

    @property
    def created_by(self) -> str:
        """The id of the account that created it; may be empty."""
        return self._proto.created_by

    @property
    def modified_at(self) -> datetime | None:
        """When it last changed, in UTC: once it is done, when that was."""
        return _moment(self._proto, "modified_at")

    @property
    def metadata(self) -> MetadataT | None:
        """The operation's metadata; `None` where there is none, or it is of a type that is not known.

        Raises:
            OperationResultError: It does not parse.
        """
        metadata: Any = _unpacked(self.id, self._proto.metadata, self._type.metadata)
        return metadata  # type: ignore[no-any-return]

    @property
    def response(self) -> Message | None:
        """The result as the message that it names, whatever type was expected; `None` while there is none.

        Raises:
            OperationResultError: It does not parse.
        """
        return _unpacked(self.id, self._proto.response, self._type.message)

    @property
    def proto(self) -> _pb.operation_pb2.Operation:
        """The operation as last seen."""
        return self._proto

    @property
    def last_error(self) -> YagrpcError | None:
        """Why its last Get failed; `None` where it did not. A wait survives most failures, and polls again."""
        return None if self.watch is None else self.watch.last_error

    @property
    def status(self) -> OperationStatus:
        """How far it is, as last seen; asks nothing."""
        if not self._proto.done:
            return OperationStatus.RUNNING
        if self._proto.WhichOneof("result") != "error":
            return OperationStatus.SUCCEEDED
        cancelled = self._proto.error.code == Code.CANCELLED
        return OperationStatus.CANCELLED if cancelled else OperationStatus.FAILED

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @property
    def _unpicklable(self) -> str:
        remedy = "pickle operation.id, and write client.operation(id) where it is read"
        return f"operation {self.id} can't be pickled, since it belongs to its client: {remedy}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status.value}>"

    @property
    def _over(self) -> bool:
        """Whether its outcome is known: its end, or why it could not be waited for."""
        return self._proto.done or self._failure is not None

    def caught_up(self) -> bool:
        """Take over what its last poll has shown; gives whether its outcome is known."""
        if self.watch is not None:
            self._saw(self.watch)
        return self._over

    def _saw(self, watch: Watch) -> None:
        """Take over what a watch has seen last, and its failure if it has one; an end that is known stays."""
        if self._proto.done:
            return
        self._proto = watch.latest
        self._failure = watch.failure

    def _outcome(self, strict: bool | None = None) -> ResultT:
        """The outcome, which is known.

        Args:
            strict: Whether an unfinished result is an error; `None` for what the submit was given.

        Raises:
            YagrpcError: What went wrong.
        """
        try:
            if self._failure is not None:
                raise own_copy(self._failure)
            if (caller := CURRENT.get()) is not None:
                caller.operations.pop(self.id, None)  # the outcome is here, so the caller needs no id
            result = self._type.unpack(self._proto)
            if isinstance(result, Answer):
                result.ids = self.ids
            self._type.check(result, self.id, strict)
        except YagrpcError as error:
            self._named(error)
            raise
        return result

    def _named(self, error: YagrpcError) -> None:
        """Give an error about the operation the ids of the call that submitted it, where it has none of its own."""
        if not error.client_request_id:
            error.with_context(**self.ids._asdict())

    def _outcome_once(self, strict: bool | None) -> ResultT:
        """The outcome; after a failure to wait, the next request for the outcome waits again."""
        try:
            return self._outcome(strict)
        finally:
            self._failure = None

    def _call_back(self, callback: Callable[[Any], object]) -> None:
        """Call what a user gave; an exception of it is logged."""
        try:
            callback(self)
        except Exception:
            log.exception("a callback of operation %s failed", self.id)

    def _settle(self, future: Settled[ResultT]) -> None:
        """Give a future the outcome, which is known."""
        try:
            future.set_result(self._outcome())
        except Exception as error:
            future.set_exception(error)


def _moment(proto: _pb.operation_pb2.Operation, field: str) -> datetime | None:
    if not proto.HasField(field):  # type: ignore[arg-type]
        return None
    stamp: _pb.timestamp_pb2.Timestamp = getattr(proto, field)
    try:
        return stamp.ToDatetime(tzinfo=timezone.utc)
    except (ValueError, OverflowError) as error:
        raise OperationResultError(proto.id, f"its {field} is not a valid time: {error}") from error


def _unpacked(operation_id: str, packed: _pb.any_pb2.Any, expected: type[Message] | None) -> Message | None:
    """The message in an `Any`, by the full name that it carries: of the expected class, or else of our own."""
    name = packed.type_url.rpartition("/")[2]
    found = expected if expected is not None and expected.DESCRIPTOR.full_name == name else None
    if found is None and name:
        found = _pb.find_message(name)
    if found is None:
        return None
    try:
        return found.FromString(packed.value)
    except Exception as error:  # protobuf's DecodeError; where protobuf is pure Python, others as well
        raise OperationResultError(operation_id, f"its {identifier(name)} does not parse: {error}") from error

"""An operation as a store keeps it, and what a store does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable


class StoredOperation(NamedTuple):
    """An operation of a server's own, as its store keeps it.

    Args:
        id: Its id.
        handler: The name of the handler that gives its result; empty for the model's result itself.
        proto: The operation as callers see it: a `yandex.cloud.operation.Operation`, as bytes.
        modified: When it last changed, in seconds since the epoch.
        done: Whether it has ended.
        request: The request of a handler that is run again after a restart, as bytes; else empty.
        model_operation_id: The model's operation that its result comes from; empty while there is none.
    """

    id: str
    handler: str
    proto: bytes
    modified: float
    done: bool = False
    request: bytes = b""
    model_operation_id: str = ""


@runtime_checkable
class OperationStore(Protocol):
    """Where a servicer keeps its operations: `SqliteOperations`, or one of your own, in your database.

    A method may block, and may be called in any thread. What it raises, the caller of the rpc gets as UNKNOWN. What it
    has returned from is stored for good.
    """

    def add(self, operation: StoredOperation) -> None:
        """Store an operation."""

    def get(self, operation_id: str) -> StoredOperation | None:
        """An operation; `None` where there is none of that id."""

    def follow(self, operation_id: str, model_operation_id: str) -> bool:
        """Note the model's operation that an operation waits for, unless it has ended; gives whether it was noted."""
        ...

    def end(self, operation_id: str, proto: bytes, modified: float) -> bool:
        """End an operation, unless it has ended before; gives whether it had not. In one step, for all processes."""
        ...

    def running(self) -> Sequence[StoredOperation]:
        """The operations of this server that have not ended: called once, when it starts."""
        ...

    def forget(self, before: float) -> None:
        """Remove the operations that ended before a moment, in seconds since the epoch."""

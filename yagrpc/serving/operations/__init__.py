"""Long-running rpcs of a server of your own, in the cloud's style: they answer at once, with an operation of theirs.

`OperationServicer` for `grpc.server`, `AsyncOperationServicer` for `grpc.aio.server`: each serves
`yandex.cloud.operation.OperationService` from a store. docs/serving.md describes them.

Rules: an operation ends once, which its store decides. What is not known after a restart is said, and not tried again.
"""

from __future__ import annotations

from yagrpc.serving.operations.asynchronous import AsyncHandler, AsyncOperationServicer
from yagrpc.serving.operations.blocking import Handler, OperationServicer
from yagrpc.serving.operations.records import OperationStore, StoredOperation
from yagrpc.serving.operations.sqlite import SqliteOperations

__all__ = [
    "AsyncHandler",
    "AsyncOperationServicer",
    "Handler",
    "OperationServicer",
    "OperationStore",
    "SqliteOperations",
    "StoredOperation",
]

"""yagrpc inside a server of your own: calls have the deadline, the trace and the request id of the handler's caller.

    grpc.server(..., interceptors=[serving.ServerInterceptor()])
    grpc.aio.server(interceptors=[serving.AsyncServerInterceptor()])
    app.add_middleware(serving.Middleware, timeout=30)                   # ASGI: FastAPI, Starlette
    with serving.handling(timeout=30, metadata=request.headers): ...     # everything else

    serving.OperationServicer("operations.db", client)                   # long-running rpcs, in the cloud's style

Calls of any client in a handler then end when the caller leaves or its deadline passes, and errors of yagrpc that leave
the handler become statuses, by the one table in `table`. docs/serving.md describes it.

Rules: nothing of a client needs this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from yagrpc.context import Caller, detached
from yagrpc.serving.asgi import Middleware, Problem, problem
from yagrpc.serving.callers import MARGIN, OPERATION_ID, caller, handling
from yagrpc.serving.interceptors import AsyncServerInterceptor, ServerInterceptor
from yagrpc.serving.statuses import abort

if TYPE_CHECKING:
    from yagrpc.serving.operations import AsyncOperationServicer as AsyncOperationServicer
    from yagrpc.serving.operations import OperationServicer as OperationServicer
    from yagrpc.serving.operations import OperationStore as OperationStore
    from yagrpc.serving.operations import SqliteOperations as SqliteOperations
    from yagrpc.serving.operations import StoredOperation as StoredOperation

_OPERATIONS = (
    "AsyncOperationServicer",
    "OperationServicer",
    "OperationStore",
    "SqliteOperations",
    "StoredOperation",
)
"""What is imported when it is first used: it loads both clients and sqlite3."""

__all__ = [
    "MARGIN",
    "OPERATION_ID",
    "AsyncOperationServicer",
    "AsyncServerInterceptor",
    "Caller",
    "Middleware",
    "OperationServicer",
    "OperationStore",
    "Problem",
    "ServerInterceptor",
    "SqliteOperations",
    "StoredOperation",
    "abort",
    "caller",
    "detached",
    "handling",
    "problem",
]


def __getattr__(name: str) -> Any:
    if name not in _OPERATIONS:
        raise AttributeError(f"module 'yagrpc.serving' has no attribute {name!r}")
    found = getattr(importlib.import_module("yagrpc.serving.operations"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)

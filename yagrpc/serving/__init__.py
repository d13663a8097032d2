"""yagrpc inside a server of your own: calls have the deadline, the trace and the request id of the handler's caller.

    grpc.server(..., interceptors=[serving.ServerInterceptor()])
    grpc.aio.server(interceptors=[serving.AsyncServerInterceptor()])
    app.add_middleware(serving.Middleware, timeout=30)                   # ASGI: FastAPI, Starlette
    with serving.handling(timeout=30, metadata=request.headers): ...     # everything else

Calls of any client in a handler then end when the caller leaves or its deadline passes, and errors of yagrpc that leave
the handler become statuses, by the one table in `table`. docs/serving.md describes it.

Rules: nothing of a client needs this package.
"""

from __future__ import annotations

from yagrpc.context import Caller, detached
from yagrpc.serving.asgi import Middleware, Problem, problem
from yagrpc.serving.callers import MARGIN, OPERATION_ID, caller, handling
from yagrpc.serving.interceptors import AsyncServerInterceptor, ServerInterceptor
from yagrpc.serving.statuses import abort

__all__ = [
    "MARGIN",
    "OPERATION_ID",
    "AsyncServerInterceptor",
    "Caller",
    "Middleware",
    "Problem",
    "ServerInterceptor",
    "abort",
    "caller",
    "detached",
    "handling",
    "problem",
]

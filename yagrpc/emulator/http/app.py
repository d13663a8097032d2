"""REST: an ASGI application that finds the method of an HTTP request, and lets the pipeline serve it.

Rules: whatever a request holds, its answer is a status in the service's form. What a browser sends for a page of
another origin is refused (`origins.py`). A call ends when its client leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import grpc

from yagrpc import _pb
from yagrpc.emulator.http.context import BODY_BYTES, Aborted, HttpContext, Send, refuse
from yagrpc.emulator.http.origins import foreign
from yagrpc.emulator.rpc.pipeline import REQUEST_ID, Pipeline, http_date
from yagrpc.emulator.state import State
from yagrpc.rest import BadRequest, Found, Router, WrongVerb, read_request

__all__ = ["App", "Receive", "all_methods"]

Receive: TypeAlias = "Callable[[], Awaitable[Mapping[str, Any]]]"

_NOT_METADATA: Final = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that belong to HTTP, and not to the call."""


class App:
    """The application.

    Args:
        state: The emulated cloud.
        pipeline: Serves the calls.
        page: Serves `/` and what is below `/-/`; `None` where there is no page.
    """

    def __init__(self, state: State, pipeline: Pipeline, page: Any) -> None:
        self._state = state
        self._pipeline = pipeline
        self._page = page
        self._router = Router(*all_methods())

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        path: str = scope["raw_path"].decode("latin-1")
        reason = foreign(scope, self._state.options.host)
        if reason is not None:
            return await self._refuse(send, path, grpc.StatusCode.PERMISSION_DENIED, reason)
        if self._page is not None and (path == "/" or path.startswith("/-/")):
            await self._page(scope, receive, send)
            return None
        try:
            found = self._router.find(scope["method"], path)
        except WrongVerb as error:
            allow = {"allow": ", ".join(error.allowed)}
            return await self._refuse(send, path, grpc.StatusCode.UNIMPLEMENTED, str(error), 405, allow)
        if found is None:
            return await self._refuse(send, path, grpc.StatusCode.NOT_FOUND, "no method has this path")
        body = await _read(receive) if _declared(scope["headers"]) <= BODY_BYTES else bytes(BODY_BYTES + 1)
        if body is None:
            return None
        await self._serve(found, path, scope, body, receive, send)

    async def _serve(
        self, found: Found, path: str, scope: Mapping[str, Any], body: bytes, receive: Receive, send: Send
    ) -> None:
        method = found.method
        handler = self._pipeline.arrived(method.path)
        if handler is None:
            return await self._refuse(send, path, grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        if len(body) > BODY_BYTES:
            self._pipeline.refused(method.path, grpc.StatusCode.INVALID_ARGUMENT)
            text = f"the body is larger than {BODY_BYTES} bytes"
            return await self._refuse(send, path, grpc.StatusCode.INVALID_ARGUMENT, text, 413)
        try:
            request = read_request(found, query=scope["query_string"].decode("latin-1"), body=body)
        except BadRequest as error:
            self._pipeline.refused(method.path, grpc.StatusCode.INVALID_ARGUMENT)
            return await self._refuse(send, path, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        peer = f"ipv4:{':'.join(map(str, scope['client']))}"
        context = HttpContext(
            path,
            metadata=_metadata(scope["headers"]),
            peer=peer,
            streaming=handler.response_streaming,
            response_type=getattr(method, "operation_type", method.response_type),
            send=send,
            drop=lambda: self._state.shut(peer),
        )
        await _while_connected(_call(handler, request, context), receive)
        return None

    async def _refuse(
        self,
        send: Send,
        path: str,
        code: grpc.StatusCode,
        message: str,
        number: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        date = http_date(int(self._state.clock.now()))
        always = {REQUEST_ID: self._state.new_request_id(), "date": date}
        await refuse(send, path, code, message, headers={**always, **(headers or {})}, number=number)


def all_methods() -> list[Any]:
    """Every rpc of our method tables."""
    tables = [getattr(_pb.methods, name) for name in dir(_pb.methods) if name[:1].isupper()]
    return [method for table in tables for method in vars(table).values() if hasattr(method, "http")]


async def _call(handler: Any, request: Any, context: HttpContext) -> None:
    """Let the pipeline serve the call."""
    with contextlib.suppress(Aborted):
        if handler.response_streaming:
            await handler.unary_stream(request, context)
            await context.finish()
        else:
            await context.write(await handler.unary_unary(request, context))


async def _while_connected(call: Any, receive: Receive) -> None:
    """Await a call, and cancel it when its client leaves."""
    serving = asyncio.ensure_future(call)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (leaving, serving):
            if not task.done():
                task.cancel()
        await asyncio.wait({serving, leaving})
    if not serving.cancelled():
        serving.result()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _declared(headers: list[tuple[bytes, bytes]]) -> int:
    """The length of the body, as its header says; 0 where none does. A body that is too long is not waited for."""
    return next((int(value) for name, value in headers if name == b"content-length"), 0)


async def _read(receive: Receive) -> bytes | None:
    """The body, up to one byte more than it may have; `None` if the client has left before its end."""
    parts, size = [], 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        part = event.get("body", b"")
        if size <= BODY_BYTES:
            parts.append(part)
            size += len(part)
        if not event.get("more_body", False):
            return b"".join(parts)


def _metadata(headers: list[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """The headers of a request as the metadata of a call."""
    pairs = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
    return tuple((name, value) for name, value in pairs if name not in _NOT_METADATA and not name.endswith("-bin"))

"""The ASGI middleware, and an error as the answer of an HTTP server: `application/problem+json` (RFC 9457).

Rules: plain ASGI, no framework. The body of a request is read on in small steps, so that a caller that leaves is
noticed while the handler works; what is read is given to the handler as it came.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, NamedTuple, TypeAlias

from yagrpc.context import CURRENT, Caller
from yagrpc.errors import ConfigError, YagrpcError
from yagrpc.hiding import shown
from yagrpc.quantities import Seconds
from yagrpc.serving.callers import MARGIN, OPERATION_ID, checked_seconds, log_owed, new_caller, owed, seconds_in
from yagrpc.serving.statuses import log_error
from yagrpc.serving.table import Expose, Exposure, pause, row_of

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MEDIA_TYPE: Final = "application/problem+json"

_LEFT: Final = frozenset({"http.disconnect", "websocket.disconnect"})


class Problem(NamedTuple):
    """What an HTTP server answers for an error.

    Args:
        status: The status.
        headers: `content-type`, and where they are known `retry-after` and `yagrpc-operation-id`.
        content: The body, for a framework that writes JSON itself.
    """

    status: int
    headers: dict[str, str]
    content: dict[str, Any]

    @property
    def body(self) -> bytes:
        """The body as JSON."""
        return json.dumps(self.content, ensure_ascii=False).encode()


def problem(error: YagrpcError, *, expose: Expose = False) -> Problem:
    """What an HTTP server answers for an error of yagrpc, for handlers of exceptions and for other frameworks.

    Args:
        error: The error.
        expose: Of which codes the error's own text is passed on; by default callers get a text of the table.

    Raises:
        ConfigError: `expose` can't work.
    """
    return problem_of(error, Exposure(expose), CURRENT.get() or Caller())


def problem_of(error: YagrpcError, exposure: Exposure, caller: Caller) -> Problem:
    """The same, with a setting that was checked."""
    row = row_of(error)
    content: dict[str, Any] = {
        "type": f"urn:yagrpc:{row.reason.lower().replace('_', '-')}",
        "title": row.text,
        "status": row.http,
        "detail": exposure.text(error, row),
        "reason": row.reason,
    }
    headers = {"content-type": MEDIA_TYPE}
    if request_id := error.client_request_id or caller.request_id:
        content["request_id"] = request_id
    if (seconds := pause(error, row)) is not None:
        headers["retry-after"] = str(math.ceil(seconds))
    if ids := owed(caller, error):
        headers[OPERATION_ID] = ", ".join(ids)
        content["operation_id"] = ids[0]
    return Problem(row.http, headers, content)


class Middleware:
    """For FastAPI, Starlette and any other ASGI application: `app.add_middleware(serving.Middleware, timeout=30)`.

    Args:
        app: The application.
        timeout: Seconds that each request may take; `None` for no limit.
        margin: Seconds of these that are kept for the answer.
        expose: Of which codes an error's own text is passed on: `True` for all, or some of `yagrpc.Code`.
        deadline_header: A header in which callers say how long they wait, such as `grpc-timeout` (`1500m`) or
            `x-request-timeout` (`1.5`, in seconds). It shortens `timeout`, and never extends it. By default none is
            read.

    Raises:
        ConfigError: A setting can't work.
    """

    def __init__(
        self,
        app: App,
        *,
        timeout: Seconds | None = None,
        margin: Seconds = MARGIN,
        expose: Expose = False,
        deadline_header: str | None = None,
    ) -> None:
        name = deadline_header
        if name is not None and not (isinstance(name, str) and re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII)):
            raise ConfigError(
                f"deadline_header is {shown(deadline_header)}: it takes the name of a header, such as grpc-timeout"
            )
        self._app = app
        self._deadline_header = None if name is None else name.lower()
        self._timeout = checked_seconds("timeout", timeout, optional=True)
        self._margin = checked_seconds("margin", margin) or 0.0
        self._exposure = Exposure(expose)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection; called by the server."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        http = scope["type"] == "http"
        caller = new_caller(scope["headers"], self._left(scope["headers"]) if http else None, self._margin)
        incoming, answer = _Incoming(receive, caller), _Answer(send, caller)
        token = CURRENT.set(caller)
        try:
            async with incoming:
                await self._app(scope, incoming.next, answer.send if http else send)
        except YagrpcError as error:
            if not http or answer.started:  # too late for another answer
                raise
            log_error(error)
            await answer.problem(problem_of(error, self._exposure, caller))
        except asyncio.CancelledError:
            caller.leave()
            raise
        finally:
            CURRENT.reset(token)
            caller.finish()
            log_owed(caller)

    def _left(self, headers: list[tuple[bytes, bytes]]) -> float | None:
        """The seconds that a request may take."""
        given = None if self._deadline_header is None else seconds_in(headers, self._deadline_header)
        return min((each for each in (self._timeout, given) if each is not None), default=None)


class _Incoming:
    """What comes from the server: read a message ahead of the application, so that the end of its caller is noticed.

    Args:
        receive: Gives the next message.
        caller: The caller.
    """

    def __init__(self, receive: Receive, caller: Caller) -> None:
        self._receive = receive
        self._caller = caller
        self._messages: asyncio.Queue[Message] = asyncio.Queue(1)
        self._arrived = asyncio.Event()
        self._last: Message | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._reader = asyncio.create_task(self._read(), name="yagrpc-serving")
        self._reader.add_done_callback(lambda _: self._arrived.set())

    async def __aexit__(self, *_: object) -> None:
        assert self._reader is not None
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):  # the application got it from `next`
            await asyncio.wait([self._reader])
            self._reader.exception()

    async def next(self) -> Message:
        """The next message, for the application. Where a wait for it is cancelled, the next wait gets it."""
        assert self._reader is not None
        while self._messages.empty():
            if self._last is not None:
                return self._last
            if self._reader.done():
                self._reader.result()  # raises what the server raised
            self._arrived.clear()
            await self._arrived.wait()
        return self._messages.get_nowait()

    async def _read(self) -> None:
        while self._last is None:
            message = await self._receive()
            if message["type"] in _LEFT:
                self._caller.leave()
                self._last = message
            await self._messages.put(message)
            self._arrived.set()


class _Answer:
    """What goes to the server; it has the ids of the operations that the caller does not have the outcome of.

    Args:
        send: Sends a message.
        caller: The caller.
    """

    def __init__(self, send: Send, caller: Caller) -> None:
        self._send = send
        self._caller = caller
        self.started = False

    async def send(self, message: Message) -> None:
        """Send a message of the application's."""
        if message["type"] == "http.response.start":
            self.started = True
            if ids := owed(self._caller):
                header = (OPERATION_ID.encode(), ", ".join(ids).encode("latin-1", "replace"))
                message = {**message, "headers": [*message.get("headers", ()), header]}
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self._caller.finish()  # what runs after the answer, as background tasks do, is not for the caller
        await self._send(message)

    async def problem(self, found: Problem) -> None:
        """Answer with a problem."""
        body = found.body
        headers = {**found.headers, "content-length": str(len(body))}
        pairs = [(key.encode(), value.encode("latin-1", "replace")) for key, value in headers.items()]
        await self._send({"type": "http.response.start", "status": found.status, "headers": pairs})
        self._caller.finish()
        await self._send({"type": "http.response.body", "body": body})

"""The page: what the emulator has and does, and buttons for its control service.

- `GET /` and `GET /-/...`: the page and its two files;
- `GET /-/events`: what it shows, as server-sent events;
- `POST /-/control/<method>`: one rpc of the control service, with its request as JSON.

Rules: the page is served on loopback only. Whatever changes something needs the token of the page's URL, which stands
behind a `#`, so that it is in no request and no log. The page loads nothing from elsewhere: its security policy forbids
that.
"""

from __future__ import annotations

import asyncio
import hmac
import importlib.resources
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NoReturn

import grpc
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, Router

from yagrpc import _pb
from yagrpc.emulator.control.service import make_control
from yagrpc.emulator.http.context import BODY_BYTES, json_bytes
from yagrpc.emulator.http.snapshot import snapshot
from yagrpc.emulator.state import State
from yagrpc.rest import HTTP_STATUS, BadRequest, read_message, to_json

__all__ = ["TOKEN_HEADER", "make_page"]

TOKEN_HEADER: Final = "x-emulator-token"
"""What carries the token of a request that changes something."""

_FILES: Final = {
    "/": ("page.html", "text/html"),
    "/-/page.css": ("page.css", "text/css"),
    "/-/page.js": ("page.js", "text/javascript"),
}

_SECURITY: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

_PERIOD: Final = 0.5
"""Seconds between two events, of real time: a frozen clock is shown too."""


def make_page(state: State, token: str) -> Router:
    """The page as an ASGI application.

    Args:
        state: The emulated cloud.
        token: What a request has to know that changes something.
    """
    files = [Route(path, _file(*file), methods=["GET"]) for path, file in _FILES.items()]
    page = _Page(state, token)
    return Router(
        [
            *files,
            Route("/-/events", page.events, methods=["GET"]),
            Route("/-/control/{method}", page.control, methods=["POST"]),
        ]
    )


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    text = importlib.resources.files(__name__).joinpath(name).read_text("utf-8")

    async def serve(request: Request) -> Response:
        return Response(text, media_type=kind, headers=_SECURITY)

    return serve


class _Page:
    """What the page asks for.

    Args:
        state: The emulated cloud.
        token: What a request has to know that changes something.
    """

    def __init__(self, state: State, token: str) -> None:
        self._state = state
        self._token = token
        self._control = make_control(state)

    async def events(self, request: Request) -> Response:
        """What the page shows, again and again until it is closed."""
        headers = {**_SECURITY, "x-accel-buffering": "no"}
        return StreamingResponse(self._snapshots(), media_type="text/event-stream", headers=headers)

    async def _snapshots(self) -> AsyncIterator[bytes]:
        while True:
            yield b"data: " + json_bytes(snapshot(self._state)) + b"\n\n"
            await asyncio.sleep(_PERIOD)

    async def control(self, request: Request) -> Response:
        """One rpc of the control service."""
        given = request.headers.get(TOKEN_HEADER, "")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return _failed(grpc.StatusCode.PERMISSION_DENIED, "open the page with the whole URL that was printed")
        method = vars(_pb.control_methods.ControlService).get(request.path_params["method"])
        if method is None or not hasattr(method, "request_type"):
            return _failed(grpc.StatusCode.NOT_FOUND, "the control service has no such method")
        body = b""
        try:
            async for part in request.stream():
                body += part
                if len(body) > BODY_BYTES:
                    return _failed(grpc.StatusCode.INVALID_ARGUMENT, f"the body is larger than {BODY_BYTES} bytes")
            answer = await getattr(self._control, method.name)(read_message(method.request_type, body), _Context())
        except ClientDisconnect:
            return Response(status_code=499)
        except BadRequest as error:
            return _failed(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except _Refused as refused:
            return _failed(refused.code, str(refused))
        return Response(json_bytes(to_json(answer)), media_type="application/json", headers=_SECURITY)


class _Refused(Exception):
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Context:
    """What the control service needs of gRPC's context."""

    async def abort(self, code: grpc.StatusCode, message: str) -> NoReturn:
        raise _Refused(code, message)


def _failed(code: grpc.StatusCode, message: str) -> Response:
    body = json.dumps({"code": code.value[0], "message": message})
    return Response(body, HTTP_STATUS[code], media_type="application/json", headers=_SECURITY)

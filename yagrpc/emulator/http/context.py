"""What the pipeline gets in place of gRPC's context when a call comes over HTTP.

Rules: the status line is sent with the first message, or with the status of a call that has no message. So a refusal
before the first message has an HTTP status; a stream that fails after it ends without its end.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from yagrpc import _pb
from yagrpc.emulator.refusal import DETAILS_KEY
from yagrpc.rest import HTTP_STATUS, error_object, status_object, to_json

__all__ = ["BODY_BYTES", "Aborted", "HttpContext", "Send", "json_bytes", "refuse"]

BODY_BYTES: Final = 4 * 1024 * 1024
"""The largest body of a request, in bytes: gRPC's own default for a message."""

Send: TypeAlias = "Callable[[Mapping[str, Any]], Awaitable[None]]"
"""How an ASGI application sends."""

Pairs: TypeAlias = "Iterable[tuple[str, str | bytes]]"

_MODELS: Final = "/foundationModels/"
"""What the paths of the models begin with; errors of other services have another form."""


class Aborted(Exception):
    """The pipeline has ended the call with a status, which has been sent."""


class HttpContext:
    """The context of one call.

    Args:
        path: The path of the HTTP request.
        metadata: Its headers, as metadata.
        peer: The client, as gRPC names it.
        streaming: Whether the answer is a stream of messages, each on a line of its own.
        response_type: The class of its messages.
        send: Sends to the client.
        drop: Closes the connection without an answer.
    """

    def __init__(
        self,
        path: str,
        *,
        metadata: tuple[tuple[str, str], ...],
        peer: str,
        streaming: bool,
        response_type: type[Message],
        send: Send,
        drop: Callable[[], object],
    ) -> None:
        self._path = path
        self._metadata = metadata
        self._peer = peer
        self._streaming = streaming
        self._response_type = response_type
        self._send = send
        self._drop = drop
        self._headers: dict[str, str] = {}
        self._started = False

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """The headers of the request."""
        return self._metadata

    def peer(self) -> str:
        """The client: `ipv4:127.0.0.1:40123`."""
        return self._peer

    async def send_initial_metadata(self, pairs: Pairs) -> None:
        """Keep headers for the status line."""
        self._keep(pairs)

    def set_trailing_metadata(self, pairs: Pairs) -> None:
        """Keep headers for the status line: HTTP has no others that clients read."""
        self._keep(pairs)

    async def abort(self, code: grpc.StatusCode, message: str = "", trailing_metadata: Pairs = ()) -> NoReturn:
        """End the call with a status; the connection of a lost reply, which has no headers, is closed instead.

        So is that of a stream whose first message was sent.

        Raises:
            Aborted: Always.
        """
        pairs = dict(trailing_metadata)
        self._keep(pairs.items())
        if self._started or not self._headers:
            self._drop()
        else:
            await refuse(self._send, self._path, code, message, headers=self._headers, details=pairs.get(DETAILS_KEY))
        raise Aborted

    async def write(self, message: Message | bytes) -> None:
        """Send a message of a stream, or the only message of a call."""
        body = self._body_of(message)
        await self._start(None if self._streaming else len(body))
        await self._send(_body(body, more=self._streaming))

    async def finish(self) -> None:
        """End a stream that has no more messages."""
        if self._streaming:
            await self._start(None)
            await self._send(_body(b""))

    async def _start(self, length: int | None) -> None:
        if not self._started:
            self._started = True
            await self._send(_start(200, self._headers, length))

    def _keep(self, pairs: Pairs) -> None:
        self._headers.update((name, value) for name, value in pairs if isinstance(value, str))

    def _body_of(self, message: Message | bytes) -> bytes:
        """The JSON of a message; garbage is sent unchanged, and what a fault has enlarged is as large in JSON."""
        size = 0
        if isinstance(message, bytes):
            size, answer = len(message), self._response_type()
            try:
                answer.ParseFromString(message)
            except DecodeError:
                return message
            message = answer
        shown = to_json(message)
        body = json_bytes({"result": shown} if self._streaming else shown).ljust(size)
        return body + b"\n" if self._streaming else body


async def refuse(
    send: Send,
    path: str,
    code: grpc.StatusCode,
    message: str,
    *,
    headers: Mapping[str, str],
    details: str | bytes | None = None,
    number: int | None = None,
) -> None:
    """Answer a request with a status.

    Args:
        send: Sends to the client.
        path: The path of the request.
        code: The gRPC code.
        message: What is wrong.
        headers: Headers of the answer.
        details: The whole `google.rpc.Status`, serialized, where it has details.
        number: The HTTP status, where it is not that of the code.
    """
    body = json_bytes(_error(path, code, message, details, number))
    await send(_start(number or HTTP_STATUS[code], headers, len(body)))
    await send(_body(body))


def json_bytes(value: object) -> bytes:
    """JSON as it is sent: in UTF-8, without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _error(
    path: str, code: grpc.StatusCode, message: str, details: str | bytes | None, number: int | None = None
) -> dict[str, Any]:
    status = _pb.status_pb2.Status(code=code.value[0], message=message)
    if isinstance(details, bytes):
        status.ParseFromString(details)
    if not path.startswith(_MODELS):
        return status_object(status)
    return error_object(status, code, number)


def _start(status: int, headers: Mapping[str, str], length: int | None) -> dict[str, Any]:
    pairs = [(b"content-type", b"application/json")]
    pairs += [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    if length is not None:
        pairs.append((b"content-length", str(length).encode()))
    return {"type": "http.response.start", "status": status, "headers": pairs}


def _body(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}

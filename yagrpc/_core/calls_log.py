"""The log of calls, on `yagrpc.calls`: what was sent where, how large it was, and how it ended.

Rules: sizes, ids and statuses only. Texts are logged where the environment has `YAGRPC_LOG_TEXTS=1`, metadata (which
hold the credential) never. Every line has the client request id. Whoever writes asks first whether anybody listens.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yagrpc._core.flow import Call
    from yagrpc.errors import CallError

log = logging.getLogger("yagrpc.calls")


def wanted() -> bool:
    """Whether anybody listens."""
    return log.isEnabledFor(logging.DEBUG)


def sent(call: Call[Any, Any], endpoint: str, attempt: int, timeout: float | None) -> None:
    """An attempt is on its way."""
    allowed = "no timeout" if timeout is None else f"timeout {timeout:.3g} s"
    size = _size(call.request)
    _line(call, f"sent to {endpoint}: attempt {attempt}, {size}, {allowed}{_text(call.request)}")


def answered(call: Call[Any, Any], answer: object, seconds: float) -> None:
    """It was answered; of a stream, with the first message."""
    given = call.ids
    theirs = f", request id {given.request_id or '-'}, server trace id {given.server_trace_id or '-'}"
    _line(call, f"answered in {seconds:.3f} s: {_size(answer)}{theirs}{_text(answer)}")


def failed(call: Call[Any, Any], failure: CallError, seconds: float) -> None:
    """It failed."""
    _line(call, f"failed in {seconds:.3f} s: {failure}")


def again(call: Call[Any, Any], failure: CallError, pause: float) -> None:
    """It is sent again."""
    text = "%s (client request id %s): %s; sent again in %.3f s"
    log.info(text, call.method.path, call.client_request_id, failure.code.name, pause, extra=_extra(call))


def _line(call: Call[Any, Any], text: str) -> None:
    log.debug("%s (client request id %s) %s", call.method.path, call.client_request_id, text, extra=_extra(call))


def _extra(call: Call[Any, Any]) -> dict[str, str]:
    return {"client_request_id": call.client_request_id, "operation_id": call.operation_id}


def _size(message: Any) -> str:
    return f"{message.ByteSize()} bytes" if hasattr(message, "ByteSize") else "a stream"


def _text(message: Any) -> str:
    asked = os.environ.get("YAGRPC_LOG_TEXTS") == "1" and hasattr(message, "ByteSize")
    return f": {' '.join(str(message).split())}" if asked else ""

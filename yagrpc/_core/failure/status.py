"""What gRPC raises, as what yagrpc raises.

The errors of both of gRPC's APIs answer `code()`, `details()` and the two metadata without waiting, so one
mapping serves both shells.

Rules: nothing of protobuf is imported before there are details to read: they are rare, and it is a third of what
importing a client would cost.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final

from yagrpc import _pb
from yagrpc._core.call.metadata import pairs_of, request_ids, text_of
from yagrpc._core.failure.hints import hint
from yagrpc.errors import CALL_ERRORS, CallError, Code
from yagrpc.errors.base import Detail

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

    from yagrpc._core.flow import Call

REQUEST_INFO = "type.googleapis.com/google.rpc.RequestInfo"
RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"

_MILLISECONDS: Final = re.compile(r"[0-9]{1,9}")
_DELAY: Final = re.compile(r"[0-9]{1,12}(\.[0-9]+)?s")


def code_of(error: grpc.RpcError) -> Code:
    """The status of an error of gRPC's."""
    number: int = error.code().value[0]
    return Code(number)


def call_error(error: grpc.RpcError, call: Call[Any, Any], endpoint: str, attempts: int) -> CallError:
    """The exception of an error of gRPC's."""
    code = code_of(error)
    initial: Any = error.initial_metadata()  # type: ignore[attr-defined]
    trailing = pairs_of(error.trailing_metadata())
    call.ids = request_ids(call.client_request_id, initial, error.trailing_metadata())
    details = _status_details(trailing.get("grpc-status-details-bin"))
    message = " ".join((error.details() or "").split()) or "no message"
    return CALL_ERRORS[code](
        message,
        details=details,
        method=call.method.path,
        endpoint=endpoint,
        request_id=call.ids.request_id or _request_info(details),
        server_trace_id=call.ids.server_trace_id,
        retry_after=_retry_after(trailing.get("grpc-retry-pushback-ms"), details),
        client_request_id=call.client_request_id,
        attempts=attempts,
        operation_id=call.operation_id,
        hint=hint(code, message, call.request),
    )


def status_details(details: Iterable[_pb.any_pb2.Any]) -> tuple[Detail, ...]:
    """A status's details as proto JSON; what is of no known type, or has no JSON, keeps its bytes in base64."""
    _pb.load_messages()  # what a detail is shows by its name alone
    return tuple(_detail(detail) for detail in details)


def _detail(detail: _pb.any_pb2.Any) -> Detail:
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    try:
        if detail.type_url:  # an Any without a type would become {}
            return json_format.MessageToDict(detail, descriptor_pool=_pb.POOL)
    except (TypeError, ValueError, DecodeError, json_format.Error):  # e.g. a time that no calendar has
        pass
    return {"@type": detail.type_url, "value": base64.b64encode(detail.value).decode()}


def _status_details(serialized: object) -> tuple[Detail, ...]:
    if not isinstance(serialized, bytes):
        return ()
    from google.protobuf.message import DecodeError

    try:
        return status_details(_pb.status_pb2.Status.FromString(serialized).details)
    except DecodeError:
        return ()


def _request_info(details: tuple[Detail, ...]) -> str:
    found = next((str(detail.get("requestId", "")) for detail in details if detail["@type"] == REQUEST_INFO), "")
    return " ".join(found.split())


def _retry_after(pushback: object, details: tuple[Detail, ...]) -> float | None:
    """Seconds until the next attempt, by the service's own word; -1 for never; `None` where it says nothing."""
    if pushback is not None:
        text = text_of(pushback).strip()
        return int(text) / 1000 if _MILLISECONDS.fullmatch(text) else -1.0  # what is no number means never (gRFC A6)
    delay = next((str(detail.get("retryDelay", "")) for detail in details if detail["@type"] == RETRY_INFO), "")
    return float(delay[:-1]) if _DELAY.fullmatch(delay) else None

"""What gRPC raises, as what yagrpc raises.

The errors of both of gRPC's APIs answer `code()`, `details()` and the two metadata without waiting, so one
mapping serves both shells.

Rules: nothing of protobuf is imported before there are details to read: they are rare, and it is a third of what
importing a client would cost.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from yagrpc import _pb
from yagrpc._core.hints import hint
from yagrpc.errors import CALL_ERRORS, CallError, Code, Detail

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

    from yagrpc._core.flow import Call

REQUEST_INFO = "type.googleapis.com/google.rpc.RequestInfo"


def code_of(error: grpc.RpcError) -> Code:
    """The status of an error of gRPC's."""
    number: int = error.code().value[0]
    return Code(number)


def call_error(error: grpc.RpcError, call: Call[Any, Any], endpoint: str, attempts: int) -> CallError:
    """The exception of an error of gRPC's."""
    code = code_of(error)
    trailing = _pairs(error.trailing_metadata())
    headers = {**_pairs(error.initial_metadata()), **trailing}  # type: ignore[attr-defined]
    details = _status_details(trailing.get("grpc-status-details-bin"))
    message = " ".join((error.details() or "").split()) or "no message"
    return CALL_ERRORS[code](
        message,
        details=details,
        method=call.method.path,
        endpoint=endpoint,
        request_id=_text(headers.get("x-request-id")) or _request_info(details),
        client_request_id=call.client_request_id,
        attempts=attempts,
        operation_id=call.operation_id,
        hint=hint(code, message, call.request),
    )


def _pairs(metadata: Any) -> dict[str, str | bytes]:
    """Metadata as a dict; `dict` itself fails on that of asyncio, whose keys were pairs before grpcio 1.70."""
    return {key: value for key, value in metadata or ()}  # noqa: C416


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


def _text(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")

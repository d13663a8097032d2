"""The details of a status, and what they and the metadata say about trying again.

Rules: protobuf is imported only where there are details to read: they are rare, and importing it is a third of what
importing a client would cost. Nothing here raises, whatever the other side sent.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from yagrpc import _pb
from yagrpc._core.call.metadata import text_of
from yagrpc.errors.base import Detail
from yagrpc.foreign import identifier

if TYPE_CHECKING:
    from collections.abc import Iterable

REQUEST_INFO: Final = "type.googleapis.com/google.rpc.RequestInfo"
RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"

_MILLISECONDS: Final = re.compile(r"[0-9]{1,9}")
_DELAY: Final = re.compile(r"[0-9]{1,12}(\.[0-9]+)?s")


def status_details(details: Iterable[_pb.any_pb2.Any]) -> tuple[Detail, ...]:
    """A status's details as proto JSON; one of an unknown type, or without JSON, keeps its bytes in base64."""
    _pb.load_messages()  # a detail names its type, and nothing else refers to the class
    return tuple(_detail(detail) for detail in details)


def parsed_details(serialized: object) -> tuple[Detail, ...]:
    """The details in a value of `grpc-status-details-bin`; none where it does not parse."""
    if not isinstance(serialized, bytes):
        return ()
    from google.protobuf.message import DecodeError

    try:
        return status_details(_pb.status_pb2.Status.FromString(serialized).details)
    except DecodeError:
        return ()


def request_info(details: tuple[Detail, ...]) -> str:
    """The request id that the details name; empty where they name none."""
    return identifier(_first(details, REQUEST_INFO, "requestId"))


def retry_after(pushback: object, details: tuple[Detail, ...]) -> float | None:
    """Seconds until the service wants the next attempt; -1 for never; `None` where it says nothing.

    Args:
        pushback: The value of `grpc-retry-pushback-ms`, which wins; `None` where there is none.
        details: The status's details, which may hold a `RetryInfo`.
    """
    if pushback is not None:
        text = text_of(pushback).strip()
        return (
            int(text) / 1000 if _MILLISECONDS.fullmatch(text) else -1.0
        )  # a text that is not a number means never (gRFC A6)
    delay = _first(details, RETRY_INFO, "retryDelay")
    return float(delay[:-1]) if _DELAY.fullmatch(delay) else None


def _first(details: tuple[Detail, ...], kind: str, field: str) -> str:
    return next((str(detail.get(field, "")) for detail in details if detail["@type"] == kind), "")


def _detail(detail: _pb.any_pb2.Any) -> Detail:
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    try:
        if detail.type_url:  # an Any without a type would become {}
            return json_format.MessageToDict(detail, descriptor_pool=_pb.POOL)
    except (TypeError, ValueError, DecodeError, json_format.Error):  # e.g. a time that no calendar has
        pass
    return {"@type": detail.type_url, "value": base64.b64encode(detail.value).decode()}

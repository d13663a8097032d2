"""The details of a status, and what they and the metadata say about trying again.

Rules: protobuf is imported only where there are details to read: they are rare, and importing it is a third of what
importing a client would cost. Nothing here raises, whatever the other side sent, and what is kept of it has a limit.
"""

from __future__ import annotations

import base64
import itertools
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

MOST_DETAILS: Final = 100
"""How many details of a status are kept; the service sends one or two."""

DETAIL_BYTES: Final = 64 * 1024
"""The most bytes of a status's details, together: Python values take up to 40 times the bytes that they came in."""

NESTING: Final = 100
"""How many levels of a detail are kept as values; printing or copying each takes a part of Python's stack."""

_TYPE_LENGTH: Final = 200
"""The most characters of a type's name where the detail itself is left out."""

_MILLISECONDS: Final = r"[0-9]{1,9}"
_DELAY: Final = r"[0-9]{1,12}(\.[0-9]+)?s"


def status_details(details: Iterable[_pb.any_pb2.Any]) -> tuple[Detail, ...]:
    """A status's details as proto JSON, up to `MOST_DETAILS` of them.

    One that would exceed `DETAIL_BYTES` is `{"@type": its type, "omittedBytes": its size}`.
    """
    kept: list[Detail] = []
    left = DETAIL_BYTES
    for detail in itertools.islice(details, MOST_DETAILS):
        size = len(detail.type_url) + len(detail.value)
        if size <= left:
            left -= size
            kept.append(any_json(detail))
        else:
            kept.append({"@type": detail.type_url[:_TYPE_LENGTH], "omittedBytes": size})
    return tuple(kept)


def any_json(packed: _pb.any_pb2.Any) -> Detail:
    """A message in an `Any` as proto JSON; its bytes in base64 where it has none, or is too deep."""
    from google.protobuf import json_format

    _pb.load_messages()  # an `Any` names its type, and nothing else refers to the class
    try:
        if packed.type_url:  # an Any without a type would become {}
            message = json_format.MessageToDict(packed, descriptor_pool=_pb.POOL)
            if _nests(message, NESTING):
                return message
    except Exception:  # a time that no calendar has, an `Any` in an `Any` without end, bytes that do not parse, ...
        pass
    return {"@type": packed.type_url, "value": base64.b64encode(packed.value).decode()}


def _nests(value: object, levels: int) -> bool:
    """Whether a value of proto JSON has so many levels at most."""
    if not isinstance(value, (dict, list)):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_nests(one, levels - 1) for one in inner)


def parsed_details(serialized: object) -> tuple[Detail, ...]:
    """The details in a value of `grpc-status-details-bin`; none where it does not parse."""
    if not isinstance(serialized, bytes):
        return ()
    try:
        status = _pb.status_pb2.Status.FromString(serialized)
    except Exception:  # protobuf's DecodeError; where protobuf is pure Python, others as well
        return ()
    return status_details(status.details)


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
            int(text) / 1000 if re.fullmatch(_MILLISECONDS, text) else -1.0
        )  # a text that is not a number means never (gRFC A6)
    delay = _first(details, RETRY_INFO, "retryDelay")
    return float(delay[:-1]) if re.fullmatch(_DELAY, delay) else None


def _first(details: tuple[Detail, ...], kind: str, field: str) -> str:
    return next((str(detail.get(field, "")) for detail in details if detail["@type"] == kind), "")

"""What goes with a request besides its message: the caller's own metadata, checked, and the id of each call.

Rules: a value may be a secret, so no error tells one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from yagrpc._core.flow import Metadata
from yagrpc._core.parameters import CallParameters
from yagrpc.errors import RequestError

_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"[ -~]*")


def given_metadata(parameters: CallParameters) -> Metadata:
    """The caller's own metadata, checked: gRPC's refusal names neither key nor value."""
    if request_id := parameters.get("request_id"):
        _check_pair("request_id", "x-client-request-id", request_id)
    metadata = parameters.get("metadata")
    if not metadata:
        return ()
    given = metadata.items() if isinstance(metadata, Mapping) else metadata
    if not isinstance(given, Iterable):
        raise RequestError("metadata", type(given), "it takes pairs of key and value, or a dict")
    pairs = []
    for pair in given:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            # What was meant for a pair may hold a secret, so it is not told.
            raise RequestError("metadata", type(pair), "it takes pairs of key and value, or a dict")
        key, value = pair
        _check_pair("metadata", key, value)
        pairs.append((key, value))
    return tuple(pairs)


def _check_pair(field: str, key: object, value: object) -> None:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise RequestError(field, key, "a key has lower-case letters, digits, '.', '-' and '_'")
    if key.endswith("-bin"):
        if not isinstance(value, bytes):
            raise RequestError(field, key, "a key that ends in -bin takes bytes")
    elif not isinstance(value, str) or not _VALUE.fullmatch(value):
        # The value may be a secret, so it is not told.
        raise RequestError(field, key, "its value has to be printable ASCII text")


def new_request_id() -> str:
    import uuid  # 2 ms that a program which calls nothing need not pay

    return str(uuid.uuid4())

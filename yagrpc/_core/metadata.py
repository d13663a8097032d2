"""What goes with a request besides its message: the caller's own metadata, checked, and the id of each call.

Rules: no I/O; a value is never told, since it may be a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from yagrpc.errors import RequestError

if TYPE_CHECKING:
    from yagrpc._core.flow import Metadata
    from yagrpc._core.parameters import CallParameters

_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"[ -~]*")
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


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
    """A random UUID, of version 4.

    They are made many at a time: one alone, between two calls, costs several times as much. The module `uuid` would
    double that, and take 2 ms to import.
    """
    while True:
        try:
            return _ids.pop()
        except IndexError:
            digits = os.urandom(16 * _AT_ONCE).hex()
            _ids.extend([_uuid(digits[start : start + 32]) for start in range(0, len(digits), 32)])


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


_AT_ONCE: Final = 64
_ids: list[str] = []
"""Ids that nobody has used yet; a process that is forked makes its own."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.clear)

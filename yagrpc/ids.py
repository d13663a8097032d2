"""What names one call when something has to be looked into: the ids of both sides.

Rules: standard library only; an id that did not arrive is empty, never made up.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

__all__ = ["RequestIds"]


class RequestIds(NamedTuple):
    """The ids of one call: quote them to the service's support.

    Args:
        client_request_id: What was sent along as `x-client-request-id`.
        request_id: The service's id of its answer (`x-request-id`); empty where it gave none.
        server_trace_id: The id of the service's log of the call (`x-server-trace-id`); empty where it gave none.
    """

    client_request_id: str = ""
    request_id: str = ""
    server_trace_id: str = ""


NO_IDS: Final = RequestIds()
"""Those of no call."""


class Answer:
    """What is made of one call's answer, and so has the ids of the call."""

    __slots__ = ("ids",)

    def __init__(self) -> None:
        self.ids: RequestIds = NO_IDS
        """What names the call that it answers; of an operation's result, the call that submitted it."""


_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


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

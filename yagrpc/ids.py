"""The ids of one call, from both sides: support needs them to find the call.

Rules: standard library only; an id that did not arrive is empty, never invented.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeVar

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


AnswerT = TypeVar("AnswerT", bound="Answer")

NO_IDS: Final = RequestIds()
"""Those of no call."""


class Answer:
    """The result of one call's answer; it has the ids of the call."""

    __slots__ = ("ids",)

    def __init__(self) -> None:
        self.ids: RequestIds = NO_IDS
        """The ids of the call that it answers; of an operation's result, of the call that submitted it."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Also for the oldest protocols of pickle, which do not know slots by themselves: errors hold answers.
        slots = (name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ()))
        state = {name: getattr(self, name) for name in slots if hasattr(self, name)}
        return _rebuild, (type(self), {**state, **getattr(self, "__dict__", {})})


def _rebuild(kind: type[AnswerT], state: dict[str, Any]) -> AnswerT:
    answer = kind.__new__(kind)
    for name, value in state.items():
        setattr(answer, name, value)
    return answer


def _drawn() -> tuple[str, Iterator[int]]:
    """The first 24 digits of a process's request ids, and what the last 12 count from."""
    drawn = os.urandom(15)
    digits = drawn.hex()
    start = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[drawn[8] >> 6]}{digits[17:20]}-"
    return start, itertools.count(int(digits[20:], 16))  # 10 digits, so that the count has room


_ids = _drawn()


def _draw() -> None:
    global _ids
    _ids = _drawn()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_draw)


def new_request_id() -> str:
    """A UUID of version 4 that no other call has, in any process.

    Its first part is random and one for the process, its end is a count: to draw every id takes five times as long,
    since the system is asked for it, and the module `uuid` takes 2 ms to import.
    """
    start, numbers = _ids
    return f"{start}{next(numbers):012x}"

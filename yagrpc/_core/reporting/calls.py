"""The start and the end of a call, reported around its flow, where a subscriber asks for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from yagrpc._core.flow import Flow, Opened

if TYPE_CHECKING:
    from yagrpc._core.call.call import Call
    from yagrpc._core.events import Hub


def reported(call: Call[Any, Any], flow: Flow[Any], events: Hub) -> Flow[Any]:
    """The flow of a call, with its start and its end reported; of one that opens a stream, the stream reports its end.

    Args:
        call: The call.
        flow: Its flow.
        events: Who is notified.
    """
    try:
        events.call_started(call)
        answer = yield from flow
    except BaseException as error:
        events.call_ended(call, None, error)
        raise
    if not isinstance(answer, Opened):
        events.call_ended(call, answer, None)
    return answer


class OpenCall:
    """A call whose stream is open: its end is reported once, also where the stream is dropped.

    Only a stream with such subscribers has one: the exception of a signal that comes in a destructor is lost.

    Args:
        call: The call.
        events: Who is notified.

    Attributes:
        last: What the last message became, if there was one.
    """

    __slots__ = ("_call", "_ended", "_events", "last")

    def __init__(self, call: Call[Any, Any], events: Hub) -> None:
        self._call = call
        self._events = events
        self._ended = False
        self.last: Any = None

    def end(self, error: BaseException | None = None) -> None:
        """Report the end, unless that was done.

        Args:
            error: What its reader gets; `None` where the stream has ended well, or was left.
        """
        if not self._ended:
            self._ended = True
            self._events.call_ended(self._call, getattr(self.last, "proto", self.last), error)

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:  # at the end, modules have lost `sys`
        if not ending():
            self.end()

"""The start and the end of a call, reported around its flow, where a subscriber asks for them."""

from __future__ import annotations

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

"""How a blocking channel connects: its state, as far as gRPC shows it, and the wait until it is connected.

Rules: no wait is in the main thread, where the exception of a signal would break it inside gRPC, so that closing the
channel would hang.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any, Final

import grpc

from yagrpc._core.failure.status import RpcStatus
from yagrpc._grpc.channels import Channels
from yagrpc._grpc.probing import CHECK, Diagnosis, probe
from yagrpc.errors import ClientClosedError

_STATES: Final = {state.value[0]: state for state in grpc.ChannelConnectivity}

_READY_STATE: Final = grpc.ChannelConnectivity.READY.value[0]


def watched_part(channel: Any) -> Any:
    """What of a blocking channel can be watched in the caller's thread; `None` where it can't be found.

    gRPC's public way to learn a blocking channel's state starts a thread that polls, and that `close` then waits for.
    The state itself is an attribute away, in the object that the public channel, or an intercepted one, stands for.
    """
    layer: Any = channel
    while layer is not None and not hasattr(layer, "watch_connectivity_state"):
        layer = getattr(layer, "_channel", None)
    return layer


def is_ready(watched: Any) -> bool:
    """Whether a channel is connected; it begins to connect where it is not. `watched` is its watched part."""
    return bool(watched.check_connectivity_state(True) == _READY_STATE)


def watch(channel: Any, watched: Any, diagnosis: Diagnosis, client: Channels, left: list[bool]) -> RpcStatus | bool:
    """Watch a channel until it is connected, the time is over, waiting does not help, or its caller has left.

    Args:
        channel: The channel.
        watched: Its watched part.
        diagnosis: What is known of why it does not connect.
        client: The channels of its client, which may be closed.
        left: Filled once its caller has left.

    Raises:
        ClientClosedError: The client was closed meanwhile.
    """

    def over() -> bool:
        return _given_up(client, left) or diagnosis.left() <= 0

    while (state := watched.check_connectivity_state(True)) != _READY_STATE:
        if diagnosis.due(_STATES[state]):
            diagnosis.learn(probe(channel, diagnosis.plaintext, over))
        if over() or diagnosis.hopeless:
            return diagnosis.outcome
        watched.watch_connectivity_state(state, time.time() + min(diagnosis.left(), CHECK))
    return True


def await_ready(channel: grpc.Channel, diagnosis: Diagnosis, client: Channels, left: list[bool]) -> bool:
    """The same of a channel that is not gRPC's own, in the public way: gRPC polls it in a thread."""
    future = grpc.channel_ready_future(channel)
    try:
        while (seconds := diagnosis.left()) > 0 and not _given_up(client, left):
            with contextlib.suppress(grpc.FutureTimeoutError):
                future.result(timeout=min(seconds, CHECK))
                return True
        return False
    finally:
        future.cancel()


def _given_up(client: Channels, left: list[bool]) -> bool:
    if client.closed:
        raise ClientClosedError
    return bool(left)

"""Why a channel does not connect. gRPC says it only to an rpc that does not wait for the connection.

So a probe is sent: a health check without credentials. It fails at once, with the reason; if the channel has connected
meanwhile, the server answers it, which changes nothing. Interceptors of an asyncio channel see it.

Rules: a probe is sent only while nothing else is, so what it learns is a text for people, and for how long it is worth
waiting. A probe never raises, and nothing that it says proves anything of a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from yagrpc._core.failure.status import RpcStatus
from yagrpc._grpc.fork import NoFork
from yagrpc._grpc.options import DIRECT_OPTIONS
from yagrpc._grpc.status import status_of
from yagrpc.errors import Code

Until: TypeAlias = Callable[["asyncio.Future[Any]", "float | None"], Awaitable[bool]]

PROBE: Final = "/grpc.health.v1.Health/Check"
"""What a probe calls."""

_ANSWER: Final = 5.0
"""Seconds for a probe's answer; it usually takes less than a millisecond."""

CHECK: Final = 0.2
"""Seconds between two checks whether anybody still waits for a connection, or for a probe."""

_SHORTEST, _LONGEST = 0.05, 1.0
"""Seconds between two checks of a channel's state: at first, and at most."""

_OFTEN: Final = 5.0
"""Seconds between two probes at most; reasons may change."""

_CUT: Final = r"Socket closed|reset by peer|Expected SETTINGS|Failed parsing HTTP/2"
"""What gRPC says of a plaintext channel to a server that takes TLS only, and of other servers as well."""

_HANDSHAKE: Final = r"CERTIFICATE_VERIFY_FAILED|Hostname Verification|not in peer certificate|ALPN"
"""What gRPC says of a channel with TLS whose server speaks TLS."""


class Diagnosis:
    """What is known of the failures of one wait for a connection.

    Args:
        timeout: Seconds for the wait; `None` for no limit.
        plaintext: Where the channel goes, `host:port`, if it is one without TLS that was opened here; else empty.

    Attributes:
        plaintext: As it was given.
        outcome: gRPC's status of the last probe; False while there is none.
        hopeless: Whether waiting longer does not help.
    """

    def __init__(self, timeout: float | None, plaintext: str = "") -> None:
        self.plaintext = plaintext
        self.outcome: RpcStatus | bool = False
        self.hopeless = False
        self._since = time.monotonic()
        self._timeout = timeout
        self._pause = _SHORTEST
        self._next, self._often = self._since, _SHORTEST

    def left(self) -> float:
        """Seconds that are left of the wait; infinity where nothing limits it."""
        return float("inf") if self._timeout is None else self._timeout - (time.monotonic() - self._since)

    def pause(self) -> float:
        """Seconds until the next check of the channel's state; it doubles."""
        pause, self._pause = self._pause, min(_LONGEST, self._pause * 2)
        return max(0.0, min(pause, self.left()))

    def due(self, state: grpc.ChannelConnectivity) -> bool:
        """Whether a probe is to be sent, in a state of the channel."""
        if state is not grpc.ChannelConnectivity.TRANSIENT_FAILURE or time.monotonic() < self._next:
            return False
        self._next, self._often = time.monotonic() + self._often, min(_OFTEN, self._often * 2)
        return True

    def learn(self, status: RpcStatus | None) -> None:
        """Keep what a probe has found."""
        if status is None or status.code is not Code.UNAVAILABLE or status.trailing:
            return
        from yagrpc._core.failure.connection import obstacle

        self.outcome = status
        found = obstacle(status.message)
        self.hopeless = found is not None and time.monotonic() - self._since >= found.patience


def probe(channel: Any, plaintext: str, over: Callable[[], bool]) -> RpcStatus | None:
    """Ask a blocking channel why it does not connect; `None` where it says nothing.

    Args:
        channel: The channel; interceptors around it do not see the probe.
        plaintext: As of a `Diagnosis`.
        over: Whether nobody waits any longer; asked five times a second while there is no answer, and it may raise.
    """
    while hasattr(channel, "_channel") and not hasattr(channel._channel, "watch_connectivity_state"):
        channel = channel._channel
    status = _asked(channel, over)
    if plaintext and status is not None and re.search(_CUT, status.message):
        with grpc.secure_channel(plaintext, grpc.ssl_channel_credentials(), DIRECT_OPTIONS) as secure:
            return _with_reason(status, _asked(secure, over))
    return status


async def probe_async(channel: grpc.aio.Channel, plaintext: str) -> RpcStatus | None:
    """The same, for an asyncio channel."""
    status = await _asked_async(channel)
    if plaintext and status is not None and re.search(_CUT, status.message):
        async with grpc.aio.secure_channel(plaintext, grpc.ssl_channel_credentials(), DIRECT_OPTIONS) as secure:
            return _with_reason(status, await _asked_async(secure))
    return status


async def connect(channel: grpc.aio.Channel, diagnosis: Diagnosis, until: Until) -> RpcStatus | bool:
    """Wait until an asyncio channel is connected, the time is over, or waiting does not help.

    Args:
        channel: The channel.
        diagnosis: Gets what is learned meanwhile.
        until: Waits for a future, for some seconds at most, and gives whether it is done; it may raise.

    Returns:
        The outcome of `Connect`.
    """
    if channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
        return True
    ready = asyncio.ensure_future(channel.channel_ready())
    try:
        while not await until(ready, diagnosis.pause()):
            if diagnosis.due(channel.get_state()):
                diagnosis.learn(await _probed(channel, diagnosis.plaintext, until))
            if diagnosis.left() <= 0 or diagnosis.hopeless:
                return diagnosis.outcome
        ready.result()  # its host may have closed the channel meanwhile
        return True
    finally:
        ready.cancel()


async def _probed(channel: grpc.aio.Channel, plaintext: str, until: Until) -> RpcStatus | None:
    asked = asyncio.ensure_future(probe_async(channel, plaintext))
    try:
        await until(asked, None)
        return None if asked.cancelled() else asked.result()
    finally:
        asked.cancel()


def _asked(channel: Any, over: Callable[[], bool]) -> RpcStatus | None:
    try:
        with NoFork():
            rpc = channel.unary_unary(PROBE).future(b"", timeout=_ANSWER, wait_for_ready=False)
    except Exception:  # a channel of any kind, perhaps closed meanwhile
        return None
    try:
        while True:
            with contextlib.suppress(grpc.FutureTimeoutError):
                rpc.result(timeout=CHECK)
                return RpcStatus(Code.OK)
            if over():
                return None
    except grpc.RpcError as error:
        return status_of(error)
    except grpc.FutureCancelledError:  # the channel was closed meanwhile
        return None
    finally:
        rpc.cancel()


async def _asked_async(channel: grpc.aio.Channel) -> RpcStatus | None:
    try:
        call: Any = channel.unary_unary(PROBE)
        await call(b"", timeout=_ANSWER, wait_for_ready=False)
    except grpc.RpcError as error:
        return status_of(error)
    except Exception:  # an interceptor's, or a channel that was closed meanwhile
        return None
    return RpcStatus(Code.OK)


def _with_reason(status: RpcStatus, secure: RpcStatus | None) -> RpcStatus:
    """The status of a plaintext channel, which says so if its server takes TLS only.

    Args:
        status: What a probe without TLS said.
        secure: What one with TLS said.
    """
    if secure is None or secure.code in (Code.DEADLINE_EXCEEDED, Code.CANCELLED):
        return status
    if secure.code is Code.UNAVAILABLE and not secure.trailing and not re.search(_HANDSHAKE, secure.message):
        return status
    from yagrpc._core.failure.connection import TLS_ONLY

    message = f"{TLS_ONLY}: {status.message}"
    return RpcStatus(
        status.code, message, status.initial, status.trailing, status.from_peer, status.error, status.closed
    )

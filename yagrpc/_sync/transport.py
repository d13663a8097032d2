"""Channels of the blocking client, and the driver that carries flows out on them.

Rules: a channel is opened at the first call that needs it; one that the host service gave is used and never closed.
A readiness that is already there costs one look at the channel's state, no thread.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import grpc

from yagrpc import config
from yagrpc._core.call.metadata import request_ids
from yagrpc._core.client import ClientCore, told
from yagrpc._core.flow import (
    END,
    MULTICALLABLES,
    AnyMethod,
    Block,
    Effect,
    Flow,
    Opened,
    Ready,
    Send,
    Share,
    Sleep,
    Wait,
)
from yagrpc._grpc import fork as forking
from yagrpc._grpc.deserializers import reader
from yagrpc._grpc.options import grpc_options
from yagrpc._sync.background import Sharing, carry_on
from yagrpc.errors import ClientClosedError, ConfigError
from yagrpc.method import BidiStreamMethod, StreamMethod

ResultT = TypeVar("ResultT")

_LOOK: Final = 0.2
"""Seconds between two looks at whether the client was closed, while a connection is waited for."""

_READY_STATE: Final = grpc.ChannelConnectivity.READY.value[0]


class Transport:
    """Channels by endpoint, and multicallables by method.

    Args:
        core: The client's settings.
        channel: The host's channel to the model service.
        operation_channel: The host's channel to the operation service.
        interceptors: Put around every channel, the host's included.

    Raises:
        ConfigError: An interceptor is not one of `grpc`'s.
    """

    def __init__(
        self,
        core: ClientCore,
        channel: grpc.Channel | None,
        operation_channel: grpc.Channel | None,
        interceptors: Sequence[Any],
    ) -> None:
        self._core = core
        self._interceptors = config.check_interceptors(interceptors, grpc)
        self._options = grpc_options(core.options)
        self._given = {"model": channel, "operation": operation_channel, "iam": None}
        self._lock = threading.Lock()
        self._opened: list[grpc.Channel] = []
        self._channels: dict[str, grpc.Channel] = {}
        self._callables: dict[AnyMethod, Callable[..., Any]] = {}  # two packages have one path, and types of their own
        self._closing = threading.Event()
        self._sharing = Sharing(self.run)
        self._refusal: ConfigError | None = None

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing.is_set()

    def run(self, flow: Flow[ResultT]) -> ResultT:
        """Carry a flow out, and give what it returns."""
        try:
            effect = next(flow)
            while True:
                try:
                    outcome = self._send(effect) if type(effect) is Send else self._perform(effect)
                except BaseException as error:  # whatever it is, the flow decides
                    effect = flow.throw(told(error, effect))
                else:
                    effect = flow.send(outcome)
        except StopIteration as stop:
            result: ResultT = stop.value
            return result

    def start(self, flow: Flow[Any], done: Callable[[Any], None]) -> None:
        """Carry a flow out without keeping the caller waiting.

        Args:
            flow: Sends, and shares what others may do.
            done: Called with what it returned, or raised; perhaps at once, perhaps in another thread.
        """
        carry_on(flow, self._begin, done)

    def callable(self, method: AnyMethod) -> Callable[..., Any]:
        """GRPC's multicallable of a method.

        Raises:
            ClientClosedError: The client is closed.
        """
        if self._closing.is_set():
            raise ClientClosedError
        found = self._callables.get(method)
        if found is None:
            found = self._callables[method] = self._make(method)
        return found

    def close(self) -> None:
        """End all calls and sleeps, and close the channels that were opened here."""
        self._closing.set()
        self._core.gates.close()
        self._sharing.close()
        with self._lock:
            opened, self._opened = self._opened, []
            self._channels.clear()
            self._callables.clear()
        for channel in opened:
            channel.close()

    def forked(self) -> None:
        """In a forked child: the connections are the parent's, so that calls here open their own."""
        forking.keep(*self._opened, *self._callables.values())
        self._lock = threading.Lock()
        self._sharing = Sharing(self.run)
        closed, self._closing = self._closing.is_set(), threading.Event()
        if closed:
            self._closing.set()
        self._refusal = forking.refusal()
        self._opened = []
        self._channels = {}
        self._callables = {}

    def leaked(self) -> bool:
        """Whether channels are open that `close` would have closed; closes them."""
        opened = bool(self._opened) and not self._closing.is_set()
        if opened:
            self.close()
        return opened

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Ready):
            return self._ready(effect)
        if isinstance(effect, Wait):
            return _wait(effect)
        if isinstance(effect, Share):
            return self._sharing.share(effect)
        if isinstance(effect, Block):
            return effect.function()
        assert isinstance(effect, Sleep)
        return self._sleep(effect)

    def _send(self, effect: Send) -> Any:
        call = effect.call
        sender: Any = self.callable(call.method)
        if not call.named:
            return sender(call.request, timeout=effect.timeout, metadata=effect.metadata)
        if isinstance(call.method, (StreamMethod, BidiStreamMethod)):
            rpc = sender(call.request, timeout=effect.timeout, metadata=effect.metadata)
            call.begun(rpc)
            first = next(rpc, END)
            call.ids = request_ids(call.client_request_id, rpc.initial_metadata())
            return Opened(rpc, first)
        answer, rpc = sender.with_call(call.request, timeout=effect.timeout, metadata=effect.metadata)
        call.ids = request_ids(call.client_request_id, rpc.initial_metadata(), rpc.trailing_metadata())
        return answer

    def _begin(self, effect: Effect) -> Any:
        """Begin what a flow in the background asks for; gives its future."""
        if isinstance(effect, Send):
            call = effect.call
            multicallable: Any = self.callable(call.method)
            return multicallable.future(call.request, timeout=effect.timeout, metadata=effect.metadata)
        assert isinstance(effect, Share)
        return self._sharing.future(effect)

    def _sleep(self, effect: Sleep) -> None:
        if self._closing.wait(effect.seconds):
            raise ClientClosedError

    def _ready(self, effect: Ready) -> bool:
        channel = self._channel(effect.call.method)
        deadline = math.inf if effect.timeout is None else time.monotonic() + effect.timeout
        watched = _watched(channel)
        if watched is None:
            return _ready_by_thread(channel, effect.timeout)
        while (state := watched.check_connectivity_state(True)) != _READY_STATE:
            if self._closing.is_set():
                raise ClientClosedError
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            watched.watch_connectivity_state(state, time.time() + min(left, _LOOK))
        return True

    def _make(self, method: AnyMethod) -> Callable[..., Any]:
        channel = self._channel(method)
        found: Callable[..., Any] = getattr(channel, MULTICALLABLES[type(method)])(
            method.path,
            request_serializer=method.request_type.SerializeToString,
            response_deserializer=reader(method, self._core.message_limits.receive),
        )
        return found

    def _channel(self, method: AnyMethod) -> grpc.Channel:
        endpoint = self._core.endpoint_of(method)
        role = self._core.role_of(method)
        given = self._given[role]
        key = role if given is not None else endpoint
        with self._lock:
            if self._closing.is_set():
                raise ClientClosedError
            if self._refusal is not None:
                raise self._refusal
            channel = self._channels.get(key)
            if channel is None:
                channel = given if given is not None else self._open(endpoint)
                if self._interceptors:
                    channel = grpc.intercept_channel(channel, *self._interceptors)
                self._channels[key] = channel
            return channel

    def _open(self, endpoint: str) -> grpc.Channel:
        if self._core.endpoints.plaintext:
            channel = grpc.insecure_channel(endpoint, self._options)
        else:
            channel = grpc.secure_channel(
                endpoint, grpc.ssl_channel_credentials(self._core.root_certificates), self._options
            )
        self._opened.append(channel)
        return channel


def _wait(effect: Wait) -> None:
    """Wait for a slot to be roused: by a queue, which a destructor may put into."""
    import queue  # only who waits needs it

    roused: queue.SimpleQueue[None] = queue.SimpleQueue()
    effect.slot.wake = lambda: roused.put(None)
    try:
        if not effect.slot.woken:
            roused.get(timeout=effect.seconds)
    except queue.Empty:
        pass
    finally:
        effect.slot.wake = None


def _watched(channel: grpc.Channel) -> Any:
    """The object whose connectivity can be watched in this thread, or `None` where it can't be found.

    gRPC's public way to learn a blocking channel's state starts a thread that polls, and that `close` then waits for.
    The state itself is one look away, in the object that the public channel, or an intercepted one, stands for.
    """
    layer: Any = channel
    while layer is not None and not hasattr(layer, "watch_connectivity_state"):
        layer = getattr(layer, "_channel", None)
    return layer


def _ready_by_thread(channel: grpc.Channel, timeout: float | None) -> bool:
    """The public way to wait for a connection, for a channel that is not gRPC's own."""
    future = grpc.channel_ready_future(channel)
    try:
        future.result(timeout=timeout)
    except grpc.FutureTimeoutError:
        return False
    finally:
        future.cancel()
    return True

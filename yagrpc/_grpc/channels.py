"""The channels of a client, by endpoint, and gRPC's multicallables on them, by method; both shells derive from it.

Rules: a channel is opened at the first call that needs it; one that the host service gave is used and never closed.
Once the client is closed, none is given any more.
"""

from __future__ import annotations

import abc
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

from yagrpc import config
from yagrpc._core.client import ClientCore
from yagrpc._core.flow import Connect, Effect, Send
from yagrpc._grpc import fork
from yagrpc._grpc.deserializers import deserializer
from yagrpc._grpc.greenlets import check_greenlets
from yagrpc._grpc.options import ChannelOptions
from yagrpc._grpc.probing import Diagnosis
from yagrpc._grpc.status import multicallable
from yagrpc.errors import ClientClosedError, ConfigError, YagrpcError
from yagrpc.hiding import shown
from yagrpc.method import AnyMethod


class Channels(abc.ABC):
    """The channels of one client.

    Args:
        core: The client's settings.
        options: Options of the channels that are opened here.
        channel: The host's channel to the model service.
        operation_channel: The host's channel to the operation service.
        interceptors: Put around every channel, the host's blocking ones included; an asyncio one has its own.

    Raises:
        ConfigError: gRPC can't work in this process, or an interceptor is not one of its API, or there is no channel to
            put it on.

    Attributes:
        closed: Whether the client is closed.
        callables: The multicallables that exist, by method: two packages may have one path, and their own types.
        given: The host's channels, by the endpoint that a method's policy names.
    """

    api: ClassVar[ModuleType]
    """The one of gRPC's two APIs that they are of."""

    misuse: ClassVar[type[Exception]]
    """What gRPC raises where a channel is used that is closed."""

    asynchronous: ClassVar[bool]
    """Whether they are channels of gRPC's asyncio API."""

    other: ClassVar[type]
    """The channels of gRPC's other API."""

    def __init__(
        self, core: ClientCore, options: ChannelOptions, channel: Any, operation_channel: Any, interceptors: Any
    ) -> None:
        check_greenlets(asynchronous=self.asynchronous)
        for name, one in (("channel", channel), ("operation_channel", operation_channel)):
            self._check_channel(name, one)
        self._interceptors = config.check_interceptors(interceptors, self.api)
        if self.asynchronous and self._interceptors and None not in (channel, operation_channel):
            raise ConfigError("interceptors can't be put around an asyncio channel: give them to the channel itself")
        self.closed = False
        self.callables: dict[AnyMethod, Callable[..., Any]] = {}
        self.given: dict[str, Any] = {"model": channel, "operation": operation_channel, "iam": None}
        self._core = core
        self._options = options
        self._lock = threading.Lock()
        self._opened: list[Any] = []
        self._channels: dict[str, Any] = {}
        self._refusal: ConfigError | None = None

    def _check_channel(self, name: str, channel: Any) -> None:
        """Refuse what is no channel of this API; a host's may be of a class of its own."""
        if channel is None or (hasattr(channel, "unary_unary") and not isinstance(channel, self.other)):
            return
        client = "AsyncClient" if self.asynchronous else "Client"
        raise ConfigError(f"{name} is {shown(channel)}: {client} takes a channel of {self.api.__name__}")

    @property
    def open(self) -> bool:
        """Whether channels are open that closing the client would close."""
        return bool(self._opened) and not self.closed

    def callable(self, method: AnyMethod) -> Callable[..., Any]:
        """The multicallable of a method.

        Raises:
            ClientClosedError: The client is closed.
            ConfigError: gRPC can't work in this process: it was forked, or threads have been patched.
        """
        if self.closed:
            raise ClientClosedError
        found = self.callables.get(method)
        if found is None:
            deserialize = deserializer(method, self._options.receive_limit)
            found = self.callables[method] = self._adapt(
                multicallable(self.channel(method), method, deserialize), method
            )
        return found

    def channel(self, method: AnyMethod) -> Any:
        """The channel of a method.

        Raises:
            ClientClosedError: The client is closed.
            ConfigError: gRPC can't work in this process: it was forked, or threads have been patched.
        """
        if self.closed:  # the endpoint may no longer be known
            raise ClientClosedError
        endpoint = self._core.endpoint_of(method)
        role = self._core.channel_of(method)
        given = self.given[role]
        key = role if given is not None else endpoint
        with self._lock:
            if self.closed:
                raise ClientClosedError
            channel = self._channels.get(key)
            if channel is None:
                if (refusal := self._refusal or fork.refusal(asynchronous=self.asynchronous)) is not None:
                    raise refusal
                check_greenlets(asynchronous=self.asynchronous)  # again: threads may have been patched since
                channel = self._channels[key] = self._dial(endpoint) if given is None else self._intercept(given)
            return channel

    def diagnosis(self, method: AnyMethod, timeout: float | None) -> Diagnosis:
        """What will be known of the failures of a wait for the connection of a method's channel.

        Args:
            method: Which method.
            timeout: Seconds for the wait; `None` for no limit.
        """
        own = self.given[self._core.channel_of(method)] is None
        return Diagnosis(timeout, self._core.endpoint_of(method) if own and self._core.endpoints.plaintext else "")

    def refused(self, error: BaseException, effect: Effect) -> BaseException:
        """What an exception of an effect stands for: a channel that its host, or the client, has closed; or itself."""
        if not isinstance(error, self.misuse) or isinstance(error, YagrpcError):
            return error
        if not isinstance(effect, (Send, Connect)) or not self.is_closed(effect.call.method):
            return error
        closed = ClientClosedError(effect.call.operation_id)
        closed.__cause__ = error
        return closed

    def is_closed(self, method: AnyMethod) -> bool:
        """Whether a method's channel is closed, by its host or by the client."""
        try:
            return self.closed or self._is_shut(self.channel(method))
        except self.misuse:
            return True

    def forget(self) -> list[Any]:
        """Forget all channels; gives those that were opened here, which the caller closes."""
        with self._lock:
            opened, self._opened = self._opened, []
            self._channels = {}
            self.callables = {}
        return opened

    def abandon(self) -> None:
        """Forget all channels without closing them: another process, or another event loop, uses them."""
        self._lock = threading.Lock()  # a thread of the parent may have held it
        fork.keep(*self.callables.values())
        fork.keep(*self.forget())

    def forked(self) -> None:
        """In a forked child: the connections are the parent's, so that calls here open their own."""
        used = self._channels or (self.asynchronous and any(one is not None for one in self.given.values()))
        self.abandon()
        if used:
            fork.lose(asynchronous=self.asynchronous)
        elif fork.support_is_off():  # others may have used gRPC
            self._refusal = ConfigError(fork.WITHOUT_SUPPORT)

    def _opened_here(self, channel: Any) -> Any:
        self._opened.append(channel)
        return channel

    @abc.abstractmethod
    def _dial(self, endpoint: str) -> Any:
        """Open a channel, with the client's interceptors."""

    @abc.abstractmethod
    def _intercept(self, given: Any) -> Any:
        """A channel of the host's as it is used, with the client's interceptors where they can be put around it."""

    @abc.abstractmethod
    def _adapt(self, sender: Any, method: AnyMethod) -> Callable[..., Any]:
        """A multicallable as the driver calls it."""

    @abc.abstractmethod
    def _is_shut(self, channel: Any) -> bool:
        """Whether a channel was closed; it may raise what `misuse` names instead."""

"""Channels of the asyncio client.

Rules: a channel belongs to the event loop in which it is opened, that of the first call that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from yagrpc import config
from yagrpc._core.client import ClientCore
from yagrpc._grpc.channels import Channels
from yagrpc._grpc.options import ChannelOptions
from yagrpc.errors import ConfigError
from yagrpc.method import AnyMethod, BidiStreamMethod, ClientStreamMethod


class AsyncChannels(Channels):
    """The channels of one asyncio client.

    Args:
        core: The client's settings.
        options: Options of the channels that are opened here.
        channel: The host's channel to the model service.
        operation_channel: The host's channel to the operation service.
        interceptors: Given to every channel that is opened here; a host's channel has its own.

    Raises:
        ConfigError: An interceptor is not one of `grpc.aio`'s, or there is no channel to put it on.
    """

    misuse = grpc.aio.UsageError
    asynchronous = True

    def __init__(
        self,
        core: ClientCore,
        options: ChannelOptions,
        channel: grpc.aio.Channel | None,
        operation_channel: grpc.aio.Channel | None,
        interceptors: Sequence[Any],
    ) -> None:
        super().__init__(core, options, channel, operation_channel)
        self._interceptors = config.check_interceptors(interceptors, grpc.aio)
        if self._interceptors and channel is not None and operation_channel is not None:
            raise ConfigError("interceptors can't be put around an asyncio channel: give them to the channel itself")

    def _dial(self, endpoint: str) -> Any:
        if self._core.endpoints.plaintext:
            options = self._options.for_plaintext
            channel = grpc.aio.insecure_channel(endpoint, options, interceptors=self._interceptors)
        else:
            options = self._options.for_tls
            credentials = grpc.ssl_channel_credentials(self._core.root_certificates)
            channel = grpc.aio.secure_channel(endpoint, credentials, options, interceptors=self._interceptors)
        return self._opened_here(channel)

    def _intercept(self, given: Any) -> Any:
        return given

    def _adapt(self, sender: Any, method: AnyMethod) -> Callable[..., Any]:
        adapted: Callable[..., Any] = sender
        if not isinstance(method, (ClientStreamMethod, BidiStreamMethod)):
            return adapted
        from yagrpc._aio.uploads import bidirectional, upload  # no rpc of the client's own methods streams requests

        return upload(adapted) if isinstance(method, ClientStreamMethod) else bidirectional(adapted)

    def _is_shut(self, channel: Any) -> bool:
        return bool(channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN)

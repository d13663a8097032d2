"""Channels of the asyncio client.

Rules: a channel belongs to the event loop in which it is opened, that of the first call that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import grpc
import grpc.aio

from yagrpc._grpc.channels import Channels
from yagrpc.method import AnyMethod, BidiStreamMethod, ClientStreamMethod


class AsyncChannels(Channels):
    """The channels of one asyncio client."""

    api: ClassVar[ModuleType] = grpc.aio
    misuse = grpc.aio.UsageError
    asynchronous = True
    other = grpc.Channel

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
        from yagrpc._grpc.uploads import bidirectional, upload  # no rpc of the client's own methods streams requests

        return upload(adapted) if isinstance(method, ClientStreamMethod) else bidirectional(adapted)

    def _is_shut(self, channel: Any) -> bool:
        return bool(channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN)

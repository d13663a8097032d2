"""Channels of the blocking client, and the wait for their connection.

Rules: a channel that is connected costs one check of its state, no thread. The wait for a connection ends within 0.2 s
of the client's closing, and at once with the exception of a signal. What gRPC does with its locks is done with signals
held, or in another thread.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import grpc

from yagrpc._core.failure.status import RpcStatus
from yagrpc._grpc.channels import Channels
from yagrpc._grpc.waits.connecting import await_ready, is_ready, watch, watched_part
from yagrpc._grpc.waits.signals import SignalsHeld
from yagrpc._grpc.waits.threads import finish, outcome_in_thread
from yagrpc.context import on_leaving
from yagrpc.method import AnyMethod


class BlockingChannels(Channels):
    """The channels of one blocking client."""

    api: ClassVar[ModuleType] = grpc
    misuse = ValueError
    asynchronous = False
    other = grpc.aio.Channel

    def connect(self, method: AnyMethod, timeout: float | None) -> RpcStatus | bool:
        """Wait until the channel of a method is connected, for some seconds at most; gives the outcome of `Connect`.

        Raises:
            ClientClosedError: The client was closed meanwhile.
        """
        channel = self.channel(method)
        watched = watched_part(channel)
        with SignalsHeld():
            if watched is not None and is_ready(watched):
                return True
        diagnosis, left = self.diagnosis(method, timeout), list[bool]()
        wait: Callable[[], RpcStatus | bool] = functools.partial(await_ready, channel, diagnosis, self, left)
        if watched is not None:
            wait = functools.partial(watch, channel, watched, diagnosis, self, left)
        with on_leaving(lambda: left.append(True)):
            if threading.current_thread() is not threading.main_thread():
                return wait()
            try:  # the exception of a signal breaks a wait inside gRPC, so that closing the channel would hang
                return outcome_in_thread(wait, "yagrpc-connect")
            finally:
                left.append(True)

    def shut(self) -> None:
        """Forget all channels, and close those that were opened here: gRPC waits for their calls to end."""
        with SignalsHeld() as signals:
            finish([channel.close for channel in self.forget()], "yagrpc-close", signals)

    def _dial(self, endpoint: str) -> Any:
        with SignalsHeld():  # a channel that is not recorded would never be closed
            if self._core.endpoints.plaintext:
                options = self._options.for_plaintext
                channel = grpc.insecure_channel(endpoint, options)
            else:
                options = self._options.for_tls
                credentials = grpc.ssl_channel_credentials(self._core.root_certificates)
                channel = grpc.secure_channel(endpoint, credentials, options)
            return self._intercept(self._opened_here(channel))

    def _intercept(self, given: Any) -> Any:
        return grpc.intercept_channel(given, *self._interceptors) if self._interceptors else given

    def _adapt(self, sender: Any, method: AnyMethod) -> Callable[..., Any]:
        adapted: Callable[..., Any] = sender
        return adapted

    def _is_shut(self, channel: Any) -> bool:
        watched = watched_part(channel)
        if watched is not None:
            with SignalsHeld():
                watched.check_connectivity_state(False)  # raises where it is closed
        return False

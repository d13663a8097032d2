"""Channels of the asyncio client, and the driver that carries flows out on them.

Rules: a channel is opened at the first call that needs it, in the event loop of that call; one that the host service
gave is used and never closed. Cancelling the task cancels the rpc that it awaits, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import grpc
import grpc.aio

from yagrpc import config
from yagrpc._aio.background import AsyncSharing, in_thread
from yagrpc._aio.uploads import bidirectional, upload
from yagrpc._core.call.metadata import request_ids
from yagrpc._core.client import ClientCore, told
from yagrpc._core.flow import MULTICALLABLES, AnyMethod, Block, Effect, Flow, Opened, Ready, Send, Share, Sleep, Wait
from yagrpc._grpc import fork as forking
from yagrpc._grpc.deserializers import reader
from yagrpc._grpc.options import grpc_options
from yagrpc.errors import ClientClosedError, ConfigError
from yagrpc.method import BidiStreamMethod, ClientStreamMethod, StreamMethod

ResultT = TypeVar("ResultT")


class AsyncTransport:
    """Channels by endpoint, and multicallables by method.

    Args:
        core: The client's settings.
        channel: The host's channel to the model service.
        operation_channel: The host's channel to the operation service.
        interceptors: Given to every channel that is opened here; a host's channel has its own.

    Raises:
        ConfigError: An interceptor is not one of `grpc.aio`'s, or there is no channel to put it on.
    """

    def __init__(
        self,
        core: ClientCore,
        channel: grpc.aio.Channel | None,
        operation_channel: grpc.aio.Channel | None,
        interceptors: Sequence[Any],
    ) -> None:
        self._interceptors = config.check_interceptors(interceptors, grpc.aio)
        if self._interceptors and channel is not None and operation_channel is not None:
            raise ConfigError("interceptors can't be put around an asyncio channel: give them to the channel itself")
        self._core = core
        self._options = grpc_options(core.options)
        self._given = {"model": channel, "operation": operation_channel, "iam": None}
        self._opened: list[grpc.aio.Channel] = []
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._callables: dict[AnyMethod, Callable[..., Any]] = {}  # two packages have one path, and types of their own
        self._closed = False
        self._sleeping: set[asyncio.Future[None]] = set()
        self._sharing = AsyncSharing(self.run)
        self._refusal: ConfigError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.moves = 0
        """How often it has come into another event loop."""

    def enter_loop(self) -> None:
        """Take note of the event loop that runs: connections of one that runs no longer are of no use in another.

        Raises:
            ConfigError: The other one runs still.
        """
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        if self._loop is not None:
            if self._loop.is_running():
                raise ConfigError("this AsyncClient is in use in another event loop that runs: make one for each loop")
            self._abandon()
            self.moves += 1
        self._loop = loop

    def forked(self) -> None:
        """In a forked child: the connections, and the event loop, are the parent's."""
        self._abandon()
        self._loop = None
        self.moves += 1
        self._refusal = forking.refusal()

    def leaked(self) -> bool:
        """Whether channels are open that `close` would have closed."""
        return bool(self._opened) and not self._closed

    async def run(self, flow: Flow[ResultT]) -> ResultT:
        """Carry a flow out, and give what it returns."""
        self.enter_loop()
        try:
            effect = next(flow)
            while True:
                try:
                    if type(effect) is Send:  # here, not one coroutine further: it is what every call does
                        call = effect.call
                        rpc: Any = self.callable(call.method)(
                            call.request, timeout=effect.timeout, metadata=effect.metadata
                        )
                        call.begun(rpc)
                        if not call.named or isinstance(call.method, ClientStreamMethod):
                            outcome = await rpc
                        elif isinstance(call.method, (StreamMethod, BidiStreamMethod)):
                            outcome = Opened(rpc, await rpc.read())
                            call.ids = request_ids(call.client_request_id, await rpc.initial_metadata())
                        else:
                            outcome = await rpc
                            initial, trailing = await rpc.initial_metadata(), await rpc.trailing_metadata()
                            call.ids = request_ids(call.client_request_id, initial, trailing)
                    else:
                        outcome = await self._perform(effect)
                except asyncio.CancelledError as error:
                    effect = flow.throw(self.ended(error) if type(effect) is Send else error)
                except BaseException as error:  # whatever it is, the flow decides
                    effect = flow.throw(told(error, effect))
                else:
                    effect = flow.send(outcome)
        except StopIteration as stop:
            result: ResultT = stop.value
            return result

    def ended(self, error: asyncio.CancelledError) -> BaseException:
        """What a call under way ended with: closing a channel cancels it, as cancelling the task does.

        Before Python 3.11 a task does not tell whether it is being cancelled: there a closed client is the reason.
        """
        cancelling = getattr(asyncio.current_task(), "cancelling", None)
        if not self._closed or (cancelling is not None and cancelling()):
            return error
        nothing = grpc.aio.Metadata()
        return grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, nothing, nothing, details="the client was closed")

    def callable(self, method: AnyMethod) -> Callable[..., Any]:
        """GRPC's multicallable of a method.

        Raises:
            ClientClosedError: The client is closed.
        """
        if self._closed:
            raise ClientClosedError
        found = self._callables.get(method)
        if found is None:
            found = self._callables[method] = self._make(method)
        return found

    async def close(self) -> None:
        """End all calls, and close the channels that were opened here."""
        self._closed = True
        self._core.gates.close()
        for sleeping in self._sleeping:
            _set(sleeping)
        opened, self._opened = self._opened, []
        self._channels.clear()
        self._callables.clear()
        await self._sharing.close()
        for channel in opened:
            await channel.close()

    async def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Ready):
            return await self._ready(effect)
        if isinstance(effect, Wait):
            return await _wait(effect)
        if isinstance(effect, Share):
            return await self._sharing.share(effect)
        if isinstance(effect, Block):
            return await in_thread(effect.function)
        assert isinstance(effect, Sleep)
        return await self._sleep(effect)

    async def _sleep(self, effect: Sleep) -> None:
        closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleeping.add(closing)
        try:
            await asyncio.wait([closing], timeout=effect.seconds)
        finally:
            self._sleeping.discard(closing)
        if self._closed:
            raise ClientClosedError

    async def _ready(self, effect: Ready) -> bool:
        channel = self._channel(effect.call.method)
        if channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return True
        try:
            await asyncio.wait_for(channel.channel_ready(), effect.timeout)
        except asyncio.TimeoutError:
            return False
        return True

    def _abandon(self) -> None:
        """Forget what can't be closed from here any longer."""
        forking.keep(*self._opened, *self._callables.values())
        self._opened = []
        self._channels = {}
        self._callables = {}
        self._sleeping = set()
        self._sharing = AsyncSharing(self.run)

    def _make(self, method: AnyMethod) -> Callable[..., Any]:
        channel = self._channel(method)
        found: Callable[..., Any] = getattr(channel, MULTICALLABLES[type(method)])(
            method.path,
            request_serializer=method.request_type.SerializeToString,
            response_deserializer=reader(method, self._core.message_limits.receive),
        )
        if isinstance(method, ClientStreamMethod):
            return upload(found)
        return bidirectional(found) if isinstance(method, BidiStreamMethod) else found

    def _channel(self, method: AnyMethod) -> grpc.aio.Channel:
        if self._closed:
            raise ClientClosedError
        if self._refusal is not None:
            raise self._refusal
        endpoint = self._core.endpoint_of(method)
        role = self._core.role_of(method)
        given = self._given[role]
        key = role if given is not None else endpoint
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = given if given is not None else self._open(endpoint)
        return channel

    def _open(self, endpoint: str) -> grpc.aio.Channel:
        if self._core.endpoints.plaintext:
            channel = grpc.aio.insecure_channel(endpoint, self._options, interceptors=self._interceptors)
        else:
            credentials = grpc.ssl_channel_credentials(self._core.root_certificates)
            channel = grpc.aio.secure_channel(endpoint, credentials, self._options, interceptors=self._interceptors)
        self._opened.append(channel)
        return channel


async def _wait(effect: Wait) -> None:
    """Wait for a slot to be roused, perhaps by a destructor in another thread."""
    loop = asyncio.get_running_loop()
    roused: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # a loop that is closed has nobody who waits
            loop.call_soon_threadsafe(_set, roused)

    effect.slot.wake = wake
    try:
        if not effect.slot.woken:
            await asyncio.wait([roused], timeout=effect.seconds)
    finally:
        effect.slot.wake = None


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

"""The driver of the asyncio client: it runs flows, and performs what they ask for.

Rules: cancelling a task cancels the rpc that it awaits, and nothing else; a submit is not cancelled but completed in
the background. Closing ends every wait. One event loop at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
import grpc.aio

from yagrpc._aio.background import AsyncSharing
from yagrpc._aio.channels import AsyncChannels
from yagrpc._aio.submits import Submits
from yagrpc._core.call.call import Call
from yagrpc._core.call.metadata import request_ids
from yagrpc._core.call.requests import request_error
from yagrpc._core.client import ClientCore
from yagrpc._core.failure.status import RpcStatus, raised
from yagrpc._core.flow import END, Block, Connect, Effect, Flow, Opened, Send, Share, Sleep, Wait
from yagrpc._grpc import fork
from yagrpc._grpc.leaving import CLOSE_GRACE, REPORT_GRACE, complete_at_exit, with_linger
from yagrpc._grpc.loops import called_in_thread, ended, running_loop, settle
from yagrpc._grpc.options import ChannelOptions
from yagrpc._grpc.probing import connect
from yagrpc._grpc.rpcs import drain, drop, given, given_later, may_have_run
from yagrpc._grpc.status import status_of
from yagrpc.context import CURRENT
from yagrpc.errors import ClientClosedError, Code, ConfigError
from yagrpc.hiding import revealed
from yagrpc.method import BidiStreamMethod, ClientStreamMethod, StreamMethod

ResultT = TypeVar("ResultT")


class AsyncTransport:
    """Runs the flows of one client, each on the channel of its method.

    Args:
        core: The client's settings.
        options: Options of the channels that are opened here.
        channel: The host's channel to the model service.
        operation_channel: The host's channel to the operation service.
        interceptors: Given to every channel that is opened here; a host's channel has its own.

    Raises:
        ConfigError: An interceptor is not one of `grpc.aio`'s, or there is no channel to put it on.

    Attributes:
        channels: The channels.
        loop: The event loop that its calls run in.
        moves: How often it has come into another event loop.
    """

    def __init__(
        self,
        core: ClientCore,
        options: ChannelOptions,
        channel: grpc.aio.Channel | None,
        operation_channel: grpc.aio.Channel | None,
        interceptors: Sequence[Any],
    ) -> None:
        self.channels = AsyncChannels(core, options, channel, operation_channel, interceptors)
        self.moves = 0
        self._core = core
        self._waiting: set[asyncio.Future[Any]] = set()
        self._submits = Submits()
        self._streams: weakref.WeakSet[Responses] = weakref.WeakSet()
        self._sharing = AsyncSharing(self.run)
        self.loop: asyncio.AbstractEventLoop | None = None
        complete_at_exit(self)

    def enter_loop(self) -> None:
        """Take note of the event loop that runs: connections of one that no longer runs are of no use in another.

        Raises:
            ConfigError: The other one still runs, or none runs here.
        """
        loop = running_loop()
        if loop is self.loop:
            return
        if self.loop is not None:
            if self.loop.is_running():
                raise ConfigError("this AsyncClient is in use in another event loop that runs: make one for each loop")
            self._submits.lose()
            self.channels.abandon()
            self._abandon()
        self.loop = loop

    def forked(self) -> None:
        """In a forked child: the connections, and the event loop, are the parent's."""
        self.channels.forked()
        self._abandon()
        self.loop = None

    def leaked(self) -> bool:
        """Whether channels are open that `close` would have closed."""
        return self.channels.open

    async def run(self, flow: Flow[ResultT]) -> ResultT:
        """Run a flow, and give what it returns."""
        if asyncio._get_running_loop() is not self.loop:  # as it rarely is
            self.enter_loop()
        try:
            effect = next(flow)
            while True:
                try:
                    if type(effect) is Send:  # here, not one coroutine further: it is what every call does
                        call = effect.call
                        rpc: Any = self._start(effect)
                        if effect.reporter is not None:
                            outcome = await self._submits.outcome(
                                self.outcome_of(functools.partial(_named, rpc, call), call), effect, effect.reporter
                            )
                        elif not call.wants_ids or isinstance(call.method, ClientStreamMethod):
                            outcome = await rpc
                        elif isinstance(call.method, (StreamMethod, BidiStreamMethod)):
                            outcome = await self._open(rpc, call)
                        else:
                            outcome = await _named(rpc, call)
                    else:
                        outcome = await self._perform(effect)
                except grpc.RpcError as error:
                    outcome = status_of(error, closed=self.channels.closed)
                except asyncio.CancelledError as error:
                    ended = None
                    if type(effect) is Send and effect.reporter is None:  # of a submit, it is the caller's task alone
                        ended = self._ended(effect.call)
                    effect = flow.throw(error) if ended is None else flow.send(ended)
                    continue
                except grpc.aio.UsageError as error:
                    effect = flow.throw(self.channels.refused(error, effect))
                    continue
                except BaseException as error:  # of any kind: the flow decides
                    if isinstance(error, GeneratorExit) and type(effect) is Send and effect.reporter is None:
                        effect.call.cancel()  # nobody awaits it any more, and gRPC does not end it for that
                    effect = flow.send(raised(error)) if may_have_run(effect, error) else flow.throw(error)
                    continue
                # What the flow raises shows neither the rpc nor gRPC's error, which say all that the other side said.
                rpc = None
                effect = flow.send(outcome)
        except StopIteration as stop:
            result: ResultT = stop.value
            return result

    async def settle_submits(self) -> None:
        """Give the submits that are under way in this event loop a moment to complete."""
        await self._submits.wait(CLOSE_GRACE)

    async def close(self) -> None:
        """End all calls and waits, and close the channels that were opened here.

        Submits get a moment to complete, whether their callers wait or have left.
        """
        self.channels.closed = True
        self._core.end_waits()
        for waiting in self._waiting:
            settle(waiting)
        await self._sharing.close()
        try:
            await self.settle_submits()
        finally:
            for stream in list(self._streams):
                stream.cancel()
            for channel in self.channels.forget():
                await channel.close()
            self._submits.cancel()  # those on a channel of the host's
            await self._submits.wait(REPORT_GRACE)
            await drain()
            self._core.release()

    def process_ends(self) -> None:
        """Report the submits that are under way: their event loop runs no more."""
        self._submits.lose()

    # Sending

    def _start(self, effect: Send) -> Any:
        """Start an rpc; it runs from here on."""
        call = effect.call
        timeout = effect.timeout if effect.reporter is None else with_linger(effect.timeout)
        sender = self.channels.callable(call.method)
        if call.within is not None:
            sender = functools.partial(call.within.run, sender)
        rpc = sender(call.request, timeout=timeout, metadata=revealed(effect.metadata))
        call.started(functools.partial(drop, rpc, asyncio.get_running_loop()), outlives=effect.reporter is not None)
        return rpc

    async def outcome_of(self, receive: Callable[[], Awaitable[Any]], call: Call[Any, Any]) -> Any:
        """What an rpc has for its caller next, or the `RpcStatus` that it failed with.

        Args:
            receive: Waits for that.
            call: The call of the rpc.
        """
        try:
            return await receive()
        except grpc.RpcError as error:
            return status_of(error, closed=self.channels.closed)
        except asyncio.CancelledError:
            if (ended := self._ended(call)) is None:
                raise
            return ended

    async def _open(self, rpc: Any, call: Call[Any, Any]) -> Opened:
        responses = Responses(self, rpc, call)
        self._streams.add(responses)
        first = await rpc.read()
        call.ids = request_ids(call.client_request_id, await given_later(rpc, "initial_metadata"))
        return Opened(responses, END if first is grpc.aio.EOF else first)

    def _ended(self, call: Call[Any, Any]) -> RpcStatus | None:
        """How an rpc ended that gRPC raised CancelledError for; `None` where the task itself is being cancelled.

        Closing a channel or a stream cancels its rpcs, and so does a stream of requests that fails. A host may close
        its own channel at any moment. Before Python 3.11 a task does not show whether it is being cancelled: there
        whatever was closed is the reason.
        """
        if request_error(call) is not None:
            return RpcStatus(Code.CANCELLED, "the stream of requests failed")
        cancelling = getattr(asyncio.current_task(), "cancelling", None)
        if cancelling is not None and cancelling():
            return None
        if call.cancelled or self.channels.is_closed(call.method):
            what = "client" if self.channels.closed else "channel"
            return RpcStatus(Code.CANCELLED, f"the {what} was closed", closed=self.channels.closed)
        return None

    # Other effects

    async def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Connect):
            diagnosis = self.channels.diagnosis(effect.call.method, effect.timeout)
            return await connect(self.channels.channel(effect.call.method), diagnosis, self._until)
        if isinstance(effect, Wait):
            return await self._wait(effect)
        if isinstance(effect, Share):
            return await self._sharing.share(effect)
        if isinstance(effect, Block):
            return await self._block(effect)
        assert isinstance(effect, Sleep)
        return await self._until(asyncio.get_running_loop().create_future(), effect.seconds)

    async def _block(self, effect: Block) -> Any:
        returned = called_in_thread(effect.function)
        try:
            await self._until(returned, None)
            return returned.result()
        finally:
            returned.cancel()  # without a waiter, what it returns or raises is dropped

    async def _wait(self, effect: Wait) -> None:
        """Wait until something is woken, perhaps by a destructor in another thread."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if asyncio._get_running_loop() is loop:  # a detour by the loop's pipe would cost each row of a bulk run
                settle(woken)
                return
            with contextlib.suppress(RuntimeError):  # a closed loop has no waiters
                loop.call_soon_threadsafe(settle, woken)

        effect.waiter.wake = wake
        try:
            if not effect.waiter.woken:
                await self._until(woken, effect.seconds)
        finally:
            effect.waiter.wake = None

    async def _until(self, future: asyncio.Future[Any], timeout: float | None) -> bool:
        """Wait for a future, for some seconds at most; gives whether it is done.

        Raises:
            ClientClosedError: The client was closed meanwhile.
            CallCancelledError: The caller of the handler has left meanwhile.
        """
        if self.channels.closed:
            raise ClientClosedError
        closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(closing)
        try:
            done = await ended(timeout, future, closing)
        finally:
            self._waiting.discard(closing)
        if self.channels.closed:
            raise ClientClosedError
        if (caller := CURRENT.get()) is not None and caller.gone:
            raise caller.error()
        return future in done

    def _abandon(self) -> None:
        """Forget what belongs to another process, or to an event loop that runs no more."""
        fork.keep(*self._submits.forget())
        self._waiting = set()
        self._streams = weakref.WeakSet()
        self._sharing = AsyncSharing(self.run, closed=self.channels.closed)
        self.moves += 1


class Responses:
    """The messages of a stream after its first.

    Closing the client cancels it: grpcio 1.68 to 1.75, at least, ends with a channel only those streams whose headers
    have not come.

    Args:
        transport: The transport that sent it.
        rpc: gRPC's call.
        call: Ours.
    """

    __slots__ = ("__weakref__", "_call", "_loop", "_rpc", "_transport")

    def __init__(self, transport: AsyncTransport, rpc: Any, call: Call[Any, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._rpc = rpc
        self._call = call

    def __del__(self, drop: Callable[[Any, Any], None] = drop) -> None:  # at the end, the module has lost it
        # A stream that is dropped: gRPC keeps its rpc alive from 1.83 on, and always one that streams requests.
        if not self._call.cancelled and self._transport.loop is self._loop:  # in a forked child, it is the parent's
            drop(self._rpc, self._loop)

    @property
    def ended(self) -> bool:
        """Whether no more messages come."""
        return given(self._rpc, "done") is not False

    def cancel(self) -> None:
        """End the rpc."""
        drop(self._rpc, self._loop)

    async def read(self) -> Any:
        """The next message, `END`, or the `RpcStatus` that the stream failed with.

        Raises:
            ConfigError: Another event loop runs than the one that the stream was opened in.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise ConfigError(
                "this stream was opened in another event loop: read it there, or make the call again here"
            )
        message = await self._transport.outcome_of(self._rpc.read, self._call)
        return END if message is grpc.aio.EOF else message


async def _named(rpc: Any, call: Call[Any, Any]) -> Any:
    """The answer of a unary call, whose ids are kept in the call."""
    answer = await rpc
    initial, trailing = await given_later(rpc, "initial_metadata"), await given_later(rpc, "trailing_metadata")
    call.ids = request_ids(call.client_request_id, initial, trailing)
    return answer

"""Channels of the asyncio client, and the driver that runs flows on them.

Rules: a channel is opened at the first call that needs it, in the event loop of that call; one that the host service
gave is used and never closed. Cancelling a task cancels the rpc that it awaits, and nothing else; a submit is not
cancelled but completed in the background, since the service may still accept it. Closing ends every wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from yagrpc import config
from yagrpc._aio.background import AsyncSharing, in_thread
from yagrpc._aio.uploads import bidirectional, upload
from yagrpc._core.call.call import Call
from yagrpc._core.call.metadata import request_ids
from yagrpc._core.call.policy import Kind
from yagrpc._core.call.requests import request_error
from yagrpc._core.client import ClientCore
from yagrpc._core.failure.status import RpcStatus, raised
from yagrpc._core.flow import END, Block, Connect, Effect, Flow, Opened, Reporter, Send, Share, Sleep, Wait
from yagrpc._grpc import fork
from yagrpc._grpc.deserializers import deserializer
from yagrpc._grpc.leaving import CLOSE_GRACE, REPORT_GRACE, complete_at_exit, with_linger
from yagrpc._grpc.loops import running_loop
from yagrpc._grpc.options import ChannelOptions
from yagrpc._grpc.status import multicallable, status_of
from yagrpc.errors import ClientClosedError, Code, ConfigError, YagrpcError
from yagrpc.method import AnyMethod, BidiStreamMethod, ClientStreamMethod, StreamMethod

ResultT = TypeVar("ResultT")

_LOOP_ENDED: Final = RpcStatus(Code.CANCELLED, "the event loop ended")


class AsyncTransport:
    """Channels by endpoint, and multicallables by method.

    Args:
        core: The client's settings.
        options: Options of the channels that are opened here.
        channel: The host's channel to the model service.
        operation_channel: The host's channel to the operation service.
        interceptors: Given to every channel that is opened here; a host's channel has its own.

    Raises:
        ConfigError: An interceptor is not one of `grpc.aio`'s, or there is no channel to put it on.
    """

    def __init__(
        self,
        core: ClientCore,
        options: ChannelOptions,
        channel: grpc.aio.Channel | None,
        operation_channel: grpc.aio.Channel | None,
        interceptors: Sequence[Any],
    ) -> None:
        self._interceptors = config.check_interceptors(interceptors, grpc.aio)
        if self._interceptors and channel is not None and operation_channel is not None:
            raise ConfigError("interceptors can't be put around an asyncio channel: give them to the channel itself")
        self._core = core
        self._options = options
        self._given = {"model": channel, "operation": operation_channel, "iam": None}
        self._opened: list[grpc.aio.Channel] = []
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._callables: dict[AnyMethod, Callable[..., Any]] = {}  # two packages have one path, and types of their own
        self._closed = False
        self._waiting: set[asyncio.Future[Any]] = set()
        self._submits: dict[asyncio.Task[Any], tuple[Call[Any, Any], Reporter]] = {}
        self._sharing = AsyncSharing(self.run)
        self._refusal: ConfigError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.moves = 0
        """How often it has come into another event loop."""
        complete_at_exit(self)

    def enter_loop(self) -> None:
        """Take note of the event loop that runs: connections of one that no longer runs are of no use in another.

        Raises:
            ConfigError: The other one still runs, or none runs here.
        """
        loop = running_loop()
        if loop is self._loop:
            return
        if self._loop is not None:
            if self._loop.is_running():
                raise ConfigError("this AsyncClient is in use in another event loop that runs: make one for each loop")
            self.process_ends()
            self._abandon()
            self.moves += 1
        self._loop = loop

    def forked(self) -> None:
        """In a forked child: the connections, and the event loop, are the parent's."""
        self._abandon()
        self._loop = None
        self.moves += 1
        self._refusal = fork.refusal()

    def leaked(self) -> bool:
        """Whether channels are open that `close` would have closed."""
        return bool(self._opened) and not self._closed

    async def run(self, flow: Flow[ResultT]) -> ResultT:
        """Run a flow, and give what it returns."""
        self.enter_loop()
        try:
            effect = next(flow)
            while True:
                try:
                    if type(effect) is Send:  # here, not one coroutine further: it is what every call does
                        call = effect.call
                        rpc: Any = self._start(effect)
                        if effect.reporter is not None:
                            outcome = await self._submit(rpc, effect, effect.reporter)
                        elif not call.wants_ids or isinstance(call.method, ClientStreamMethod):
                            outcome = await rpc
                        elif isinstance(call.method, (StreamMethod, BidiStreamMethod)):
                            outcome = await self._open(rpc, call)
                        else:
                            outcome = await _named(rpc, call)
                    else:
                        outcome = await self._perform(effect)
                except grpc.RpcError as error:
                    effect = flow.send(status_of(error, closed=self._closed))
                except asyncio.CancelledError as error:
                    ended = self._ended(effect.call) if type(effect) is Send else None
                    effect = flow.throw(error) if ended is None else flow.send(ended)
                except grpc.aio.UsageError as error:
                    effect = flow.throw(self._refused(error, effect))
                except BaseException as error:  # of any kind: the flow decides
                    effect = flow.send(raised(error)) if _may_have_run(effect, error) else flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as stop:
            result: ResultT = stop.value
            return result

    async def close(self) -> None:
        """End all calls and waits, and close the channels that were opened here.

        Submits get a moment to complete, whether their callers wait or have left.
        """
        self._closed = True
        self._core.gates.close()
        for waiting in self._waiting:
            _set(waiting)
        await self._sharing.close()
        try:
            await self._submitted(CLOSE_GRACE)
        finally:
            opened, self._opened = self._opened, []
            self._channels.clear()
            self._callables.clear()
            for channel in opened:
                await channel.close()
            for call, _ in self._submits.values():  # those on a channel of the host's
                call.cancel()
            await self._submitted(REPORT_GRACE)

    def process_ends(self) -> None:
        """Report the submits that are under way: their event loop runs no more."""
        for task, (_, reporter) in list(self._submits.items()):
            if not task.done():
                reporter.left(_LOOP_ENDED)

    # Sending

    def _start(self, effect: Send) -> Any:
        """Start an rpc; it runs from here on."""
        call = effect.call
        timeout = effect.timeout if effect.reporter is None else with_linger(effect.timeout)
        rpc = self._callable(call.method)(call.request, timeout=timeout, metadata=effect.metadata)
        call.started(rpc)
        return rpc

    async def _submit(self, rpc: Any, effect: Send, reporter: Reporter) -> Any:
        """Wait for the answer to a submit, which runs in its own task: the caller may leave at any moment."""
        task = asyncio.get_running_loop().create_task(self._answer(rpc, effect.call), name="yagrpc-submit")
        self._submits[task] = effect.call, reporter
        task.add_done_callback(self._submits.pop)
        try:
            done, _ = await asyncio.wait([task], timeout=effect.timeout)
        except BaseException:  # cancelled, or closed as a coroutine
            self._leave(task, reporter)
            raise
        if done:
            outcome = task.result()
            reporter.ended(outcome)  # no step of the event loop comes between the report and the caller
            return outcome
        self._leave(task, reporter)
        return RpcStatus(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")

    async def _answer(self, rpc: Any, call: Call[Any, Any]) -> Any:
        try:
            return await _named(rpc, call)
        except grpc.RpcError as error:
            return status_of(error, closed=self._closed)
        except asyncio.CancelledError:
            if (ended := self._ended(call)) is None:
                raise
            return ended

    def _leave(self, task: asyncio.Task[Any], reporter: Reporter) -> None:
        """Have the outcome of a submit reported whose caller no longer waits."""

        def report(task: asyncio.Task[Any]) -> None:
            outcome = _LOOP_ENDED if task.cancelled() else task.exception() or task.result()
            reporter.ended(outcome)
            reporter.left(outcome)

        if task.done():
            report(task)
        elif task.get_loop().is_closed():
            reporter.left(_LOOP_ENDED)
        else:
            task.add_done_callback(report)

    async def _submitted(self, timeout: float) -> None:
        """Wait for the submits that are under way in this event loop, for some seconds at most."""
        loop = asyncio.get_running_loop()
        if tasks := [task for task in self._submits if task.get_loop() is loop]:
            await asyncio.wait(tasks, timeout=timeout)

    async def _open(self, rpc: Any, call: Call[Any, Any]) -> Opened:
        responses = Responses(self, rpc, call)
        first = await rpc.read()
        call.ids = request_ids(call.client_request_id, await rpc.initial_metadata())
        return Opened(responses, END if first is grpc.aio.EOF else first)

    def _ended(self, call: Call[Any, Any]) -> RpcStatus | None:
        """How an rpc ended that gRPC raised CancelledError for; `None` where the task itself is being cancelled.

        Closing a channel or a stream cancels its rpcs, and so does a stream of requests that fails. Before Python
        3.11 a task does not show whether it is being cancelled: there whatever was closed is the reason.
        """
        if request_error(call) is not None:
            return RpcStatus(Code.CANCELLED, "the stream of requests failed")
        cancelling = getattr(asyncio.current_task(), "cancelling", None)
        if cancelling is not None and cancelling():
            return None
        if self._closed or call.cancelled:
            return RpcStatus(Code.CANCELLED, "the client was closed", closed=self._closed)
        return None

    # Other effects

    async def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Connect):
            return await self._connect(effect)
        if isinstance(effect, Wait):
            return await self._wait(effect)
        if isinstance(effect, Share):
            return await self._sharing.share(effect)
        if isinstance(effect, Block):
            return await self._block(effect)
        assert isinstance(effect, Sleep)
        return await self._until(asyncio.get_running_loop().create_future(), effect.seconds)

    async def _block(self, effect: Block) -> Any:
        returned = in_thread(effect.function)
        try:
            await self._until(returned, None)
            return returned.result()
        finally:
            returned.cancel()  # without a waiter, what it returns or raises is dropped

    async def _connect(self, effect: Connect) -> bool:
        channel = self._channel(effect.call.method)
        if channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return True
        ready = asyncio.ensure_future(channel.channel_ready())
        try:
            if not await self._until(ready, effect.timeout):
                return False
            ready.result()  # its host may have closed the channel meanwhile
            return True
        finally:
            ready.cancel()

    async def _wait(self, effect: Wait) -> None:
        """Wait until something is woken, perhaps by a destructor in another thread."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # a closed loop has no waiters
                loop.call_soon_threadsafe(_set, woken)

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
        """
        closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(closing)
        try:
            done, _ = await asyncio.wait([future, closing], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.discard(closing)
        if self._closed:
            raise ClientClosedError
        return future in done

    # Channels

    def _abandon(self) -> None:
        """Forget what can't be closed from here any longer."""
        fork.keep(*self._opened, *self._callables.values(), *self._submits)
        self._opened = []
        self._channels = {}
        self._callables = {}
        self._waiting = set()
        self._submits = {}
        self._sharing = AsyncSharing(self.run, closed=self._closed)

    def _callable(self, method: AnyMethod) -> Callable[..., Any]:
        """The multicallable of a method.

        Raises:
            ClientClosedError: The client is closed.
        """
        if self._closed:
            raise ClientClosedError
        found = self._callables.get(method)
        if found is None:
            found = self._callables[method] = self._make(method)
        return found

    def _make(self, method: AnyMethod) -> Callable[..., Any]:
        deserialize = deserializer(method, self._options.receive_limit)
        found: Callable[..., Any] = multicallable(self._channel(method), method, deserialize)
        if isinstance(method, ClientStreamMethod):
            return upload(found)
        return bidirectional(found) if isinstance(method, BidiStreamMethod) else found

    def _channel(self, method: AnyMethod) -> grpc.aio.Channel:
        if self._closed:
            raise ClientClosedError
        if self._refusal is not None:
            raise self._refusal
        endpoint = self._core.endpoint_of(method)
        role = self._core.channel_of(method)
        given = self._given[role]
        key = role if given is not None else endpoint
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = given if given is not None else self._dial(endpoint)
        return channel

    def _dial(self, endpoint: str) -> grpc.aio.Channel:
        options = self._options.for_grpc
        if self._core.endpoints.plaintext:
            channel = grpc.aio.insecure_channel(endpoint, options, interceptors=self._interceptors)
        else:
            credentials = grpc.ssl_channel_credentials(self._core.root_certificates)
            channel = grpc.aio.secure_channel(endpoint, credentials, options, interceptors=self._interceptors)
        self._opened.append(channel)
        return channel

    def _refused(self, error: grpc.aio.UsageError, effect: Effect) -> Exception:
        """What an error of gRPC's use stands for: a channel that its host, or this client, has closed; or itself."""
        if not isinstance(effect, (Send, Connect)):
            return error
        if not self._is_closed(effect.call.method):
            return error
        closed = ClientClosedError(effect.call.operation_id)
        closed.__cause__ = error
        return closed

    def _is_closed(self, method: AnyMethod) -> bool:
        """Whether a method's channel is closed, by its host or by us."""
        if self._closed:
            return True
        try:
            return self._channel(method).get_state() is grpc.ChannelConnectivity.SHUTDOWN
        except grpc.aio.UsageError:
            return True


class Responses:
    """The messages of a stream after its first.

    Args:
        transport: The transport that sent it.
        rpc: gRPC's call.
        call: Ours.
    """

    __slots__ = ("_call", "_loop", "_rpc", "_transport")

    def __init__(self, transport: AsyncTransport, rpc: Any, call: Call[Any, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._rpc = rpc
        self._call = call

    @property
    def ended(self) -> bool:
        """Whether no more messages come."""
        return bool(self._rpc.done())

    async def read(self) -> Any:
        """The next message, `END`, or the `RpcStatus` that the stream failed with.

        Raises:
            ConfigError: Another event loop runs than the one that the stream was opened in.
        """
        transport = self._transport
        if asyncio.get_running_loop() is not self._loop:
            raise ConfigError(
                "this stream was opened in another event loop: read it there, or make the call again here"
            )
        try:
            message = await self._rpc.read()
        except grpc.RpcError as error:
            return status_of(error, closed=transport._closed)
        except asyncio.CancelledError:
            if (ended := transport._ended(self._call)) is None:
                raise
            return ended
        return END if message is grpc.aio.EOF else message


def _may_have_run(effect: Effect, error: BaseException) -> bool:
    """Whether an exception that is no status, such as an interceptor's, ended the attempt of a generation."""
    generates = type(effect) is Send and effect.call.policy.kind is Kind.GENERATION
    return generates and isinstance(error, Exception) and not isinstance(error, YagrpcError)


async def _named(rpc: Any, call: Call[Any, Any]) -> Any:
    """The answer of a unary call, whose ids are kept in the call."""
    answer = await rpc
    initial, trailing = await rpc.initial_metadata(), await rpc.trailing_metadata()
    call.ids = request_ids(call.client_request_id, initial, trailing)
    return answer


def _set(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)

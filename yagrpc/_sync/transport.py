"""Channels of the blocking client, and the driver that runs flows on them.

Rules: a channel is opened at the first call that needs it; one that the host service gave is used and never closed.
A channel that is connected costs one check of its state, no thread. A submit is not cancelled when its caller leaves
(an exception of a signal, a timeout) but completed in the background, since the service may accept it all the same.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any, Final, TypeVar

import grpc

from yagrpc import config
from yagrpc._core.call.call import AnyMethod, Call
from yagrpc._core.call.metadata import request_ids
from yagrpc._core.client import ClientCore
from yagrpc._core.failure.status import RpcStatus
from yagrpc._core.flow import END, Block, Connect, Effect, Flow, InContext, Opened, Send, Share, Sleep, Wait
from yagrpc._grpc import fork
from yagrpc._grpc.deserializers import deserializer
from yagrpc._grpc.leaving import CLOSE_GRACE, with_linger
from yagrpc._grpc.options import ChannelOptions
from yagrpc._grpc.status import multicallable, status_of
from yagrpc._sync.background import Sharing, in_thread
from yagrpc.errors import ClientClosedError, Code, ConfigError, YagrpcError
from yagrpc.method import BidiStreamMethod, StreamMethod

ResultT = TypeVar("ResultT")

_CHECK: Final = 0.2
"""Seconds between two checks whether the client was closed, while a connection is waited for."""

_READY_STATE: Final = grpc.ChannelConnectivity.READY.value[0]


class Transport:
    """Channels by endpoint, and multicallables by method.

    Args:
        core: The client's settings.
        options: Options of the channels that are opened here.
        channel: The host's channel to the model service.
        operation_channel: The host's channel to the operation service.
        interceptors: Put around every channel, the host's included.

    Raises:
        ConfigError: An interceptor is not one of `grpc`'s.
    """

    def __init__(
        self,
        core: ClientCore,
        options: ChannelOptions,
        channel: grpc.Channel | None,
        operation_channel: grpc.Channel | None,
        interceptors: Sequence[Any],
    ) -> None:
        self._core = core
        self._interceptors = config.check_interceptors(interceptors, grpc)
        self._options = options
        self._given = {"model": channel, "operation": operation_channel, "iam": None}
        self._lock = threading.Lock()
        self._opened: list[grpc.Channel] = []
        self._channels: dict[str, grpc.Channel] = {}
        self._callables: dict[AnyMethod, Callable[..., Any]] = {}  # two packages have one path, and types of their own
        self._closing = threading.Event()
        self._left: set[Future[None]] = set()
        self._sharing = Sharing(self.run)
        self._refusal: ConfigError | None = None

    def run(self, flow: Flow[ResultT]) -> ResultT:
        """Run a flow, and give what it returns."""
        return self._run(flow, None)

    def start(self, flow: Flow[Any], done: Callable[[Any], None]) -> None:
        """Run a flow without keeping the caller waiting.

        What is sent is answered in gRPC's thread; any other effect that waits goes on in a thread of its own.

        Args:
            flow: The flow.
            done: Called with what it returned, or raised; perhaps at once, perhaps in another thread.
        """
        self._step(flow, lambda: next(flow), done)

    def launch(self, flow: Flow[Any], done: Callable[[Any], None]) -> None:
        """Run a flow, and keep the caller waiting until its first request is sent.

        Args:
            flow: The flow; all of it sees the context variables of the caller.
            done: Called with what it returned, or raised after the first request was sent; perhaps in another thread.
        """
        flow = InContext(flow)
        try:
            effect = next(flow)
            while type(effect) is not Send:
                effect = self._next(flow, effect)
        except StopIteration as stop:
            done(stop.value)
        else:
            self._step(flow, lambda: effect, done)

    def close(self) -> None:
        """End all calls and waits, and close the channels that were opened here.

        Submits whose callers have left get a moment to complete.
        """
        self._closing.set()
        self._core.gates.close()
        self._sharing.close()
        try:
            wait_for(list(self._left), CLOSE_GRACE)
        finally:
            with self._lock:
                opened, self._opened = self._opened, []
                self._channels.clear()
                self._callables.clear()
            for channel in opened:
                channel.close()

    def forked(self) -> None:
        """In a forked child: the connections are the parent's, so that calls here open their own."""
        fork.keep(*self._opened, *self._callables.values())
        self._lock = threading.Lock()
        self._sharing = Sharing(self.run)
        closed, self._closing = self._closing.is_set(), threading.Event()
        if closed:
            self._closing.set()
        self._refusal = fork.refusal()
        self._opened = []
        self._left = set()
        self._channels = {}
        self._callables = {}

    def leaked(self) -> bool:
        """Whether channels are open that `close` would have closed; closes them."""
        opened = bool(self._opened) and not self._closing.is_set()
        if opened:
            self.close()
        return opened

    # The driver

    def _run(self, flow: Flow[ResultT], effect: Effect | None) -> ResultT:
        """Run a flow to its end, from an effect on that it has asked for."""
        try:
            if effect is None:
                effect = next(flow)
            while True:
                effect = self._next(flow, effect)
        except StopIteration as stop:
            result: ResultT = stop.value
            return result

    def _next(self, flow: Flow[Any], effect: Effect) -> Effect:
        """Perform an effect, and give the next one that the flow asks for."""
        try:
            outcome = self._send(effect) if type(effect) is Send else self._perform(effect)
        except BaseException as error:  # whatever it is, the flow decides
            return flow.throw(self._refused(error, effect))
        return flow.send(outcome)

    def _step(self, flow: Flow[Any], resume: Callable[[], Effect], done: Callable[[Any], None]) -> None:
        """Run a flow from one callback of gRPC's to the next."""
        while True:
            try:
                effect = resume()
            except StopIteration as stop:
                done(stop.value)
                return
            except Exception as error:
                done(error)
                return
            try:
                if type(effect) is Send:
                    self._future(effect).add_done_callback(functools.partial(self._answered, flow, effect.call, done))
                    return
                if not (isinstance(effect, Share) and not effect.wait):
                    in_thread(functools.partial(self._finish, flow, effect, done), "yagrpc-flow")
                    return
                self._sharing.share(effect)
                resume = functools.partial(flow.send, None)
            except Exception as error:  # whatever it is, the flow decides
                resume = functools.partial(flow.throw, self._refused(error, effect))

    def _answered(self, flow: Flow[Any], call: Call[Any, Any], done: Callable[[Any], None], rpc: Any) -> None:
        self._step(flow, lambda: flow.send(self._outcome(rpc, call)), done)

    def _finish(self, flow: Flow[Any], effect: Effect, done: Callable[[Any], None]) -> None:
        try:
            outcome: Any = self._run(flow, effect)
        except Exception as error:
            outcome = error
        done(outcome)

    # Sending

    def _send(self, effect: Send) -> Any:
        call = effect.call
        if effect.late is not None:
            return self._submit(effect, effect.late)
        sender: Any = self._callable(call.method)
        try:
            if isinstance(call.method, (StreamMethod, BidiStreamMethod)):
                return self._open(sender(call.request, timeout=effect.timeout, metadata=effect.metadata), call)
            if not call.wants_ids:
                return sender(call.request, timeout=effect.timeout, metadata=effect.metadata)
            answer, rpc = sender.with_call(call.request, timeout=effect.timeout, metadata=effect.metadata)
        except grpc.RpcError as error:
            return status_of(error, closed=self._closing.is_set())
        call.ids = request_ids(call.client_request_id, rpc.initial_metadata(), rpc.trailing_metadata())
        return answer

    def _submit(self, effect: Send, late: Callable[[Any], object]) -> Any:
        """Wait for the answer to a submit; where its caller leaves, the answer is waited for in the background."""
        call = effect.call
        rpc = self._future(effect)
        try:
            rpc.result(effect.timeout)
        except grpc.FutureTimeoutError:
            self._leave(rpc, call, late)
            return RpcStatus(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
        except (grpc.RpcError, grpc.FutureCancelledError):
            pass
        except BaseException:
            self._leave(rpc, call, late)
            raise
        return self._outcome(rpc, call)

    def _future(self, effect: Send) -> Any:
        """Start a unary rpc; gives gRPC's future of it."""
        call = effect.call
        timeout = effect.timeout if effect.late is None else with_linger(effect.timeout)
        sender: Any = self._callable(call.method)
        rpc = sender.future(call.request, timeout=timeout, metadata=effect.metadata)
        call.started(rpc)
        return rpc

    def _outcome(self, rpc: Any, call: Call[Any, Any]) -> Any:
        """What a unary rpc that has ended gave."""
        try:
            answer = rpc.result()
        except grpc.RpcError as error:
            return status_of(error, closed=self._closing.is_set())
        except grpc.FutureCancelledError as error:
            return RpcStatus(Code.CANCELLED, "the client was closed", error=error, closed=self._closing.is_set())
        if call.wants_ids:
            call.ids = request_ids(call.client_request_id, rpc.initial_metadata(), rpc.trailing_metadata())
        return answer

    def _leave(self, rpc: Any, call: Call[Any, Any], late: Callable[[Any], object]) -> None:
        left: Future[None] = Future()
        self._left.add(left)
        context = contextvars.copy_context()

        def complete(rpc: Any) -> None:
            try:
                context.run(lambda: late(self._outcome(rpc, call)))
            finally:
                self._left.discard(left)
                left.set_result(None)

        def done(rpc: Any) -> None:
            try:  # what a user's code does with the id must not keep gRPC's thread
                in_thread(lambda: complete(rpc), "yagrpc-submit")
            except RuntimeError:
                complete(rpc)

        rpc.add_done_callback(done)

    def _open(self, rpc: Any, call: Call[Any, Any]) -> Opened:
        call.started(rpc)
        responses = Responses(self, rpc)
        first = next(rpc, END)
        call.ids = request_ids(call.client_request_id, rpc.initial_metadata())
        return Opened(responses, first)

    def _refused(self, error: BaseException, effect: Effect) -> BaseException:
        """What a ValueError of gRPC's stands for: a channel that its host, or this client, has closed; or itself."""
        if not isinstance(error, ValueError) or isinstance(error, YagrpcError):
            return error
        if not isinstance(effect, (Send, Connect)) or not self._is_closed(effect.call.method):
            return error
        closed = ClientClosedError(effect.call.operation_id)
        closed.__cause__ = error
        return closed

    # Other effects

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Connect):
            return self._connect(effect)
        if isinstance(effect, Wait):
            return _wait(effect)
        if isinstance(effect, Share):
            return self._sharing.share(effect)
        if isinstance(effect, Block):
            return effect.function()
        assert isinstance(effect, Sleep)
        if self._closing.wait(effect.seconds):
            raise ClientClosedError
        return None

    def _connect(self, effect: Connect) -> bool:
        channel = self._channel(effect.call.method)
        deadline = math.inf if effect.timeout is None else time.monotonic() + effect.timeout
        watched = _watched(channel)
        if watched is None:
            return _connected_by_thread(channel, effect.timeout)
        while (state := watched.check_connectivity_state(True)) != _READY_STATE:
            if self._closing.is_set():
                raise ClientClosedError
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            watched.watch_connectivity_state(state, time.time() + min(left, _CHECK))
        return True

    # Channels

    def _callable(self, method: AnyMethod) -> Callable[..., Any]:
        """The multicallable of a method.

        Raises:
            ClientClosedError: The client is closed.
        """
        if self._closing.is_set():
            raise ClientClosedError
        found = self._callables.get(method)
        if found is None:
            deserialize = deserializer(method, self._options.receive_limit)
            found = self._callables[method] = multicallable(self._channel(method), method, deserialize)
        return found

    def _channel(self, method: AnyMethod) -> grpc.Channel:
        endpoint = self._core.endpoint_of(method)
        role = self._core.channel_of(method)
        given = self._given[role]
        key = role if given is not None else endpoint
        with self._lock:
            if self._closing.is_set():
                raise ClientClosedError
            if self._refusal is not None:
                raise self._refusal
            channel = self._channels.get(key)
            if channel is None:
                channel = given if given is not None else self._dial(endpoint)
                if self._interceptors:
                    channel = grpc.intercept_channel(channel, *self._interceptors)
                self._channels[key] = channel
            return channel

    def _dial(self, endpoint: str) -> grpc.Channel:
        options = self._options.for_grpc
        if self._core.endpoints.plaintext:
            channel = grpc.insecure_channel(endpoint, options)
        else:
            credentials = grpc.ssl_channel_credentials(self._core.root_certificates)
            channel = grpc.secure_channel(endpoint, credentials, options)
        self._opened.append(channel)
        return channel

    def _is_closed(self, method: AnyMethod) -> bool:
        """Whether a method's channel is closed, by its host or by us."""
        if self._closing.is_set():
            return True
        watched = _watched(self._channel(method))
        try:
            if watched is not None:
                watched.check_connectivity_state(False)
        except ValueError:
            return True
        return False


class Responses:
    """The messages of a stream after its first.

    Args:
        transport: Whose.
        rpc: gRPC's call.
    """

    __slots__ = ("_rpc", "_transport")

    def __init__(self, transport: Transport, rpc: Any) -> None:
        self._transport = transport
        self._rpc = rpc

    @property
    def ended(self) -> bool:
        """Whether no more messages come."""
        return bool(self._rpc.done())

    def read(self) -> Any:
        """The next message, `END`, or the `RpcStatus` that the stream failed with."""
        try:
            return next(self._rpc, END)
        except grpc.RpcError as error:
            return status_of(error, closed=self._transport._closing.is_set())


def _wait(effect: Wait) -> None:
    """Wait until something is woken: by a queue, which a destructor may put into."""
    import queue  # only a call that waits needs it

    woken: queue.SimpleQueue[None] = queue.SimpleQueue()
    effect.waiter.wake = lambda: woken.put(None)
    try:
        if not effect.waiter.woken:
            with contextlib.suppress(queue.Empty):
                woken.get(timeout=effect.seconds)
    finally:
        effect.waiter.wake = None


def _watched(channel: grpc.Channel) -> Any:
    """The object whose connectivity can be watched in this thread, or `None` where it can't be found.

    gRPC's public way to learn a blocking channel's state starts a thread that polls, and that `close` then waits for.
    The state itself is an attribute away, in the object that the public channel, or an intercepted one, stands for.
    """
    layer: Any = channel
    while layer is not None and not hasattr(layer, "watch_connectivity_state"):
        layer = getattr(layer, "_channel", None)
    return layer


def _connected_by_thread(channel: grpc.Channel, timeout: float | None) -> bool:
    """The public way to wait for a connection, for a channel that is not gRPC's own."""
    future = grpc.channel_ready_future(channel)
    try:
        future.result(timeout=timeout)
    except grpc.FutureTimeoutError:
        return False
    finally:
        future.cancel()
    return True

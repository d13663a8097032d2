"""Channels of the blocking client, and the driver that runs flows on them.

Rules: a channel is opened at the first call that needs it; one that the host service gave is used and never closed.
A channel that is connected costs one check of its state, no thread. A submit has its own thread: when its
caller leaves (an exception of a signal, a timeout), it is completed there, since the service may accept it all the
same.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import grpc

from yagrpc import config
from yagrpc._core.call.call import Call
from yagrpc._core.call.metadata import request_ids
from yagrpc._core.client import ClientCore
from yagrpc._core.failure.status import RpcStatus, raised
from yagrpc._core.flow import END, Block, Connect, Effect, Flow, Opened, Reporter, Send, Share, Sleep, Wait
from yagrpc._grpc import fork
from yagrpc._grpc.deserializers import deserializer
from yagrpc._grpc.leaving import CLOSE_GRACE, REPORT_GRACE, complete_at_exit, with_linger
from yagrpc._grpc.options import ChannelOptions
from yagrpc._grpc.status import multicallable, status_of
from yagrpc._sync.background import Sharing, in_thread, next_item, outcome_in_thread
from yagrpc._sync.signals import SignalsHeld
from yagrpc.errors import ClientClosedError, Code, ConfigError, YagrpcError
from yagrpc.method import AnyMethod, BidiStreamMethod, StreamMethod

ResultT = TypeVar("ResultT")

_CHECK: Final = 0.2
"""Seconds between two checks whether the client was closed, while a connection is waited for."""

_CLOSED: Final = RpcStatus(Code.CANCELLED, "the client was closed", closed=True)

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
        self._closed = False
        self._sleeping: set[queue.SimpleQueue[None]] = set()
        self._submits: dict[threading.Thread, _Submit] = {}
        self._sharing = Sharing(self.run)
        self._refusal: ConfigError | None = None
        complete_at_exit(self)

    def start(self, flow: Flow[Any], done: Callable[[Any], None]) -> None:
        """Run a flow without keeping the caller waiting.

        A unary rpc is answered in gRPC's thread, any other effect that waits in its own thread; both run in the
        context (`contextvars`) of this call.

        Args:
            flow: The flow.
            done: Called with what it returned, or raised; perhaps at once, perhaps in another thread.
        """
        self._step(flow, lambda: next(flow), done)

    def launch(self, flow: Flow[Any], done: Callable[[Any], None]) -> None:
        """Run a flow, and keep the caller waiting until its first request is sent.

        Args:
            flow: The flow.
            done: Called with what it returned, or raised after the first request was sent; perhaps in another thread.
        """
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

        Submits get a moment to complete, whether their callers wait or have left.
        """
        self._closed = True
        for sleeping in list(self._sleeping):
            sleeping.put(None)
        self._core.gates.close()
        self._sharing.close()
        try:
            self._submitted(CLOSE_GRACE)
        finally:
            with self._lock:
                opened, self._opened = self._opened, []
                self._channels.clear()
                self._callables.clear()
            for channel in opened:
                channel.close()
            self._submitted(REPORT_GRACE)
            for submit in list(self._submits.values()):  # on a channel of the host's, or its report takes long
                submit.close()

    def _submitted(self, seconds: float) -> None:
        """Wait for the submits that are under way, for some seconds at most."""
        until = time.monotonic() + seconds
        for thread in list(self._submits):
            if thread is not threading.current_thread():  # as where a user's code closes the client
                thread.join(max(0.0, until - time.monotonic()))

    def process_ends(self) -> None:
        """Complete the submits that are under way, or report them."""
        if self._submits:
            self.close()
        for submit in list(self._submits.values()):
            submit.lose()

    def forked(self) -> None:
        """In a forked child: the connections are the parent's, so that calls here open their own."""
        fork.keep(*self._opened, *self._callables.values())
        self._lock = threading.Lock()
        self._sharing = Sharing(self.run)
        if self._closed:
            self._sharing.close()
        self._refusal = fork.refusal()
        self._opened = []
        self._submits = {}
        self._channels = {}
        self._callables = {}

    def leaked(self) -> bool:
        """Whether channels are open that `close` would have closed; closes them."""
        opened = bool(self._opened) and not self._closed
        if opened:
            self.close()
        return opened

    # The driver

    def run(self, flow: Flow[ResultT], effect: Effect | None = None) -> ResultT:
        """Run a flow to its end, and give what it returns.

        Args:
            flow: The flow.
            effect: Where it was started already: what it has asked for.
        """
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
        except BaseException as error:  # of any kind: the flow decides
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
                if not (isinstance(effect, Share) and not effect.wait):
                    self._start(flow, effect, done)
                    return
                self._sharing.share(effect)
                resume = functools.partial(flow.send, None)
            except Exception as error:  # of any kind: the flow decides
                resume = functools.partial(flow.throw, self._refused(error, effect))

    def _start(self, flow: Flow[Any], effect: Effect, done: Callable[[Any], None]) -> None:
        """Start an effect; what follows runs in the context of now, in the thread that the outcome comes through."""
        context = contextvars.copy_context()  # of its own: the outcome may come before this thread has left the other
        if type(effect) is Send and effect.reporter is None and not _streams(effect.call.method):
            answered = functools.partial(self._answered, flow, effect.call, done)
            self._future(effect).add_done_callback(lambda rpc: context.run(answered, rpc))
        else:
            in_thread(lambda: context.run(self._finish, flow, effect, done), "yagrpc-flow")

    def _answered(self, flow: Flow[Any], call: Call[Any, Any], done: Callable[[Any], None], rpc: Any) -> None:
        self._step(flow, lambda: flow.send(self._outcome(rpc, call)), done)

    def _finish(self, flow: Flow[Any], effect: Effect, done: Callable[[Any], None]) -> None:
        try:
            outcome: Any = self.run(flow, effect)
        except BaseException as error:  # no caller would get it
            outcome = error
        done(outcome)

    # Sending

    def _send(self, effect: Send) -> Any:
        if effect.reporter is not None:
            return _Submit(self, effect, effect.reporter).outcome()
        return self._answer(effect, effect.timeout)

    def _answer(self, effect: Send, timeout: float | None) -> Any:
        """Send a request in this thread, and wait for its answer; of a stream, for its first message."""
        call = effect.call
        sender: Any = self._callables.get(call.method) or self._callable(call.method)
        try:
            if not call.wants_ids:
                return sender(call.request, timeout=timeout, metadata=effect.metadata)
            if _streams(call.method):
                return self._open(sender, effect)
            answer, rpc = sender.with_call(call.request, timeout=timeout, metadata=effect.metadata)
        except grpc.RpcError as error:
            return status_of(error, closed=self._closed)
        call.ids = request_ids(call.client_request_id, rpc.initial_metadata(), rpc.trailing_metadata())
        return answer

    def _future(self, effect: Send) -> Any:
        """Start a unary rpc; gives gRPC's future of it."""
        call = effect.call
        sender: Any = self._callable(call.method)
        with SignalsHeld():
            rpc = sender.future(call.request, timeout=effect.timeout, metadata=effect.metadata)
            call.started(rpc)
        return rpc

    def _outcome(self, rpc: Any, call: Call[Any, Any]) -> Any:
        """What a unary rpc that has ended gave."""
        try:
            answer = rpc.result()
        except grpc.RpcError as error:
            return status_of(error, closed=self._closed)
        except grpc.FutureCancelledError as error:
            return RpcStatus(Code.CANCELLED, "the client was closed", error=error, closed=self._closed)
        if call.wants_ids:
            call.ids = request_ids(call.client_request_id, rpc.initial_metadata(), rpc.trailing_metadata())
        return answer

    def _open(self, sender: Any, effect: Send) -> Opened:
        call = effect.call
        with SignalsHeld():
            rpc = sender(call.request, timeout=effect.timeout, metadata=effect.metadata)
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
        return self._sleep(effect.seconds)

    def _sleep(self, seconds: float) -> None:
        """Let some seconds pass. No lock of Python's: an exception of a signal may leave it held."""
        sleeping: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._sleeping.add(sleeping)
        try:
            if not self._closed:
                with contextlib.suppress(queue.Empty):
                    next_item(sleeping, seconds)
        finally:
            self._sleeping.discard(sleeping)
        if self._closed:
            raise ClientClosedError

    def _connect(self, effect: Connect) -> bool:
        channel = self._channel(effect.call.method)
        watched = _watched(channel)
        if watched is None:
            return _connected_by_thread(channel, effect.timeout)
        if watched.check_connectivity_state(True) == _READY_STATE:
            return True
        deadline = math.inf if effect.timeout is None else time.monotonic() + effect.timeout
        left: list[bool] = []
        if threading.current_thread() is not threading.main_thread():
            return self._watch(watched, deadline, left)
        try:  # the exception of a signal breaks a wait inside gRPC, so that closing the channel would hang
            return bool(outcome_in_thread(lambda: self._watch(watched, deadline, left), "yagrpc-connect"))
        finally:
            left.append(True)

    def _watch(self, watched: Any, deadline: float, left: list[bool]) -> bool:
        """Watch a channel until it is connected; gives whether it is, by the deadline or until its caller has left."""
        while (state := watched.check_connectivity_state(True)) != _READY_STATE:
            if self._closed:
                raise ClientClosedError
            seconds = deadline - time.monotonic()
            if seconds <= 0 or left:
                return False
            watched.watch_connectivity_state(state, time.time() + min(seconds, _CHECK))
        return True

    # Channels

    def _callable(self, method: AnyMethod) -> Callable[..., Any]:
        """The multicallable of a method.

        Raises:
            ClientClosedError: The client is closed.
        """
        if self._closed:
            raise ClientClosedError
        found = self._callables.get(method)
        if found is None:
            deserialize = deserializer(method, self._options.receive_limit)
            found = self._callables[method] = multicallable(self._channel(method), method, deserialize)
        return found

    def _channel(self, method: AnyMethod) -> grpc.Channel:
        if self._closed:
            raise ClientClosedError
        endpoint = self._core.endpoint_of(method)
        role = self._core.channel_of(method)
        given = self._given[role]
        key = role if given is not None else endpoint
        with self._lock:
            if self._closed:
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
        if self._core.endpoints.plaintext:
            channel = grpc.insecure_channel(endpoint, self._options.for_plaintext)
        else:
            credentials = grpc.ssl_channel_credentials(self._core.root_certificates)
            channel = grpc.secure_channel(endpoint, credentials, self._options.for_tls)
        self._opened.append(channel)
        return channel

    def _is_closed(self, method: AnyMethod) -> bool:
        """Whether a method's channel is closed, by its host or by us."""
        if self._closed:
            return True
        watched = _watched(self._channel(method))
        try:
            if watched is not None:
                watched.check_connectivity_state(False)
        except ValueError:
            return True
        return False


class _Submit:
    """One attempt of a submit, in its own thread, so that its caller may leave at any moment.

    The exception of a signal (Ctrl-C, the time limit of a task queue) can come between any two steps of the main
    thread. It never comes in this one, so that each answer is reported.

    Args:
        transport: The transport that sends it.
        effect: What is sent.
        reporter: Gets the outcome, before the caller does.
    """

    def __init__(self, transport: Transport, effect: Send, reporter: Reporter) -> None:
        self._transport = transport
        self._effect = effect
        self._reporter = reporter
        self._outcomes: queue.SimpleQueue[Any] = queue.SimpleQueue()  # its waits can be interrupted without harm
        self._answered = False
        self._left = False

    def outcome(self) -> Any:
        """Send it and return its outcome, or the status of a caller that has left."""
        context = contextvars.copy_context()
        try:
            in_thread(lambda: context.run(self._run), "yagrpc-submit")
            outcome = self._wait(self._effect.timeout)
            if outcome is _CLOSED:
                self._leave()
        except BaseException:
            self._leave()
            raise
        if not isinstance(outcome, BaseException):
            return outcome
        refused = self._transport._refused(outcome, self._effect)
        if isinstance(refused, YagrpcError):
            raise refused
        return raised(outcome)

    def close(self) -> None:
        """End the caller's wait."""
        self._outcomes.put(_CLOSED)

    def lose(self) -> None:
        """Report that its outcome will not be known."""
        if not self._answered:
            self._left = False  # its failure needs no second report
            self._reporter.left(_CLOSED)

    def _wait(self, timeout: float | None) -> Any:
        try:
            return next_item(self._outcomes, timeout)
        except queue.Empty:
            if self._answered:  # in time; what the user does with its id takes longer
                return next_item(self._outcomes, None)
            self._leave()
            return RpcStatus(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _run(self) -> None:
        transport, effect = self._transport, self._effect
        # Before it is checked whether the client is closed, so that `close` waits for what is sent.
        transport._submits[threading.current_thread()] = self
        outcome: Any
        try:
            if transport._closed:
                raise ClientClosedError
            outcome = transport._answer(effect, with_linger(effect.timeout))
        except BaseException as error:  # of any kind: the caller gets it
            outcome = error
        self._answered = True
        try:
            self._reporter.ended(outcome)
        finally:
            self._outcomes.put(outcome)
            if self._left:
                self._report()
            transport._submits.pop(threading.current_thread(), None)

    def _leave(self) -> None:
        self._left = True
        self._report()

    def _report(self) -> None:
        """Report an outcome that the caller does not take; the thread and the caller may both come here."""
        with contextlib.suppress(queue.Empty):
            while True:
                outcome = self._outcomes.get_nowait()
                if outcome is not _CLOSED:
                    self._reporter.left(outcome)


class Responses:
    """The messages of a stream after its first.

    Args:
        transport: The transport that sends it.
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
            return status_of(error, closed=self._transport._closed)


def _streams(method: AnyMethod) -> bool:
    """Whether the answers of a method are a stream."""
    return isinstance(method, (StreamMethod, BidiStreamMethod))


def _wait(effect: Wait) -> None:
    """Wait until something is woken: by a queue, which a destructor may put into."""
    woken: queue.SimpleQueue[None] = queue.SimpleQueue()
    effect.waiter.wake = lambda: woken.put(None)
    try:
        if not effect.waiter.woken:
            with contextlib.suppress(queue.Empty):
                next_item(woken, effect.seconds)
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

"""The driver of the blocking client: it runs flows, and performs what they ask for.

Rules: an rpc is sent and answered in the thread that runs the flow, a submit in its own. No wait here uses a lock of
Python's: an exception of a signal may leave it held. What gRPC does with its locks is done with signals held. Closing
ends every wait.
"""

from __future__ import annotations

import contextvars
import functools
import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import grpc

from yagrpc._core.call.call import Call
from yagrpc._core.call.metadata import request_ids
from yagrpc._core.call.recorder import Wakeable
from yagrpc._core.client import ClientCore
from yagrpc._core.failure.status import RpcStatus
from yagrpc._core.flow import END, Block, Connect, Effect, Flow, Opened, Send, Share, Sleep, Wait
from yagrpc._grpc.fork import NoFork
from yagrpc._grpc.leaving import CLOSE_GRACE, REPORT_GRACE, complete_at_exit, with_linger
from yagrpc._grpc.options import ChannelOptions
from yagrpc._grpc.rpcs import end_of, given
from yagrpc._grpc.status import status_of
from yagrpc._grpc.waits.signals import Cancelled, SignalsDelayed, SignalsHeld, interruptible
from yagrpc._grpc.waits.threads import Waiter, in_thread, outcome_in_thread
from yagrpc._grpc.within import Within
from yagrpc._sync.background import Sharing
from yagrpc._sync.channels import BlockingChannels
from yagrpc._sync.submits import Submits
from yagrpc.context import on_leaving
from yagrpc.credentials.base import unless
from yagrpc.errors import ClientClosedError, Code
from yagrpc.hiding import revealed
from yagrpc.method import (
    AnyMethod,
    BidiStreamMethod,
    ClientStreamMethod,
    OperationMethod,
    StreamMethod,
    UnaryMethod,
)

ResultT = TypeVar("ResultT")


class Transport:
    """Runs the flows of one client, each on the channel of its method.

    Args:
        core: The client's settings.
        options: Options of the channels that are opened here.
        channel: The host's channel to the model service.
        operation_channel: The host's channel to the operation service.
        interceptors: Put around every channel, the host's included.

    Raises:
        ConfigError: An interceptor is not one of `grpc`'s.

    Attributes:
        channels: The channels.
    """

    def __init__(
        self,
        core: ClientCore,
        options: ChannelOptions,
        channel: grpc.Channel | None,
        operation_channel: grpc.Channel | None,
        interceptors: Sequence[Any],
    ) -> None:
        self.channels = BlockingChannels(core, options, channel, operation_channel, interceptors)
        self._core = core
        self._waiting: set[Waiter] = set()
        self._submits = Submits(self._answer_submit)
        self._sharing = Sharing(self.run)
        self._opened = Streams()
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

    def close(self, grace: float = CLOSE_GRACE) -> None:
        """End all calls and waits, and close the channels that were opened here.

        Args:
            grace: Seconds for submits to complete, whether their callers wait or have left.
        """
        self.channels.closed = True
        for waiter in list(self._waiting):
            waiter.wake()
        self._core.end_waits()
        self._sharing.close()
        try:
            self._submits.wait(grace)
        finally:
            self._opened.cancel()  # those on a channel of the host's
            try:
                self.channels.shut()
            finally:
                self._submits.wait(REPORT_GRACE)
                self._submits.close()  # those on a channel of the host's, or whose report takes long
                self._core.release()

    def process_ends(self) -> None:
        """Complete the submits that are under way, or report them: the threads of their callers may not run again."""
        self._submits.wait(CLOSE_GRACE)
        self._submits.lose()
        if self._submits:
            self.close(grace=0.0)

    def forked(self) -> None:
        """In a forked child: the connections and the threads are the parent's."""
        self.channels.forked()
        self._submits = Submits(self._answer_submit)
        self._sharing = Sharing(self.run)
        self._opened = Streams()
        if self.channels.closed:
            self._sharing.close()

    def leaked(self) -> bool:
        """Whether channels are open that `close` would have closed; closes them."""
        opened = self.channels.open
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
            if type(effect) is not Send:
                outcome = self._perform(effect)
            elif effect.reporter is not None:
                outcome = self._submits.send(effect, effect.reporter)
            else:
                outcome = self._answer(effect, effect.timeout)
        except BaseException as error:  # of any kind: the flow decides
            return flow.throw(self.channels.refused(error, effect))
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
                resume = functools.partial(flow.throw, self.channels.refused(error, effect))

    def _start(self, flow: Flow[Any], effect: Effect, done: Callable[[Any], None]) -> None:
        """Start an effect; what follows runs in the context of now, in the thread that the outcome comes through."""
        context = contextvars.copy_context()  # of its own: the outcome may come before this thread has left the other
        started = False
        if type(effect) is Send and effect.reporter is None and not _streams(effect.call.method):
            answered = functools.partial(self._answered, flow, effect.call, done)
            started = self._future(effect, lambda rpc: context.run(answered, rpc))
        if not started:
            in_thread(lambda: context.run(self._finish, flow, effect, done), "yagrpc-flow")

    def _answered(self, flow: Flow[Any], call: Call[Any, Any], done: Callable[[Any], None], rpc: Any) -> None:
        try:
            resume: Callable[[], Effect]
            try:
                resume = functools.partial(flow.send, self._outcome(rpc, call))
            except Exception as error:  # an interceptor's
                resume = functools.partial(flow.throw, error)
            self._step(flow, resume, done)
        except BaseException as error:  # a user's, in an event: it would end gRPC's thread, and no caller would get it
            done(error)

    def _finish(self, flow: Flow[Any], effect: Effect, done: Callable[[Any], None]) -> None:
        try:
            outcome: Any = self.run(flow, effect)
        except BaseException as error:  # no caller would get it
            outcome = error
        done(outcome)

    # Sending

    def _answer_submit(self, effect: Send) -> Any:
        """Send a submit in this thread, and wait for its answer longer than its caller does."""
        if self.channels.closed:
            raise ClientClosedError
        try:
            return self._answer(effect, with_linger(effect.timeout))
        except ValueError as error:
            raise self.channels.refused(error, effect)  # noqa: B904 - it has its cause

    def _answer(self, effect: Send, timeout: float | None) -> Any:
        """Send a request in this thread, and wait for its answer; of a stream, for its first message."""
        call = effect.call
        sender: Any = self.channels.callables.get(call.method) or self.channels.callable(call.method)
        if call.within is not None:
            sender = Within(sender, call.within)
        try:
            if not isinstance(call.method, (UnaryMethod, OperationMethod)):
                opens = self._await if isinstance(call.method, ClientStreamMethod) else self._open
                return opens(sender, effect)
            if call.caller is not None and effect.reporter is None:
                return self._await(sender, effect)
            with SignalsDelayed():
                # A host's channel may not be gRPC's own.
                with_call = getattr(sender, "with_call", None) if call.wants_ids else None
                if with_call is None:
                    return sender(call.request, timeout=timeout, metadata=revealed(effect.metadata))
                answer, rpc = with_call(call.request, timeout=timeout, metadata=revealed(effect.metadata))
        except grpc.RpcError as error:
            return status_of(error, closed=self.channels.closed)
        _keep_ids(rpc, call)
        return answer

    def _future(self, effect: Send, answered: Callable[[Any], object]) -> bool:
        """Start a unary rpc, and have a function called with gRPC's future of it, once that is done.

        Returns:
            Whether it was started: a host's channel that is not gRPC's own may have no futures.
        """
        call = effect.call
        future: Any = getattr(self.channels.callable(call.method), "future", None)
        if future is None:
            return False
        if call.within is not None:
            future = functools.partial(call.within.run, future)
        with SignalsHeld():
            with NoFork():
                rpc = future(call.request, timeout=effect.timeout, metadata=revealed(effect.metadata))
            call.started(Cancelled(end_of(rpc, "cancel")))
            if hasattr(rpc, "add_done_callback"):
                rpc.add_done_callback(lambda _: answered(rpc))  # given is perhaps the rpc of an inner interceptor
            else:
                in_thread(lambda: answered(rpc), "yagrpc-flow")
        return True

    def _await(self, sender: Any, effect: Send) -> Any:
        """Send what another thread may cancel while its answer is waited for: a stream of requests above all."""
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with SignalsHeld() as signals:
            if not self._future(effect, ended.put):
                return sender(effect.call.request, timeout=effect.timeout, metadata=revealed(effect.metadata))
            try:
                rpc = signals.next_item(ended, None)
            except BaseException:  # of a signal
                effect.call.cancel()
                raise
            return self._outcome(rpc, effect.call)

    def _outcome(self, rpc: Any, call: Call[Any, Any]) -> Any:
        """What a unary rpc that has ended gave."""
        try:
            answer = rpc.result()
        except grpc.RpcError as error:
            return status_of(error, closed=self.channels.closed)
        except grpc.FutureCancelledError as error:
            return RpcStatus(Code.CANCELLED, "the client was closed", error=error, closed=self.channels.closed)
        if call.wants_ids:
            _keep_ids(rpc, call)
        return answer

    def _open(self, sender: Any, effect: Send) -> Opened:
        call = effect.call
        with SignalsHeld(), NoFork():
            rpc = sender(call.request, timeout=effect.timeout, metadata=revealed(effect.metadata))
            call.started(Cancelled(end_of(rpc, "cancel", "close")))
        messages = iter(rpc)
        kind = BothWays if isinstance(call.method, BidiStreamMethod) else Responses
        responses = kind(self.channels, rpc, messages)
        self._opened.add(responses, closed=lambda: self.channels.closed)
        with interruptible(rpc):
            first = next(messages, END)
        with SignalsHeld():
            call.ids = request_ids(call.client_request_id, given(rpc, "initial_metadata"))
        return Opened(responses, first)

    # Other effects

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Connect):
            return self.channels.connect(effect.call.method, effect.timeout)
        if isinstance(effect, Wait):
            return self._wait(effect.seconds, effect.waiter)
        if isinstance(effect, Share):
            return self._sharing.share(effect)
        if isinstance(effect, Block):
            function = unless(lambda: self.channels.closed, effect.function)
            run = functools.partial(contextvars.copy_context().run, function)
            return outcome_in_thread(run, "yagrpc-blocking", lambda: self.channels.closed)
        assert isinstance(effect, Sleep)
        return self._wait(effect.seconds)

    def _wait(self, seconds: float | None, wakeable: Wakeable | None = None) -> None:
        """Let some seconds pass, or wait until something is woken, perhaps by a destructor."""
        waiter = Waiter()
        try:
            self._waiting.add(waiter)
            if wakeable is not None:
                wakeable.wake = waiter.wake
            if not (self.channels.closed or (wakeable is not None and wakeable.woken)):
                with on_leaving(waiter.wake):
                    waiter.sleep(seconds)
        finally:
            if wakeable is not None:
                wakeable.wake = None
            self._waiting.discard(waiter)
        if self.channels.closed:
            raise ClientClosedError


class Responses:
    """The messages of a stream after its first.

    Args:
        channels: The client's channels.
        rpc: gRPC's call, or what an interceptor gave for it.
        messages: The iterator over its messages.
    """

    __slots__ = ("__weakref__", "_channels", "_messages", "_rpc")

    def __init__(self, channels: BlockingChannels, rpc: Any, messages: Iterator[Any]) -> None:
        self._channels = channels
        self._rpc = rpc
        self._messages = messages

    @property
    def ended(self) -> bool:
        """Whether no more messages come, after an exception: it ends a generator, which then raises nothing further."""
        with SignalsHeld():
            return given(self._rpc, "done") is not False

    def cancel(self) -> None:
        """End the rpc; a generator that another thread reads ends with its next message."""
        Cancelled(end_of(self._rpc, "cancel", "close"))()

    def read(self) -> Any:
        """The next message, `END`, or the `RpcStatus` that the stream failed with."""
        try:
            with interruptible(self._rpc):
                return next(self._messages, END)
        except grpc.RpcError as error:
            return status_of(error, closed=self._channels.closed)


class BothWays(Responses):
    """The same of a stream of requests and answers, whose rpc an interceptor's callback may keep alive."""

    __slots__ = ()

    def __del__(self, given: Callable[[Any, str], Any] = given) -> None:  # at the end, the module has lost it
        if given(self._rpc, "done") is False:
            given(self._rpc, "cancel")


class Streams:
    """The streams of one client that are open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[Responses] = weakref.WeakSet()

    def add(self, responses: Responses, closed: Callable[[], bool]) -> None:
        """Take note of a stream; it is ended where the client was closed meanwhile."""
        with SignalsHeld(), self._lock:
            self._open.add(responses)
        if closed():
            responses.cancel()

    def cancel(self) -> None:
        """End all of them."""
        with SignalsHeld():
            with self._lock:
                streams = list(self._open)
            for responses in streams:
                responses.cancel()


def _streams(method: AnyMethod) -> bool:
    """Whether the answers of a method are a stream."""
    return isinstance(method, (StreamMethod, BidiStreamMethod))


def _keep_ids(rpc: Any, call: Call[Any, Any]) -> None:
    with SignalsHeld():  # a handler's exception is no interceptor's
        initial, trailing = given(rpc, "initial_metadata"), given(rpc, "trailing_metadata")
    call.ids = request_ids(call.client_request_id, initial, trailing)

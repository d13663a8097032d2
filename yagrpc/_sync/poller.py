"""Waiting for operations, for the blocking client: the driver of the scheduler.

Rules: the waiters drive. One of the waiters leads: it sends the Gets that are due, for all; when its own wait ends,
another waiter leads. Only a listener without any waiter starts a thread, one per client, which ends with the last
listener. No code of users runs under the lock. Answers come through one thread of gRPC's, which must not wait:
callbacks have another thread, which ends with the last of them.

The exception of a signal comes while a waiter sleeps, and at no other time: signals are held, so that each lock is
released, each waiter leaves, and each Get that was taken is sent or put back.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from yagrpc import _pb, config
from yagrpc._core.polling.reading import poll_failure
from yagrpc._core.polling.scheduler import FINAL_POLL, Scheduler
from yagrpc._core.polling.watch import Glance, Listener, Watch, check_wait
from yagrpc._core.reporting.operations import Waiting, report_end
from yagrpc._grpc.waits.signals import SignalsHeld
from yagrpc._grpc.waits.threads import Waiter, in_thread
from yagrpc.context import CURRENT, detached_context, inherited, sooner
from yagrpc.errors import ClientClosedError, YagrpcError

if TYPE_CHECKING:
    from yagrpc._core.client import ClientCore
    from yagrpc._core.operation.view import OperationView
    from yagrpc._sync.transport import Transport

log = logging.getLogger("yagrpc.operations")


class Poller:
    """Waits for operations on behalf of one client.

    Args:
        core: The client's settings.
        transport: Its channels.
    """

    def __init__(self, core: ClientCore, transport: Transport) -> None:
        self._core = core
        self._clock = core.clock
        self._transport = transport
        self._scheduler = Scheduler(core.quota, core.polling, core.runtime, core.grants, self._wake_leader)
        self._lock = threading.Lock()
        self._waiting: dict[Waiter, None] = {}
        self._leader: Waiter | None = None
        self._leader_until = math.inf
        self._listened = 0
        self._thread: threading.Thread | None = None
        self._callbacks: deque[Callable[[], object]] = deque()
        self._calling = False
        self._closing: int | None = None
        self._notifying: set[int] = set()
        self._closed = False

    def poll_once(self, operation: OperationView[Any, Any], timeout: float | None) -> _pb.operation_pb2.Operation:
        """One Get, paced with all others; a Get that is under way is enough.

        Args:
            operation: The operation.
            timeout: Seconds to wait for it.

        Raises:
            YagrpcError: It failed, or did not come back in time.
        """
        check_wait(operation.id)
        with SignalsHeld() as signals:
            with self._lock:
                watch = self._join(operation)
                seen = watch.polls
            try:
                self._poll_once(watch, self._deadline(sooner(timeout)), signals)
            finally:
                with self._lock:
                    self._scheduler.release(watch)
            return watch.polled(seen, timeout)

    def poll_each(self, operations: Sequence[OperationView[Any, Any]], timeout: float | None) -> None:
        """One Get of each of several operations, paced with all others; what ended is known to them then.

        Args:
            operations: The operations, each once.
            timeout: Seconds to wait for all of them.

        Raises:
            YagrpcError: Every Get failed.
        """
        with SignalsHeld() as signals:
            glance, watches = Glance(self._scheduler.release), []
            try:
                with self._lock:
                    for operation in operations:
                        check_wait(operation.id)
                        watch = self._join(operation)
                        glance.add(watch)
                        watches.append(watch)
                        if not watch.ended:
                            self._scheduler.hurry(watch, self._clock())
                    self._wake_leader()
                self._wait(lambda: glance.over, self._deadline(sooner(timeout)), watches, signals)
            finally:
                with self._lock:
                    glance.close()
            glance.check()

    def wait(self, operation: OperationView[Any, Any], timeout: float | None) -> _pb.operation_pb2.Operation:
        """Wait until an operation is done; when the timeout is over, poll a last time.

        Raises:
            YagrpcError: It can't be waited for, or is not done in time.
        """
        check_wait(operation.id)
        within = inherited(timeout)
        with SignalsHeld() as signals, Waiting([self._core.events], [operation.id]) as waiting:
            with self._lock:
                watch = waiting.run(self._join, operation)
            try:
                ended = self._wait(lambda: watch.ended, self._deadline(within), [watch], signals)
                if not ended and within == timeout:
                    last = config.GET_TIMEOUT if timeout == 0 else FINAL_POLL
                    self._poll_once(watch, self._deadline(last), signals)
            finally:
                with self._lock:
                    self._scheduler.release(watch)
            return watch.waited(within)

    def listen(self, operation: OperationView[Any, Any], listener: Listener) -> Watch:
        """Call `listener` with the watch, which is given, once it has ended.

        Where nobody waits, a thread of the client polls it.
        """
        with SignalsHeld():
            with self._lock:
                if self._thread is None and not self._closed:
                    # Before the watch depends on it: the start of a thread may fail.
                    self._thread = in_thread(self._serve_listeners, "yagrpc-poller")
                watch = self._join(operation)
                self._listened += not watch.listeners
                watch.listeners += (listener,)
            if watch.ended:  # the waiters were notified, but have not released it yet
                self._notify(watch)
            return watch

    def unlisten(self, watch: Watch, listener: Listener) -> None:
        """Forget a listener."""
        with SignalsHeld(), self._lock:
            if listener in watch.listeners:
                watch.listeners = tuple(other for other in watch.listeners if other != listener)
                self._listened -= not watch.listeners
                self._scheduler.release(watch)
                self._wake_leader()

    def call_back(self, callback: Callable[[], object]) -> None:
        """Call what a user gave, and what may wait; in turn, and here only once the client is closed."""
        with SignalsHeld():
            with self._lock:
                direct = self._closed and self._closing != threading.get_ident()
                starts = not (self._calling or self._closed)
                self._calling = self._calling or starts
                if not direct:
                    self._callbacks.append(callback)
            if starts:
                with contextlib.suppress(RuntimeError):  # the system starts no more threads, or the interpreter ends
                    in_thread(self._call_back, "yagrpc-callbacks")
                    starts = False
        if direct:
            callback()
        elif starts:
            self._call_back()

    def gets(self) -> tuple[float | None, int, int | None, int]:
        """The quota of Gets: its limit, what is used and left, and how many wait."""
        with SignalsHeld(), self._lock:
            return self._scheduler.gets(self._clock())

    def close(self) -> None:
        """End every wait with `ClientClosedError`, and the thread."""
        calls = False
        try:
            with SignalsHeld() as signals:
                with self._lock:
                    self._closed = True
                    self._closing = threading.get_ident()
                    ended, thread = self._scheduler.watches(), self._thread
                    for watch in ended:
                        watch.failure = watch.failure or ClientClosedError(watch.operation_id)
                    for waiter in self._waiting:
                        waiter.wake()
                for watch in ended:
                    self._notify(watch)
                with self._lock:
                    self._closing = None
                    calls = bool(self._callbacks) and not self._calling
                    self._calling = self._calling or calls
                if thread is not None and thread is not threading.current_thread():
                    signals.join(thread, None)
        finally:
            if calls:  # here, where signals are not held: what users are called back with may wait
                self._call_back()

    def forked(self) -> None:
        """In a forked child: the waiters are the parent's threads, and one of them may have had the lock."""
        self._lock = threading.Lock()
        self._waiting = {}
        self._leader = None

    def _join(self, operation: OperationView[Any, Any]) -> Watch:
        if self._closed or self._transport.channels.closed:  # before a fork, or in another event loop
            raise ClientClosedError(operation.id)
        watch = operation.watch = self._scheduler.watch(operation.proto, self._clock(), submitted=operation.submitted)
        if watch.context is None:  # its Gets belong to the trace of the first who waits for it
            watch.context = detached_context()
        self._wake_leader_if_due()
        return watch

    def _deadline(self, timeout: float | None) -> float:
        return math.inf if timeout is None else self._clock() + timeout

    def _poll_once(self, watch: Watch, deadline: float, signals: SignalsHeld) -> None:
        with self._lock:
            seen = watch.polls
            self._scheduler.hurry(watch, self._clock())
            self._wake_leader()
        self._wait(lambda: watch.polls > seen or watch.ended, deadline, [watch], signals)

    def _wait(self, over: Callable[[], bool], deadline: float, watches: Sequence[Watch], signals: SignalsHeld) -> bool:
        """Wait until something is over or the deadline comes; lead while no other waiter does."""
        mine = Waiter()
        caller = CURRENT.get() if watches else None
        try:
            if caller is not None:
                caller.add(mine, mine.wake)
            with self._lock:
                self._waiting[mine] = None
                for watch in watches:
                    watch.wakers += (mine.wake,)
            while True:
                with self._lock:
                    mine.woken = False
                    now = self._clock()
                    if over() or (caller is not None and caller.gone):
                        return True
                    if now >= deadline:
                        return False
                    due, until = self._lead(mine, now, deadline)
                if due is not None:
                    self._send_due(due)
                    continue
                if threading.get_ident() in self._notifying:
                    raise RuntimeError("a future's callback can't wait for an operation: add_done_callback's can")
                mine.sleep(until - self._clock(), signals.next_item)
        finally:
            if caller is not None:
                caller.forget(mine)
            with self._lock:
                self._waiting.pop(mine, None)
                for watch in watches:
                    watch.wakers = tuple(other for other in watch.wakers if other != mine.wake)
                if self._leader is mine:
                    self._leader = next(iter(self._waiting), None)
                    self._wake_leader()

    def _lead(self, mine: Waiter, now: float, deadline: float) -> tuple[Watch | None, float]:
        """What a waiter does next: the Get that it has to send, or until when it sleeps."""
        if self._leader is None:
            self._leader = mine
        if self._leader is not mine:
            return None, deadline
        if (watch := self._scheduler.take(now)) is not None:
            return watch, now
        self._leader_until = min(deadline, math.inf if (due := self._scheduler.next_time(now)) is None else due)
        return None, self._leader_until

    def _wake_leader(self) -> None:
        if (leader := self._leader) is not None:  # the limiter's thread calls this, too, without the lock
            leader.wake()

    def _wake_leader_if_due(self) -> None:
        """Wake the leader where it would sleep too long: once for every Get would be often."""
        due = self._scheduler.next_time(self._clock())
        if due is not None and due < self._leader_until:
            self._wake_leader()

    def _send_due(self, watch: Watch) -> None:
        """Send a Get that is due; the lock is not held: gRPC may call back."""
        try:
            self._send(watch)
        except BaseException as error:  # a user's own, in an event
            if threading.current_thread() is self._thread:
                return self._came_back(watch, error)  # no caller would get it
            with self._lock:  # others may wait for the same operation
                self._scheduler.put_back(watch, self._clock())
            raise

    def _send(self, watch: Watch) -> None:
        try:
            assert watch.context is not None
            flow = self._core.poll(watch.context.run(self._core.get_call, watch.operation_id))
        except Exception as error:  # of any kind: the waiters get it
            self._returned(watch, poll_failure(error, watch.operation_id))
            return
        watch.context.run(self._transport.start, flow, lambda outcome: self._came_back(watch, outcome))

    def _came_back(self, watch: Watch, outcome: Any) -> None:
        failed = isinstance(outcome, BaseException)
        if not failed:
            report_end(self._core.events, watch, outcome, self._clock())
        self._returned(watch, poll_failure(outcome, watch.operation_id) if failed else outcome)

    def _returned(self, watch: Watch, outcome: _pb.operation_pb2.Operation | YagrpcError) -> None:
        with self._lock:
            if isinstance(outcome, YagrpcError):
                self._scheduler.failed(watch, outcome, self._clock())
            else:
                self._scheduler.answered(watch, outcome, self._clock())
            for wake in watch.wakers:
                wake()
            self._wake_leader_if_due()
        if watch.ended:
            self._notify(watch)

    def _notify(self, watch: Watch) -> None:
        """Call the listeners of a watch that has ended, each once."""
        with self._lock:
            listeners, watch.listeners = watch.listeners, ()
            self._listened -= bool(listeners)
            for _ in listeners:
                self._scheduler.release(watch)
            self._wake_leader()
        self._notifying.add(threading.get_ident())
        try:
            for listener in listeners:
                try:
                    listener(watch)
                except BaseException:  # those after it are called all the same, and gRPC's thread continues
                    log.exception("a callback of operation %s failed", watch.operation_id)
        finally:
            self._notifying.discard(threading.get_ident())

    def _call_back(self) -> None:
        while True:
            with self._lock:
                if not self._callbacks:
                    self._calling = False
                    return
                callback = self._callbacks.popleft()
            try:
                callback()
            except BaseException:  # it would end the thread, and those after it would not be called
                log.exception("a callback raised an exception that is not an Exception")

    def _serve_listeners(self) -> None:
        with SignalsHeld() as signals:
            self._wait(self._nobody_listens, math.inf, [], signals)

    def _nobody_listens(self) -> bool:
        """Whether the thread ends; from then on the next who listens starts another."""
        if self._listened and not self._closed:
            return False
        self._thread = None
        return True

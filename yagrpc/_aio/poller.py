"""Waiting for operations, for the asyncio client: carries the scheduler's decisions out.

Rules: one task per client while anything is waited for, none per operation. It lives in the event loop of the first
wait. A waiter that is cancelled leaves the others, and the Get that they share, alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from yagrpc import _pb, config
from yagrpc._core.polling.reading import poll_failure
from yagrpc._core.polling.scheduler import FINAL_POLL, Scheduler
from yagrpc._core.polling.watch import Glance, Listener, Watch, check_wait
from yagrpc._core.reporting.operations import Waiting, report_end
from yagrpc._grpc.loops import ended
from yagrpc.context import detached_context, inherited, sooner
from yagrpc.errors import ClientClosedError, YagrpcError

if TYPE_CHECKING:
    from yagrpc._aio.transport import AsyncTransport
    from yagrpc._core.client import ClientCore
    from yagrpc._core.operation.view import OperationView

log = logging.getLogger("yagrpc.operations")


class AsyncPoller:
    """Waits for operations on behalf of one client.

    Args:
        core: The client's settings.
        transport: Its channels.
    """

    def __init__(self, core: ClientCore, transport: AsyncTransport) -> None:
        self._core = core
        self._clock = core.clock
        self._transport = transport
        self._scheduler = Scheduler(core.quota, core.polling, core.runtime, core.grants, self._hasten_soon)
        self._gets: set[asyncio.Task[None]] = set()
        self._wake: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def poll_once(self, operation: OperationView[Any, Any], timeout: float | None) -> _pb.operation_pb2.Operation:
        """One Get, paced with all others; a Get that is under way is enough.

        Args:
            operation: The operation.
            timeout: Seconds to wait for it.

        Raises:
            YagrpcError: It failed, or did not come back in time.
        """
        check_wait(operation.id)
        watch = self._join(operation)
        seen = watch.polls
        try:
            await self._poll_once(watch, sooner(timeout))
        finally:
            self._release(watch)
        return watch.polled(seen, timeout)

    async def poll_each(self, operations: Sequence[OperationView[Any, Any]], timeout: float | None) -> None:
        """One Get of each of several operations, paced with all others; what ended is known to them then.

        Args:
            operations: The operations, each once.
            timeout: Seconds to wait for all of them.

        Raises:
            YagrpcError: Every Get failed.
        """
        glance, watches = Glance(self._release), []
        try:
            for operation in operations:
                check_wait(operation.id)
                watch = self._join(operation)
                glance.add(watch)
                watches.append(watch)
                if not watch.ended:
                    self._scheduler.hurry(watch, self._clock())
            self._hasten()
            await self._until(watches, lambda: glance.over, sooner(timeout))
        finally:
            glance.close()
        glance.check()

    async def wait(self, operation: OperationView[Any, Any], timeout: float | None) -> _pb.operation_pb2.Operation:
        """Wait until an operation is done; when the timeout is over, poll a last time.

        Raises:
            YagrpcError: It can't be waited for, or is not done in time.
        """
        check_wait(operation.id)
        within = inherited(timeout)
        with Waiting([self._core.events], [operation.id]) as waiting:
            watch = waiting.run(self._join, operation)
            try:
                if not await self._until([watch], lambda: watch.ended, within) and within == timeout:
                    check_wait(operation.id, gone=True)
                    await self._poll_once(watch, config.GET_TIMEOUT if timeout == 0 else FINAL_POLL)
            finally:
                self._release(watch)
            return watch.waited(within)

    def listen(self, operation: OperationView[Any, Any], listener: Listener) -> Watch:
        """Call `listener` with the watch, which is given, once it has ended."""
        watch = self._join(operation)
        watch.listeners += (listener,)
        if watch.ended:  # the waiters were notified, but have not released it yet
            self._notify(watch)
        return watch

    def unlisten(self, watch: Watch, listener: Listener) -> None:
        """Forget a listener."""
        if listener in watch.listeners:
            watch.listeners = tuple(other for other in watch.listeners if other != listener)
            self._release(watch)

    def gets(self) -> tuple[float | None, int, int | None, int]:
        """The quota of Gets: its limit, what is used and left, and how many wait."""
        return self._scheduler.gets(self._clock())

    async def close(self) -> None:
        """End every wait with `ClientClosedError`, and the task."""
        self._closed = True
        for watch in self._scheduler.watches():
            watch.failure = watch.failure or ClientClosedError(watch.operation_id)
            self._notify(watch)
        ending = [*self._gets, *([self._task] if self._task is not None else [])]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _join(self, operation: OperationView[Any, Any]) -> Watch:
        if self._closed or self._transport.channels.closed:  # before a fork, or in another event loop
            raise ClientClosedError(operation.id)
        watch = self._scheduler.watch(operation.proto, self._clock(), submitted=operation.submitted)
        if watch.context is None:  # its Gets belong to the trace of the first who waits for it
            watch.context = detached_context()
        operation.watch = watch
        if self._task is None or self._task.done():
            self._wake = asyncio.Event()
            loop = asyncio.get_running_loop()
            # In an empty context: it works for all waiters, not only for the first.
            self._task = contextvars.Context().run(loop.create_task, self._run(self._wake), name="yagrpc-poller")
        self._hasten()
        return watch

    def _release(self, watch: Watch) -> None:
        self._scheduler.release(watch)
        self._hasten()  # with the last of them the task ends

    def _hasten(self) -> None:
        """Have the task check again what is due."""
        if self._wake is not None:
            self._wake.set()

    def _hasten_soon(self) -> None:
        """The same, in any thread."""
        if (loop := self._transport.loop) is not None:
            with contextlib.suppress(RuntimeError):  # a closed loop polls nothing
                loop.call_soon_threadsafe(self._hasten)

    async def _poll_once(self, watch: Watch, timeout: float | None) -> None:
        seen = watch.polls
        self._scheduler.hurry(watch, self._clock())
        self._hasten()
        await self._until([watch], lambda: watch.ended or watch.polls > seen, timeout)

    async def _until(self, watches: Sequence[Watch], over: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until something of some watches is over; gives whether it is."""
        if over():
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not future.done() and over():
                future.set_result(None)

        for watch in watches:
            watch.wakers += (wake,)
        try:
            done = await ended(timeout, future)
        finally:
            for watch in watches:
                watch.wakers = tuple(other for other in watch.wakers if other is not wake)
        return bool(done)

    async def _run(self, wake: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while len(self._scheduler):
            while (watch := self._scheduler.take(self._clock())) is not None:
                assert watch.context is not None
                get = watch.context.run(loop.create_task, self._get(watch), name=f"yagrpc-get-{watch.operation_id}")
                self._gets.add(get)
                get.add_done_callback(self._gets.discard)
            now = self._clock()
            due = self._scheduler.next_time(now)
            timer = None if due is None else loop.call_later(max(0.0, due - now), wake.set)
            try:
                await wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()
            wake.clear()

    async def _get(self, watch: Watch) -> None:
        outcome: _pb.operation_pb2.Operation | YagrpcError
        try:
            outcome = await self._transport.run(self._core.poll(self._core.get_call(watch.operation_id)))
            report_end(self._core.events, watch, outcome, self._clock())
        except asyncio.CancelledError:
            outcome = ClientClosedError(watch.operation_id)
        except Exception as error:  # of any kind: the waiters get it
            outcome = poll_failure(error, watch.operation_id)
        if isinstance(outcome, YagrpcError):
            self._scheduler.failed(watch, outcome, self._clock())
        else:
            self._scheduler.answered(watch, outcome, self._clock())
        self._hasten()
        self._notify(watch)

    def _notify(self, watch: Watch) -> None:
        """Wake the waiters of a watch; once it has ended, call its listeners."""
        for wake in watch.wakers:
            wake()
        if not watch.ended:
            return
        listeners, watch.listeners = watch.listeners, ()
        for listener in listeners:
            self._scheduler.release(watch)
            try:
                listener(watch)
            except Exception:
                log.exception("a callback of operation %s failed", watch.operation_id)

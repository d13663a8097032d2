"""What polls for operations while nothing is due: it ends with the last who waits, and misses no wake-up.

The blocking client has a thread for listeners, the asyncio one a task for all. A Get is due in an hour here, so that
what is not woken sleeps until the test fails. The client's clock shows the moment before that sleep.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import yagrpc
from yagrpc._grpc.waits import signals
from yagrpc.emulator import Emulator, paths

SECONDS = 20.0
"""How long a test waits for what has to happen."""

IN_AN_HOUR = yagrpc.Polling(first=3600.0, shortest=3600.0, longest=3600.0)


class Idle:
    """A client that sends no Get for an hour, unless one is wanted at once, and what polls for it.

    Args:
        subject: Makes the client.
        emulator: Its server.

    Attributes:
        client: The client.
        poller: What waits for operations on its behalf.
        asleep: Set once the thread or task is about to sleep.
        before: Called at that moment, in the thread or task, once.
    """

    def __init__(self, subject: Any, emulator: Emulator) -> None:
        self.client = subject.client(emulator, polling=IN_AN_HOUR)
        self.poller = subject.in_loop(lambda: self.client._poller)
        self.asleep = threading.Event()
        self.before: Callable[[], object] = lambda: None
        self._subject = subject
        self._listened: Any = None
        self._listens = threading.Event()
        self._asked = 0
        self._now = self.poller._clock
        self.poller._clock = self._clock

    @property
    def runner(self) -> Any:
        """The thread, or the task, that polls."""
        found = self.poller._thread if self._subject.kind == "sync" else self.poller._task
        assert found is not None
        return found

    def submit(self) -> Any:
        """An operation that runs for an hour."""
        return self._subject(self.client.completion_async("hello"))

    def listen(self, operation: Any) -> None:
        """Listen to an operation; `forget` ends that."""

        def listener(watch: Any) -> None:
            pass

        def listens() -> None:
            self._listened = self.poller.listen(operation, listener), listener
            self._listens.set()

        self._subject.in_loop(listens)

    def forget(self) -> None:
        """Forget the listener."""
        assert self._listens.wait(SECONDS)  # the thread may come here before `listen` has returned
        self.poller.unlisten(*self._listened)

    def sleeps(self) -> None:
        """Wait until the thread, or the task, is about to sleep."""
        if self._subject.kind == "sync":
            assert self.asleep.wait(SECONDS)
        else:
            self._subject(self.steps())

    async def steps(self) -> None:
        """The same, in the event loop."""
        while not self.asleep.is_set():  # noqa: ASYNC110 - step by step
            await asyncio.sleep(0)

    def ended(self, runner: Any) -> bool:
        """Whether the thread, or the task, ends."""
        if self._subject.kind == "sync":
            runner.join(SECONDS)
            return not runner.is_alive()

        async def waited() -> bool:
            return bool((await asyncio.wait([runner], timeout=SECONDS))[0])

        return bool(self._subject(waited()))

    def _clock(self) -> float:
        if not self.asleep.is_set() and self._about_to_sleep():
            self.asleep.set()
            self.before()
        now: float = self._now()
        return now

    def _about_to_sleep(self) -> bool:
        poller = self.poller
        if self._subject.kind == "sync":
            return threading.current_thread() is poller._thread and not poller._lock.locked()
        self._asked += asyncio.current_task() is poller._task
        return self._asked == 2  # the first time, it asks what is due


@pytest.fixture
def idle(subject: Any, emulator: Emulator) -> Idle:
    return Idle(subject, emulator)


def only(subject: Any, kind: str, why: str) -> None:
    """Skip the test of the other client."""
    if subject.kind != kind:
        pytest.skip(why)


def test_the_poller_ends_with_the_last_listener(subject: Any, idle: Idle, emulator: Emulator) -> None:
    futures = [subject.in_loop(idle.submit().future) for _ in range(2)]
    runner = idle.runner
    idle.sleeps()
    subject.in_loop(futures[0].cancel)
    assert idle.runner is runner
    subject.in_loop(futures[1].cancel)
    assert idle.ended(runner)
    assert emulator.calls[paths.OPERATION_GET] == 0


def test_the_poller_starts_again_for_the_next_listener(subject: Any, idle: Idle) -> None:
    runners = []
    for _ in range(2):
        idle.listen(idle.submit())
        runners.append(idle.runner)
        subject.in_loop(idle.forget)
        assert idle.ended(runners[-1])
    assert runners[0] is not runners[1]


def test_a_method_can_listen_and_be_forgotten(subject: Any, idle: Idle) -> None:
    """Each time that it is asked for, a method is another object."""
    called: list[Any] = []
    operation = idle.submit()
    watch = subject.in_loop(lambda: idle.poller.listen(operation, called.append))
    runner = idle.runner
    subject.in_loop(lambda: idle.poller.unlisten(watch, called.append))
    assert watch.listeners == ()
    assert idle.ended(runner)


def test_a_listener_that_leaves_just_before_the_poller_sleeps_ends_it(idle: Idle) -> None:
    """The wake-up comes before the sleep, and is not lost."""
    runners: list[Any] = []

    def leave() -> None:
        runners.append(idle.runner)
        idle.forget()

    idle.before = leave
    idle.listen(idle.submit())
    idle.sleeps()
    assert idle.ended(runners[0])


def test_a_poll_that_is_wanted_at_once_wakes_the_poller(subject: Any, idle: Idle, emulator: Emulator) -> None:
    operation = idle.submit()
    idle.listen(operation)
    runner = idle.runner
    idle.sleeps()
    subject(operation.refresh(timeout=SECONDS))
    assert emulator.calls[paths.OPERATION_GET] == 1
    emulator.advance(3600.0)
    subject(operation.refresh(timeout=SECONDS))
    assert operation.proto.done
    assert idle.ended(runner)  # its listener was called


def test_the_thread_ends_that_sleeps_beside_a_waiter(subject: Any, idle: Idle) -> None:
    """The waiter leads: it is woken where its listener is forgotten, and wakes the thread where it leaves."""
    only(subject, "sync", "the asyncio client has one task for all")
    leads, lead, leave = threading.Event(), idle.poller._lead, threading.Event()
    submitted = idle.submit()

    def led(*arguments: Any) -> Any:
        found = lead(*arguments)
        leads.set()
        return found

    def wait() -> None:
        with idle.poller._lock:
            watch = idle.poller._join(submitted)
        with signals.SignalsHeld() as held:
            idle.poller._wait(leave.is_set, float("inf"), [watch], held)

    idle.poller._lead = led
    waiter = threading.Thread(target=wait)
    waiter.start()
    assert leads.wait(SECONDS)
    idle.listen(idle.submit())
    thread = idle.runner
    idle.sleeps()
    idle.forget()
    leave.set()
    with idle.poller._lock:
        idle.poller._wake_leader()
    waiter.join(SECONDS)
    assert idle.ended(thread)


@pytest.mark.parametrize("leave", ["cancelled", "timeout"])
def test_the_task_ends_when_the_last_waiter_leaves(subject: Any, idle: Idle, leave: str) -> None:
    only(subject, "aio", "the blocking client's waiters poll for themselves")
    operation = idle.submit()

    async def cancelled() -> None:
        waiting = asyncio.ensure_future(operation.result())
        await idle.steps()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    async def timed_out() -> None:
        with pytest.raises(yagrpc.OperationTimeoutError):
            await operation.result(timeout=0.01)

    subject(cancelled() if leave == "cancelled" else timed_out())
    assert idle.ended(idle.runner)


def test_the_last_poll_of_a_wait_that_is_out_of_time_is_sent_at_once(
    subject: Any, idle: Idle, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shell in ("_sync", "_aio"):
        monkeypatch.setattr(f"yagrpc.{shell}.poller.FINAL_POLL", SECONDS)
    operation = idle.submit()
    with pytest.raises(yagrpc.OperationTimeoutError):
        subject(operation.result(timeout=0.01))
    assert emulator.calls[paths.OPERATION_GET] == 1


# Closing


async def test_a_cancellation_while_the_client_closes_stays_one(emulator: Emulator) -> None:
    """At each step of the closing, while somebody waits; closing again then completes it."""
    cancelled: list[bool] = []
    while not cancelled or cancelled[-1]:
        client = yagrpc.AsyncClient(
            endpoint=emulator.address, plaintext=True, folder_id="f", credentials="AQVNx", polling=IN_AN_HOUR
        )
        waiting = asyncio.ensure_future((await client.completion_async("hello")).result())
        await client.tokenize("hello")
        closing = asyncio.ensure_future(client.close())
        for _ in cancelled:
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing], timeout=SECONDS)
        assert closing.cancelled() or closing.exception() is None
        cancelled.append(closing.cancelled())
        await client.close()
        with pytest.raises(yagrpc.ClientClosedError):
            await waiting
    assert len(cancelled) > 3

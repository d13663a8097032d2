"""Submits whose callers leave: whatever the service accepted is recorded, in each way of leaving, at each moment.

The server holds its answer until the test lets it go, so that the moment at which a caller leaves is known: while a
slot or a connection is waited for, while the server works, or after it has answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import itertools
import linecache
import logging
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb, methods

if TYPE_CHECKING:
    from tests.contract.conftest import Nowhere

ACCEPTED, LOST = "accepted", "may have been accepted"
SECONDS = 20.0

SOON = 1.0
"""Seconds after which a caller leaves: enough to connect and to send before, on a busy machine too."""
"""How long a test waits for what has to happen."""


class SoftTimeLimit(Exception):
    """What a task queue raises in the main thread, from the handler of a signal."""


class Service:
    """A service that holds the answers to submits until the test lets them go.

    Args:
        served: The bare server that it runs on.
    """

    def __init__(self, served: Any) -> None:
        self.go = threading.Event()
        self.arrived: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.ids: dict[str, str] = {}
        """The ids of accepted operations, by the ids of their requests."""
        self.requests: list[str] = []
        self.refusals: dict[str, grpc.StatusCode] = {}
        self._numbers = itertools.count(1)
        self.address: str = served.start(completion_async=self.submit, get=self.get, tokenize=self.tokenize).address

    def submit(self, request: Any, context: grpc.ServicerContext) -> Any:
        name = str(dict(context.invocation_metadata())["x-client-request-id"])
        self.requests.append(name)
        context.add_callback(lambda: self.ended.put(name))
        self.arrived.put(name)
        assert self.go.wait(SECONDS)
        if name in self.refusals:
            context.abort(self.refusals[name], "as asked")
        self.ids[name] = f"operation-{next(self._numbers)}"
        return _pb.operation_pb2.Operation(id=self.ids[name])

    def get(self, request: Any, context: grpc.ServicerContext) -> Any:
        return _pb.operation_pb2.Operation(id=request.operation_id)

    def tokenize(self, request: Any, context: grpc.ServicerContext) -> Any:
        return _pb.text_generation_service_pb2.TokenizeResponse()


class Journal(yagrpc.Events):
    """Keeps the ids of accepted operations by those of their requests, as a user's journal does."""

    def __init__(self) -> None:
        self.accepted_ids: list[tuple[str, str]] = []
        self.late: list[Any] = []
        self.recorded = threading.Condition()

    def accepted(self, call: Any, operation: Any) -> None:
        with self.recorded:
            self.accepted_ids.append((call.client_request_id, operation.id))
            self.recorded.notify_all()

    def attempt(self, call: Any, outcome: Any, verdict: Any) -> None:
        if outcome.late:
            with self.recorded:
                self.late.append((call.client_request_id, outcome, verdict))
                self.recorded.notify_all()

    def wait(self, count: int) -> None:
        """Wait for so many operations or late failures."""
        with self.recorded:
            assert self.recorded.wait_for(lambda: len(self.accepted_ids) + len(self.late) >= count, SECONDS)


class Records(logging.Handler):
    """What was logged about operations: the ids of accepted ones, and the requests of those that may be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[tuple[str, str]] = []
        self.lost: list[str] = []
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        found: Any = record
        if record.levelno >= logging.ERROR:
            # gRPC's own: its poller hands an event to the loop of an earlier test, which is closed.
            if "PollerCompletionQueue" not in record.getMessage():
                self.errors.append(record.getMessage())
        elif record.name == "yagrpc.operations" and ACCEPTED in record.getMessage() and record.levelno == logging.INFO:
            self.ids.append((found.client_request_id, found.operation_id))
        elif record.name == "yagrpc.operations" and LOST in record.getMessage() and record.levelno == logging.WARNING:
            self.lost.append(found.client_request_id)


@pytest.fixture
def service(served: Any) -> Iterator[Service]:
    found = Service(served)
    yield found
    found.go.set()


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture(autouse=True)
def records() -> Iterator[Records]:
    """What is logged; nothing of it may be an error, asyncio's complaints included."""
    found = Records()
    loggers = [logging.getLogger("yagrpc"), logging.getLogger("asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(found)
        logger.setLevel(logging.INFO)
    yield found
    gc.collect()  # a task that is destroyed, or an exception that was not retrieved, is logged by then
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(found)
        logger.setLevel(level)
    # gRPC itself logs an error where a loop ends amid cancelled calls (grpc.aio, 1.68 to 1.85); nothing is lost.
    assert [error for error in found.errors if "PollerCompletionQueue" not in error] == []


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("yagrpc-"):
            thread.join(SECONDS)
            assert not thread.is_alive(), thread.name


@pytest.fixture
def settings(service: Service, journal: Journal) -> dict[str, Any]:
    return {
        "endpoint": service.address,
        "plaintext": True,
        "folder_id": "f",
        "credentials": yagrpc.NoCredentials(),
        "events": journal,
    }


@pytest.fixture
def interrupt() -> Iterator[Callable[[type[BaseException]], None]]:
    """Has the main thread raise an exception, as a signal's handler does: Ctrl-C is SIGINT itself."""
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)
    main = threading.main_thread().ident
    assert main is not None

    def limit(number: int, frame: FrameType | None) -> None:
        raise SoftTimeLimit

    signal.signal(signal.SIGUSR1, limit)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda kind: signal.pthread_kill(main, signal.SIGINT if kind is KeyboardInterrupt else signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before[0])
    signal.signal(signal.SIGINT, before[1])


def then(wait: Callable[[], object], *steps: Callable[[], object]) -> threading.Thread:
    """Do some steps in another thread, once something has happened."""

    def run() -> None:
        wait()
        for step in steps:
            step()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def all_is_recorded(service: Service, journal: Journal, records: Records) -> None:
    """What the service accepted is recorded once; nothing was sent twice."""
    assert len(set(service.requests)) == len(service.requests)
    accepted = sorted(service.ids.items())
    assert sorted(journal.accepted_ids) == accepted
    assert sorted(records.ids) == accepted
    assert records.lost == []


# Blocking, by the exception of a signal


exceptions = pytest.mark.parametrize("kind", [KeyboardInterrupt, SoftTimeLimit])


@exceptions
@pytest.mark.parametrize("grace", [True, False], ids=["with", "later"])
def test_an_interrupted_submit_is_completed(
    kind: type[BaseException],
    grace: bool,
    settings: dict[str, Any],
    service: Service,
    journal: Journal,
    records: Records,
    interrupt: Any,
) -> None:
    """The answer comes while the `with` block is left, or long before that."""
    client = yagrpc.Client(**settings)
    thread = then(service.arrived.get, lambda: interrupt(kind))
    with pytest.raises(kind):
        client.completion_async("hello", timeout=SECONDS)
    thread.join()
    assert journal.accepted_ids == []
    service.go.set()
    if not grace:
        journal.wait(1)
    client.close()
    all_is_recorded(service, journal, records)
    assert len(journal.accepted_ids) == 1


@exceptions
def test_an_interrupted_submit_that_is_not_answered_in_the_grace_is_reported_as_lost(
    kind: type[BaseException],
    settings: dict[str, Any],
    service: Service,
    journal: Journal,
    records: Records,
    interrupt: Any,
) -> None:
    thread = then(service.arrived.get, lambda: interrupt(kind))
    with pytest.raises(kind), yagrpc.Client(**settings) as client:
        client.completion_async("hello", timeout=SECONDS, request_id="r-1")
    thread.join()
    assert (records.lost, records.ids) == (["r-1"], [])
    [(request_id, outcome, verdict)] = journal.late
    assert (request_id, outcome.late, verdict.action.value) == ("r-1", True, "AmbiguousSubmitError")
    assert service.requests == ["r-1"]


@exceptions
def test_an_interrupt_while_a_connection_is_waited_for_sends_nothing(
    kind: type[BaseException], settings: dict[str, Any], service: Service, nowhere: Nowhere, interrupt: Any
) -> None:
    client = yagrpc.Client(**{**settings, "endpoint": nowhere.address})
    thread = then(nowhere.connected, lambda: interrupt(kind))
    with pytest.raises(kind):
        client.completion_async("hello", timeout=SECONDS)
    thread.join()
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 1.0
    assert service.requests == []


class Waiting(yagrpc.Events):
    """Tells when a call waits for a slot."""

    def __init__(self) -> None:
        self.waits = threading.Event()

    def waiting_for_quota(self, call: Any, quota: str, seconds: float | None) -> None:
        self.waits.set()


@exceptions
def test_an_interrupt_while_a_slot_is_waited_for_sends_nothing(
    kind: type[BaseException], settings: dict[str, Any], service: Service, journal: Journal, interrupt: Any
) -> None:
    service.go.set()
    waiting = Waiting()
    settings = {**settings, "quota": yagrpc.Quota(submit_per_hour=1), "events": [journal, waiting]}
    with yagrpc.Client(**settings) as client:
        client.completion_async("takes the slot")
        thread = then(waiting.waits.wait, lambda: interrupt(kind))
        with pytest.raises(kind):
            client.completion_async("waits", timeout=None)
        thread.join()
        assert client.limits.submit_per_hour.waiting == 0
    assert len(service.requests) == len(journal.accepted_ids) == 1


@exceptions
def test_an_exception_between_any_two_steps_of_a_submit_loses_no_id(
    kind: type[BaseException],
    settings: dict[str, Any],
    service: Service,
    journal: Journal,
    records: Records,
    interrupt: Any,
) -> None:
    """A signal comes once before each line that the main thread runs.

    One does not: the end of a `with`, which leaves a lock (CPython handles signals before or after that).
    """
    service.go.set()
    client = yagrpc.Client(**settings, quota=None)
    client.completion_async("connects")

    for number in itertools.count():
        left = number

        def tracer(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal left
            if "yagrpc/_" not in (file := frame.f_code.co_filename):
                return None
            if event == "line" and not linecache.getline(file, frame.f_lineno).lstrip().startswith("with "):
                if not left:
                    left = -1
                    interrupt(kind)
                left -= 1
            return tracer

        before = sys.gettrace()  # that of coverage
        sys.settrace(tracer)
        try:
            client.completion_async("hello", timeout=SECONDS)
        except kind:
            pass
        else:
            if left >= 0:
                break
        finally:
            sys.settrace(before)
    assert number > 100
    records.errors.clear()  # one that comes while a listener is called is taken for a failure of the listener
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 1.0
    assert len(service.ids) > 30
    all_is_recorded(service, journal, records)
    # What is raised in the middle of a log line is logged as a failure of that, as any other exception there.
    records.errors[:] = [error for error in records.errors if not error.startswith("Events.")]


def test_an_exception_between_any_two_steps_of_closing_hangs_nothing(
    settings: dict[str, Any], service: Service, interrupt: Any
) -> None:
    """A signal also comes when a lock of Python's own has just been taken: closing once more ends all the same."""
    service.go.set()
    for number in itertools.count():
        client = yagrpc.Client(**settings)
        client.completion_async("connects")
        left = number

        def tracer(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal left
            file = frame.f_code.co_filename
            took = event == "return" and file == threading.__file__ and frame.f_code.co_name == "__enter__"
            if took and "grpc/" in getattr(frame.f_back, "f_code", frame.f_code).co_filename:
                return tracer  # gRPC's own, in destructors too
            line = linecache.getline(file, frame.f_lineno).lstrip()
            if took or (event == "line" and "yagrpc/_" in file and not line.startswith("with ")):
                if not left:
                    left = -1
                    interrupt(KeyboardInterrupt)
                left -= 1
            return tracer

        before = sys.gettrace()  # that of coverage
        sys.settrace(tracer)
        try:
            client.close()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        again = threading.Thread(target=client.close, daemon=True)
        again.start()
        again.join(SECONDS)
        assert not again.is_alive(), number
        if left >= 0:
            break
    assert number > 30


# Both clients, by the caller's own timeout


def test_a_submit_out_of_time_is_completed(
    subject: Any, settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    client = subject.client(**settings)
    with pytest.raises(yagrpc.SubmitTimeoutError) as caught:
        subject(client.completion_async("hello", timeout=SOON, request_id="r-1"))
    assert caught.value.client_request_id == "r-1"
    service.go.set()
    subject(client.close())
    all_is_recorded(service, journal, records)
    assert [name for name, _ in journal.accepted_ids] == ["r-1"]


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INVALID_ARGUMENT"])
def test_a_failure_after_the_caller_left_is_reported(
    code: str, subject: Any, settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    """A refusal proves that nothing was started; nothing is sent again."""
    service.refusals["r-1"] = grpc.StatusCode[code]
    client = subject.client(**settings)
    with pytest.raises(yagrpc.SubmitTimeoutError):
        subject(client.completion_async("hello", timeout=SOON, request_id="r-1", resubmit=True))
    service.go.set()
    subject(client.close())
    assert [(name, outcome.error.code.name) for name, outcome, _ in journal.late] == [("r-1", code)]
    assert records.lost == (["r-1"] if code == "UNAVAILABLE" else [])
    assert service.requests == ["r-1"]


def test_nothing_is_sent_without_time(subject: Any, settings: dict[str, Any], service: Service) -> None:
    service.go.set()
    client = subject.client(**settings)
    subject(client.completion_async("connects"))
    with pytest.raises(yagrpc.DeadlineExceededError, match="the timeout of 0 s is over, nothing was sent"):
        subject(client.completion_async("hello", timeout=0))
    assert len(service.requests) == 1


def test_a_slow_journal_does_not_make_a_timeout_of_an_answer(
    subject: Any, settings: dict[str, Any], service: Service
) -> None:
    service.go.set()
    over = threading.Event()

    class Slow(yagrpc.Events):
        def accepted(self, call: Any, operation: Any) -> None:
            over.wait(0.5)

    client = subject.client(**{**settings, "events": Slow()})
    assert subject(client.completion_async("hello", timeout=0.4)).id == "operation-1"


# Both clients, by `close()`


def test_closing_the_client_waits_for_the_answer(
    subject: Any, settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    client = subject.client(**settings)

    def close() -> Any:
        return _after(subject, service.arrived.get, client.close, service.go.set)

    operation, _ = subject.together([functools.partial(client.completion_async, "hello", timeout=SECONDS), close])
    assert operation.id == "operation-1"
    all_is_recorded(service, journal, records)


@pytest.mark.parametrize("host", [False, True], ids=["own", "host"])
def test_closing_the_client_ends_a_submit_that_is_not_answered(
    host: bool, subject: Any, settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    """Its caller gets the request's id. On a channel of the host's the blocking client still learns of the answer."""
    channel = subject.in_loop(lambda: _channel(subject, service.address))
    client = subject.client(**{**settings, **({"channel": channel, "operation_channel": channel} if host else {})})
    submit = functools.partial(client.completion_async, "hello", timeout=SECONDS, request_id="r-1", resubmit=True)
    started = time.monotonic()
    error, _ = subject.together([submit, lambda: _after(subject, service.arrived.get, client.close)])
    assert time.monotonic() - started < 1.5
    assert isinstance(error, yagrpc.AmbiguousSubmitError)
    assert (error.client_request_id, service.requests) == ("r-1", ["r-1"])
    assert journal.accepted_ids == []
    service.go.set()
    if host and subject.kind == "sync":
        journal.wait(1)
        all_is_recorded(service, journal, records)
    subject(channel.close())


def test_closing_the_client_before_a_resubmit_keeps_the_first_attempt_in_mind(
    subject: Any, settings: dict[str, Any], service: Service
) -> None:
    """It failed in a way that does not prove that nothing started."""
    service.refusals["r-1"] = grpc.StatusCode.UNAVAILABLE
    service.go.set()
    failed = threading.Event()

    class Failing(yagrpc.Events):
        def attempt(self, call: Any, outcome: Any, verdict: Any) -> None:
            failed.set()

    client = subject.client(**{**settings, "events": Failing()})
    submit = functools.partial(client.completion_async, "hello", request_id="r-1", resubmit=True)
    error, _ = subject.together([submit, lambda: _after(subject, failed.wait, client.close)])
    assert isinstance(error, yagrpc.AmbiguousSubmitError)
    assert isinstance(error.__cause__, yagrpc.ClientClosedError)


def _channel(subject: Any, address: str) -> Any:
    return grpc.insecure_channel(address) if subject.kind == "sync" else grpc.aio.insecure_channel(address)


def _after(subject: Any, wait: Callable[[], object], close: Callable[[], Any], *meanwhile: Callable[[], object]) -> Any:
    """Close the client once something has happened; something else happens while it closes."""
    if subject.kind == "sync":
        wait()
        threads = [then(lambda: None, step) for step in meanwhile]
        close()
        for thread in threads:
            thread.join()
        return None

    async def closed() -> None:
        await asyncio.to_thread(wait)
        closing = asyncio.ensure_future(close())
        await asyncio.sleep(0)
        for step in meanwhile:
            step()
        await closing

    return closed()


# asyncio


Leave = Callable[[Coroutine[Any, Any, Any], Callable[[], Coroutine[Any, Any, None]]], Coroutine[Any, Any, None]]


async def _cancelled(submit: Coroutine[Any, Any, Any], moment: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.ensure_future(submit)
    await moment()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _timed_out(submit: Coroutine[Any, Any, Any], moment: Callable[[], Coroutine[Any, Any, None]]) -> None:
    waiting = asyncio.ensure_future(asyncio.wait_for(submit, SOON))
    await moment()
    with pytest.raises(asyncio.TimeoutError):
        await waiting


ways = pytest.mark.parametrize("leave", [_cancelled, _timed_out], ids=["cancelled", "wait_for"])


@ways
async def test_a_task_that_leaves_while_the_service_works_loses_no_id(
    leave: Leave, settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    async with yagrpc.AsyncClient(**settings) as client:
        await leave(client.completion_async("hello"), lambda: _in_thread(service.arrived.get))
        service.go.set()
    all_is_recorded(service, journal, records)
    assert len(journal.accepted_ids) == 1


async def test_a_task_that_is_cancelled_after_the_answer_loses_no_id(
    settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    """The answer has arrived, and the event loop has not come to it yet."""
    service.go.set()
    async with yagrpc.AsyncClient(**settings) as client:
        await client.completion_async("connects")
        service.ended.get()
        for turns in range(12):
            task = asyncio.ensure_future(client.completion_async("hello"))
            while not service.arrived.empty():
                service.arrived.get()
            while service.arrived.empty():  # noqa: ASYNC110 - step by step
                await asyncio.sleep(0)
            service.ended.get()  # the event loop stands still until the service has answered
            for _ in range(turns):  # and is some steps further each time
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
    all_is_recorded(service, journal, records)
    assert len(journal.accepted_ids) == 13


@ways
async def test_a_task_that_leaves_while_a_connection_is_waited_for_sends_nothing(
    leave: Leave, settings: dict[str, Any], nowhere: Nowhere, records: Records
) -> None:
    async with yagrpc.AsyncClient(**{**settings, "endpoint": nowhere.address}) as client:
        await leave(client.completion_async("hello"), lambda: _in_thread(nowhere.connected))
    assert records.lost == []


@ways
async def test_a_task_that_leaves_while_a_slot_is_waited_for_sends_nothing(
    leave: Leave, settings: dict[str, Any], service: Service, journal: Journal
) -> None:
    service.go.set()
    waiting = Waiting()
    settings = {**settings, "quota": yagrpc.Quota(submit_per_hour=1), "events": [journal, waiting]}
    async with yagrpc.AsyncClient(**settings) as client:
        await client.completion_async("takes the slot")
        await leave(client.completion_async("waits", timeout=None), lambda: _in_thread(waiting.waits.wait))
        assert client.limits.submit_per_hour.waiting == 0
    assert len(service.requests) == len(journal.accepted_ids) == 1


async def test_a_coroutine_that_is_closed_loses_no_id(
    settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    """As by a framework that runs a coroutine itself, and drops it."""
    service.go.set()
    async with yagrpc.AsyncClient(**settings) as client:
        await client.completion_async("connects")
        service.arrived.get()
        service.go.clear()
        submit = client.completion_async("hello")
        future = submit.send(None)
        assert future is not None
        await _in_thread(service.arrived.get)
        submit.close()
        service.go.set()
    all_is_recorded(service, journal, records)
    assert len(journal.accepted_ids) == 2


async def _in_thread(wait: Callable[[], object]) -> None:
    await asyncio.to_thread(wait)


@pytest.mark.parametrize("closed", [True, False], ids=["async with", "not closed"])
def test_a_loop_that_ends_loses_no_id_silently(
    closed: bool, settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    """`asyncio.run` cancels gRPC's own tasks too: the answer can only be waited for where the client is closed."""
    clients = []

    async def submit(client: Any) -> None:
        await client.completion_async("hello", request_id="r-1")

    async def main() -> None:
        client = yagrpc.AsyncClient(**settings)
        clients.append(client)
        background = asyncio.ensure_future(submit(client))
        if not closed:
            await _in_thread(service.arrived.get)
            return
        async with client:
            await _in_thread(service.arrived.get)
            background.cancel()
            service.go.set()

    asyncio.run(main())
    service.go.set()
    if closed:
        all_is_recorded(service, journal, records)
        assert len(journal.accepted_ids) == 1
    else:
        assert (records.lost, records.ids) == (["r-1"], [])
        asyncio.run(clients[0].close())


def test_a_loop_that_is_abandoned_loses_no_id_silently(
    settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    """The client comes into another event loop, while the answer would arrive in the one before."""
    client = yagrpc.AsyncClient(**settings)
    loop = asyncio.new_event_loop()

    async def leave() -> None:
        await _cancelled(client.completion_async("hello", request_id="r-1"), lambda: _in_thread(service.arrived.get))

    loop.run_until_complete(leave())

    async def another() -> None:
        async with client:
            assert (await client.completion_async("another")).id

    service.go.set()
    asyncio.run(another())
    assert records.lost == ["r-1"]
    assert len(records.ids) == 1
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    loop.run_until_complete(asyncio.wait(pending))
    loop.close()


async def test_closing_that_is_cancelled_reports_what_is_left(
    settings: dict[str, Any], service: Service, records: Records
) -> None:
    client = yagrpc.AsyncClient(**settings)
    await _cancelled(client.completion_async("hello", request_id="r-1"), lambda: _in_thread(service.arrived.get))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.close(), 0.05)
    assert records.lost == ["r-1"]
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


# Attacks


def test_a_hundred_submits_are_left_at_once(
    subject: Any, settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    client = subject.client(**settings, quota=None)
    submits = [functools.partial(client.completion_async, str(number), timeout=2.0) for number in range(100)]
    outcomes = subject.together(submits)
    assert {type(outcome) for outcome in outcomes} == {yagrpc.SubmitTimeoutError}
    service.go.set()
    if subject.kind == "sync":
        journal.wait(100)
    subject(client.close())
    all_is_recorded(service, journal, records)
    assert len(journal.accepted_ids) == 100


@pytest.mark.parametrize("waits", [False, True], ids=["passes on", "waits"])
def test_an_interceptor_does_not_hide_an_id(
    waits: bool,
    settings: dict[str, Any],
    service: Service,
    journal: Journal,
    records: Records,
    interrupt: Any,
) -> None:
    """One that waits for the answer holds the thread that sends, and not the caller's timeout or Ctrl-C."""

    class Interceptor(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            rpc = continuation(details, request)
            if waits:
                assert rpc.code() is not None
            return rpc

    with yagrpc.Client(**settings, interceptors=[Interceptor()]) as client:
        started = time.monotonic()
        with pytest.raises(yagrpc.SubmitTimeoutError):
            client.completion_async("hello", timeout=SOON)
        assert time.monotonic() - started < 8.0  # it does not wait until the submit ends
        service.arrived.get()
        thread = then(service.arrived.get, lambda: interrupt(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            client.completion_async("hello", timeout=SECONDS)
        thread.join()
        service.go.set()
    all_is_recorded(service, journal, records)
    assert len(journal.accepted_ids) == 2


@pytest.mark.parametrize("waits", [False, True], ids=["passes on", "waits"])
async def test_an_asyncio_interceptor_does_not_hide_an_id(
    waits: bool, settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    class Interceptor(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            rpc = await continuation(details, request)
            if waits:
                await rpc.code()
            return rpc

    async with yagrpc.AsyncClient(**settings, interceptors=[Interceptor()]) as client:
        with pytest.raises(yagrpc.SubmitTimeoutError):
            await client.completion_async("hello", timeout=SOON)
        await _in_thread(service.arrived.get)
        await _cancelled(client.completion_async("hello"), lambda: _in_thread(service.arrived.get))
        service.go.set()
    all_is_recorded(service, journal, records)
    assert len(journal.accepted_ids) == 2


def test_an_interceptor_that_fails_after_its_caller_left_is_reported(
    subject: Any, settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    class Blocking(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            continuation(details, request).result()
            raise KeyError("mine")

    class Asynchronous(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            await (await continuation(details, request))
            raise KeyError("mine")

    interceptor = Blocking() if subject.kind == "sync" else Asynchronous()
    client = subject.client(**settings, interceptors=[interceptor])
    with pytest.raises(yagrpc.SubmitTimeoutError):
        subject(client.completion_async("hello", timeout=SOON, request_id="r-1"))
    service.go.set()
    subject(client.close())
    assert records.lost == ["r-1"]
    [(_, outcome, _)] = journal.late
    assert "the attempt ended with KeyError" in str(outcome.error)


def test_a_submit_on_a_channel_of_the_hosts_is_completed(
    subject: Any, settings: dict[str, Any], service: Service, journal: Journal, records: Records
) -> None:
    channel = subject.in_loop(lambda: _channel(subject, service.address))
    client = subject.client(**{**settings, "channel": channel, "operation_channel": channel})
    with pytest.raises(yagrpc.SubmitTimeoutError):
        subject(client.completion_async("hello", timeout=SOON))
    service.go.set()
    subject(client.close())
    all_is_recorded(service, journal, records)
    assert len(journal.accepted_ids) == 1
    subject(channel.close())


def test_what_a_user_does_with_an_id_holds_up_no_get(settings: dict[str, Any], service: Service) -> None:
    blocks, goes_on = threading.Event(), threading.Event()

    class Slow(yagrpc.Events):
        def accepted(self, call: Any, operation: Any) -> None:
            blocks.set()
            assert goes_on.wait(SECONDS)

    with yagrpc.Client(**{**settings, "events": Slow()}) as client:
        with pytest.raises(yagrpc.SubmitTimeoutError):
            client.completion_async("hello", timeout=SOON)
        service.go.set()
        assert blocks.wait(SECONDS)
        assert client.operation("operation-1").refresh().id == "operation-1"
        goes_on.set()


@pytest.mark.parametrize("leaves", [False, True], ids=["waits", "leaves"])
def test_a_listener_has_the_context_of_the_caller(
    leaves: bool, subject: Any, settings: dict[str, Any], service: Service
) -> None:
    request = contextvars.ContextVar("request", default="nobody's")
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()

    class Traced(yagrpc.Events):
        def accepted(self, call: Any, operation: Any) -> None:
            seen.put(request.get())

    client = subject.client(**{**settings, "events": Traced()})
    token = request.set("mine")
    if leaves:
        with pytest.raises(yagrpc.SubmitTimeoutError):
            subject(client.completion_async("hello", timeout=SOON))
    else:
        service.go.set()
        subject(client.completion_async("hello"))
    request.reset(token)
    service.go.set()
    subject(client.close())
    assert seen.get(timeout=SECONDS) == "mine"


def test_an_answer_without_an_id_after_the_caller_left_is_reported(
    subject: Any, served: Any, journal: Journal, records: Records
) -> None:
    go = threading.Event()

    def submit(request: Any, context: grpc.ServicerContext) -> Any:
        assert go.wait(SECONDS)
        return _pb.operation_pb2.Operation()

    client = subject.client(endpoint=served.start(completion_async=submit).address, plaintext=True, events=journal)
    with pytest.raises(yagrpc.SubmitTimeoutError):
        subject(client.completion_async("hello", timeout=SOON, request_id="r-1"))
    go.set()
    subject(client.close())
    assert (records.lost, journal.accepted_ids) == (["r-1"], [])


# Processes


PREAMBLE = """
import asyncio, logging, os, signal, sys, threading
import yagrpc

class Journal(yagrpc.Events):
    def accepted(self, call, operation):
        sys.stderr.write(f"journal {operation.id}\\n")

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
settings = dict(
    endpoint=sys.argv[1], plaintext=True, folder_id="f", credentials=yagrpc.NoCredentials(), events=Journal()
)
"""


@contextlib.contextmanager
def program(source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program of a user's, in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", PREAMBLE + textwrap.dedent(source), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        except Exception:
            process.kill()
            assert process.stderr is not None
            print(process.stderr.read())  # pytest shows it with the failure
            raise
        finally:
            process.kill()


def finished(process: subprocess.Popen[str]) -> str:
    """What the program wrote to stderr, once it has ended."""
    return process.communicate(timeout=SECONDS)[1]


CLOSED = """
with yagrpc.Client(**settings) as client:
    client.completion_async("hello", request_id="r-1")
"""
UNCLOSED = """
client = yagrpc.Client(**settings)
client.completion_async("hello", request_id="r-1")
"""
ASYNCIO = """
async def main():
    async with yagrpc.AsyncClient(**settings) as client:
        await client.completion_async("hello", request_id="r-1")
asyncio.run(main())
"""


@pytest.mark.parametrize("source", [CLOSED, UNCLOSED, ASYNCIO], ids=["with", "not closed", "asyncio"])
@pytest.mark.parametrize("answered", [True, False], ids=["answered", "not answered"])
def test_ctrl_c_ends_a_program_and_loses_no_id(source: str, answered: bool, service: Service) -> None:
    with program(source, service.address) as process:
        service.arrived.get(timeout=SECONDS)
        process.send_signal(signal.SIGINT)
        interrupted = time.monotonic()
        if answered:
            service.go.set()
        written = finished(process)
        assert time.monotonic() - interrupted < 3.0  # with the end of the interpreter, on a busy machine
    assert process.returncode == -signal.SIGINT, written
    # Before Python 3.11, asyncio.run cancels gRPC's own tasks with all others.
    if answered and (source is not ASYNCIO or sys.version_info >= (3, 11)):
        assert "INFO yagrpc.operations operation operation-1 accepted" in written
        assert written.count("journal operation-1") == 1
        assert LOST not in written
    else:
        assert written.count(LOST) == 1
        assert "client request id r-1" in written
    assert service.requests == ["r-1"]


def test_a_second_ctrl_c_ends_the_closing_and_reports_the_submit(service: Service) -> None:
    source = """
    class Announced(logging.Handler):
        def emit(self, record): pass
    client = yagrpc.Client(**settings)
    try:
        client.completion_async("hello", request_id="r-1")
    except KeyboardInterrupt:
        print("closing", flush=True)
        client.close()
    """
    with program(source, service.address) as process:
        service.arrived.get(timeout=SECONDS)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "closing\n"
        process.send_signal(signal.SIGINT)
        written = finished(process)
    assert process.returncode == -signal.SIGINT
    assert written.count(LOST) == 1


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
@pytest.mark.parametrize("answered", [True, False], ids=["answered", "not answered"])
def test_a_program_that_ends_without_closing_loses_no_id_silently(kind: str, answered: bool, service: Service) -> None:
    """It gives up after its own timeout and ends; an event loop that no longer runs gets no answer."""
    source = """
    client = (yagrpc.Client if sys.argv[2] == "blocking" else yagrpc.AsyncClient)(**settings)
    try:
        submit = client.completion_async("hello", timeout=1.0, request_id="r-1")
        if sys.argv[2] == "asyncio":
            loop = asyncio.new_event_loop()
            loop.run_until_complete(submit)
    except yagrpc.SubmitTimeoutError:
        print("left", flush=True)
        sys.stdin.readline()
    """
    with program(source, service.address, kind) as process:
        service.arrived.get(timeout=SECONDS)
        assert process.stdout is not None
        assert process.stdout.readline() == "left\n"
        if answered:
            service.go.set()
        written = finished(process)
    assert process.returncode == 0, written
    if answered and kind == "blocking":
        assert written.count("journal operation-1") == 1
        assert LOST not in written
    else:
        assert written.count(LOST) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_fork_while_a_submit_is_left_records_it_in_the_parent_alone(service: Service) -> None:
    source = """
    client = yagrpc.Client(**settings)
    try:
        client.completion_async("hello", timeout=0.5)
    except yagrpc.SubmitTimeoutError:
        pass
    child = os.fork()
    if not child:
        if sys.argv[2] == "calls":
            client.tokenize("hello", timeout=10)
        print("child", flush=True)
        client.close()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    client.close()
    """
    # Older versions give no answers to a child that was forked while a call ran (measured with 1.68.1 and 1.75.1).
    calls = tuple(map(int, grpc.__version__.split(".")[:2])) >= (1, 85)
    with program(source, service.address, "calls" if calls else "") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "child\n"
        service.go.set()
        written = finished(process)
    assert process.returncode == 0, written
    assert written.count("journal operation-1") == 1
    assert written.count("operation operation-1 accepted") == 1
    assert LOST not in written


# Streams and completions: their answer is the result, so that leaving ends them


class Generating:
    """A completion that gives one message, or none, and then works until its caller is gone."""

    def __init__(self, first: bool) -> None:
        self.first = first
        self.arrived, self.gone = threading.Event(), threading.Event()

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(self.gone.set)
        self.arrived.set()
        if self.first:
            message = _pb.text_common_pb2.Message(role="assistant", text="first")
            alternative = _pb.text_common_pb2.Alternative(message=message)
            yield _pb.text_generation_service_pb2.CompletionResponse(alternatives=[alternative])
        assert self.gone.wait(SECONDS)


calls = pytest.mark.parametrize(
    ("name", "first"),
    [("completion", False), ("completion_stream", False), ("completion_stream", True), ("call", True)],
    ids=["completion", "stream", "stream that runs", "call"],
)


def _called(client: Any, name: str) -> Any:
    if name != "call":
        return getattr(client, name)("hello")
    request = _pb.text_generation_service_pb2.CompletionRequest(model_uri="gpt://f/yandexgpt/latest")
    return client.call(methods.TextGenerationService.Completion, request)


@calls
@exceptions
def test_an_interrupted_completion_is_cancelled(
    kind: type[BaseException], name: str, first: bool, served: Any, interrupt: Any
) -> None:
    """The exception may come while the call starts: the service is at work by then."""
    generating = Generating(first)
    settings: dict[str, Any] = {"endpoint": served.start(completion=generating).address, "plaintext": True}
    with yagrpc.Client(**settings, folder_id="f", credentials=yagrpc.NoCredentials()) as client:

        def run() -> None:
            called = _called(client, name)
            if name != "completion":
                with called:
                    list(called)

        thread = then(generating.arrived.wait, lambda: interrupt(kind))
        with pytest.raises(kind):
            run()
        thread.join()
        assert generating.gone.wait(SECONDS)
        assert client.limits.concurrent_completions.used == 0


@calls
@ways
async def test_a_cancelled_completion_is_cancelled_at_the_service(
    leave: Leave, name: str, first: bool, served: Any
) -> None:
    generating = Generating(first)
    settings: dict[str, Any] = {"endpoint": served.start(completion=generating).address, "plaintext": True}
    async with yagrpc.AsyncClient(**settings, folder_id="f", credentials=yagrpc.NoCredentials()) as client:

        async def run() -> None:
            called = _called(client, name)
            if name == "completion":
                await called
                return
            async with called as stream:
                async for _ in stream:
                    pass

        await leave(run(), lambda: _in_thread(generating.arrived.wait))
        assert await asyncio.to_thread(generating.gone.wait, SECONDS)
        assert client.limits.concurrent_completions.used == 0


@calls
def test_closing_the_client_cancels_completions(name: str, first: bool, subject: Any, served: Any) -> None:
    generating = Generating(first)
    client = subject.client(endpoint=served.start(completion=generating).address, plaintext=True)

    def run() -> Any:
        called = _called(client, name)
        if name == "completion":
            return called
        return list(called) if subject.kind == "sync" else _listed(called)

    error, _ = subject.together([run, lambda: _after(subject, generating.arrived.wait, client.close)])
    assert isinstance(error, yagrpc.YagrpcError), error
    assert generating.gone.wait(SECONDS)


def test_closing_the_client_cancels_a_stream_that_was_read(subject: Any, served: Any) -> None:
    generating = Generating(first=True)
    client = subject.client(endpoint=served.start(completion=generating).address, plaintext=True)
    stream = client.completion_stream("hello")
    assert subject.first(stream).text == "first"
    error, _ = subject.together([lambda: list(stream) if subject.kind == "sync" else _listed(stream), client.close])
    assert isinstance(error, yagrpc.YagrpcError), error
    assert generating.gone.wait(SECONDS)


async def _listed(stream: Any) -> list[Any]:
    return [item async for item in stream]

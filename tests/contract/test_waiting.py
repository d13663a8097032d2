"""Waiting for many operations at once, on both clients: as_completed, wait, gather, callbacks and futures."""

from __future__ import annotations

import asyncio
import ctypes
import queue
import sys
import threading
import time
from collections import Counter
from typing import Any

import grpc
import numpy
import pytest

import yagrpc
from yagrpc import _pb
from yagrpc._grpc.waits.signals import next_item
from yagrpc.emulator import Emulator, Fault, Hang, paths

HOUR = 3600.0


def completed(subject: Any, operations: Any, timeout: float | None = 30.0) -> list[Any]:
    """What `as_completed` gives."""
    if subject.kind == "sync":
        return list(yagrpc.as_completed(operations, timeout=timeout))

    async def collect() -> list[Any]:
        return [operation async for operation in yagrpc.as_completed(operations, timeout=timeout)]

    result: list[Any] = subject(collect())
    return result


def gathered(subject: Any, *operations: Any, **settings: Any) -> Any:
    """What `gather` gives."""
    if subject.kind == "sync":
        return yagrpc.gather(*operations, **settings)

    async def gather() -> Any:
        return await yagrpc.gather(*operations, **settings)

    return subject(gather())


def waited(subject: Any, *arguments: Any, **settings: Any) -> Any:
    """What `wait` gives."""
    return subject(yagrpc.wait(*arguments, **settings))


def submitted(subject: Any, client: Any, count: int, name: str = "request") -> list[Any]:
    """Operations of as many requests."""
    return list(subject.together([lambda i=i: client.completion_async(f"{name} <{i}>") for i in range(count)]))


def outcome(subject: Any, operation: Any) -> Any:
    return subject(operation.result(timeout=10))


def test_all_are_given_as_they_are_done(subject: Any, client: Any, emulator: Emulator) -> None:
    operations = submitted(subject, client, 30)
    emulator.advance(HOUR)
    found = completed(subject, operations)
    assert sorted(each.id for each in found) == sorted(each.id for each in operations)
    gets = emulator.calls[paths.OPERATION_GET]
    for number, operation in enumerate(operations):
        assert operation.proto.done
        assert f"request <{number}>" in outcome(subject, operation).text
    assert emulator.calls[paths.OPERATION_GET] == gets  # the outcome is known


def test_a_thousand_need_no_thread_and_no_task_each(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, quota=None)
    operations = subject.together([lambda i=i: client.completion_async(f"r <{i}>") for i in range(40)])
    many = [client.operation(operations[i % 40].id) for i in range(1000)]
    most = [0]

    if subject.kind == "sync":
        before = threading.active_count()
        emulator.advance(HOUR)
        for _ in yagrpc.as_completed(many, timeout=30):
            most[0] = max(most[0], threading.active_count() - before)
    else:

        async def collect() -> None:
            before = len(asyncio.all_tasks())
            iteration = yagrpc.as_completed(many, timeout=30)
            emulator.advance(HOUR)
            async for _ in iteration:
                most[0] = max(most[0], len(asyncio.all_tasks()) - before)

        subject(collect())
    assert most[0] <= 85  # one for the client, and two for each of the 40 Gets under way
    assert emulator.calls[paths.OPERATION_GET] <= 80


def test_operations_of_several_clients(subject: Any, emulator: Emulator) -> None:
    clients = [subject.client(emulator) for _ in range(3)]
    operations = [subject(client.completion_async(f"of {number}")) for number, client in enumerate(clients)]
    emulator.advance(HOUR)
    assert set(completed(subject, operations)) == set(operations)
    assert [f"of {i}" in result.text for i, result in enumerate(gathered(subject, *operations))] == [True] * 3


def test_one_that_is_named_twice_is_given_once(subject: Any, client: Any, emulator: Emulator) -> None:
    operation = subject(client.completion_async("hello"))
    emulator.advance(HOUR)
    assert completed(subject, [operation, operation]) == [operation]
    one, other = gathered(subject, operation, operation)
    assert one.text == other.text
    assert emulator.calls[paths.OPERATION_GET] == 1


def test_none_is_no_wait(subject: Any) -> None:
    assert completed(subject, []) == []
    assert gathered(subject) == []
    assert tuple(waited(subject, [])) == (set(), set())


def test_a_timeout_says_why_the_polls_failed(subject: Any, served: Any) -> None:
    def get(request: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.UNAVAILABLE, "the disk is full")

    client = subject.client(endpoint=served.start(get=get).address, plaintext=True)
    operation = client.operation("d7q")
    waiting = subject.in_loop(operation.future)  # others wait too; so the failure below is known from the first moment
    with pytest.raises(yagrpc.UnavailableError):
        subject(operation.refresh(timeout=30))
    for wait in (
        lambda: subject(operation.result(timeout=0.2)),
        lambda: completed(subject, [operation], timeout=0.2),
        lambda: gathered(subject, operation, timeout=0.2),
    ):
        with pytest.raises(yagrpc.OperationTimeoutError, match="UNAVAILABLE: the disk is full") as caught:
            wait()
        assert "as far as is known" in str(caught.value)
        assert isinstance(caught.value.__cause__, yagrpc.UnavailableError)
    assert not waiting.done()
    subject(client.close())
    assert isinstance(waiting.exception(), yagrpc.ClientClosedError)  # else asyncio would log it, during any later test


def test_timeout_names_late_operations_and_does_not_affect_them(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator)
    operations = submitted(subject, client, 3)
    subject(operations[1].cancel())
    with pytest.raises(yagrpc.OperationTimeoutError, match=r"it and 1 more of 3 are not done within 0\.3 s") as caught:
        completed(subject, operations, timeout=0.3)
    late = (operations[0].id, operations[2].id)
    assert (caught.value.operation_id, caught.value.operation_ids) == (late[0], late)
    with pytest.raises(yagrpc.OperationTimeoutError) as caught:
        gathered(subject, operations[0], operations[2], timeout=0.2)
    assert caught.value.operation_ids == late
    emulator.advance(HOUR)
    assert len(completed(subject, operations)) == 3
    assert emulator.calls[paths.OPERATION_CANCEL] == 1


def test_nobody_polls_after_an_iteration_that_is_left(subject: Any, client: Any, emulator: Emulator) -> None:
    operations = submitted(subject, client, 5)
    subject(operations[0].cancel())

    async def first() -> Any:
        async for operation in yagrpc.as_completed(operations):
            return operation

    if subject.kind == "sync":
        assert next(iter(yagrpc.as_completed(operations))) is operations[0]
    else:
        assert subject(first()) is operations[0]
        subject(asyncio.sleep(0))
    assert subject.in_loop(lambda: len(client._poller._scheduler)) == 0


def test_wait_sorts_by_what_is_known(subject: Any, client: Any, emulator: Emulator) -> None:
    operations = submitted(subject, client, 3)
    subject(operations[2].cancel())
    result = waited(subject, operations, timeout=0.2)
    assert (result.done, result.not_done) == ({operations[2]}, set(operations[:2]))
    done, not_done = waited(subject, operations, return_when="FIRST_COMPLETED")
    assert done == {operations[2]}
    done, not_done = waited(subject, operations, return_when="FIRST_EXCEPTION")
    assert done == {operations[2]}
    emulator.advance(HOUR)
    done, not_done = waited(subject, operations)
    assert (done, not_done) == (set(operations), set())


def test_gather_gives_results_in_order_or_the_first_failure(subject: Any, client: Any, emulator: Emulator) -> None:
    operations = submitted(subject, client, 4)
    lost = client.operation("d7q00000000000000000")
    with pytest.raises(yagrpc.OperationNotFoundError):
        gathered(subject, *operations, lost)
    emulator.advance(HOUR)
    *results, failure = gathered(subject, *operations, client.operation(lost.id), return_exceptions=True)
    assert [f"request <{i}>" in result.text for i, result in enumerate(results)] == [True] * 4
    assert isinstance(failure, yagrpc.OperationNotFoundError)


def test_each_failure_is_raised_by_its_own_operation(subject: Any, client: Any, emulator: Emulator) -> None:
    operations = submitted(subject, client, 2)
    lost = client.operation("d7q00000000000000000")
    emulator.advance(HOUR)
    assert set(completed(subject, [*operations, lost])) == {*operations, lost}
    gets = emulator.calls[paths.OPERATION_GET]
    with pytest.raises(yagrpc.OperationNotFoundError, match="d7q00000000000000000"):
        outcome(subject, lost)
    assert emulator.calls[paths.OPERATION_GET] == gets  # it was known
    with pytest.raises(yagrpc.OperationNotFoundError):
        outcome(subject, lost)
    assert emulator.calls[paths.OPERATION_GET] == gets + 1  # and is asked for again


def test_closing_the_client_ends_the_wait_for_many_at_once(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator)
    operations = submitted(subject, client, 50)
    if subject.kind == "sync":

        def close_when_polled() -> None:
            operations[0].refresh()
            client.close()

        closing = threading.Thread(target=close_when_polled)
        closing.start()
        found = completed(subject, operations)
        closing.join()
    else:

        async def close() -> None:
            await operations[0].refresh()
            await client.close()

        async def collect() -> list[Any]:
            closing = asyncio.ensure_future(close())
            found = [operation async for operation in yagrpc.as_completed(operations, timeout=30)]
            await closing
            return found

        found = subject(collect())
    assert set(found) == set(operations)
    for operation in operations:
        with pytest.raises(yagrpc.ClientClosedError) as caught:
            outcome(subject, operation)
        assert caught.value.operation_id == operation.id
    # And one that is closed already is each operation's own failure.
    open_client = subject.client(emulator)
    other = subject(open_client.completion_async("hello"))
    emulator.advance(HOUR)
    assert set(completed(subject, [operations[0], other])) == {operations[0], other}
    assert "hello" in outcome(subject, other).text


@pytest.mark.parametrize("given", ["d7q", [None], None, ["d7q00000000000000000"]])
def test_value_that_is_no_operation_is_reported(subject: Any, given: Any) -> None:
    for ask in (yagrpc.as_completed, yagrpc.wait):
        with pytest.raises(yagrpc.RequestError, match="it takes"):
            ask(given)


def test_single_operation_instead_of_several_is_reported(subject: Any, client: Any) -> None:
    with pytest.raises(yagrpc.RequestError, match="it takes an iterable of operations"):
        yagrpc.as_completed(client.operation("op"))
    wait: Any = yagrpc.wait
    with pytest.raises(yagrpc.RequestError, match="return_when is 'SOME'"):
        wait([client.operation("op")], return_when="SOME")
    with pytest.raises(yagrpc.RequestError, match="return_when is "):
        wait([client.operation("op")], return_when=numpy.array(["ALL_COMPLETED"] * 2))
    with pytest.raises(yagrpc.RequestError, match="timeout is -1"):
        yagrpc.as_completed([client.operation("op")], timeout=-1)


def test_operations_of_an_event_loop_are_not_waited_for_in_a_thread(subject: Any, client: Any) -> None:
    if subject.kind == "aio":
        with pytest.raises(TypeError, match="async for"):
            next(iter(yagrpc.as_completed([client.operation("op")])))


def test_an_event_loop_may_wait_for_both_kinds(emulator: Emulator) -> None:
    async def run() -> tuple[set[Any], list[Any], Any]:
        settings: Any = {"endpoint": emulator.address, "plaintext": True, "folder_id": "f", "credentials": "AQVN-x"}
        settings["polling"] = yagrpc.Polling(first=0.01, shortest=0.01, longest=0.05)
        with yagrpc.Client(**settings) as blocking:
            async with yagrpc.AsyncClient(**settings) as asynchronous:
                one = await asyncio.to_thread(blocking.completion_async, "one")
                other = await asynchronous.completion_async("other")
                emulator.advance(HOUR)
                both: list[Any] = [one, other]
                again: list[Any] = [blocking.operation(one.id), asynchronous.operation(other.id)]
                found = {operation async for operation in yagrpc.as_completed(both, timeout=10)}
                gather: Any = yagrpc.gather
                return found, await gather(*again, timeout=10), both

    found, results, both = asyncio.run(run())
    assert found == set(both)
    assert "one" in results[0].text
    assert "other" in results[1].text


def test_a_cancelled_gather_leaves_the_others_alone(emulator: Emulator) -> None:
    async def run() -> str:
        settings: Any = {"endpoint": emulator.address, "plaintext": True, "folder_id": "f", "credentials": "AQVN-x"}
        async with yagrpc.AsyncClient(**settings) as client:
            operation = await client.completion_async("hello")
            future = yagrpc.gather(operation)
            waiting = asyncio.ensure_future(operation.result(timeout=30))
            await asyncio.sleep(0)
            future.cancel()
            emulator.advance(HOUR)
            text = (await waiting).text
            with pytest.raises(asyncio.CancelledError):
                await future
            return text

    assert "hello" in asyncio.run(run())


def test_one_who_comes_later_is_not_held_up_by_who_leads(subject: Any, emulator: Emulator) -> None:
    """Nothing is due for a minute when another begins to wait for an operation that may be done."""
    client = subject.client(emulator, polling=yagrpc.Polling(first=60.0, shortest=60.0, longest=60.0))
    running, finished = submitted(subject, client, 2)
    subject(finished.cancel())
    attached = client.operation(finished.id)
    if subject.kind == "sync":

        def lead() -> None:
            with pytest.raises(yagrpc.ClientClosedError):
                running.result(timeout=30)

        leading = threading.Thread(target=lead)
        leading.start()
        while not client._poller._waiting:
            time.sleep(0.001)
        with pytest.raises(yagrpc.OperationCancelledError):
            attached.result()
        assert leading.is_alive()
        client.close()
        leading.join()
        return

    async def run() -> None:
        leading = asyncio.ensure_future(running.result(timeout=30))
        await asyncio.sleep(0.1)
        with pytest.raises(yagrpc.OperationCancelledError):
            await attached.result()
        assert not leading.done()
        leading.cancel()

    subject(run())


# In trouble, on the wire


def done(operation_id: str) -> Any:
    """An operation that ended, whose answer names it."""
    message = _pb.text_common_pb2.Message(role="assistant", text=f"answer to {operation_id}")
    alternative = _pb.text_common_pb2.Alternative(message=message)
    operation = _pb.operation_pb2.Operation(id=operation_id, done=True)
    operation.response.Pack(_pb.text_generation_service_pb2.CompletionResponse(alternatives=[alternative]))
    return operation


def test_each_gets_its_own_outcome_where_gets_fail(subject: Any, served: Any) -> None:
    """Some are refused at first, one is not found, one hangs, and one is refused for ever."""
    polled: Counter[str] = Counter()
    hanging = threading.Event()

    def get(request: Any, context: grpc.ServicerContext) -> Any:
        name = request.operation_id
        polled[name] += 1
        if name == "lost":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such operation")
        if name == "refused" or (name.endswith("0") and polled[name] == 1):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rate quota limit exceed: allowed 50 requests")
        if name.endswith("5") and polled[name] == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "for a moment")
        if name == "hanging":
            hanging.wait(30)
        return done(name)

    client = subject.client(endpoint=served.start(get=get).address, plaintext=True)
    names = [f"op-{number}" for number in range(60)]
    troubled = [client.operation(name) for name in ("hanging", "refused", "lost")]
    operations = [*troubled, *(client.operation(name) for name in names)]
    try:
        with pytest.raises(yagrpc.OperationTimeoutError) as caught:
            completed(subject, operations, timeout=8.0)
        assert set(caught.value.operation_ids) == {"hanging", "refused"}
    finally:
        hanging.set()
    for name, operation in zip(names, operations[3:], strict=True):
        assert outcome(subject, operation).text == f"answer to {name}"
    with pytest.raises(yagrpc.OperationNotFoundError, match="operation lost"):
        outcome(subject, operations[2])
    assert polled["hanging"] == 1
    assert 2 <= polled["refused"] <= 6
    assert all(polled[name] <= 2 for name in names)


def test_those_who_wait_get_their_own_whatever_becomes_of_others(subject: Any, served: Any) -> None:
    """Many wait for one operation: a timeout and a wait that is given up leave the rest alone."""
    finished = threading.Event()

    def get(request: Any, context: grpc.ServicerContext) -> Any:
        return done("op1") if finished.is_set() else _pb.operation_pb2.Operation(id="op1")

    client = subject.client(endpoint=served.start(get=get).address, plaintext=True)
    handles = [client.operation("op1") for _ in range(20)]
    given_up = subject.in_loop(handles[0].future)

    def give_up() -> None:
        given_up.cancel()
        finished.set()

    def late_wait() -> Any:
        if subject.kind == "sync":
            try:
                return handles[1].result(timeout=0.1)
            finally:
                give_up()

        async def wait() -> Any:
            try:
                return await handles[1].result(timeout=0.1)
            finally:
                give_up()

        return wait()

    waits = [lambda handle=handle: handle.result(timeout=20) for handle in handles[2:]]
    late, *results = subject.together([late_wait, *waits])
    assert isinstance(late, yagrpc.OperationTimeoutError)
    assert late.operation_id == "op1"
    assert {result.text for result in results} == {"answer to op1"}
    assert given_up.cancelled()
    assert subject.in_loop(lambda: len(client._poller._scheduler)) == 0


def test_listener_added_during_notification_is_notified_too(subject: Any, client: Any, emulator: Emulator) -> None:
    """The waiters were notified, but have not released the operation yet: no Get follows."""
    operation = subject(client.completion_async("hello"))
    late: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def listen(_: Any) -> None:
        late.put(client.operation(operation.id).future())

    def begin() -> Any:
        client._poller._join(client.operation(operation.id))  # as one who waits, and is slow to let it go
        operation.add_done_callback(listen)
        return client.operation(operation.id).future()

    reported = subject.in_loop(begin)
    emulator.advance(HOUR)
    assert "hello" in settled(subject, reported).text
    assert "hello" in settled(subject, late.get(timeout=10)).text  # callbacks have a thread of their own


def settled(subject: Any, future: Any) -> Any:
    """What a future comes to."""
    if subject.kind == "sync":
        return future.result(10)
    return subject(asyncio.wait_for(future, 10))


def test_a_thread_that_could_not_be_started_is_started_by_the_next(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with yagrpc.Client(
        endpoint=emulator.address, plaintext=True, folder_id="f", credentials=yagrpc.NoCredentials()
    ) as client:
        operation = client.completion_async("hello")
        emulator.advance(HOUR)

        def no_room(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_room)
            with pytest.raises(RuntimeError, match="new thread"):
                operation.future()
        assert client.limits.get_per_second.waiting == 0
        assert "hello" in operation.future().result(10).text


def test_one_that_was_given_is_not_late(subject: Any, client: Any, served: Any) -> None:
    """Its failure was reported, and it might be waited for again: that is no reason to name it among those not done."""

    def get(request: Any, context: grpc.ServicerContext) -> Any:
        if request.operation_id == "lost":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such operation")
        return _pb.operation_pb2.Operation(id=request.operation_id)

    client = subject.client(endpoint=served.start(get=get).address, plaintext=True)
    lost, late = client.operation("lost"), client.operation("late")
    subject(late.refresh())  # connects, which takes long on a busy machine

    def blocking() -> None:
        for operation in yagrpc.as_completed([lost, late], timeout=2):
            with pytest.raises(yagrpc.OperationNotFoundError):
                operation.result()

    async def asynchronous() -> None:
        async for operation in yagrpc.as_completed([lost, late], timeout=2):
            with pytest.raises(yagrpc.OperationNotFoundError):
                await operation.result()

    with pytest.raises(yagrpc.OperationTimeoutError, match="^operation late: it is not done") as caught:
        blocking() if subject.kind == "sync" else subject(asynchronous())
    assert caught.value.operation_ids == ("late",)


def test_an_end_that_is_known_stays_known_when_the_client_is_closed(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, polling=yagrpc.Polling(first=60.0))
    operation = subject(client.completion_async("hello"))
    future = subject.in_loop(operation.future)
    subject(operation.cancel())
    assert operation.status is yagrpc.OperationStatus.CANCELLED
    subject(client.close())
    with pytest.raises(yagrpc.OperationCancelledError):
        settled(subject, future)
    with pytest.raises(yagrpc.OperationCancelledError):
        outcome(subject, operation)


def test_callbacks_are_called_where_there_is_no_room_for_a_thread(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def no_room(thread: threading.Thread) -> None:
        if thread.name == "yagrpc-callbacks":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_room)
    called = threading.Event()
    settings: dict[str, Any] = {"endpoint": emulator.address, "plaintext": True}
    with yagrpc.Client(folder_id="f", credentials=yagrpc.NoCredentials(), **settings) as client:
        client.completion_async("hello").add_done_callback(lambda operation: called.set())
        emulator.advance(HOUR)
        assert called.wait(30)


def embed_both(client: yagrpc.Client) -> None:
    client.text_embedding(["hello", "there"], timeout=None)


def wait_for_both(client: yagrpc.Client) -> None:
    list(yagrpc.as_completed([client.operation("d7qone"), client.operation("d7qtwo")]))


@pytest.mark.parametrize("wait", [embed_both, wait_for_both])
def test_an_exception_of_a_moment_before_ends_a_wait(wait: Any) -> None:
    """As that of a signal which comes when a wait in C is about to begin: Python raises it when C returns."""
    waiting, ended = threading.Event(), threading.Event()
    hang = Fault(Hang())
    settings: dict[str, Any] = {"folder_id": "f", "credentials": yagrpc.NoCredentials(), "plaintext": True}

    def run() -> None:
        try:
            waiting.set()
            wait(client)
        except Interrupted:
            ended.set()

    with Emulator(faults=[hang]) as emulator, yagrpc.Client(endpoint=emulator.address, **settings) as client:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert waiting.wait(60)
        # Both calls are sent, and it waits, or is about to. Amid the start of a call, gRPC would lose a thread.
        while emulator.calls.total() < 2 or not in_next_item(thread):
            thread.join(0.01)
        assert ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Interrupted)
        )
        assert ended.wait(60)


def in_next_item(thread: threading.Thread) -> bool:
    """Whether a thread is in the function that waits in C."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code is next_item.__code__


class Interrupted(BaseException):
    """What a handler of a signal raises."""

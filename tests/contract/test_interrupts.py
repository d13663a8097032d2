"""The exception of a signal between any two steps of the blocking client: nothing leaks, others go on, closing ends.

A signal comes at each step of a call in turn, as CPython can handle one: where a function begins, and after each call,
in gRPC's and Python's own modules too.
"""

from __future__ import annotations

import _weakrefset  # its callbacks are destructors
import dis
import functools
import itertools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb

SECONDS = 20.0
"""How long a test waits for what has to happen."""

MOST = 120
"""Steps of a call at which the signal comes: all of them, or as many at equal distances."""


class Interrupted(BaseException):
    """What the handler of the signal raises; an Exception would be taken for one of what runs, where that is caught."""


_NOT_TRACED = (os.path.dirname(logging.__file__), _weakrefset.__file__, __file__)


class Step:
    """Sends this process a signal at one of the steps of the main thread.

    Args:
        number: Which; -1 for none.
    """

    def __init__(self, number: int) -> None:
        self.count = 0
        self._number = number

    def __enter__(self) -> Step:
        self._before = sys.gettrace()  # that of coverage
        sys.settrace(self._trace)
        return self

    def __exit__(self, *failure: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        # What logging does with its locks is its own; destructors run anywhere, and lose every exception.
        if code.co_filename.startswith(_NOT_TRACED) or _in_destructor(frame):
            return None
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            self._step()
        elif event == "opcode" and frame.f_lasti in _after_calls(code):
            self._step()
        return self._trace

    def _step(self) -> None:
        self.count += 1
        if self.count - 1 == self._number:
            signal.raise_signal(signal.SIGUSR1)


def _in_destructor(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != __file__:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


@functools.cache
def _after_calls(code: CodeType) -> frozenset[int]:
    """Where an instruction follows a call: there CPython checks for signals."""
    instructions = list(dis.get_instructions(code))
    pairs = itertools.pairwise(instructions)
    return frozenset(after.offset for call, after in pairs if call.opname.startswith("CALL"))


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    def raises(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, raises)
    yield
    assert signal.getsignal(signal.SIGUSR1) is raises
    signal.signal(signal.SIGUSR1, before)


def each_step(
    call: Callable[[], object],
    after: Callable[[bool], object],
    before: Callable[[], object] = lambda: None,
    *,
    least: int = 50,
) -> None:
    """Make a call again and again, interrupted one step later each time.

    Args:
        call: The call.
        after: What is done after each, with whether it was interrupted.
        before: What is done before each.
        least: How many steps there are at least.
    """

    def once(step: Step) -> None:
        interrupted = False
        before()
        try:
            with step:
                call()
        except Interrupted:
            interrupted = True
        after(interrupted)

    once(Step(-1))
    once(all_of_them := Step(-1))
    assert all_of_them.count >= least
    for number in range(0, all_of_them.count, max(1, all_of_them.count // MOST)):
        once(Step(number))


def ends(function: Callable[[], object]) -> None:
    """Call a function that has to end, in a thread of its own."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive()


class Service:
    """A service whose operations are done at the second Get; it knows which of its calls run.

    Args:
        served: The bare server that it runs on.
    """

    def __init__(self, served: Any) -> None:
        self.running: set[int] = set()
        self.changed = threading.Condition()
        self.holds = threading.Event()
        self._numbers = itertools.count()
        self._gets: dict[str, int] = {}
        self.address: str = served.start(
            completion=self.stream, completion_async=self.submit, get=self.get, tokenize=self.tokenize
        ).address

    def idle(self) -> None:
        """Wait until no call runs."""
        with self.changed:
            assert self.changed.wait_for(lambda: not self.running, SECONDS)

    def get(self, request: Any, context: grpc.ServicerContext) -> Any:
        count = self._gets[request.operation_id] = self._gets.get(request.operation_id, 0) + 1
        operation = _pb.operation_pb2.Operation(id=request.operation_id, done=count > 1)
        operation.response.Pack(_pb.text_generation_service_pb2.CompletionResponse(alternatives=[_alternative()]))
        return operation

    def submit(self, request: Any, context: grpc.ServicerContext) -> Any:
        return _pb.operation_pb2.Operation(id=f"operation-{next(self._numbers)}")

    def tokenize(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._runs(context)
        if request.text == "for ever":
            ended = threading.Event()
            if context.add_callback(ended.set):
                self.holds.set()
                assert ended.wait(SECONDS)
        return _pb.text_generation_service_pb2.TokenizeResponse()

    def stream(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self._runs(context)
        for _ in range(2):
            yield _pb.text_generation_service_pb2.CompletionResponse(alternatives=[_alternative()])
        if request.messages[0].text == "for ever":
            ended = threading.Event()
            if context.add_callback(ended.set):
                assert ended.wait(SECONDS)

    def _runs(self, context: grpc.ServicerContext) -> None:
        number = next(self._numbers)

        def ended() -> None:
            with self.changed:
                self.running.discard(number)
                self.changed.notify_all()

        with self.changed:
            self.running.add(number)
        if not context.add_callback(ended):
            ended()


def _alternative() -> Any:
    message = _pb.text_common_pb2.Message(role="assistant", text="text")
    return _pb.text_common_pb2.Alternative(message=message)


@pytest.fixture
def service(served: Any) -> Service:
    return Service(served)


@pytest.fixture
def client(service: Service) -> Iterator[Any]:
    made = yagrpc.Client(
        endpoint=service.address,
        plaintext=True,
        folder_id="f",
        credentials=yagrpc.NoCredentials(),
        polling=yagrpc.Polling(first=0.001, shortest=0.001, longest=0.002),
        quota=yagrpc.Quota(get_per_second=10_000, submit_per_second=10_000, submit_per_hour=None),
    )
    yield made
    ends(made.close)
    for thread in threading.enumerate():
        if thread.name.startswith("yagrpc-"):
            thread.join(SECONDS)
            assert not thread.is_alive(), thread.name


def nobody_waits(client: Any) -> None:
    """Wait until nothing is left of the waits for operations."""
    poller, until = client._poller, time.monotonic() + SECONDS
    while len(poller._scheduler) or poller._waiting or poller._leader or poller._thread:
        assert time.monotonic() < until, (len(poller._scheduler), poller._waiting, poller._leader, poller._thread)
        time.sleep(0.001)


class Operations:
    """Operations for each interrupted call, the first of which another thread waits for, too.

    Args:
        client: The client.
        count: How many.
    """

    def __init__(self, client: Any, count: int) -> None:
        self.client = client
        self.count = count

    def submit(self) -> None:
        """Submit them; the other thread begins to wait."""
        self.mine = [self.client.completion_async("hello") for _ in range(self.count)]
        self._texts: list[str] = []
        operation = self.client.operation(self.mine[0].id)
        self._other = threading.Thread(target=lambda: self._texts.append(operation.result(SECONDS).text))
        self._other.start()

    def check(self, interrupted: bool) -> None:
        """The other thread gets its answer, and nobody waits any more."""
        self._other.join(SECONDS)
        assert self._texts == ["text"]
        nobody_waits(self.client)
        assert self.client.limits.get_per_second.waiting == 0

    def each_step(self, call: Callable[[], object]) -> None:
        """Interrupt a call that waits for them; Python 3.13 traces half of its steps, none of a resumed flow."""
        each_step(call, self.check, self.submit)


def test_one_who_waits_for_an_operation(client: Any) -> None:
    """Leading passes from one who waits to the other, in each order."""
    operations = Operations(client, 1)
    operations.each_step(lambda: operations.mine[0].result(SECONDS))


def test_one_who_polls_an_operation(client: Any) -> None:
    operations = Operations(client, 1)
    operations.each_step(lambda: operations.mine[0].done())


several = pytest.mark.parametrize(
    "wait",
    [lambda found: yagrpc.gather(*found), yagrpc.wait, lambda found: list(yagrpc.as_completed(found))],
    ids=["gather", "wait", "as_completed"],
)


@several
def test_one_who_waits_for_several_operations(wait: Callable[[Any], Any], client: Any) -> None:
    operations = Operations(client, 3)
    operations.each_step(lambda: wait(operations.mine))


def used_up(client: Any, service: Service) -> Callable[[bool], None]:
    """Nothing runs at the service, no slot is held, and calls of each kind get their answers."""

    def check(interrupted: bool) -> None:
        service.idle()
        assert client.limits.concurrent_completions.used == 0
        assert client.limits.concurrent_completions.waiting == 0
        assert client.limits.tokenize_per_second.waiting == 0
        ends(lambda: client.tokenize("hello"))

    return check


@pytest.mark.parametrize("name", ["completion", "completion_stream"])
def test_one_who_reads_a_stream(name: str, client: Any, service: Service) -> None:
    def read() -> None:
        if name == "completion":
            client.completion("hello")
            return
        with client.completion_stream("hello") as stream:
            for _ in stream:
                pass

    each_step(read, used_up(client, service), least=200)


def test_one_who_leaves_a_stream(client: Any, service: Service) -> None:
    def read() -> None:
        with client.completion_stream("for ever") as stream:
            next(stream)

    each_step(read, used_up(client, service), least=200)


def test_one_who_counts_tokens(client: Any, service: Service) -> None:
    each_step(lambda: client.tokenize("hello"), used_up(client, service), least=100)


def test_an_unary_call_that_is_interrupted_ends_at_the_service(client: Any, service: Service) -> None:
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        assert service.holds.wait(SECONDS)
        signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted):
        client.tokenize("for ever", timeout=None)
    thread.join()
    used_up(client, service)(True)


def test_one_who_submits(client: Any, service: Service) -> None:
    def check(interrupted: bool) -> None:
        assert client.limits.submit_per_second.waiting == 0
        ends(lambda: client.tokenize("hello"))

    each_step(lambda: client.completion_async("hello"), check, least=100)


def test_one_who_closes_the_client(service: Service) -> None:
    """Closing once more ends all the same, and nothing is left then."""
    clients: list[Any] = []
    operations: list[Any] = []

    def used() -> None:
        client = yagrpc.Client(
            endpoint=service.address, plaintext=True, folder_id="f", credentials=yagrpc.NoCredentials()
        )
        clients.append(client)
        operations.append(client.operation("polled by a thread").future())

    def closed(interrupted: bool) -> None:
        client, future = clients.pop(), operations.pop()
        ends(client.close)
        nobody_waits(client)
        assert isinstance(future.exception(SECONDS), (yagrpc.ClientClosedError, type(None)))
        assert not client._transport.channels.open
        assert client._transport.channels._opened == []

    each_step(lambda: clients[0].close(), closed, used, least=100)


# What a user's own function raises in a thread of gRPC's, which answers come through


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_an_event_raises_in_grpcs_thread_ends_the_wait(error: type[BaseException], service: Service) -> None:
    class Ends(yagrpc.Events):
        raised = 0

        def polled(self, operation_id: str, outcome: Any) -> None:
            if operation_id == "mine":
                self.raised += 1
                raise error

    with yagrpc.Client(
        endpoint=service.address, plaintext=True, folder_id="f", credentials=yagrpc.NoCredentials(), events=Ends()
    ) as client:
        with pytest.raises(yagrpc.OperationError, match=r"mine.*" + error.__name__):
            client.operation("mine").result(SECONDS)
        future = client.operation("mine").future()
        assert isinstance(future.exception(SECONDS), yagrpc.OperationError)
        assert client.operation("another").result(SECONDS).text == "text"
        nobody_waits(client)
        assert client._poller._scheduler._in_flight == 0


def test_what_a_callback_raises_in_grpcs_thread_keeps_nothing_from_others(client: Any) -> None:
    def ends(future: Any) -> None:
        raise SystemExit

    first, second = (client.operation("mine") for _ in range(2))
    called = threading.Event()
    first.future().add_done_callback(ends)
    future = second.future()
    second.add_done_callback(lambda operation: called.set())
    assert future.result(SECONDS).text == "text"
    assert called.wait(SECONDS)
    assert client.operation("another").result(SECONDS).text == "text"

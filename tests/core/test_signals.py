"""Signals that are held: each is handled once, after what may not be interrupted, and everything is as it was."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from yagrpc._grpc.signals import HELD, SignalsCancel, SignalsDelayed, SignalsHeld
from yagrpc._grpc.threads import Waiter

LONG = 30.0
"""Seconds after which a test has failed."""


class Came(Exception):
    """What the handlers raise."""


@pytest.fixture
def seen() -> Iterator[list[int]]:
    """The signals that were handled; SIGUSR1's handler raises, and SIGUSR2's does not."""
    found: list[int] = []

    def notes(number: int, frame: FrameType | None) -> None:
        found.append(number)

    def raises(number: int, frame: FrameType | None) -> None:
        found.append(number)
        raise Came

    before = signal.signal(signal.SIGUSR1, raises), signal.signal(signal.SIGUSR2, notes)
    yield found
    assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)) == (raises, notes)
    signal.signal(signal.SIGUSR1, before[0])
    signal.signal(signal.SIGUSR2, before[1])


def test_a_signal_is_handled_at_the_end_of_the_block(seen: list[int]) -> None:
    steps = []

    def block() -> None:
        with SignalsHeld():
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGUSR2)
            steps.append(list(seen))

    with pytest.raises(Came):
        block()
    assert steps == [[]]
    assert seen == [signal.SIGUSR1, signal.SIGUSR2]


def test_blocks_in_each_other_handle_a_signal_at_the_end_of_the_outer_one(seen: list[int]) -> None:
    def block() -> None:
        with SignalsHeld():
            with SignalsHeld():
                signal.raise_signal(signal.SIGUSR1)
            seen.append(0)

    with pytest.raises(Came):
        block()
    assert seen == [0, signal.SIGUSR1]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_is_handled_while_the_block_waits(seen: list[int], number: int) -> None:
    items: queue.SimpleQueue[str] = queue.SimpleQueue()

    main = threading.main_thread().ident
    assert main is not None

    def send(main: int = main) -> None:
        signal.pthread_kill(main, number)
        while not seen:
            time.sleep(0)
        items.put("item")

    thread = threading.Thread(target=send)
    with SignalsHeld() as signals:
        thread.start()
        if number == signal.SIGUSR2:
            assert signals.next_item(items, LONG) == "item"
        else:
            with pytest.raises(Came):
                signals.next_item(items, LONG)
            signal.raise_signal(number)  # what the first exception ends has to be put in order before
            seen.append(0)
            with pytest.raises(Came):
                signals.check()
    thread.join()
    assert seen == ([number, 0, number] if number == signal.SIGUSR1 else [number])


def test_a_signal_from_before_a_wait_ends_it(seen: list[int]) -> None:
    with SignalsHeld() as signals:
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(Came):
            Waiter().sleep(None, signals.next_item)


def test_a_thread_that_is_waited_for_can_be_left(seen: list[int]) -> None:
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    with SignalsHeld() as signals:
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(Came):
            signals.join(thread, None)
        signals.join(thread, 0.01)
        assert thread.is_alive()
        ends.set()
        signals.join(thread, None)
        assert not thread.is_alive()


def test_a_handler_may_set_another(seen: list[int]) -> None:
    def another(number: int, frame: FrameType | None) -> None:
        signal.signal(number, before)

    before = signal.signal(signal.SIGUSR1, another)
    with SignalsHeld() as signals:
        signal.raise_signal(signal.SIGUSR1)
        signals.check()
        with pytest.raises(Came):
            signal.raise_signal(signal.SIGUSR1)
    assert seen == [signal.SIGUSR1]


@pytest.mark.parametrize("make", [SignalsHeld, lambda: SignalsCancel(list), SignalsDelayed])
def test_what_stands_in_for_a_handler_works_after_the_block(make: Callable[[], Any], seen: list[int]) -> None:
    """A program may have found it meanwhile, and set it again later."""
    with make():
        found = signal.getsignal(signal.SIGUSR1)
    before = signal.signal(signal.SIGUSR1, found)
    for _ in range(2):
        with pytest.raises(Came):
            signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("make", [SignalsHeld, lambda: SignalsCancel(list), SignalsDelayed])
def test_other_threads_hold_nothing(make: Callable[[], Any]) -> None:
    handlers = {number: signal.getsignal(number) for number in HELD}
    found = []

    def run() -> None:
        with make():
            found.append({number: signal.getsignal(number) for number in HELD})

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [handlers]


def test_an_exception_cancels_and_is_raised_at_the_end(seen: list[int]) -> None:
    cancelled = []

    def block() -> None:
        with SignalsCancel(lambda: cancelled.append(True)):
            signal.raise_signal(signal.SIGUSR2)
            assert not cancelled
            signal.raise_signal(signal.SIGUSR1)
            assert cancelled
            raise ValueError("how the call ended")

    with pytest.raises(Came) as caught:
        block()
    assert caught.value.__suppress_context__
    assert seen == [signal.SIGUSR2, signal.SIGUSR1]


def test_an_exception_is_delayed_for_a_moment_only(seen: list[int]) -> None:
    """The block is not gRPC's: so it comes in the end all the same."""
    steps = []

    def block() -> None:
        with SignalsDelayed():
            signal.raise_signal(signal.SIGUSR1)
            steps.append("a step of gRPC's")
            signal.raise_signal(signal.SIGUSR2)
            threading.Event().wait(LONG)
            steps.append("never")

    with pytest.raises(Came):
        block()
    assert steps == ["a step of gRPC's"]
    assert seen == [signal.SIGUSR1, signal.SIGUSR2]


def test_a_delayed_signal_is_handled_once(seen: list[int]) -> None:
    with pytest.raises(Came), SignalsDelayed():
        signal.raise_signal(signal.SIGUSR1)
    assert seen == [signal.SIGUSR1]


def test_a_delayed_signal_is_not_repeated_to_another_handler(seen: list[int]) -> None:
    """As one that has the second Ctrl-C end the process."""
    others: list[int] = []

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(number, lambda *came: others.append(number))
        raise Came

    before = signal.signal(signal.SIGUSR1, first)

    def block() -> None:
        with SignalsDelayed():
            signal.raise_signal(signal.SIGUSR1)
            seen.append(0)

    with pytest.raises(Came):
        block()
    signal.signal(signal.SIGUSR1, before)
    assert (seen, others) == ([], [])

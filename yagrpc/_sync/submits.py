"""Submits of the blocking client: each attempt in its own thread, so that its caller may leave at any moment.

Rules: the exception of a signal (Ctrl-C, the time limit of a task queue) can come between any two steps of the main
thread. It never comes in the thread of a submit, so that each answer is reported: to its caller, or to the reporter.
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from yagrpc._core.failure.status import RpcStatus, raised, unanswered
from yagrpc._core.flow import Reporter, Send
from yagrpc._grpc.waits.signals import SignalsHeld, next_item
from yagrpc._grpc.waits.threads import in_thread
from yagrpc.context import on_leaving
from yagrpc.errors import Code, UnavailableError, YagrpcError

_CLOSED: Final = RpcStatus(Code.CANCELLED, "the client was closed", closed=True)
_GONE: Final = RpcStatus(Code.CANCELLED, "the caller has left")


class Submits:
    """The submits of one client that are under way.

    Args:
        answer: Sends a submit in this thread, and gives its answer or its status.
    """

    def __init__(self, answer: Callable[[Send], Any]) -> None:
        self._answer = answer
        self._running: dict[threading.Thread, _Submit] = {}

    def send(self, effect: Send, reporter: Reporter) -> Any:
        """Send a submit and return its outcome, or the status of a caller that has left.

        Args:
            effect: What is sent.
            reporter: Gets the outcome, before the caller does.
        """
        return _Submit(self._answer, self._running, effect, reporter).outcome()

    def wait(self, seconds: float) -> None:
        """Wait for the submits that are under way, for some seconds at most."""
        until = time.monotonic() + seconds
        with SignalsHeld() as signals:
            for thread in list(self._running):
                if thread is not threading.current_thread():  # as where a user's code closes the client
                    signals.join(thread, until - time.monotonic())

    def close(self) -> None:
        """End the waits of the callers."""
        for submit in list(self._running.values()):
            submit.close()

    def lose(self) -> None:
        """Report that the outcomes will not be known."""
        for submit in list(self._running.values()):
            submit.lose()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._running)


class _Submit:
    """One attempt of a submit.

    Args:
        answer: Sends it in this thread, and gives its answer or its status.
        running: Holds it while it runs, by its thread.
        effect: What is sent.
        reporter: Gets the outcome, before the caller does.
    """

    def __init__(
        self, answer: Callable[[Send], Any], running: dict[threading.Thread, _Submit], effect: Send, reporter: Reporter
    ) -> None:
        self._answer = answer
        self._running = running
        self._effect = effect
        self._reporter = reporter
        self._outcomes: queue.SimpleQueue[Any] = queue.SimpleQueue()  # its waits can be interrupted without harm
        self._answered = False
        self._left = False

    def outcome(self) -> Any:
        """Send it and return its outcome, or the status of a caller that has left."""
        context = contextvars.copy_context()
        try:
            try:
                in_thread(lambda: context.run(self._run), "yagrpc-submit")
            except RuntimeError as error:
                raise UnavailableError(f"{error}, nothing was sent") from error
            with on_leaving(lambda: self._outcomes.put(_GONE)):
                outcome = self._wait(self._effect.timeout)
            while outcome is _GONE and self._answered:  # before the caller left: the handler may put it in order
                outcome = next_item(self._outcomes, None)
            if outcome is _CLOSED or outcome is _GONE:
                self._leave()
                outcome = _CLOSED if outcome is _CLOSED else unanswered(self._effect.call)
        except BaseException:
            self._leave()
            raise
        if isinstance(outcome, YagrpcError):
            raise outcome
        return raised(outcome) if isinstance(outcome, BaseException) else outcome

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
            return unanswered(self._effect.call)

    def _run(self) -> None:
        self._running[threading.current_thread()] = self  # before it is sent, so that closing the client waits for it
        outcome: Any
        try:
            outcome = self._answer(self._effect)
        except BaseException as error:  # of any kind: the caller gets it
            outcome = error
        self._answered = True
        try:
            self._reporter.ended(outcome)
        finally:
            self._outcomes.put(outcome)
            if self._left:
                self._report()
            self._running.pop(threading.current_thread(), None)

    def _leave(self) -> None:
        self._left = True
        self._report()

    def _report(self) -> None:
        """Report an outcome that the caller does not take; the thread and the caller may both come here."""
        with contextlib.suppress(queue.Empty):
            while True:
                if (outcome := self._outcomes.get_nowait()) is not _CLOSED and outcome is not _GONE:
                    self._reporter.left(outcome)

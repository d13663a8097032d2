"""Submits of the asyncio client: each is answered in its own task, so that its caller may leave at any moment.

Rules: a submit whose caller has left is not cancelled but completed, since the service may still accept it; its outcome
goes to its reporter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from yagrpc._core.call.call import Call
from yagrpc._core.failure.status import RpcStatus, unanswered
from yagrpc._core.flow import Reporter, Send
from yagrpc._grpc.loops import ended
from yagrpc.errors import Code

_LOOP_ENDED: Final = RpcStatus(Code.CANCELLED, "the event loop ended")


class Submits:
    """The submits of one client that are under way."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[Any], tuple[Call[Any, Any], Reporter]] = {}

    async def outcome(self, answer: Coroutine[Any, Any, Any], effect: Send, reporter: Reporter) -> Any:
        """Wait for the answer to a submit; gives its outcome, or the status of a caller that has left.

        Args:
            answer: Gives the answer of what was sent, or its status.
            effect: What was sent.
            reporter: Gets the outcome, before the caller does.
        """
        task = asyncio.get_running_loop().create_task(answer, name="yagrpc-submit")
        self._running[task] = effect.call, reporter
        task.add_done_callback(self._running.pop)
        try:
            done = await ended(effect.timeout, task)
        except BaseException:  # cancelled, or closed as a coroutine
            _leave(task, reporter)
            raise
        if done:
            outcome = task.result()
            reporter.ended(outcome)  # no step of the event loop comes between the report and the caller
            return outcome
        _leave(task, reporter)
        return unanswered(effect.call)

    async def wait(self, seconds: float) -> None:
        """Wait for the submits that are under way in this event loop, for some seconds at most."""
        loop = asyncio.get_running_loop()
        if tasks := [task for task in self._running if task.get_loop() is loop]:
            await asyncio.wait(tasks, timeout=seconds)

    def cancel(self) -> None:
        """Cancel the rpcs."""
        for call, _ in self._running.values():
            call.cancel()

    def lose(self) -> None:
        """Report that the outcomes will not be known: the event loop runs no more."""
        for task, (_, reporter) in list(self._running.items()):
            if not task.done():
                reporter.left(_LOOP_ENDED)

    def forget(self) -> list[asyncio.Task[Any]]:
        """Forget the submits; gives their tasks."""
        running, self._running = self._running, {}
        return list(running)


def _leave(task: asyncio.Task[Any], reporter: Reporter) -> None:
    """Have the outcome of a submit reported whose caller no longer waits."""

    def report(task: asyncio.Task[Any]) -> None:
        outcome = _LOOP_ENDED if task.cancelled() else task.exception() or task.result()
        reporter.ended(outcome)
        reporter.left(outcome)

    if task.done():
        report(task)
    elif task.get_loop().is_closed():
        reporter.left(_LOOP_ENDED)
    else:
        task.add_done_callback(report)

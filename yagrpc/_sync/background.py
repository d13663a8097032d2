"""What the blocking client does without keeping its caller waiting: shared flows, and flows carried on by callbacks.

Rules: a shared flow has a thread of its own, a daemon that ends with it, so that one who waits may give up, be
interrupted or time out without harm to the others. A thread that was lost over a fork is not waited for.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, wait
from typing import Any

from yagrpc._core.client import told
from yagrpc._core.flow import Effect, Flow, Share
from yagrpc.errors import ClientClosedError


class Sharing:
    """Flows that are carried out once for all who ask for them meanwhile.

    Args:
        run: Carries a flow out, blocking.
    """

    def __init__(self, run: Callable[[Flow[Any]], Any]) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], Future[Any]] = {}
        self._closed = False

    def share(self, effect: Share) -> Any:
        """Join in a flow, or begin it; gives what it returns, or `None` without waiting.

        Raises:
            TimeoutError: It goes on after the effect's timeout.
        """
        future = self.future(effect)
        if not effect.wait:
            return None
        if not wait([future], effect.timeout).done:
            raise TimeoutError
        return future.result()

    def future(self, effect: Share) -> Future[Any]:
        """The future of a flow, begun where nobody has; done at once where the effect does not wait for it."""
        key = effect.key, os.getpid()
        with self._lock:
            if self._closed:
                raise ClientClosedError
            future = self._running.get(key)
            if future is None:
                future = self._running[key] = Future()
                thread = threading.Thread(
                    target=self._carry_out, args=(key, effect, future), name=f"yagrpc-{effect.key}", daemon=True
                )
                thread.start()
        if effect.wait:
            return future
        unwaited: Future[Any] = Future()
        unwaited.set_result(None)
        return unwaited

    def close(self) -> None:
        """Wait for nothing any longer: those who do get a `ClientClosedError`."""
        with self._lock:
            self._closed = True
            running = list(self._running.values())
        for future in running:
            _settle(future, error=ClientClosedError())

    def _carry_out(self, key: tuple[str, int], effect: Share, future: Future[Any]) -> None:
        returned, failure = None, None
        try:
            returned = self._run(effect.make())
        except BaseException as error:  # those who wait are told
            failure = error
        with self._lock:
            del self._running[key]
        _settle(future, returned, failure)


def carry_on(flow: Flow[Any], begin: Callable[[Effect], Any], done: Callable[[Any], None]) -> None:
    """Carry a flow on from one callback to the next.

    Args:
        flow: Which.
        begin: Begins an effect, and gives its future.
        done: Called once, with what the flow returned, or raised.
    """

    def step(resume: Callable[[], Effect]) -> None:
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
                future = begin(effect)
            except Exception as error:  # whatever it is, the flow decides
                resume = _throwing(flow, error)
                continue
            future.add_done_callback(lambda ended: step(lambda: _resumed(flow, ended)))
            return

    step(lambda: next(flow))


def _resumed(flow: Flow[Any], ended: Any) -> Effect:
    try:
        outcome = ended.result()
    except BaseException as error:  # a call that was cancelled, too
        return flow.throw(told(error))
    return flow.send(outcome)


def _throwing(flow: Flow[Any], error: Exception) -> Callable[[], Effect]:
    return lambda: flow.throw(told(error))


def _settle(future: Future[Any], returned: Any = None, error: BaseException | None = None) -> None:
    with contextlib.suppress(InvalidStateError):  # the client was closed meanwhile
        future.set_result(returned) if error is None else future.set_exception(error)

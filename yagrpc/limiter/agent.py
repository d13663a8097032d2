"""The agent of one client: the thread that talks to the store for it.

Rules: the client never waits for the store, it is notified. What comes while the store works goes into the next batch.
The thread starts with the first question, and ends with the client; a client that is collected ends it as well, as the
thread holds on to nothing of it. After a failure of the store the agent tries again once a second. What threads wait
with is created when it is first needed: gevent may patch it after the client was created (`gunicorn --preload`), and
what is older would stop all greenlets.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import queue
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import Final

from yagrpc._core.quota.grants import Change, Grant, Granted, Grants, OnFailure
from yagrpc._core.quota.windows import Rule, rules_of
from yagrpc._grpc import fork
from yagrpc._grpc.waits.threads import in_thread
from yagrpc.config import Quota
from yagrpc.errors import ConfigError, LimiterError
from yagrpc.foreign import cleaned
from yagrpc.limiter.store import LEASE, Ask, Batch, Refusal, Store, StoreError
from yagrpc.quotas import Used

log = logging.getLogger("yagrpc.quota")

BEAT: Final = LEASE / 4
"""Seconds between two signs of life."""

AGAIN: Final = 1.0
"""Seconds after a failure of the store until it is tried again."""

CLOSING: Final = 2.0
"""Seconds for which closing waits for the last batch."""


class Agent:
    """Asks a store for the slots of one client.

    Args:
        store: The store.
        quota: The client's quotas.
        on_failure: What happens while the store can't be reached; see `Grants`.
        clock: Gives passed time, in seconds.

    Raises:
        ConfigError: The store refuses this client for good.

    Attributes:
        grants: What the client's gates use.
    """

    def __init__(
        self, store: Store, quota: Quota | None, on_failure: OnFailure, clock: Callable[[], float] = time.monotonic
    ) -> None:
        post = weakref.WeakMethod(self._post)  # the thread has the grants, and must not keep the agent by them
        self.grants = Grants(lambda change: (found := post()) and found(change), clock, on_failure)
        self._new_worker = functools.partial(_Worker, store, self.grants, rules_of(quota), on_failure)
        self._closed = False
        self._begin()
        self._worker.join()

    def used(self) -> list[Used]:
        """What all processes use; empty where the store can't be reached."""
        return self._worker.used()

    def close(self) -> None:
        """Give everything back, and end the thread; closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        self._detach()
        self._posted().put(None)
        if self._thread is None:
            self._worker.run(self._posted())
        elif self._thread is not threading.current_thread():
            self._thread.join(CLOSING)

    def forked(self) -> None:
        """In a forked child: the thread, and its place in the store, are the parent's."""
        self._detach()
        fork.keep(self._worker, self.__dict__.pop("_queue", None))
        self._worker.forked()
        self.grants.found()
        self._begin()

    def _begin(self) -> None:
        self._worker = self._new_worker()
        self._starts = itertools.count()
        self._thread: threading.Thread | None = None
        self._finalizer: weakref.finalize[..., Agent] | None = None

    def _detach(self) -> None:
        if self._finalizer is not None:
            self._finalizer.detach()

    def _posted(self) -> queue.SimpleQueue[Change | None]:
        """What the thread reads; two threads that need it first get one."""
        found: queue.SimpleQueue[Change | None] = self.__dict__.setdefault("_queue", queue.SimpleQueue())
        return found

    def _post(self, change: Change) -> None:
        posted = self._posted()
        posted.put(change)
        if self._thread is None and not self._closed and next(self._starts) == 0:  # the first of several threads
            # The thread knows the worker alone, so that it ends with a client that nobody has closed.
            self._finalizer = weakref.finalize(self, posted.put, None)
            self._finalizer.atexit = False
            try:
                self._thread = in_thread(functools.partial(self._worker.run, posted), "yagrpc-limiter")
            except BaseException:
                self._starts = itertools.count()  # the next change tries again
                raise


class _Worker:
    """What the agent's thread does.

    Args:
        store: The store.
        grants: Learns the answers.
        rules: The client's quotas.
        on_failure: As of an `Agent`.
    """

    def __init__(self, store: Store, grants: Grants, rules: list[Rule], on_failure: OnFailure) -> None:
        self._store = store
        self._grants = grants
        self._rules = rules
        self._on_failure = on_failure
        self._id = secrets.token_hex(8)
        self._held: dict[int, str] = {}
        self._participants = 1
        self._lost = False
        self._next_beat = 0.0
        self._said: set[str] = set()

    def join(self) -> None:
        """Take part; a store that can't be reached now may be reached later."""
        try:
            self._join()
        except StoreError as error:
            self._lose(error, [])

    def run(self, posted: queue.SimpleQueue[Change | None]) -> None:
        """Say what is posted, until the end.

        Args:
            posted: What is to be said to the store; `None` at the end.
        """
        going = True
        while going:
            changes = self._changes(posted)
            going = None not in changes
            batch, asked = self._batch([change for change in changes if change is not None])
            try:
                self._say(batch, asked)
            except Exception as error:  # of any kind: callers wait for the answers
                self._lose(error, asked)
        with self._lock(), fork.NoFork(), contextlib.closing(self._store), contextlib.suppress(StoreError, ConfigError):
            self._store.leave(self._id)  # else its leases expire

    def used(self) -> list[Used]:
        """What all processes use; empty where the store can't be reached."""
        with contextlib.suppress(StoreError, ConfigError), self._lock(), fork.NoFork():
            return self._store.used()
        return []

    def forked(self) -> None:
        """In a forked child: have the store forget what is open."""
        self._store.forked(interrupted=self._lock().locked())

    def _lock(self) -> threading.Lock:
        """What the one who uses the store holds; two threads that need it first get one."""
        found: threading.Lock = self.__dict__.setdefault("_only_lock", threading.Lock())
        return found

    def _changes(self, posted: queue.SimpleQueue[Change | None]) -> list[Change | None]:
        """What was posted since; waits for the first until the next sign of life is due."""
        changes: list[Change | None] = []
        with contextlib.suppress(queue.Empty):
            changes.append(posted.get(timeout=max(0.0, self._next_beat - time.monotonic())))
            while None not in changes:
                changes.append(posted.get_nowait())
        return changes

    def _batch(self, changes: list[Change]) -> tuple[Batch, list[Grant]]:
        asked = {change.grant.key: change.grant for change in changes if change.kind in ("ask", "again")}
        again = {change.grant.key for change in changes if change.kind == "again"}
        counted, given_back, refused = [], [], []
        for change in changes:
            key = change.grant.key
            if change.kind in ("sent", "answered"):
                counted.append(key)
            elif change.kind == "refused":
                refused.append(Refusal(change.quota, change.seconds, change.refusal))
            elif change.kind == "give back" and (asked.pop(key, None) is None or key in again):
                self._held.pop(key, None)
                given_back.append(key)
        asks = tuple(Ask(grant.key, grant.rules, grant.key in again) for grant in asked.values())
        beat = time.monotonic() >= self._next_beat
        held = tuple(self._held.items()) if beat else ()
        return Batch(asks, tuple(counted), tuple(given_back), tuple(refused), held, beat), list(asked.values())

    def _say(self, batch: Batch, asked: list[Grant]) -> None:
        with self._lock(), fork.NoFork():
            if batch.beat:  # a sign of life: it also renews what the store may have lost
                self._join()
            reply = self._store.apply(self._id, batch)
        if batch.beat:
            self._next_beat = time.monotonic() + BEAT
            self._participants = reply.participants
            self._warn_of_smaller(reply.limits)
        self._grants.found()
        if self._lost:
            self._lost = False
            log.warning("the shared limiter %s is there again", self._store.name)
        for grant in asked:
            answer = reply.answers[grant.key]
            if isinstance(answer, Granted):
                self._held.update((grant.key, rule.name) for rule in grant.rules if not rule.seconds)
            self._grants.answer(grant, answer)

    def _join(self) -> None:
        self._store.join(self._id, f"{socket.gethostname()}:{os.getpid()}", self._rules)

    def _lose(self, error: Exception, asked: list[Grant]) -> None:
        reason = cleaned(str(error))
        failure = LimiterError(f"the shared limiter {self._store.name} can't be reached: {reason}")
        if not self._lost:
            self._lost = True
            what = "calls fail until it is there again"
            if self._on_failure == "local":
                part = f"one of {self._participants} equal parts of each quota" if self._participants > 1 else "all"
                what = f"this process counts for itself and uses {part} until it is there again"
            log.warning("%s; %s", failure.message, what)
        self._next_beat = time.monotonic() + AGAIN
        self._grants.lost(failure, asked, self._participants)

    def _warn_of_smaller(self, limits: dict[str, float]) -> None:
        for rule in self._rules:
            if limits.get(rule.name, rule.limit) < rule.limit and rule.name not in self._said:
                self._said.add(rule.name)
                smaller = limits[rule.name]
                text = "another process that shares %s has quota.%s = %g, this one %g: the smaller counts"
                log.warning(text, self._store.name, rule.name, smaller, rule.limit)

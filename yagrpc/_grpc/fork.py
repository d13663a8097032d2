"""Clients in a process that was forked: their connections, threads and locks are the parent's.

gRPC's blocking API works in a forked child only by what it does before and after the fork; where that was turned off
(`GRPC_ENABLE_FORK_SUPPORT=0`), the first call in the child hangs, past any timeout, so it is refused instead. The
asyncio API never works in a child of a process in which one of its channels was open: it hangs, or ends the process
(measured, as all here, with grpcio 1.68 to 1.85); there the calls of every `AsyncClient` are refused.

Rules: an rpc is started within `NoFork`; only a unary call that its own thread waits for is not, since gRPC starts it
and waits for its answer in one step (docs/reliability.md says what a fork does then). The child closes no channel that
it inherited: the parent still uses it, and closing may wait for a thread that the child does not have. It is kept, so
that nothing else closes it either.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Final, Protocol

from yagrpc.errors import ConfigError

PATIENCE: Final = 1.0
"""Seconds that a fork waits at most for the blocks of `NoFork` in other threads, and these for a fork. An rpc starts
in about 0.1 ms."""

_STEP: Final = 0.0005
_starting: Final[list[int]] = []
_forking: Final[list[int]] = []
_OFF: Final = frozenset({"0", "false", "no", "n", "f"})
_inherited: Final[list[object]] = []
_refusals: Final[dict[bool, str]] = {}

WITHOUT_SUPPORT: Final = (
    "this process was forked while gRPC's support for that is turned off: leave GRPC_ENABLE_FORK_SUPPORT out and fork"
    " while no call runs, or start processes by spawn"
)
"""Why no call can be sent from a forked process."""


class Forked(Protocol):
    """An object that has something to renew in a forked child."""

    def forked(self) -> None:
        """Renew it; called in the child, before anything else runs there."""


_renewed: Final[weakref.WeakSet[Forked]] = weakref.WeakSet()


def renew_after_fork(client: Forked) -> None:
    """Have a client's `forked` called in every child that is forked while it lives."""
    _renewed.add(client)


def keep(*inherited: object) -> None:
    """Keep what the parent still uses from being closed here."""
    _inherited.extend(inherited)


def lose(*, asynchronous: bool) -> None:
    """Take note, in a forked child, that channels of one of gRPC's two APIs were open in the parent."""
    if asynchronous:
        _refusals[True] = (
            "this process was forked while an AsyncClient was in use, and gRPC's asyncio API can't work in it: use the"
            " AsyncClient after the fork only, or close it before (gunicorn: leave out --preload, or make the first"
            " call in the worker), or start processes by spawn"
        )
    if support_is_off():
        _refusals.setdefault(False, WITHOUT_SUPPORT)
        _refusals.setdefault(True, WITHOUT_SUPPORT)


def refusal(*, asynchronous: bool) -> ConfigError | None:
    """Why one of gRPC's two APIs can't be used in this process; `None` where it can."""
    reason = _refusals.get(asynchronous)
    return None if reason is None else ConfigError(reason)


def support_is_off() -> bool:
    """Whether gRPC does nothing before and after forks."""
    return os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").strip().lower() in _OFF


class NoFork:
    """The context in which a thread starts an rpc, or counts in a shared file: no other thread forks meanwhile.

    gRPC holds a lock of the channel while an rpc starts, and its handler of forks takes that lock in the child. A child
    that is forked at that moment hangs before any code of ours runs there: 2 of 100 forks right after a Get was due
    did, none of 300 with this. In the middle of a transaction, SQLite locks the file in the child for good.

    Neither waits for the other longer than `PATIENCE` seconds: an interceptor may take long to start an rpc, and the
    thread that starts one may hold a lock which another handler of forks waits for.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        _starting.append(threading.get_ident())
        if _forking:
            until = time.monotonic() + PATIENCE
            while _others(_forking) and time.monotonic() < until:
                self.__exit__()  # the fork waits until this thread is not in the list
                time.sleep(_STEP)
                _starting.append(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        _starting.remove(threading.get_ident())


def _others(threads: list[int]) -> list[int]:
    this = threading.get_ident()
    return [thread for thread in threads if thread != this]


def _before() -> None:
    _forking.append(threading.get_ident())
    until = time.monotonic() + PATIENCE
    while _others(_starting) and time.monotonic() < until:
        time.sleep(_STEP)


def _after() -> None:
    _forking.remove(threading.get_ident())


def _in_child() -> None:
    for threads in (_forking, _starting):
        for other in _others(threads):
            threads.remove(other)
    _after()
    for client in list(_renewed):
        client.forked()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)

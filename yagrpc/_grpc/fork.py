"""Clients in a process that was forked: their connections, threads and locks are the parent's.

gRPC works in a forked child only by what it does before and after the fork; where that was turned off
(`GRPC_ENABLE_FORK_SUPPORT=0`), the first call in the child hangs, past any timeout (grpcio 1.68 to 1.85), so it is
refused instead.

Rules: the child never closes what it inherited: the parent still uses it, and closing may wait for a thread that the
child does not have. It is kept, so that nothing else closes it either.
"""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol

from yagrpc.errors import ConfigError

_OFF: Final = frozenset({"0", "false", "no", "n", "f"})
_inherited: Final[list[object]] = []


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


def refusal() -> ConfigError | None:
    """Why no call can be sent from this forked process; `None` where calls can be sent."""
    if os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").strip().lower() not in _OFF:
        return None
    remedy = "leave GRPC_ENABLE_FORK_SUPPORT out or set it to 1 before grpc is imported, or start processes by spawn"
    return ConfigError(f"this process was forked while gRPC's support for that is turned off: {remedy}")


def _in_child() -> None:
    for client in list(_renewed):
        client.forked()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_in_child)

"""Quotas shared by processes: who keeps the count, how a process talks to it, and `Limits` for calls of others.

The count is kept by a store: a SQLite file for the processes of one machine, or Redis. A client's agent, a thread, asks
the store for what the client's gates want, and reports what has become of that.

Rules: nothing else of this package is loaded by a client that shares nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from yagrpc.config import ENVIRONMENT
from yagrpc.errors import ConfigError
from yagrpc.hiding import SecretText, hidden, shown

if TYPE_CHECKING:
    from yagrpc._core.quota.grants import Limiter, OnFailure
    from yagrpc.config import Quota

ShareInput: TypeAlias = "str | PathLike[str] | None"
"""Where a quota's count is kept: `auto`, the path of a file, `redis://...`; `None` for what `YAGRPC_SHARE` says."""

VARIABLE: Final = "YAGRPC_SHARE"


def given_share(share: Any, environment: Mapping[str, str] = ENVIRONMENT) -> SecretText | None:
    """The setting `share`, hidden, as a URL may hold a password; `None` where quotas are not shared.

    Args:
        share: What was given; `None` for what the environment says.
        environment: The environment variables.

    Raises:
        ConfigError: It is no text and no path.
    """
    share = fspath(share) if isinstance(share, PathLike) else share
    if share is None:
        share = environment.get(VARIABLE) or None
    if share is None or (isinstance(share, str) and share):
        return None if share is None else SecretText(share)
    kind, share = shown(share), None
    raise ConfigError(
        f"share is {kind}: give 'auto', the path of a file, 'redis://...', or None for quotas of this client alone"
    )


def limiter_of(share: SecretText | None, on_failure: OnFailure) -> Callable[[str | None, Quota | None], Limiter | None]:
    """What makes the limiter of a client, of its folder and its quotas.

    Args:
        share: As `given_share` gave it.
        on_failure: What happens while the limiter can't be reached: `local` or `error`.

    Raises:
        ConfigError: `on_failure` is neither.
    """
    share = hidden(share)
    if on_failure not in ("local", "error"):
        raise ConfigError(f"on_limiter_failure is {shown(on_failure)}: give 'local' or 'error'")

    def make(folder_id: str | None, quota: Quota | None) -> Limiter | None:
        if share is None or quota is None:
            return None
        from yagrpc.limiter.agent import Agent
        from yagrpc.limiter.share import store_of

        return Agent(store_of(share, folder_id), quota, on_failure)

    return make

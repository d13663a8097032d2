"""Quotas shared by processes: who keeps the count, how a process talks to it, and `Limits` for calls of others.

The count is kept by a store: a SQLite file for the processes of one machine, or Redis. A client's agent, a thread, asks
the store for what the client's gates want, and reports what has become of that.

Rules: nothing else of this package is loaded by a client that shares nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from yagrpc.config import ENVIRONMENT, check_no_credential
from yagrpc.errors import ConfigError
from yagrpc.hiding import Environment, SecretText, hidden, kind_of, shown

if TYPE_CHECKING:
    from yagrpc._core.quota.grants import Limiter, OnFailure
    from yagrpc.config import Quota

ShareInput: TypeAlias = "str | PathLike[str] | None"
"""Where a quota's count is kept: `auto`, the path of a file, `redis://...`; `None` for what `YAGRPC_SHARE` says."""

VARIABLE: Final = "YAGRPC_SHARE"

_TAKES: Final = "'auto', the path of a file, 'redis://...', or None for quotas of this client alone"


def hidden_share(share: Any) -> Any:
    """The setting `share` as it was given, hidden: a URL may hold a password."""
    return hidden(fspath(share) if isinstance(share, PathLike) else share)


def place_of(share: Any, default: str | None = None, environment: Environment = ENVIRONMENT) -> SecretText | None:
    """Where quotas are counted; `None` where they are not shared.

    Args:
        share: As `hidden_share` gave it; `None` for what the environment says.
        default: What is taken where the environment says nothing.
        environment: The environment variables.

    Raises:
        ConfigError: It is no text and no path, or has the form of a credential.
    """
    place: SecretText | None = hidden(environment.get(VARIABLE) or default) if share is None else share
    if isinstance(place, SecretText) and place:
        check_no_credential("share", place.reveal(), _TAKES)  # it would be the name of a file
    elif place is not None:
        kind = "empty" if isinstance(place, SecretText) else f"a {kind_of(place)}"
        raise ConfigError(f"share is {kind}: it takes {_TAKES}")
    return place


def limiter_of(
    share: Any, on_failure: OnFailure, default: str | None = None
) -> Callable[[str | None, Quota | None], Limiter | None]:
    """What makes the limiter of a client, of its folder and its quotas.

    Args:
        share: As `hidden_share` gave it.
        on_failure: What happens while the limiter can't be reached: `local` or `error`.
        default: What `share` is where neither it nor the environment says anything.

    Raises:
        ConfigError: One of the settings can't be meant.
    """
    place = place_of(share, default)
    if not isinstance(on_failure, str) or on_failure not in ("local", "error"):
        raise ConfigError(f"on_limiter_failure is {shown(on_failure)}: give 'local' or 'error'")

    def make(folder_id: str | None, quota: Quota | None) -> Limiter | None:
        if place is None or quota is None:
            return None
        from yagrpc.limiter.agent import Agent
        from yagrpc.limiter.share import store_of

        return Agent(store_of(place, folder_id), quota, on_failure)

    return make

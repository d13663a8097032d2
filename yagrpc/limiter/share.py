"""From the setting `share` to the store that it names.

Rules: a folder's id is in no name of a file or key, only a hash of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yagrpc.config import ENVIRONMENT
from yagrpc.errors import ConfigError

if TYPE_CHECKING:
    from yagrpc.hiding import SecretText
    from yagrpc.limiter.store import Store

AUTO: Final = "auto"


def store_of(share: SecretText, folder_id: str | None) -> Store:
    """The store that a setting names.

    Args:
        share: `auto`, the path of a file, `redis://...`, `rediss://...`, or these with `+cluster`.
        folder_id: The folder whose quotas they are.

    Raises:
        ConfigError: It can't be used, or there is no folder.
    """
    if not folder_id:
        raise ConfigError("share needs the folder whose quotas are shared: give folder_id, or set YC_FOLDER_ID")
    folder = hashlib.sha256(folder_id.encode()).hexdigest()[:16]
    if "://" in share.reveal():
        from yagrpc.limiter.redis import SCHEMES, RedisStore

        if share.reveal().startswith(SCHEMES):
            return RedisStore(share, folder)
        raise ConfigError(
            "share has a scheme that is not known: give 'auto', a path, redis://..., rediss://... or redis+cluster://..."
        )
    from yagrpc.limiter.sqlite import SqliteStore

    return SqliteStore(
        _default_path(folder) if share.reveal() == AUTO else Path(str.__str__(share.reveal())).expanduser()
    )


def _default_path(folder: str) -> Path:
    """The file of a folder below the user's cache, or below the runtime folder where the cache can't be written."""
    homes = [ENVIRONMENT.get("XDG_CACHE_HOME") or "~/.cache", ENVIRONMENT.get("XDG_RUNTIME_DIR", "")]
    for home in filter(None, homes):
        with contextlib.suppress(OSError, RuntimeError):  # no home, or not ours
            place = Path(home).expanduser() / "yagrpc"
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(place, os.W_OK | os.X_OK):
                return place / f"limits-{folder}.sqlite3"
    raise ConfigError("share='auto' finds no folder of the user's that can be written to: give the path of a file")

"""The count in Redis, for processes of several machines.

Rules: each batch is one script, which Redis runs as one step, by its own clock. All keys of a folder are in one slot of
a Redis Cluster. A clock that was set back takes the counted times along; one that was set forward frees windows early,
and the service's refusals then hold all processes back. The script reads and writes what `sqlite` does.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from yagrpc._core.quota.grants import Granted, Later
from yagrpc._core.quota.windows import Rule
from yagrpc._grpc import fork
from yagrpc.errors import ConfigError
from yagrpc.hiding import Held, SecretText, without_secrets
from yagrpc.limiter.store import HORIZON, LEASE, PRESENT, RETRY, SLACK, Batch, Reply, StoreError
from yagrpc.quotas import Used

INSTALL: Final = "share='redis://...' needs redis-py: pip install 'yagrpc[redis]'"

TIMEOUT: Final = 2.0
"""Seconds for a connection, and for an answer, which take less than a millisecond where all is well."""

KEEP: Final = 2 * 24 * 3600
"""Seconds after which Redis forgets a folder that nobody uses: longer than the longest window."""

CLUSTERS: Final = ("redis+cluster://", "rediss+cluster://")
"""How the URL of a Redis Cluster begins."""

SCHEMES: Final = ("redis://", "rediss://", *CLUSTERS)
"""How the URLs begin that this module takes."""

ESCAPES: Final = "in a password, write %2F for /, %3F for ?, %23 for #, %40 for @, %5B for [ and %5D for ]"
"""What to do about a URL that can't be taken apart."""

_SCRIPT: Final = Path(__file__).with_name("step.lua")


class RedisStore:
    """The count in Redis, version 6.2 or newer.

    Args:
        url: `redis://` or `rediss://` (TLS), with user, password, host, port and the number of the database; or
            `redis+cluster://` or `rediss+cluster://`, with any node of a cluster.
        folder: A name of the folder, which is in its keys.
        clock: Gives the time, in seconds; by default Redis does.

    Raises:
        ConfigError: redis-py is not installed, or the URL is none.
    """

    def __init__(self, url: SecretText, folder: str, *, clock: Callable[[], float] | None = None) -> None:
        try:
            import redis
        except ImportError:
            raise ConfigError(INSTALL) from None
        self._redis: Any = redis
        self.name = _without_password(url)
        # Held: a client of redis-py has the password among its variables.
        self._url = Held(url.reveal().replace("+cluster://", "://"))
        self._script: Held[Any] | None = None
        self._key = f"yagrpc:{{{folder}}}"
        self._clock = clock

    def join(self, participant: str, label: str, rules: list[Rule]) -> None:
        """Take part; see `Store.join`."""
        self._run(kind="join", participant=participant, label=label, rules=rules)

    def apply(self, participant: str, batch: Batch) -> Reply:
        """Take a batch in one step; see `Store.apply`."""
        reply = self._run(kind="apply", participant=participant, **batch._asdict())
        answers = {ask.key: _answer(answer) for ask, answer in zip(batch.asks, reply["answers"], strict=True)}
        return Reply(answers, reply["participants"], {name: float(limit) for name, limit in reply["limits"]})

    def used(self) -> list[Used]:
        """What is used, by whom; see `Store.used`."""
        rows = self._run(kind="used", participant="").get("rows", [])
        return sorted(Used(quota, label, slots, float(limit)) for quota, label, slots, limit in rows)

    def leave(self, participant: str) -> None:
        """Take part no longer; see `Store.leave`."""
        self._run(kind="leave", participant=participant)

    def close(self) -> None:
        """Close the connections."""
        if self._script is not None:
            self._script.reveal().registered_client.close()

    def forked(self, *, interrupted: bool) -> None:
        """Forget the connections; see `Store.forked`."""
        fork.keep(self._script)
        self._script = None

    def _run(self, **asked: Any) -> dict[str, Any]:
        asked |= {"lease": LEASE, "horizon": HORIZON, "retry": RETRY, "present": PRESENT, "slack": SLACK, "keep": KEEP}
        if self._clock is not None:
            asked["now"] = self._clock()
        errors = self._redis.exceptions
        try:
            script = (self._script or self._connected()).reveal()
            reply: dict[str, Any] = json.loads(script(keys=[self._key], args=[json.dumps(asked)]))
            return reply
        except (errors.RedisError, errors.RedisClusterException) as error:
            raise self._failure(error) from None
        except ValueError as error:  # of redis-py, too, for numbers that are none
            wrong = StoreError("the answer is none of Redis's: is another server there?")
            raise (error if isinstance(error, ConfigError) else wrong) from None

    def _connected(self) -> Held[Any]:
        """The script, at a client of one server or of a cluster; the latter asks a node for the others at once."""
        kind = self._redis.RedisCluster if self.name.startswith(CLUSTERS) else self._redis.Redis
        timeouts = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
        try:
            client = kind.from_url(self._url.reveal(), decode_responses=True, **timeouts)
        except ValueError:
            raise ConfigError(f"share={self.name} is no URL of Redis: give redis://host:6379/0") from None
        self._script = Held(client.register_script(_SCRIPT.read_text("utf-8")))
        return self._script

    def _failure(self, error: Exception) -> ConfigError | StoreError:
        errors = self._redis.exceptions
        if isinstance(error.__cause__ or error, (errors.AuthenticationError, errors.NoPermissionError)):
            return ConfigError(f"share={self.name}: Redis refuses the user or the password of the URL")
        if isinstance(error, (errors.MovedError, errors.AskError)):
            return ConfigError(f"share={self.name} is a node of a Redis Cluster: write redis+cluster:// for redis://")
        if isinstance(error, errors.RedisClusterException) and "not enabled" in str(error):
            return ConfigError(f"share={self.name} is no Redis Cluster: write redis:// for redis+cluster://")
        return StoreError(without_secrets(str(error)))


def _answer(answer: list[Any]) -> Granted | Later:
    if len(answer) == 1:
        return Granted(float(answer[0]))
    quota, seconds, least, refusal = answer
    return Later(quota, float(seconds), float(least), refusal)


def _without_password(url: SecretText) -> str:
    """A URL as errors name it.

    Raises:
        ConfigError: Nobody can say where its password ends: it would be shown, or be taken for a host.
    """
    with contextlib.suppress(ValueError):  # of a bracket
        parts = urlsplit(url.reveal())
        if not any("@" in part for part in parts[2:]):
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    raise ConfigError(f"share={url.reveal().partition('://')[0]}://*** is no URL of Redis: {ESCAPES}")

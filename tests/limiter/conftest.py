"""Stores on a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.stores import RedisCluster, RedisServer
from yagrpc.hiding import SecretText
from yagrpc.limiter.redis import RedisStore
from yagrpc.limiter.sqlite import SqliteStore
from yagrpc.limiter.store import Store


class Clock:
    """A time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time of the stores."""
    return Clock()


Opener = Callable[[], Store]


@pytest.fixture(params=["sqlite", "redis", "redis cluster"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Opener]:
    """Opens the same count as often as a test wants, as each process does."""
    stores: list[Store] = []
    folder = uuid4().hex
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")

        def make() -> Store:
            return RedisStore(SecretText(server.url), folder, clock=clock)
    elif request.param == "redis cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")

        def make() -> Store:
            url = f"redis+cluster://127.0.0.1:{cluster.nodes[0].port}"
            return RedisStore(SecretText(url), folder, clock=clock)
    else:

        def make() -> Store:
            return SqliteStore(tmp_path / "limits.sqlite3", monotonic=clock, wall=clock)

    def opens() -> Store:
        stores.append(make())
        return stores[-1]

    yield opens
    for store in stores:
        store.close()

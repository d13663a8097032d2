"""Where processes share quotas: a SQLite file, or a Redis server of the tests' own."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class RedisServer:
    """A Redis server in a process of its own.

    Args:
        folder: Where it has its files.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        self._command = [program, "--save", "", "--appendonly", "no", "--dir", str(folder), "--bind", "127.0.0.1"]
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """Its URL; each test takes a folder of its own."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, at the port that it had before."""
        for _ in range(20):
            port = self.port or _free_port()
            self._process = subprocess.Popen(
                [*self._command, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            assert self._process.stdout is not None
            for line in self._process.stdout:
                if "Ready to accept connections" in line:
                    self.port = port
                    return
            self._process.wait()  # another process took the port first
        raise AssertionError("redis-server does not start")

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that runs until the end of all tests."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def own_redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may stop and start."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "redis"])
def share(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The setting `share` of a client, for each kind of store."""
    if request.param == "sqlite":
        return str(tmp_path / "limits.sqlite3")
    server: RedisServer = request.getfixturevalue("redis_server")
    import redis

    with redis.Redis.from_url(server.url) as connection:
        connection.flushall()
    return server.url

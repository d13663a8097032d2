"""Where processes keep what they share: a SQLite file, or a Redis or PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class RedisServer:
    """A Redis server in a process of its own.

    Args:
        folder: Where it has its files.
        options: Further options.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        self._command = [
            program,
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(folder),
            "--bind",
            "127.0.0.1",
            *options,
        ]
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """Its URL; each test takes a folder of its own."""
        return f"redis://127.0.0.1:{self.port}/0"

    def ask(self, *command: object) -> bytes:
        """What it answers to a command."""
        program = [str(shutil.which("redis-cli")), "-p", str(self.port), *map(str, command)]
        return subprocess.run(program, capture_output=True, check=True).stdout

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
            self._process.wait()  # another process took the port first, or a node of a cluster can't have it
            self._process.stdout.close()
        raise AssertionError("redis-server does not start")

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class PostgresServer:
    """A PostgreSQL server in a process of its own, which listens on a Unix socket in its folder, and nowhere else.

    Args:
        folder: Where it has its files; a short path, which the server's user may enter.
    """

    def __init__(self, folder: Path) -> None:
        initdb, postgres = _postgres_program("initdb"), _postgres_program("postgres")
        self.folder = folder
        as_user: dict[str, Any] = {}
        if os.getuid() == 0:  # which the server refuses
            import pwd  # Unix alone has it

            user = next(each for each in pwd.getpwall() if each.pw_name in ("postgres", "nobody"))
            os.chown(folder, user.pw_uid, user.pw_gid)
            as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        data = folder / "data"
        command = [initdb, "-D", str(data), "--auth", "trust", "--username", "tests", "--no-sync", "--encoding", "UTF8"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_user)
        self._process = subprocess.Popen(
            [postgres, "-D", str(data), "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            text=True,
            **as_user,
        )
        assert self._process.stderr is not None
        self.log: list[str] = []
        for line in self._process.stderr:
            self.log.append(line)
            if "ready to accept connections" in line:
                return
        raise AssertionError(f"PostgreSQL does not start: {''.join(self.log)}")

    def create(self) -> str:
        """Create a database; gives its URL, as libpq names it."""
        import psycopg

        name = f"db_{uuid.uuid4().hex}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self._url(name)

    def stop(self) -> None:
        """Stop it at once; its files are removed with their folder."""
        self._process.terminate()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._process.wait()

    def _url(self, name: str) -> str:
        return f"postgresql:///{name}?host={self.folder}&user=tests"


def _postgres_program(name: str) -> str:
    """A program of PostgreSQL's; Debian has them in folders that are on nobody's path."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    program = shutil.which(name) or (str(places[-1]) if places else None)
    if program is None:
        pytest.skip("PostgreSQL's server is not installed (Debian's package is named postgresql)")
    return program


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server that runs until the end of all tests; each test takes a database of its own."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = PostgresServer(Path(folder))
        yield server
        server.stop()


class RedisCluster:
    """A Redis Cluster of three nodes, each in a process of its own.

    Args:
        folder: Where they have their files.
    """

    def __init__(self, folder: Path) -> None:
        self.nodes: list[RedisServer] = []
        for number in range(3):
            (folder / str(number)).mkdir()
            self.nodes.append(RedisServer(folder / str(number), "--cluster-enabled", "yes"))
        shares = [range(number * 16384 // 3, (number + 1) * 16384 // 3) for number in range(3)]
        for node, slots in zip(self.nodes, shares, strict=True):
            node.ask("CLUSTER", "ADDSLOTS", *slots)
            node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        until = time.monotonic() + 60
        while not all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in self.nodes):
            assert time.monotonic() < until
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop all nodes."""
        for node in self.nodes:
            node.stop()


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


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A cluster that runs until the end of all tests that use it."""
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


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

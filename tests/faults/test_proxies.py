"""Proxies as gRPC reads them from the environment: the client's calls go through an HTTP proxy, or around it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from yagrpc.emulator import Emulator

ASK = """
import sys, yagrpc
settings = {"endpoint": sys.argv[1], "plaintext": True, "credentials": yagrpc.NoCredentials()}
with yagrpc.Client(folder_id="f", **settings) as client:
    print(client.completion_async("through?").result(timeout=30).text)
"""


class Tunnels:
    """An HTTP proxy on loopback that does nothing but CONNECT, and remembers where to."""

    def __init__(self) -> None:
        self.wanted: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._tunnel, args=(connection,), daemon=True).start()

    def _tunnel(self, connection: socket.socket) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += connection.recv(4096)
        target = asked.split()[1].decode()
        self.wanted.append(target)
        host, _, port = target.rpartition(":")
        with connection, socket.create_connection((host, int(port))) as onward:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pump, args=(onward, connection), daemon=True)
            back.start()
            pump(connection, onward)
            back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes, to the end of either side."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # the other side is gone, which ends this one too
        return


@pytest.fixture
def tunnels() -> Iterator[Tunnels]:
    """A proxy."""
    found = Tunnels()
    yield found
    found.close()


@pytest.mark.parametrize(("around", "asked"), [("", True), ("127.0.0.1", False)])
def test_calls_go_through_the_proxy_that_the_environment_names(tunnels: Tunnels, around: str, asked: bool) -> None:
    with Emulator(duration=0.0) as emulator:
        done = subprocess.run(
            [sys.executable, "-c", ASK, emulator.address],
            env={**os.environ, "grpc_proxy": f"http://{tunnels.address}", "no_grpc_proxy": around, "no_proxy": around},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert '"through?"' in done.stdout
    assert set(tunnels.wanted) == ({emulator.address} if asked else set())

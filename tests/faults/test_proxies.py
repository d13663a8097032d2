"""Proxies as gRPC reads them from the environment: TLS goes through one, or around it; plaintext never does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from yagrpc.emulator import Emulator

ASK = """
import asyncio, json, sys, yagrpc
settings = json.loads(sys.argv[2])
if "roots" in settings:
    settings["root_certificates"] = open(settings.pop("roots"), "rb").read()
settings["credentials"] = yagrpc.NoCredentials()
async def ask():
    async with yagrpc.AsyncClient(folder_id="f", **settings) as client:
        print((await (await client.completion_async("through?")).result(timeout=30)).text)
if sys.argv[1] == "aio":
    asyncio.run(ask())
else:
    with yagrpc.Client(folder_id="f", **settings) as client:
        print(client.completion_async("through?").result(timeout=30).text)
"""

CONTROL = """
import sys
from yagrpc.emulator import Control
with Control(sys.argv[1]) as control:
    print(control.now() > 0)
"""

NAMED = ("grpc_proxy", "https_proxy", "http_proxy")


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


def run(script: str, *arguments: str, **environment: str) -> str:
    """What a script prints, in a process whose environment has no other proxies than those that are given."""
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_address(tunnels: Tunnels) -> dict[str, str]:
    """The variables with which gRPC sends what goes to some addresses through a proxy."""
    return {
        "GRPC_ADDRESS_HTTP_PROXY": tunnels.address,
        "GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES": "127.0.0.0/8",
    }


@pytest.mark.parametrize("kind", ["sync", "aio"])
@pytest.mark.parametrize(("around", "asked"), [("", True), ("127.0.0.1", False)])
def test_tls_goes_through_the_proxy_that_the_environment_names(
    tunnels: Tunnels, kind: str, around: str, asked: bool
) -> None:
    with Emulator(duration=0.0, tls=True) as emulator:
        settings = {
            "endpoint": emulator.address,
            "operation_endpoint": emulator.address,
            "roots": str(emulator.ca_file),
        }
        named = {"grpc_proxy": f"http://{tunnels.address}", "no_grpc_proxy": around, "no_proxy": around}
        printed = run(ASK, kind, json.dumps(settings), **named)
    assert '"through?"' in printed
    assert set(tunnels.wanted) == ({emulator.address} if asked else set())


@pytest.mark.parametrize("kind", ["sync", "aio"])
@pytest.mark.parametrize("options", [[], [["grpc.enable_http_proxy", 1]]])
@pytest.mark.parametrize("named", [*NAMED, "by address"])
def test_plaintext_goes_through_no_proxy(tunnels: Tunnels, kind: str, options: list[Any], named: str) -> None:
    """A proxy on its way would read the credentials, and can't reach this machine's loopback."""
    proxies = by_address(tunnels) if named == "by address" else {named: f"http://{tunnels.address}"}
    with Emulator(duration=0.0) as emulator:
        settings = {"endpoint": emulator.address, "plaintext": True, "channel_options": options}
        assert '"through?"' in run(ASK, kind, json.dumps(settings), **proxies)
    assert tunnels.wanted == []


@pytest.mark.parametrize("named", ["http_proxy", "by address"])
def test_an_emulator_is_controlled_through_no_proxy(tunnels: Tunnels, named: str) -> None:
    proxies = by_address(tunnels) if named == "by address" else {named: f"http://{tunnels.address}"}
    with Emulator(control=True) as emulator:
        assert run(CONTROL, emulator.address, **proxies) == "True\n"
    assert tunnels.wanted == []

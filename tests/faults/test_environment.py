"""What gRPC takes from the environment: errors name the proxy that gRPC uses, and its trace is warned of."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from yagrpc._grpc.environment import proxy_of
from yagrpc._grpc.options import ChannelOptions

WARNED = """
import logging, yagrpc
logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
for _ in range(2):
    yagrpc.Client(folder_id="f", credentials=yagrpc.NoCredentials()).close()
"""


@pytest.fixture
def refusing() -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy that refuses to connect: its address, and where it was asked to connect to."""
    asked: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # closed
                return
            with connection:
                asked.append(connection.recv(4096).split()[1].decode())
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"127.0.0.1:{listening.getsockname()[1]}", asked
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ({}, ""),
        ({"grpc_proxy": "http://{}"}, "grpc_proxy"),
        ({"https_proxy": "http://user:secret@{}/", "http_proxy": "http://elsewhere:1"}, "https_proxy"),
        ({"grpc_proxy": "", "http_proxy": "http://{}"}, ""),
        ({"https_proxy": "https://{}"}, ""),
        ({"https_proxy": "{}"}, ""),
        ({"HTTPS_PROXY": "http://{}"}, ""),
        ({"http_proxy": "http://{}", "no_proxy": "example.com, LOCALHOST"}, ""),
        ({"http_proxy": "http://{}", "no_proxy": "*"}, "http_proxy"),
        ({"http_proxy": "http://{}", "no_proxy": "example.com,127.0.0.0/8"}, "http_proxy"),
        ({"http_proxy": "http://{}", "no_grpc_proxy": "", "no_proxy": "localhost"}, "http_proxy"),
    ],
)
@pytest.mark.parametrize("option", [None, "", "http://{}"])
def test_the_proxy_that_errors_name_is_the_one_that_grpc_uses(
    refusing: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    named: dict[str, str],
    asked: str,
    option: str | None,
) -> None:
    address, connected = refusing
    for name, value in named.items():
        monkeypatch.setenv(name, value.format(address))
    excepted = asked == "" and any(name.startswith("no_") for name in named)
    if option is not None:
        asked = "" if option == "" or excepted else "grpc.http_proxy"
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"localhost:{nobody.getsockname()[1]}"
        options = ChannelOptions([] if option is None else [("grpc.http_proxy", option.format(address))])
        trusted = grpc.ssl_channel_credentials()
        with grpc.secure_channel(endpoint, trusted, options.for_tls) as channel:
            ask: Any = channel.unary_unary("/service/Method")
            assert isinstance(ask.future(b"", timeout=30).exception(), grpc.RpcError)
    assert connected == ([endpoint] if asked else [])
    assert options.proxy_of(endpoint) == (f"{address} ({asked})" if asked else "")


@pytest.mark.parametrize(
    ("excepted", "proxied"), [("10.0.0.0/8", False), ("10.0.0.0/33", True), ("192.168.0.0/16", True)]
)
def test_networks_are_excepted_by_address(excepted: str, proxied: bool) -> None:
    environment = {"http_proxy": "http://proxy.example:3128", "no_proxy": excepted}
    assert bool(proxy_of("10.1.2.3:443", None, environment)) is proxied
    assert proxy_of("ten.example:443", None, environment) == "proxy.example:3128 (http_proxy)"


def test_a_channel_that_uses_no_proxy_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert ChannelOptions([("grpc.enable_http_proxy", 0)]).proxy_of("llm.example:443") == ""
    assert ChannelOptions([]).proxy_of("llm.example:443") == "proxy.example:3128 (https_proxy)"


@pytest.mark.parametrize(("trace", "warned"), [("api", 1), ("", 0)])
def test_a_trace_that_would_show_credentials_is_warned_of_once(trace: str, warned: int) -> None:
    environment = {**os.environ, "GRPC_TRACE": trace, "GRPC_VERBOSITY": "ERROR"}
    done = subprocess.run([sys.executable, "-c", WARNED], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("yagrpc.credentials WARNING GRPC_TRACE is set") == warned

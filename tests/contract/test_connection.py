"""Why there is no connection: each reason is said, with what to do, and at once where it cannot change."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc.emulator.tls import Certificates

Listen = Callable[[bytes | None], str]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Starts servers that answer whatever comes with some bytes, and hang up; or that say nothing, for `None`."""
    listening: list[socket.socket] = []
    accepted: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(answer: bytes | None) -> str:
        here = socket.create_server(("127.0.0.1", 0))
        listening.append(here)

        def accept() -> None:
            while True:
                try:
                    connection, _ = here.accept()
                except OSError:  # closed
                    return
                if answer is None:
                    accepted.append(connection)
                    continue
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        return f"127.0.0.1:{here.getsockname()[1]}"

    yield start
    for one in listening:
        one.shutdown(socket.SHUT_RDWR)
        one.close()
    for thread in threads:
        thread.join()
    for one in accepted:
        one.close()


@pytest.fixture
def refusing() -> Iterator[str]:
    """An address at which nothing listens, and nothing else can: it is bound."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    """A throwaway authority."""
    return Certificates("127.0.0.1")


@pytest.fixture
def serving(certificates: Certificates) -> Iterator[tuple[str, str]]:
    """A gRPC server that serves nothing: its address with TLS, and the one without."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    secure = server.add_secure_port("127.0.0.1:0", certificates.credentials())
    plain = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{secure}", f"127.0.0.1:{plain}"
    server.stop(None).wait()


@pytest.fixture
def trusted(certificates: Certificates) -> bytes:
    """The certificate of the throwaway authority."""
    return Path(certificates.ca_file).read_bytes()


def failures(subject: Any, timeout: float | None, **settings: Any) -> tuple[Any, Any]:
    """The errors of a submit and of a read, sent at once.

    Without a timeout they are raised only because the client gives up: the reason cannot change.
    """
    client = subject.client(operation_endpoint=settings["endpoint"], **settings)
    submit, read = subject.together(
        [lambda: client.completion_async("hi", timeout=timeout), lambda: client.tokenize("hi", timeout=timeout)]
    )
    for error in (submit, read):
        assert isinstance(error, yagrpc.UnavailableError), error
        assert not isinstance(error, yagrpc.AmbiguousSubmitError)
        assert error.endpoint == settings["endpoint"]
        assert str(error).isprintable()
    assert submit.attempts == 0
    return submit, read


def said(error: Any) -> str:
    """The reason that an error gives, from its message."""
    return str(error.message).rpartition(": ")[2]


def test_an_untrusted_certificate_is_said_at_once(subject: Any, serving: tuple[str, str]) -> None:
    submit, read = failures(subject, None, endpoint=serving[0])
    assert submit.message == "no connection, nothing was sent: the certificate of the endpoint is not trusted"
    assert read.message == "no connection: the certificate of the endpoint is not trusted"
    for error in (submit, read):
        assert error.hint.startswith("give its authority as root_certificates=")
        assert "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" in error.hint


def test_the_certificate_of_another_host_is_said_at_once(
    subject: Any, serving: tuple[str, str], trusted: bytes
) -> None:
    port = serving[0].rpartition(":")[2]
    submit, read = failures(subject, None, endpoint=f"ip6-localhost.localhost:{port}", root_certificates=trusted)
    assert said(submit) == said(read) == "the certificate is that of another host"


def test_plaintext_instead_of_tls_is_said_at_once(subject: Any, serving: tuple[str, str], trusted: bytes) -> None:
    submit, read = failures(subject, None, endpoint=serving[1], root_certificates=trusted)
    assert said(submit) == said(read) == "the endpoint speaks plaintext, and the client TLS"
    assert "plaintext=True" in submit.hint


def test_tls_instead_of_plaintext_is_said_at_once(subject: Any, serving: tuple[str, str]) -> None:
    submit, read = failures(subject, None, endpoint=serving[0], plaintext=True)
    reason = "the endpoint takes TLS only, and the client speaks plaintext"
    assert (submit.message, said(read)) == (f"no connection, nothing was sent: {reason}", reason)
    assert submit.hint.startswith("leave plaintext out")


def test_a_server_of_another_kind_is_said_at_once(subject: Any, listen: Listen) -> None:
    web = listen(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    submit, read = failures(subject, None, endpoint=web, plaintext=True)
    assert said(submit) == said(read) == "the endpoint is no gRPC server"


def test_a_name_that_does_not_exist_is_said_after_a_while(subject: Any) -> None:
    """No name server is asked about names in `onion`: there are none."""
    submit, read = failures(subject, None, endpoint="nosuchname.onion:443")
    assert said(submit) == said(read) == "there is no host of the name of the endpoint"
    assert submit.message.startswith("no connection, nothing was sent: ")
    assert submit.hint.startswith("check the name")


def test_a_refused_connection_is_waited_for(subject: Any, refusing: str) -> None:
    """A server that restarts refuses, too."""
    submit, read = failures(subject, 2, endpoint=refusing, plaintext=True)
    assert submit.message == "no connection within 2 s, nothing was sent: the endpoint refuses the connection"
    assert said(read) == "the endpoint refuses the connection"
    assert submit.hint.startswith("nothing listens there, or a firewall refuses it")


def test_an_endpoint_that_says_nothing_is_told_from_one_that_refuses(subject: Any, listen: Listen) -> None:
    client = subject.client(endpoint=listen(None), root_certificates=None)
    with pytest.raises(yagrpc.UnavailableError) as caught:
        subject(client.completion_async("hi", timeout=2))
    assert caught.value.message == "no connection within 2 s, nothing was sent"
    assert caught.value.hint.startswith("the endpoint does not answer: a firewall may drop what is sent")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "wants a user and a password",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refuses to connect to the endpoint"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "is no HTTP proxy"),
    ],
)
def test_a_proxy_that_refuses_is_named_without_its_password(
    subject: Any, listen: Listen, monkeypatch: pytest.MonkeyPatch, answer: bytes, reason: str
) -> None:
    proxy = listen(answer)
    monkeypatch.setenv("https_proxy", f"http://somebody:hunter2@{proxy}")
    errors = failures(subject, None, endpoint="llm.example:443")
    for error in errors:
        assert f"the proxy {proxy} (https_proxy) {reason}" in error.message
        assert "hunter2" not in f"{error!r}{error.__cause__!r}{vars(error)}"
        assert "somebody" not in str(error)


def test_a_proxy_that_is_not_there_is_named(subject: Any, refusing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{refusing}")
    submit, read = failures(subject, 5, endpoint="llm.example:443")
    assert f"the proxy {refusing} (http_proxy) refuses the connection" in submit.message
    assert f"the proxy {refusing} (http_proxy) refuses the connection" in read.message

"""Outages: a server that is killed and comes back, a peer that falls silent, certificates that do not fit."""

from __future__ import annotations

import datetime
import logging
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

import yagrpc

SETTINGS: dict[str, Any] = {"folder_id": "f", "credentials": yagrpc.NoCredentials(), "plaintext": True}


def start(port: int, state: Path, duration: float) -> tuple[subprocess.Popen[str], str]:
    """The emulator as a process, which keeps its operations in a file; gives it and its address."""
    command = [sys.executable, "-m", "yagrpc", "emulator", "--port", str(port), "--state", str(state)]
    process = subprocess.Popen([*command, "--duration", str(duration)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as reported:
        return process, reported.readline().strip()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [5, 90])
def test_waits_outlive_a_killed_server(
    tmp_path: Path, subject: Any, caplog: pytest.LogCaptureFixture, seconds: int
) -> None:
    state = tmp_path / "operations.db"
    duration = seconds + 2.0  # they end when the emulator is there again
    process, address = start(0, state, duration)
    client = subject.client(endpoint=address, plaintext=True, quota=None)
    operations = [subject(client.completion_async(f"text {number}")) for number in range(50)]
    caplog.set_level(logging.WARNING, "yagrpc.operations")

    def outage() -> None:
        time.sleep(1.0)
        process.kill()
        process.wait()
        time.sleep(seconds)
        restarted.append(start(int(address.rpartition(":")[2]), state, duration)[0])

    restarted: list[subprocess.Popen[str]] = []
    breaking = threading.Thread(target=outage)
    breaking.start()
    try:
        outcomes = subject.together([lambda one=one: one.result(timeout=seconds + 120) for one in operations])
    finally:
        breaking.join()
        restarted[0].kill()
        restarted[0].wait()
    texts = [getattr(outcome, "text", repr(outcome)) for outcome in outcomes]
    assert all(f'"text {number}"' in text for number, text in enumerate(texts)), texts
    reported = [record.message for record in caplog.records if "polling operations" in record.message]
    assert reported[0].startswith("polling operations fails, it is retried until it works: UNAVAILABLE")
    assert reported[-1].startswith("polling operations works again")


@pytest.mark.slow
def test_a_peer_that_falls_silent_is_found_within_thirty_seconds(subject: Any, service: Any, proxy: Any) -> None:
    from tests.faults.conftest import hang

    service.fault = hang
    client = subject.client(endpoint=proxy.address, plaintext=True)
    threading.Timer(1.0, proxy.blackhole).start()
    started = time.monotonic()
    with pytest.raises(yagrpc.AmbiguousSubmitError) as caught:
        subject(client.completion("a", timeout=120, request_id="mine"))
    assert caught.value.code is yagrpc.Code.UNAVAILABLE
    assert time.monotonic() - started <= 35
    assert service.generated["completion"] == 1


def test_a_slow_way_delays_and_loses_nothing(subject: Any, service: Any, proxy: Any) -> None:
    proxy.delay = 0.05
    client = subject.client(endpoint=proxy.address, plaintext=True)
    assert subject(client.completion("a")).text == "an answer"
    assert subject(client.operation("op1").result(timeout=30)).text == "an answer"


def test_a_wait_that_outlives_a_failure_logs_it(subject: Any, service: Any, caplog: pytest.LogCaptureFixture) -> None:
    from tests.faults.conftest import drop

    service.fault = drop(grpc.StatusCode.UNAVAILABLE)
    client = subject.client(endpoint=f"127.0.0.1:{service.port}", plaintext=True)
    operation = client.operation("op1")
    with pytest.raises(yagrpc.UnavailableError):
        subject(operation.refresh())
    assert isinstance(operation.last_error, yagrpc.UnavailableError)
    assert operation.last_error.request_id == "req-get"
    assert operation.last_error.client_request_id
    subject(operation.result(timeout=30))
    assert operation.last_error is None
    reported = [record.getMessage() for record in caplog.records if record.name == "yagrpc.operations"]
    assert any("polling operations fails" in line and "op1" in line for line in reported)
    assert any("works again, after 1 failed" in line for line in reported)


def test_the_log_of_calls_has_sizes_and_ids_and_no_texts(
    subject: Any, service: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.faults.conftest import refuse

    caplog.set_level(logging.DEBUG, "yagrpc.calls")
    service.fault = refuse(grpc.StatusCode.RESOURCE_EXHAUSTED)
    secret = "AQVN-a-secret"
    client = subject.client(endpoint=f"127.0.0.1:{service.port}", plaintext=True, credentials=yagrpc.ApiKey(secret))
    subject(client.completion("confidential words", request_id="mine"))
    lines = [record.getMessage() for record in caplog.records if record.name == "yagrpc.calls"]
    assert all("mine" in line and "/Completion" in line for line in lines)
    for part in ("sent to", "bytes", "failed in", "sent again", "attempt 2", "request id req-completion", "trace"):
        assert any(part in line for line in lines), part
    assert "confidential" not in caplog.text
    assert secret not in caplog.text
    monkeypatch.setenv("YAGRPC_LOG_TEXTS", "1")
    subject(client.completion("confidential words"))
    assert "confidential" in caplog.text
    assert secret not in caplog.text


def test_nothing_is_added_to_the_root_logger() -> None:
    script = "import logging, yagrpc; yagrpc.Client; print(logging.getLogger().handlers)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


# TLS


def certificate(host: str, days: int = 1) -> tuple[bytes, bytes]:
    """A self-signed certificate of a host, and its key, both as PEM; of negative days: expired."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.timezone.utc)
    start = now - datetime.timedelta(days=10)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return builder.public_bytes(serialization.Encoding.PEM), private


def secure(service: Any, host: str, days: int = 1) -> tuple[int, bytes, grpc.Server]:
    """The service behind TLS: its port, its certificate, its server."""
    chain, key = certificate(host, days)
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[service], options=[("grpc.so_reuseport", 0)])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    server.start()
    return port, chain, server


def test_own_roots_are_trusted(subject: Any, service: Any) -> None:
    port, chain, server = secure(service, "localhost")
    client = subject.client(endpoint=f"localhost:{port}", root_certificates=chain)
    assert subject(client.completion("a")).text == "an answer"
    server.stop(None).wait()


@pytest.mark.parametrize("wrong", ["unknown", "expired", "of another host"])
def test_untrusted_certificate_is_reported_and_nothing_is_sent(subject: Any, service: Any, wrong: str) -> None:
    port, chain, server = secure(
        service, "elsewhere.example" if wrong == "of another host" else "localhost", -1 if wrong == "expired" else 1
    )
    roots = certificate("localhost")[0] if wrong == "unknown" else chain
    client = subject.client(endpoint=f"localhost:{port}", root_certificates=roots)
    with pytest.raises(yagrpc.UnavailableError) as caught:
        subject(client.tokenize("a", timeout=3))
    assert "localhost" in str(caught.value)
    with pytest.raises(yagrpc.UnavailableError, match="nothing was sent") as caught:
        subject(client.completion("a", timeout=1))
    assert caught.value.attempts == 0
    assert not service.seen
    server.stop(None).wait()


def test_roots_that_are_none_are_refused(subject: Any) -> None:
    for roots in (b"", b"nonsense", "text"):
        with pytest.raises(yagrpc.ConfigError, match="root_certificates is no PEM"):
            subject.client(endpoint="localhost:1", root_certificates=roots)


def test_a_port_that_takes_connections_and_is_no_server(subject: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = subject.client(endpoint=f"127.0.0.1:{listening.getsockname()[1]}", plaintext=True)
        with pytest.raises(yagrpc.UnavailableError, match="nothing was sent"):
            subject(client.completion("a", timeout=0.5))

"""TLS: clients that trust the emulator's own authority connect, by name and by address; no other client does."""

from __future__ import annotations

import gc
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from cryptography import x509

import yagrpc
from yagrpc.emulator import Certificates, Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator that listens with TLS."""
    with Emulator(tls=True, auth={"Api-Key secret"}, duration=0) as emulator:
        yield emulator


def roots_of(emulator: Emulator) -> bytes:
    assert emulator.ca_file is not None
    return Path(emulator.ca_file).read_bytes()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_blocking_client_gets_through_with_its_credential(emulator: Emulator, host: str) -> None:
    address = f"{host}:{emulator.address.rpartition(':')[2]}"
    with yagrpc.Client(
        folder_id="b1gfolder",
        credentials=yagrpc.ApiKey("secret"),
        endpoint=address,
        operation_endpoint=address,
        root_certificates=roots_of(emulator),
    ) as client:
        assert "ping" in client.completion("ping").text
        operation = client.completion_async("pong")
        assert "pong" in operation.result(timeout=60).text


async def test_the_asyncio_client_gets_through_with_its_credential(emulator: Emulator) -> None:
    async with yagrpc.AsyncClient(
        folder_id="b1gfolder",
        credentials=yagrpc.ApiKey("secret"),
        endpoint=emulator.address,
        operation_endpoint=emulator.address,
        root_certificates=roots_of(emulator),
    ) as client:
        assert "ping" in (await client.completion("ping")).text
        operation = await client.completion_async("pong")
        assert "pong" in (await operation.result(timeout=60)).text


def test_a_strict_client_trusts_it(emulator: Emulator) -> None:
    """As those of Python 3.13 are by default."""
    context = ssl.create_default_context(cafile=emulator.ca_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["h2"])
    host, _, port = emulator.address.rpartition(":")
    with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain, server_hostname=host) as tls:
        assert tls.selected_alpn_protocol() == "h2"


def test_who_does_not_trust_it_sends_nothing(emulator: Emulator) -> None:
    other = Emulator(tls=True)
    with (
        yagrpc.Client(
            folder_id="b1gfolder",
            credentials=yagrpc.ApiKey("secret"),
            endpoint=emulator.address,
            root_certificates=roots_of(other),
        ) as client,
        pytest.raises(yagrpc.YagrpcError),
    ):
        client.completion("ping", timeout=2)
    assert not emulator.calls


def test_the_certificates_are_what_strict_clients_want(emulator: Emulator) -> None:
    root = x509.load_pem_x509_certificate(roots_of(emulator))
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).critical
    port = int(emulator.address.rpartition(":")[2])
    pem = ssl.get_server_certificate(("127.0.0.1", port), ca_certs=emulator.ca_file)
    served = x509.load_pem_x509_certificate(pem.encode())
    served.verify_directly_issued_by(root)
    names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert {str(address) for address in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1"}


def test_no_key_is_written_and_the_folder_goes_with_the_emulator() -> None:
    emulator = Emulator(tls=True, host="127.0.0.2")
    assert emulator.ca_file is not None
    folder = Path(emulator.ca_file).parent
    assert [file.name for file in folder.iterdir()] == ["ca.pem"]
    assert b"PRIVATE" not in roots_of(emulator)
    del emulator
    gc.collect()
    assert not folder.exists()


def test_the_authority_outlives_a_restart(emulator: Emulator) -> None:
    roots = roots_of(emulator)
    emulator.stop()
    emulator.start()
    assert roots_of(emulator) == roots
    channel = grpc.secure_channel(emulator.address, grpc.ssl_channel_credentials(roots))
    with channel:
        check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=60, wait_for_ready=True)


def test_a_taken_port_is_an_error_with_tls_too(emulator: Emulator) -> None:
    port = int(emulator.address.rpartition(":")[2])
    with pytest.raises(RuntimeError, match=f"127.0.0.1:{port}"):
        Emulator(tls=True, port=port).start()


def test_several_emulators_may_share_an_authority() -> None:
    certificates = Certificates("127.0.0.1")
    with Emulator(tls=certificates) as one, Emulator(tls=certificates) as other:
        assert one.ca_file == other.ca_file == str(certificates.ca_file)


def test_without_tls_there_is_no_authority() -> None:
    assert Emulator().ca_file is None


@pytest.mark.parametrize("client", [yagrpc.Client, yagrpc.AsyncClient])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"root_certificates": b"nonsense"}, "root_certificates is no PEM"),
        ({"root_certificates": "/tmp/ca.pem"}, "root_certificates is no PEM"),
        (
            {"root_certificates": b"-----BEGIN CERTIFICATE-----", "plaintext": True, "endpoint": "127.0.0.1:1"},
            "root_certificates is of no use without TLS",
        ),
    ],
)
def test_roots_that_can_be_of_no_use_are_refused(client: type, settings: dict[str, object], expected: str) -> None:
    with pytest.raises(yagrpc.ConfigError, match=expected):
        client(credentials=yagrpc.NoCredentials(), **settings)

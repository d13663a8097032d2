"""TLS for clients that require it: an authority that lives as long as the emulator, and a certificate that it signs.

Rules: no key stays on a disk; only the authority's certificate does, in a folder that is removed at the end.
Times are real: clients compare them with their own clock, not with the emulator's. The extra `emulator` is needed.
"""

from __future__ import annotations

import datetime
import importlib.util
import ipaddress
import shutil
import ssl
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["Certificates"]

_ALWAYS: Final = ("localhost", "127.0.0.1", "::1")
"""Names that every certificate covers."""

_LIFETIME: Final = datetime.timedelta(days=30)
"""Longer than any emulator runs."""


class Certificates:
    """A throwaway authority, and a certificate for this machine's loopback names and addresses.

    Args:
        host: Where the emulator listens. The certificate covers it, besides localhost, 127.0.0.1 and ::1.

    Raises:
        ValueError: `cryptography` is not installed.
    """

    def __init__(self, host: str) -> None:
        if importlib.util.find_spec("cryptography") is None:
            raise ValueError("tls needs cryptography: pip install 'yagrpc[emulator]'")
        self._key, self._certificate, authority = _issue(host)
        folder = tempfile.mkdtemp(prefix="yagrpc-emulator-")
        self.ca_file = Path(folder) / "ca.pem"
        """The authority's certificate, as PEM, which clients have to trust."""
        self.ca_file.write_bytes(authority)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def credentials(self) -> grpc.ServerCredentials:
        """The credentials of the server."""
        return grpc.ssl_server_credentials([(self._key, self._certificate)])

    def context(self) -> ssl.SSLContext:
        """The same for a server of Python's own; OpenSSL reads the key from a file, which is removed at once."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory(prefix="yagrpc-emulator-") as folder:
            file = Path(folder) / "server.pem"
            file.touch(0o600)
            file.write_bytes(self._key + self._certificate)
            context.load_cert_chain(file)
        return context


def _issue(host: str) -> tuple[bytes, bytes, bytes]:
    """The server's key and certificate, and its authority's certificate, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    names = [_general_name(name) for name in dict.fromkeys((*_ALWAYS, host))]
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = _name("yagrpc emulator: throwaway authority")
    root = _sign(
        _builder(root_name, root_name, root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs_certificates(), critical=True)  # Python 3.13 does not trust an authority without it
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False),
        root_key,
    )
    certificate = _sign(
        _builder(_name("yagrpc emulator"), root_name, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False),
        root_key,
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    return private, certificate.public_bytes(pem), root.public_bytes(pem)


def _signs_certificates() -> x509.KeyUsage:
    """What the authority's key is for: certificates alone."""
    from cryptography import x509

    others = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    never = dict.fromkeys((*others, "crl_sign", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(key_cert_sign=True, **never)


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(common_name: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
    )


def _sign(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())

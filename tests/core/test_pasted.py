"""Settings as people paste them: found when the client is made, with the right advice, or repaired."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import yagrpc
from yagrpc.emulator.tls import Certificates
from yagrpc.pasted import folder_mistake, mistake, pem_fault, repaired_pem

API_KEY = "AQVNsecretSecret"
CLIENTS = pytest.mark.parametrize("client", [yagrpc.Client, yagrpc.AsyncClient])


@pytest.fixture(scope="module")
def authority() -> bytes:
    """A certificate."""
    certificates = Certificates("127.0.0.1")  # its file lives as long as it
    return certificates.ca_file.read_bytes()


@pytest.fixture(scope="module")
def private() -> str:
    """A private key, as a service account's key file has it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return f"PLEASE DO NOT REMOVE THIS LINE! Yandex.Cloud SA Key ID <ajekey>\n{pem}"


def key_of(private: str) -> dict[str, str]:
    """A service account's key."""
    return {"id": "ajekey", "service_account_id": "ajeaccount", "private_key": private}


def made(client: Any, **settings: Any) -> Any:
    """A client, which connects to nothing."""
    return client(**{"folder_id": "b1g8k3", "credentials": yagrpc.NoCredentials(), **settings})


def refused(client: Any, **settings: Any) -> str:
    """What making a client is refused with."""
    with pytest.raises(yagrpc.ConfigError) as caught:
        made(client, **settings)
    assert "secretSecret" not in str(caught.value)
    return str(caught.value)


def middle_cut(pem: str) -> str:
    """PEM without some of its lines."""
    lines = pem.splitlines()
    return "\n".join([*lines[:4], *lines[-3:]])


def begin_only(pem: str) -> str:
    """PEM that ends in its middle."""
    return pem[: len(pem) // 2]


def damaged(pem: str) -> str:
    """PEM with a character that base64 does not have."""
    start = pem.index("-----\n", 70) + 20
    return f"{pem[:start]}*{pem[start:]}"


@CLIENTS
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [(begin_only, "it is cut short: a BEGIN line"), (middle_cut, "it is cut short: lines"), (damaged, "it is damaged")],
)
def test_certificates_that_are_not_whole_are_refused(
    client: Any, authority: bytes, spoil: Callable[[str], str], expected: str
) -> None:
    spoiled = spoil(f"# the authority of this company, {'x' * 40}\n{authority.decode()}").encode()
    message = refused(client, root_certificates=spoiled)
    assert message.startswith(f"root_certificates can't be read: {expected}")
    assert message.endswith("copy the whole file again")


@CLIENTS
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_certificates_with_a_byte_order_mark_are_trusted(client: Any, authority: bytes, encoding: str) -> None:
    kept = made(client, root_certificates=authority.decode().encode(encoding))._core.root_certificates
    assert kept == authority


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_server_is_reached_with_certificates_from_any_editor(encoding: str) -> None:
    from yagrpc.emulator import Emulator

    with Emulator(tls=True) as emulator:
        assert emulator.ca_file is not None
        roots = Path(emulator.ca_file).read_text("utf-8").encode(encoding)
        with made(yagrpc.Client, endpoint=emulator.address, root_certificates=roots) as client:
            assert len(client.tokenize("hi"))


@CLIENTS
@pytest.mark.parametrize("spoil", [begin_only, middle_cut, damaged])
def test_a_key_that_is_not_whole_is_refused_when_the_client_is_made(
    client: Any, private: str, tmp_path: Path, spoil: Callable[[str], str]
) -> None:
    key = key_of(spoil(private))
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key), "utf-8")
    for given in (key, json.dumps(key), path):
        message = refused(client, credentials=yagrpc.ServiceAccountKey(given))
        assert "has a private_key that is no RSA key in PEM: it is " in message
        assert message.endswith("copy the whole file that 'yc iam key create' wrote")


@CLIENTS
def test_a_key_file_that_cannot_be_read_is_refused_when_the_client_is_made(client: Any, tmp_path: Path) -> None:
    made(client, credentials=yagrpc.ServiceAccountKey(tmp_path / "later.json"))  # it may come before the first call
    assert "can't be read: it is a folder" in refused(client, credentials=yagrpc.ServiceAccountKey(tmp_path))
    (tmp_path / "empty.json").write_bytes(b"")
    assert "is no JSON object" in refused(client, credentials=yagrpc.ServiceAccountKey(tmp_path / "empty.json"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "spell",
    [
        str,
        lambda pem: pem.replace("\n", "\\n"),
        lambda pem: pem.replace("\n", "\\r\\n"),
        lambda pem: pem.replace("\n", "\r\n"),
        lambda pem: pem.replace("\n", " "),
        lambda pem: pem.replace("\n", "\n    "),
    ],
    ids=["as it is", "two characters", "four characters", "of Windows", "spaces", "indented"],
)
def test_a_key_that_was_only_spelt_otherwise_signs(
    private: str, tmp_path: Path, spell: Callable[[str], str], encoding: str
) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(json.dumps(key_of(spell(private))).encode(encoding))
    key = yagrpc.ServiceAccountKey(path)
    made(yagrpc.Client, credentials=key).close()
    assert key.identity("https://iam", 1e9)["jwt"].count(".") == 2


@CLIENTS
@pytest.mark.parametrize("quotes", ['"{}"', "'{}'", "`{}`", "«{}»", "“{}”", '"{}', "{}'"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("YC_API_KEY", API_KEY),
        ("YC_IAM_TOKEN", "t1.secretSecret"),
        ("YC_OAUTH_TOKEN", "y0_secretSecret"),
        ("YC_SERVICE_ACCOUNT_KEY_FILE", "/key.json"),
        ("YC_FOLDER_ID", "b1g8k3"),
        ("YAGRPC_EMULATOR_HOST", "127.0.0.1:50051"),
    ],
)
def test_quotes_around_a_variable_are_named(
    client: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str, quotes: str
) -> None:
    monkeypatch.setenv("YC_FOLDER_ID", "b1g8k3")
    monkeypatch.setenv(name, quotes.format(value))
    credentials = None if name.endswith(("KEY", "TOKEN", "FILE")) else yagrpc.NoCredentials()
    message = refused(client, folder_id=None, credentials=credentials)
    assert name in message
    assert "is in quotes: leave them out" in message


@CLIENTS
def test_quotes_and_placeholders_of_arguments_are_named(client: Any) -> None:
    assert "is in quotes" in refused(client, credentials=f'"{API_KEY}"')
    assert "is in quotes" in refused(client, endpoint='"llm.api.cloud.yandex.net:443"')
    assert "is a placeholder" in refused(client, model="gpt://<folder_ID>/yandexgpt", folder_id="<folder_ID>")
    assert "model is '<model>': it is a placeholder" in refused(client, model="<model>")


@pytest.mark.parametrize("make", [yagrpc.ApiKey, yagrpc.IamToken, lambda key: yagrpc.OAuthToken(key, warn=False)])
@pytest.mark.parametrize("value", ["<API_key>", "${YC_API_KEY}", "$YC_API_KEY", "AQVN...", "{{ key }}", "%KEY%", "…"])
def test_a_placeholder_is_no_secret(make: Callable[[str], Any], value: str) -> None:
    with pytest.raises(yagrpc.ConfigError, match="is a placeholder: put the real value in its place"):
        make(value)


@CLIENTS
@pytest.mark.parametrize(
    "folder",
    ["<folder_ID>", "<идентификатор_каталога>", "folder_id", "YOUR_FOLDER_ID", "your-folder-id", "my_folder_id", "...",
     "b1g...", "${YC_FOLDER_ID}", "$FOLDER_ID", "FolderId", "yc_folder_id", "catalog-id", "идентификатор_каталога"],
)  # fmt: skip
def test_a_folder_that_is_a_placeholder_is_refused(client: Any, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    expected = "it is a placeholder: put the folder's id, such as b1g8k3..., as the console shows it, in its place"
    assert refused(client, folder_id=folder) == f"folder_id is {folder!r}: {expected}"
    monkeypatch.setenv("YC_FOLDER_ID", folder)
    assert refused(client, folder_id=None) == f"YC_FOLDER_ID is {folder!r}: {expected}"


@pytest.mark.parametrize("folder", ["b1g8k3", "folder", "f", "aoe1ud2k3", "folder-1", "a.b_c", "id"])
def test_a_folder_that_may_be_one_is_taken(folder: str) -> None:
    assert folder_mistake(folder) == ""
    made(yagrpc.Client, folder_id=folder).close()


@pytest.mark.parametrize("value", ["", None, 5, b'"x"', "plain", "[::1]:50051", "a'b", "{}"])
def test_what_is_not_plainly_wrong_is_left(value: Any) -> None:
    assert mistake(value) == ""


@pytest.mark.parametrize(
    "value", ["", "text", "-----BEGIN", "-----BEGIN A-----\n\n-----END A-----", "\\n", "-----END A-----"]
)
def test_text_that_is_no_pem_is_repaired_without_an_error(value: str) -> None:
    assert isinstance(repaired_pem(value), str)
    assert isinstance(pem_fault(value), str)


def test_an_encrypted_key_is_left_as_it_is() -> None:
    encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----"
    assert repaired_pem(encrypted) == encrypted
    assert pem_fault(encrypted) == ""

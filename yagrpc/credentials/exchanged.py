"""Credentials that the IAM service exchanges for an IAM token: a service account's authorized key, an OAuth token."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from typing import Any, Final

from yagrpc.credentials.base import ExchangedCredentials, checked_flag, checked_text
from yagrpc.errors import ConfigError
from yagrpc.files import read_file
from yagrpc.hiding import (
    API_KEY,
    IAM_TOKEN,
    SecretBytes,
    SecretMapping,
    SecretText,
    has_form_of_secret,
    hidden,
    kind_of,
    shown_path,
)
from yagrpc.pasted import BOM, decoded, mistake, pem_fault, repaired_pem

OAUTH_IS_RETIRED: Final = (
    "OAuth tokens are being retired: new ones are refused since 2026-06-01, earlier ones work until they expire; "
    "use a service account's API key or authorized key"
)
"""Source: Yandex Cloud documentation, "OAuth token"."""

JWT_SECONDS: Final = 3600
"""Seconds for which a JWT is valid: the documented limit."""

CLOCK_ALLOWANCE: Final = 60
"""Seconds by which a JWT is dated back: one from the future is refused, and clocks differ."""

_LONGEST: Final = 1024 * 1024
"""Bytes of a key file at most; it has 2,500."""

_PEM: Final = "-----BEGIN"


class OAuthToken(ExchangedCredentials):
    """An OAuth token of a Yandex account. Legacy.

    Args:
        token: The token; it begins with `y0_`, `y1_`, `y2_` or `y3_`.
        warn: Whether to issue a `DeprecationWarning`.

    Raises:
        ConfigError: The token is empty, holds white space, or is a credential of another kind.
    """

    user_account = True

    def __init__(self, token: str, *, warn: bool = True) -> None:
        token = hidden(token)
        if checked_flag("warn", warn):
            warnings.warn(OAUTH_IS_RETIRED, DeprecationWarning, stacklevel=2)
        checked = checked_text("the OAuth token", token)
        if re.match(IAM_TOKEN, checked.reveal()):
            raise ConfigError("the OAuth token has the form of an IAM token: use IamToken(...)")
        if re.match(API_KEY, checked.reveal()):
            raise ConfigError("the OAuth token has the form of an API key: use ApiKey(...)")
        self._token = checked

    def identity(self, audience: str, now: float) -> dict[str, str]:
        """The token itself; only the IAM service receives it."""
        return {"yandex_passport_oauth_token": self._token.reveal()}


class ServiceAccountKey(ExchangedCredentials):
    """An authorized key of a service account; needs the extra `auth`.

    Args:
        key: The path of the JSON file that `yc iam key create` wrote, which is read whenever a token is needed, so
            that a key can be replaced in place; or what the file holds, as a dict or as its JSON text. The API's own
            shape, with `key` and `privateKey`, is taken too.

    Raises:
        ConfigError: It is a dict or a JSON text that lacks a part of a key, or a secret of another kind. An error in a
            file is raised when a client is created with it, or by the first call if there is no file yet.
    """

    def __init__(self, key: str | os.PathLike[str] | Mapping[str, Any]) -> None:
        key = hidden(os.fspath(key) if isinstance(key, os.PathLike) else key)
        self._path: str | None = None
        if isinstance(key, SecretText) and key.reveal().lstrip().startswith("{"):
            self._parts = _parts(_KEY, _parsed(_KEY, key))
        elif isinstance(key, SecretText):
            self._path = _checked_path(key)
        elif isinstance(key, SecretMapping):
            self._parts = _parts(_KEY, key)
        else:
            raise ConfigError(f"{_KEY} is a {kind_of(key)}: give its file's path, or a dict")

    def check(self) -> None:
        """Read the key, and check that it is whole; a client does that when it is created.

        A file that does not exist may come later: the first call needs it.

        Raises:
            ConfigError: The file can't be read, or the key is not whole.
        """
        if self._path is not None and not os.path.exists(self._path):
            return
        _, _, private = self._parts if self._path is None else _read(self._path)
        if fault := pem_fault(private.reveal()):
            raise ConfigError(f"{self._what} has a private_key that is no RSA key in PEM: {fault}; {_AGAIN}")

    def identity(self, audience: str, now: float) -> dict[str, str]:
        """A JWT that the key has signed.

        Raises:
            ConfigError: The file can't be read, its private key is none, or the extra `auth` is missing.
        """
        key_id, account, private = self._parts if self._path is None else _read(self._path)
        try:
            import cryptography as cryptography
            import jwt
        except ModuleNotFoundError as error:
            raise ConfigError("ServiceAccountKey needs pyjwt and cryptography: pip install 'yagrpc[auth]'") from error
        issued = int(now) - CLOCK_ALLOWANCE
        claims = {"iss": account, "aud": audience, "iat": issued, "exp": issued + JWT_SECONDS}
        try:
            # Without its context: that may show the key.
            token = hidden(jwt.encode(claims, private.reveal(), algorithm="PS256", headers={"kid": key_id}))
        except Exception:
            token = None
        if token is None:
            fault = pem_fault(private.reveal())
            remedy = f"{fault}; {_AGAIN}" if fault else "create a new one"
            raise ConfigError(f"{self._what} has a private_key that is no RSA key in PEM: {remedy}")
        return {"jwt": token.reveal()}

    @property
    def _what(self) -> str:
        return _KEY if self._path is None else f"the service account key file {shown_path(self._path)}"

    def __repr__(self) -> str:
        return f"ServiceAccountKey({'...' if self._path is None else shown_path(self._path)})"


_KEY: Final = "the service account key"
_WRITTEN: Final = "it takes what 'yc iam key create' wrote"
_AGAIN: Final = "copy the whole file that 'yc iam key create' wrote"


def _checked_path(given: SecretText) -> str:
    """The path of a key's file, which errors may show: not what is plainly a secret, given in the place of a path."""
    path = given.reveal()
    if not path:
        raise ConfigError(f"{_KEY}'s file name is empty")
    if wrong := mistake(path):
        raise ConfigError(f"{_KEY}'s file name {wrong}")
    for form, kind, remedy in (
        (API_KEY, "an API key", "use ApiKey(...), or YC_API_KEY"),
        (IAM_TOKEN, "an IAM token", "use IamToken(...), or YC_IAM_TOKEN"),
    ):
        if re.match(form, path) and has_form_of_secret(path):
            raise ConfigError(f"{_KEY} has the form of {kind}: {remedy}")
    if has_form_of_secret(path.lstrip()) or len(path) > _LONGEST_PATH or len(path.splitlines()) > 1:
        raise ConfigError(
            f"{_KEY} is neither a path nor JSON: give the path of the file that 'yc iam key create' wrote"
        )
    return str.__str__(path)


_LONGEST_PATH: Final = 4096
"""Characters: no system has longer paths."""


def _read(path: str) -> tuple[str, str, SecretText]:
    what = f"the service account key file {shown_path(path)}"
    content, failure = SecretBytes(b""), ""
    try:
        content = hidden(read_file(path, _LONGEST))
    except OSError as error:
        failure = error.strerror or type(error).__name__
    except ValueError:
        failure = "no file has such a name"
    if failure:  # without its context: that has the path as it was given
        raise ConfigError(f"{what} can't be read: {failure}")
    return _parts(what, _parsed(what, content))


def _parsed(what: str, text: SecretText | SecretBytes) -> SecretMapping:
    import json

    try:
        content = hidden(json.loads(_json_of(text.reveal())))
    except (ValueError, RecursionError):  # without its context: that has the text
        content = None
    if not isinstance(content, SecretMapping):
        raise ConfigError(f"{what} is no JSON object: {_WRITTEN}")
    return content


def _json_of(text: str | bytes) -> str:
    return text.removeprefix(BOM) if isinstance(text, str) else decoded(text) or ""


def _parts(what: str, content: SecretMapping) -> tuple[str, str, SecretText]:
    """A key's id, its account, and its private part in PEM, without the line that comes before it."""
    described = hidden(content.get("key", content))
    if not isinstance(described, SecretMapping):
        raise ConfigError(f"{what} has a 'key' that is no object")
    found = (
        hidden(described.get("id")),
        hidden(described.get("service_account_id", described.get("serviceAccountId"))),
        hidden(content.get("private_key", content.get("privateKey"))),
    )
    for name, value in zip(("id", "service_account_id", "private_key"), found, strict=True):
        if not isinstance(value, SecretText) or not value:
            raise ConfigError(f"{what} has no {name}: {_WRITTEN}")
    key_id, account, private = found
    start = private.reveal().find(_PEM)
    if start < 0:
        raise ConfigError(f"{what} has a private_key without a PEM block")
    return str.__str__(key_id.reveal()), str.__str__(account.reveal()), hidden(repaired_pem(private.reveal()[start:]))

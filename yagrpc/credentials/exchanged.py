"""Credentials that the IAM service exchanges for an IAM token: a service account's authorized key, an OAuth token."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any, Final

from yagrpc.credentials.base import API_KEY, IAM_TOKEN, ExchangedCredentials, checked_text
from yagrpc.errors import ConfigError

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
"""Characters that are read of a key file, which has 2,500: another file may have no end."""

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
        if warn:
            warnings.warn(OAUTH_IS_RETIRED, DeprecationWarning, stacklevel=2)
        checked_text("the OAuth token", token)
        if IAM_TOKEN.match(token):
            raise ConfigError("the OAuth token has the form of an IAM token: use IamToken(...)")
        if API_KEY.match(token):
            raise ConfigError("the OAuth token has the form of an API key: use ApiKey(...)")
        self._token = token

    def identity(self, audience: str, now: float) -> dict[str, str]:
        """The token itself; only the IAM service receives it."""
        return {"yandex_passport_oauth_token": self._token}


class ServiceAccountKey(ExchangedCredentials):
    """An authorized key of a service account; needs the extra `auth`.

    Args:
        key: The path of the JSON file that `yc iam key create` wrote, which is read whenever a token is needed, so
            that a key can be replaced in place; or what the file holds, as a dict. The API's own shape, with `key` and
            `privateKey`, is taken too.

    Raises:
        ConfigError: It is a dict that lacks a part of a key. An error in a file is raised by the first call.
    """

    def __init__(self, key: str | os.PathLike[str] | Mapping[str, Any]) -> None:
        self._path: str | None = None
        if isinstance(key, (str, os.PathLike)):
            self._path = os.fspath(key)
            if not self._path:
                raise ConfigError("the service account key's file name is empty")
        elif isinstance(key, Mapping):
            self._parts = _parts("the service account key", key)
        else:
            raise ConfigError(f"the service account key is a {type(key).__name__}: give its file's path, or a dict")

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
            token = jwt.encode(claims, private, algorithm="PS256", headers={"kid": key_id})
        except Exception:
            token = None
        if token is None:
            what = "the service account key" if self._path is None else f"the service account key file {self._path!r}"
            raise ConfigError(f"{what} has a private_key that is no RSA key in PEM: create a new one")
        return {"jwt": token}

    def __repr__(self) -> str:
        return f"ServiceAccountKey({'...' if self._path is None else repr(self._path)})"


def _read(path: str) -> tuple[str, str, str]:
    import json

    what = f"the service account key file {path!r}"
    try:
        with open(path, encoding="utf-8") as file:
            content = json.loads(file.read(_LONGEST))
    except OSError as error:
        raise ConfigError(f"{what} can't be read: {error.strerror}") from error
    except ValueError:
        content = None
    if not isinstance(content, Mapping):
        raise ConfigError(f"{what} is no JSON object: it takes what 'yc iam key create' wrote")
    return _parts(what, content)


def _parts(what: str, content: Mapping[str, Any]) -> tuple[str, str, str]:
    """A key's id, its account, and its private part in PEM, without the line that comes before it."""
    described = content.get("key", content)
    if not isinstance(described, Mapping):
        raise ConfigError(f"{what} has a 'key' that is no object")
    found = (
        described.get("id"),
        described.get("service_account_id", described.get("serviceAccountId")),
        content.get("private_key", content.get("privateKey")),
    )
    for name, value in zip(("id", "service_account_id", "private_key"), found, strict=True):
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{what} has no {name}: it takes what 'yc iam key create' wrote")
    key_id, account, private = (str(value) for value in found)
    _, marker, rest = private.partition(_PEM)
    if not marker:
        raise ConfigError(f"{what} has a private_key without a PEM block")
    return key_id, account, marker + rest

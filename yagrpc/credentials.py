"""Credentials: what goes into the `authorization` of a call.

Rules: a secret is in no repr, log or error; it is checked when it is given, so that a wrong one is told here and
not by gRPC's opaque refusal of the metadata.
"""

from __future__ import annotations

import abc
import os
import re
from collections.abc import Callable, Mapping
from typing import Final

from yagrpc.errors import ConfigError

__all__ = ["ApiKey", "Credentials", "IamToken", "NoCredentials"]

_IAM_TOKEN: Final = re.compile(r"t\d\.")
_OAUTH_TOKEN: Final = re.compile(r"y[0-3]_[-\w]")
_API_KEY: Final = re.compile(r"AQVN")
_PRINTABLE: Final = re.compile(r"[!-~]+")


class Credentials(abc.ABC):
    """Base of all credentials."""

    @abc.abstractmethod
    def authorization(self) -> str | None:
        """The value of the `authorization` metadata for the next call, or `None` for no such metadata."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class ApiKey(Credentials):
    """An API key of a service account.

    Args:
        key: The key's secret (not its id), as the console showed it once.

    Raises:
        ConfigError: It is empty, holds white space, or is a token of another kind.
    """

    def __init__(self, key: str) -> None:
        _check_text("the API key", key)
        if _IAM_TOKEN.match(key):
            raise ConfigError("the API key looks like an IAM token: use IamToken(...)")
        if _OAUTH_TOKEN.match(key):
            raise ConfigError("the API key looks like an OAuth token: exchange it for an IAM token first")
        self._authorization = f"Api-Key {key}"

    def authorization(self) -> str:
        """The value of the `authorization` metadata."""
        return self._authorization


class IamToken(Credentials):
    """An IAM token; it lives for 12 hours at most (documented) and is not renewed.

    Args:
        token: The token, or a callable that gives the one to use for the next call.

    Raises:
        ConfigError: It is empty, holds white space, or is a credential of another kind. A callable's value is
            checked when a call needs it.
    """

    def __init__(self, token: str | Callable[[], str]) -> None:
        if callable(token):
            self._token = token
        else:
            checked = _checked_token(token)
            self._token = lambda: checked

    def authorization(self) -> str:
        """The value of the `authorization` metadata.

        Raises:
            ConfigError: The callable failed, or gave no token.
        """
        try:
            token = self._token()
        except Exception as error:
            raise ConfigError(f"the callable that gives the IAM token failed with {type(error).__name__}") from error
        return f"Bearer {_checked_token(token)}"


class NoCredentials(Credentials):
    """No credential at all: for an emulator, or a gateway that adds its own."""

    def authorization(self) -> None:
        """Nothing is sent."""
        return None

    def __repr__(self) -> str:
        return "NoCredentials()"


def resolve_credentials(
    credentials: Credentials | str | None, environment: Mapping[str, str] = os.environ
) -> Credentials:
    """The credentials to use: the argument, then `YC_API_KEY`, `YC_IAM_TOKEN`, `YC_TOKEN`.

    Args:
        credentials: A `Credentials` object, or a string whose kind its beginning tells (`AQVN` an API key,
            `t1.` an IAM token).
        environment: Where variables are looked up. `YC_TOKEN` is read again for every call.

    Raises:
        ConfigError: None is to be found, or one of a shape that is not known.
    """
    if isinstance(credentials, Credentials):
        return credentials
    if isinstance(credentials, str):
        return _by_shape(credentials)
    if credentials is not None:
        raise ConfigError(
            f"credentials is a {type(credentials).__name__}: give ApiKey(...), IamToken(...) or NoCredentials()"
        )
    if key := environment.get("YC_API_KEY"):
        return ApiKey(key)
    if token := environment.get("YC_IAM_TOKEN"):
        return IamToken(token)
    if environment.get("YC_OAUTH_TOKEN"):
        raise ConfigError("YC_OAUTH_TOKEN is not taken as it is: exchange it for an IAM token, set YC_IAM_TOKEN")
    if environment.get("YC_TOKEN"):
        return IamToken(lambda: environment.get("YC_TOKEN", ""))
    raise ConfigError("no credentials: give credentials=ApiKey(...) or IamToken(...), or set YC_API_KEY")


def _by_shape(text: str) -> Credentials:
    if _API_KEY.match(text):
        return ApiKey(text)
    if _IAM_TOKEN.match(text):
        return IamToken(text)
    raise ConfigError(
        "credentials is a string of an unknown shape: an API key begins with AQVN, an IAM token with t1.; "
        "say which it is with ApiKey(...) or IamToken(...)"
    )


def _checked_token(token: object) -> str:
    text = _check_text("the IAM token", token)
    if _OAUTH_TOKEN.match(text):
        raise ConfigError("the IAM token looks like an OAuth token: exchange it for an IAM token first")
    if _API_KEY.match(text):
        raise ConfigError("the IAM token looks like an API key: use ApiKey(...)")
    return text


def _check_text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{what} is a {type(value).__name__}, not a string")
    if not value:
        raise ConfigError(f"{what} is empty")
    if value != value.strip():
        raise ConfigError(f"{what} begins or ends with white space (often a newline of its file): strip it")
    if value.startswith(("Api-Key ", "Bearer ")):
        raise ConfigError(f"{what} begins with its scheme: give the secret alone")
    if not _PRINTABLE.fullmatch(value):
        raise ConfigError(f"{what} holds white space or characters outside ASCII: it cannot be sent")
    return value

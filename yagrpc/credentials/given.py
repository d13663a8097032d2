"""Credentials that are sent as they are given: an API key, an IAM token, or none."""

from __future__ import annotations

from collections.abc import Callable

from yagrpc.credentials.base import (
    IAM_TOKEN,
    OAUTH_TOKEN,
    Credentials,
    SecretText,
    bearer,
    checked_text,
    checked_token,
)
from yagrpc.errors import ConfigError


class ApiKey(Credentials):
    """An API key of a service account.

    Args:
        key: The key's secret (not its id), as the console showed it once.

    Raises:
        ConfigError: It is empty, holds white space, or is a token of another kind.
    """

    fixed = True

    def __init__(self, key: str) -> None:
        checked_text("the API key", key)
        if IAM_TOKEN.match(key):
            raise ConfigError("the API key looks like an IAM token: use IamToken(...)")
        if OAUTH_TOKEN.match(key):
            raise ConfigError("the API key looks like an OAuth token: use OAuthToken(...)")
        self._authorization = SecretText(f"Api-Key {key}")

    def authorization(self) -> str:
        """The value of the `authorization` metadata."""
        return self._authorization


class IamToken(Credentials):
    """An IAM token; it lives for 12 hours at most (documented). A literal one is not renewed.

    Args:
        token: The token, or a callable that gives the one to use for the next call. It is asked for every call, so it
            must not take long: what fetches a token is better made a `FetchedCredentials`.
        user: Whether it is a user account's: the client's folder then goes along as `x-folder-id`, which the
            service demands of users, and which callers with a service account are told not to send (documented).

    Raises:
        ConfigError: It is empty, holds white space, or is a credential of another kind. A callable's value is
            checked when a call needs it.
    """

    def __init__(self, token: str | Callable[[], str], *, user: bool = False) -> None:
        self.user_account = user
        self.fixed = not callable(token)
        if callable(token):
            self._token = token
        else:
            checked = checked_token(token)
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
        return bearer(checked_token(token))


class NoCredentials(Credentials):
    """No credential at all: for an emulator, or a gateway that adds its own."""

    fixed = True

    def authorization(self) -> None:
        """Nothing is sent."""
        return None

    def __repr__(self) -> str:
        return "NoCredentials()"

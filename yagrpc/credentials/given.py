"""Credentials that are sent as they are given: an API key, an IAM token, or none."""

from __future__ import annotations

import re
from collections.abc import Callable

from yagrpc.credentials.base import Credentials, ForeignError, bearer, checked_flag, checked_text, checked_token
from yagrpc.errors import ConfigError
from yagrpc.hiding import IAM_TOKEN, OAUTH_TOKEN, SecretText, hidden


class ApiKey(Credentials):
    """An API key of a service account.

    Args:
        key: The key's secret (not its id), as the console showed it once.

    Raises:
        ConfigError: The key is empty, holds white space, or is a token of another kind.
    """

    fixed = True

    def __init__(self, key: str) -> None:
        checked = checked_text("the API key", key := hidden(key))
        if re.match(IAM_TOKEN, checked.reveal()):
            raise ConfigError("the API key has the form of an IAM token: use IamToken(...)")
        if re.match(OAUTH_TOKEN, checked.reveal()):
            raise ConfigError("the API key has the form of an OAuth token: use OAuthToken(...)")
        self._authorization = SecretText(f"Api-Key {checked.reveal()}")

    def authorization(self) -> str:
        """The value of the `authorization` metadata."""
        return self._authorization.reveal()


class IamToken(Credentials):
    """An IAM token, valid for 12 hours at most (documented). A token given as a string is not renewed.

    Args:
        token: The token, or a callable that returns the token for the next call. The callable is called for every call,
            so it must not take long; to fetch a token, derive from `FetchedCredentials`.
        user: Whether the token is of a user's account. The client then sends its folder as `x-folder-id`, which the
            service requires from users; a service account must not send it (documented).

    Raises:
        ConfigError: The token is empty, holds white space, or is a credential of another kind. A callable's value is
            checked when a call needs it.
    """

    def __init__(self, token: str | Callable[[], str], *, user: bool = False) -> None:
        token = token if callable(token) else hidden(token)
        self.user_account = checked_flag("user", user)
        self.fixed = not callable(token)
        if callable(token):
            self._token = token
        else:
            self._token = checked_token(token).reveal

    def authorization(self) -> str:
        """The value of the `authorization` metadata.

        Raises:
            ConfigError: The callable failed, or returned no token.
        """
        try:
            token = hidden(self._token())
        except Exception as error:
            failure = ForeignError.of(error)
        else:
            return bearer(checked_token(token).reveal()).reveal()
        raise ConfigError(f"the callable that gives the IAM token failed with {failure.kind}") from failure


class NoCredentials(Credentials):
    """No credentials: for an emulator, or for a gateway that adds its own."""

    fixed = True

    def authorization(self) -> None:
        """Nothing is sent."""
        return None

    def __repr__(self) -> str:
        return "NoCredentials()"

"""What credentials are: the protocol that a client speaks with them, for our kinds and for those of a user's own.

Rules: making one does no I/O. A secret is in no repr, log or error, and no credential can be pickled; a secret is
checked where it comes in, so that a wrong one is told here and not by gRPC's opaque refusal of the metadata.
"""

from __future__ import annotations

import abc
import re
from typing import Any, Final, NoReturn, TypeVar

from yagrpc.errors import ConfigError

SelfT = TypeVar("SelfT", bound="Secret")

FETCH_TIMEOUT: Final = 20.0
"""Seconds for getting one token, where the one who asks says nothing else."""

API_KEY: Final = re.compile(r"AQVN")
IAM_TOKEN: Final = re.compile(r"t\d\.")
OAUTH_TOKEN: Final = re.compile(r"y[0-3]_[-\w]")
"""How secrets begin (documented)."""

_PRINTABLE: Final = re.compile(r"[!-~]+")
_SECRET_LIKE: Final = re.compile(r"\b(AQVN|t\d\.|y[0-3]_|eyJ)[-\w.=]+")


class Secret:
    """Something that holds a secret: not shown by a repr, not pickled, and copied as itself."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"{name} can't be pickled, it may hold a secret: make it in the process that uses it")

    def __copy__(self: SelfT) -> SelfT:
        return self

    def __deepcopy__(self: SelfT, memo: Any) -> SelfT:
        return self


class SecretText(str):
    """A text that is sent as any other, and not shown by a repr: neither in metadata nor among a frame's variables."""

    def __repr__(self) -> str:
        return "'***'"


class Credentials(Secret, abc.ABC):
    """Base of all credentials.

    One of your own implements `authorization`. Where getting its token takes time, make it a `FetchedCredentials`
    instead. Credentials can't be pickled, since they hold secrets.

    Attributes:
        user_account: Whether it is of a user's account, and not of a service account: the service then has to be told
            the folder, and the client's goes along as `x-folder-id`. False by default.
        fixed: Whether `authorization` gives the same every time. One that is not is asked again when the service
            refuses what it gave, and what was refused is sent once more with what it gives then. False by default.
    """

    user_account: bool = False
    fixed: bool = False

    @abc.abstractmethod
    def authorization(self) -> str | None:
        """The value of the `authorization` metadata for the next call, or `None` for no such metadata.

        It is asked for every call, in the event loop where there is one, so it must not take long.
        """


class AccessToken(Secret):
    """An IAM token as it was obtained.

    Args:
        value: The token.
        lifetime: Seconds that it still lives; `None` where that is not known.

    Raises:
        ConfigError: It can't be sent.
    """

    def __init__(self, value: str, lifetime: float | None = None) -> None:
        self.value = checked_token(value)
        self.lifetime = lifetime

    def __repr__(self) -> str:
        return f"AccessToken(..., lifetime={self.lifetime!r})"


class ObtainedCredentials(Credentials):
    """Credentials whose token a client obtains, keeps and renews."""


class FetchedCredentials(ObtainedCredentials):
    """Base of credentials whose IAM token is fetched from somewhere; one of your own implements `fetch`.

    A client fetches at the first call that needs it, keeps the token, and fetches ahead of its end; once for all who
    wait, and never in the way of an event loop.
    """

    @abc.abstractmethod
    def fetch(self, timeout: float) -> AccessToken:
        """Get a token; may block, and is called in a thread of its own.

        Args:
            timeout: Seconds that it may take.

        Raises:
            UnavailableError: It can't be had now, but may be later.
            ConfigError: It can't be had.
        """

    def authorization(self) -> str:
        """The value of the `authorization` metadata, fetched anew; a client keeps what `fetch` gave instead."""
        return bearer(self.fetch(FETCH_TIMEOUT).value)


class ExchangedCredentials(ObtainedCredentials):
    """Credentials that are never sent themselves, but exchanged for an IAM token at the IAM service."""

    @abc.abstractmethod
    def identity(self, audience: str, now: float) -> dict[str, str]:
        """What the exchange takes, as a field of `CreateIamTokenRequest`; may read files.

        Args:
            audience: Who is to take it: the URL of the exchange.
            now: Seconds since the epoch.

        Raises:
            ConfigError: It can't be made.
        """

    def authorization(self) -> str:
        """There is none without the exchange, which a client does.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{type(self).__name__} is never sent itself: a client exchanges it for an IAM token")


def bearer(token: str) -> SecretText:
    """The `authorization` of an IAM token."""
    return SecretText(f"Bearer {token}")


def checked_token(token: object) -> str:
    """An IAM token, checked.

    Raises:
        ConfigError: It is empty, holds white space, or is a credential of another kind.
    """
    text = checked_text("the IAM token", token)
    if OAUTH_TOKEN.match(text):
        raise ConfigError("the IAM token looks like an OAuth token: use OAuthToken(...)")
    if API_KEY.match(text):
        raise ConfigError("the IAM token looks like an API key: use ApiKey(...)")
    return text


def checked_text(what: str, value: object) -> str:
    """A secret that can be sent.

    Raises:
        ConfigError: It can't; the message names `what`, and does not show the value.
    """
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


def without_secrets(text: str) -> str:
    """A text of somebody else's, on one line, without what looks like a secret."""
    return " ".join(_SECRET_LIKE.sub("***", text).split())

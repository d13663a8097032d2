"""The base classes of credentials: of those in this package, and of those that a user writes.

Rules: creating credentials does no I/O. A secret is in no repr, log or error, and no credentials can be pickled. It is
in no variable of a frame and in no cause of an error either: see `yagrpc.hiding`. A secret is checked when it is given,
so that the error about a wrong one is clear; gRPC's refusal of the metadata is not.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, TypeVar

from yagrpc.errors import ConfigError
from yagrpc.hiding import API_KEY, OAUTH_TOKEN, Secret, SecretText, hidden, kind_of
from yagrpc.pasted import mistake
from yagrpc.quantities import Seconds, seconds

FETCH_TIMEOUT: Final = 20.0
"""Seconds for getting one token, unless the caller gives another limit."""

UNWANTED: Final[ContextVar[Callable[[], bool]]] = ContextVar("yagrpc-unwanted", default=lambda: False)
"""Whether nobody waits for the fetch that runs here any more, as its client was closed: what takes long checks that."""

ResultT = TypeVar("ResultT")

_PRINTABLE: Final = r"[!-~]+"


class Credentials(Secret, abc.ABC):
    """Base of all credentials.

    A subclass implements `authorization`. Where getting a token takes time, derive from `FetchedCredentials` instead.
    Credentials can't be pickled, since they hold secrets.

    Attributes:
        user_account: Whether the account is a user's, and not a service account. The service then requires the folder
            with each call, and the client sends its folder as `x-folder-id`. False by default.
        fixed: Whether `authorization` returns the same value every time. Where it does not, and the service refuses a
            call as unauthenticated, the call is sent once more with a new value. False by default.
    """

    user_account: bool = False
    fixed: bool = False

    @abc.abstractmethod
    def authorization(self) -> str | None:
        """The value of the `authorization` metadata for the next call, or `None` for no such metadata.

        It is called for every call, in the event loop of an asyncio client, so it must not take long.
        """


class AccessToken(Secret):
    """An IAM token as it was obtained.

    Args:
        value: The token.
        lifetime: Seconds until the token expires, or a `timedelta`; `None` where that is not known.

    Raises:
        ConfigError: The token can't be sent, or its lifetime is no number.
    """

    def __init__(self, value: str, lifetime: Seconds | None = None) -> None:
        value = hidden(value)
        self.lifetime = None if lifetime is None else seconds(lifetime)
        if lifetime is not None and self.lifetime is None:
            raise ConfigError(f"an access token's lifetime is a {type(lifetime).__name__}: it takes seconds, or None")
        self._value = checked_token(value)

    @property
    def value(self) -> str:
        """The token."""
        return self._value.reveal()

    def __repr__(self) -> str:
        return f"AccessToken(..., lifetime={self.lifetime!r})"


class ObtainedCredentials(Credentials):
    """Credentials whose token a client obtains, keeps and renews."""


class FetchedCredentials(ObtainedCredentials):
    """Base of credentials whose IAM token is fetched; a subclass implements `fetch`.

    A client fetches a token at the first call that needs one, keeps it, and fetches the next one before it expires. All
    calls that wait share one fetch, and a fetch never blocks an event loop.
    """

    @abc.abstractmethod
    def fetch(self, timeout: float) -> AccessToken:
        """Get a token; may block, and is called in a separate thread.

        Args:
            timeout: Seconds that the fetch may take.

        Raises:
            UnavailableError: No token is available now; a later fetch may succeed.
            ConfigError: No token is available, and another fetch would not help.
        """

    def authorization(self) -> str:
        """The value of the `authorization` metadata, from a new fetch; a client keeps the token of `fetch` instead."""
        return bearer(self.fetch(FETCH_TIMEOUT).value).reveal()


class ExchangedCredentials(ObtainedCredentials):
    """Credentials that are never sent themselves, but exchanged for an IAM token at the IAM service."""

    @abc.abstractmethod
    def identity(self, audience: str, now: float) -> dict[str, str]:
        """The proof of identity, as a field of `CreateIamTokenRequest`; may read files.

        Args:
            audience: The URL of the exchange, which the proof is for.
            now: Seconds since the epoch.

        Raises:
            ConfigError: The proof can't be created.
        """

    def authorization(self) -> str:
        """Not available: a client exchanges the credentials first.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{type(self).__name__} is never sent itself: a client exchanges it for an IAM token")


def unless(unwanted: Callable[[], bool], function: Callable[[], ResultT]) -> Callable[[], ResultT]:
    """A function whose fetch may end early.

    Args:
        unwanted: Whether nobody waits for it any more.
        function: The function.
    """

    def call() -> ResultT:
        UNWANTED.set(unwanted)
        return function()

    return call


def checked_flag(name: str, value: object) -> bool:
    """A setting that is `True` or `False`.

    Raises:
        ConfigError: It is neither.
    """
    if not isinstance(value, bool):
        value = hidden(value)
        raise ConfigError(f"{name} is a {kind_of(value)}: it takes True or False")
    return value


def bearer(token: str) -> SecretText:
    """The `authorization` of an IAM token."""
    return SecretText(f"Bearer {token}")


def checked_token(token: object) -> SecretText:
    """An IAM token, checked.

    Raises:
        ConfigError: The token is empty, holds white space, or is a credential of another kind.
    """
    token = hidden(token)
    text = checked_text("the IAM token", token)
    if re.match(OAUTH_TOKEN, text.reveal()):
        raise ConfigError("the IAM token has the form of an OAuth token: use OAuthToken(...)")
    if re.match(API_KEY, text.reveal()):
        raise ConfigError("the IAM token has the form of an API key: use ApiKey(...)")
    return text


def checked_text(what: str, value: object) -> SecretText:
    """A secret that can be sent.

    Raises:
        ConfigError: The value can't be sent; the message names `what`, and does not show the value.
    """
    value = hidden(value)
    if not isinstance(value, SecretText):
        raise ConfigError(f"{what} is a {kind_of(value)}, not a string")
    if not value:
        raise ConfigError(f"{what} is empty")
    if value.reveal() != value.reveal().strip():
        raise ConfigError(f"{what} begins or ends with white space (often a newline of its file): strip it")
    if value.reveal().startswith(("Api-Key ", "Bearer ")):
        raise ConfigError(f"{what} begins with its scheme: give the secret alone")
    if wrong := mistake(value.reveal()):
        raise ConfigError(f"{what} {wrong}")
    if not re.fullmatch(_PRINTABLE, value.reveal()):
        raise ConfigError(f"{what} holds white space or characters outside ASCII: it cannot be sent")
    return value


class ForeignError(Exception):
    """Stands, as the cause of an error, for an exception of a user's code that gives credentials: its type and place.

    Not the exception itself: its text may hold the secret, and so may the variables of its frames.

    Args:
        kind: The name of its type.
        place: Where it was raised; empty where that is not known.
    """

    def __init__(self, kind: str, place: str = "") -> None:
        super().__init__(kind, place)
        self.kind = kind
        self.place = place

    @classmethod
    def of(cls, error: BaseException) -> ForeignError:
        """What stands for an exception."""
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_next is not None:
            traceback = traceback.tb_next
        if traceback is None:
            return cls(type(error).__name__)
        code = traceback.tb_frame.f_code
        return cls(type(error).__name__, f" in {code.co_name}, line {traceback.tb_lineno} of {code.co_filename}")

    def __str__(self) -> str:
        return f"{self.kind}{self.place}; its text is not shown, since it may hold a secret"

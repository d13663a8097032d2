"""Which credentials are used: what is given, then what the environment has, then what the machine offers.

Rules: the choice itself does no I/O; the metadata service and `yc` are asked at the first call.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from typing import Final

from yagrpc.config import ENVIRONMENT
from yagrpc.credentials.base import Credentials, ObtainedCredentials
from yagrpc.credentials.exchanged import OAUTH_IS_RETIRED, OAuthToken, ServiceAccountKey
from yagrpc.credentials.given import ApiKey, IamToken
from yagrpc.credentials.metadata import MetadataService
from yagrpc.credentials.yc import YcCli
from yagrpc.errors import ConfigError, UnavailableError
from yagrpc.hiding import API_KEY, IAM_TOKEN, OAUTH_TOKEN, Environment, SecretText, hidden, kind_of
from yagrpc.pasted import mistake

PROBE_SECONDS: Final = 0.1
"""Seconds for the metadata service to answer, where no setting names it (the official SDK's figure)."""

NAMED_PROBE_SECONDS: Final = 1.0
"""Seconds for the metadata service to answer, where `YC_METADATA_ADDR` names it."""

log = logging.getLogger("yagrpc.credentials")


class Automatic(ObtainedCredentials):
    """What the machine offers: its metadata service, then `YC_TOKEN`, then the `yc` command.

    Args:
        environment: The environment variables.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = hidden(environment)

    def choose(self) -> Credentials:
        """Choose the first source that has credentials; blocks.

        Raises:
            ConfigError: No source has credentials; the message names each source that was tried.
        """
        tried = [f"{', '.join(_OF_VARIABLES)} are not set"]
        named = self._environment.get("YC_METADATA_ADDR")
        metadata = MetadataService(named or None)
        try:
            metadata.fetch(NAMED_PROBE_SECONDS if named else PROBE_SECONDS)
        except (ConfigError, UnavailableError) as error:
            tried.append(error.message if isinstance(error, UnavailableError) else str(error))
        else:
            return metadata
        if self._environment.get("YC_TOKEN"):
            return IamToken(lambda: self._environment.get("YC_TOKEN", ""))
        tried.append("YC_TOKEN is not set")
        if not _is_terminal():
            tried.append("the yc command is not tried without a terminal")
        else:
            import shutil

            if shutil.which("yc", path=self._environment.get("PATH")):
                return YcCli(self._environment.get("YC_PROFILE") or None)
            tried.append("the yc command is not installed")
        raise ConfigError(f"no credentials: {'; '.join(tried)}. Set YC_API_KEY, or give credentials=ApiKey(...)")

    def authorization(self) -> str | None:
        """The `authorization` of the credentials that are chosen."""
        return self.choose().authorization()

    def __repr__(self) -> str:
        return "Automatic()"


def resolve_credentials(credentials: Credentials | str | None, environment: Environment = ENVIRONMENT) -> Credentials:
    """The credentials to use.

    The argument, then `YC_API_KEY`, `YC_IAM_TOKEN`, `YC_OAUTH_TOKEN`, `YC_SERVICE_ACCOUNT_KEY_FILE`, the metadata
    service, `YC_TOKEN`, the `yc` command. This is the official SDK's order; the SDK does not know the key file, which
    comes last of the variables that are set on purpose.

    Args:
        credentials: A `Credentials` object, or a string, whose kind follows from its first characters (`AQVN`: an API
            key, `t1.`: an IAM token, `y0_`: an OAuth token).
        environment: The environment variables. `YC_TOKEN` is read again for every call.

    Raises:
        ConfigError: A value is invalid, or a string is of no known kind.
    """
    credentials, environment = hidden(credentials), hidden(environment)
    if isinstance(credentials, Credentials):
        return credentials
    if isinstance(credentials, SecretText):
        return _by_shape(credentials)
    if credentials is not None:
        raise ConfigError(
            f"credentials is a {kind_of(credentials)}: give ApiKey(...), IamToken(...) or NoCredentials()"
        )
    name = variable_used(environment)
    if name is None:
        return Automatic(environment)
    try:
        return _OF_VARIABLES[name](environment[name])
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def check_credentials(credentials: Credentials) -> None:
    """Check, when a client is created, what nobody else has to be asked about.

    Raises:
        ConfigError: They can't work: a key's file can't be read, or has no whole key in it.
    """
    if isinstance(credentials, ServiceAccountKey):
        credentials.check()


def variables_set(environment: Environment) -> list[str]:
    """The variables that are set, of those that hold credentials: the first one is used."""
    return [name for name in (*_OF_VARIABLES, "YC_TOKEN") if environment.get(name)]


def variable_used(environment: Environment) -> str | None:
    """The variable that says which credentials are used; `None` where none does, and the machine is asked."""
    return next((name for name in _OF_VARIABLES if environment.get(name)), None)


def _by_shape(credentials: SecretText) -> Credentials:
    text = credentials.reveal()
    if wrong := mistake(text):
        raise ConfigError(f"credentials {wrong}")
    if re.match(API_KEY, text):
        return ApiKey(text)
    if re.match(IAM_TOKEN, text):
        return IamToken(text)
    if re.match(OAUTH_TOKEN, text):
        return _oauth(text, "credentials")
    raise ConfigError(
        "credentials is a string of an unknown shape: an API key begins with AQVN, an IAM token with t1.; "
        "say which it is with ApiKey(...) or IamToken(...)"
    )


def _oauth(token: str, source: str = "YC_OAUTH_TOKEN") -> OAuthToken:
    token = hidden(token).reveal()
    # Logged: a warning would name a line of yagrpc, which is of no use to the user.
    log.warning("%s is an OAuth token. %s", source, OAUTH_IS_RETIRED)
    return OAuthToken(token, warn=False)


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


_OF_VARIABLES: Final[dict[str, Callable[[str], Credentials]]] = {
    "YC_API_KEY": ApiKey,
    "YC_IAM_TOKEN": IamToken,
    "YC_OAUTH_TOKEN": _oauth,
    "YC_SERVICE_ACCOUNT_KEY_FILE": ServiceAccountKey,
}
"""The order of the environment: the first variable that is set is used."""

"""The token of the service account that a virtual machine, function or container runs as, from its metadata service."""

from __future__ import annotations

import os
import re
from typing import Final

from yagrpc.config import check_no_credential
from yagrpc.credentials.base import AccessToken, FetchedCredentials
from yagrpc.errors import ConfigError, UnavailableError
from yagrpc.foreign import cleaned
from yagrpc.hiding import SecretBytes, hidden, shown, without_secrets
from yagrpc.pasted import mistake

ADDRESS: Final = "169.254.169.254"
"""The address of the metadata service on every machine of the cloud (documented)."""

TOKEN_PATH: Final = "/computeMetadata/v1/instance/service-accounts/default/token"

ANSWER_SECONDS: Final = 1.0
"""Seconds to connect, and seconds to answer: the service is on the machine itself, or next to it."""

_LARGEST: Final = 64 * 1024
"""The most bytes of an answer that are read."""

_HOST: Final = r"(?a)(\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?"


class MetadataService(FetchedCredentials):
    """The service account linked to the machine that this runs on.

    Args:
        address: `host` or `host:port`; by default `YC_METADATA_ADDR`, then 169.254.169.254. Requests use plain
            HTTP, and never a proxy.

    Raises:
        ConfigError: The address is invalid.
    """

    def __init__(self, address: str | None = None) -> None:
        source = "address" if address is not None else "YC_METADATA_ADDR"
        self.address = address if address is not None else os.environ.get("YC_METADATA_ADDR") or ADDRESS
        check_no_credential(source, self.address, "host or host:port")
        found = re.fullmatch(_HOST, self.address) if isinstance(self.address, str) else None
        if wrong := mistake(self.address):
            raise ConfigError(f"{source} is {shown(self.address)}: it {wrong}")
        if found is None or int(found["port"] or 80) > 65535:
            raise ConfigError(f"{source} is {shown(self.address)}: it takes host or host:port, without a scheme")

    def fetch(self, timeout: float) -> AccessToken:
        """Ask for the token.

        Args:
            timeout: Seconds to connect, and seconds to answer; at most 1 is used.

        Raises:
            UnavailableError: There is no answer, or a failure that may pass.
            ConfigError: The machine has no service account, or the answer holds no token.
        """
        status, body = self._answer(min(timeout, ANSWER_SECONDS))
        if status == 404:
            raise ConfigError(f"{self._name} knows no service account: link one to this machine")
        if status == 429 or status >= 500:
            raise UnavailableError(f"{self._name} answered with HTTP status {status}", attempts=1)
        if status != 200:
            raise ConfigError(f"{self._name} answered with HTTP status {status}, not with a token")
        import json

        try:
            answer = hidden(json.loads(body.reveal()))
            return AccessToken(answer["access_token"], float(answer["expires_in"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # the answer may hold a token, so the error does not show it
        raise ConfigError(f"{self._name} answered, but not with a token")

    def __repr__(self) -> str:
        return f"MetadataService({shown(self.address)})"

    @property
    def _name(self) -> str:
        return f"the metadata service at {shown(self.address)[1:-1]}"

    def _answer(self, timeout: float) -> tuple[int, SecretBytes]:
        """The status and the body of the answer; an error has no cause, whose frames may hold a part of the body."""
        import http.client

        try:
            connection = http.client.HTTPConnection(self.address, timeout=timeout)
            try:
                connection.request("GET", TOKEN_PATH, headers={"Metadata-Flavor": "Google"})
                response = connection.getresponse()
                return response.status, hidden(response.read(_LARGEST))
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            text = cleaned(without_secrets(str(error)))[:200] or type(error).__name__
        raise UnavailableError(f"{self._name} can't be reached: {text}", attempts=1)

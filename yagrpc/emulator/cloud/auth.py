"""Credentials: which are accepted, and the IAM tokens that the emulator issues itself.

Rules: no I/O and no clock, `now` is given. No message repeats a credential: somebody may point a real one here.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Collection
from typing import Final

import grpc

from yagrpc import _pb
from yagrpc.emulator.refusal import Refusal, invalid, make_status

__all__ = ["CREATED_BY", "TOKEN_SECONDS", "Guard", "check_auth", "check_folder", "unauthenticated"]

CREATED_BY: Final = "ajeyagrpcemulator000"
"""The account that everything in the emulator belongs to."""

TOKEN_SECONDS: Final = 12 * 3600.0
"""How long an issued IAM token is accepted. Source: Yandex Cloud documentation, "IAM token" (12 hours at most)."""

_WELL_FORMED: Final = re.compile(r"(Api-Key|Bearer) (\S+)")
_TOKEN_CHARACTERS: Final = string.ascii_letters + string.digits + "_-"


def check_auth(auth: str | Collection[str]) -> None:
    """Refuse an `auth` option that could never work.

    Raises:
        ValueError: It is neither `"off"` nor `"present"` nor a collection of whole `authorization` values.
    """
    if isinstance(auth, str):
        if auth not in ("off", "present"):
            raise ValueError(
                "auth is 'off', 'present' or a collection of accepted credentials, such as {'Api-Key abc'}"
            )
    elif not all(isinstance(value, str) and _WELL_FORMED.fullmatch(value) for value in auth):
        raise ValueError("an accepted credential is written as it is sent: 'Api-Key <key>' or 'Bearer <token>'")


class Guard:
    """Decides whether a call's `authorization` is good, and keeps the tokens that were issued here.

    The scheme is compared letter for letter, though HTTP would not: the documentation shows just these spellings.
    In `"present"` mode any well-formed credential is good, but for a token known to be bad: one that was revoked
    or one that was issued here and has expired.

    Args:
        auth: `"off"`, `"present"`, or the accepted values of `authorization`.
        rng: Where tokens are drawn from.
    """

    def __init__(self, auth: str | Collection[str], rng: random.Random) -> None:
        self._off = auth == "off"
        self._accepted = None if isinstance(auth, str) else frozenset(auth)
        self._random = rng
        self._issued: dict[str, tuple[str, float]] = {}
        self._revoked: set[str] = set()

    def check(self, authorization: str, now: float, request_id: str) -> None:
        """Let a call through or refuse it.

        Args:
            authorization: The value of the metadata key, empty where it was not sent.
            now: Seconds since the epoch.
            request_id: For the `RequestInfo` in the refusal's details.

        Raises:
            Refusal: UNAUTHENTICATED, in the service's words.
        """
        if self._off:
            return
        match = _WELL_FORMED.fullmatch(authorization)
        if match is None:
            raise unauthenticated("IAM token or API key has to be passed in request", request_id)
        scheme, secret = match.groups()
        listed = self._accepted is None or authorization in self._accepted
        if scheme == "Api-Key":
            if not listed:
                raise unauthenticated("Unknown api key '****'", request_id)
        elif not self._good_token(secret, now, listed):
            raise unauthenticated("The token is invalid", request_id)

    def _good_token(self, token: str, now: float, listed: bool) -> bool:
        if token in self._revoked:
            return False
        if token in self._issued:
            return now < self._issued[token][1]
        return listed

    def issue(self, subject: str, now: float) -> tuple[str, float]:
        """A new IAM token of the documented shape, and when it expires (seconds since the epoch)."""
        token = f"t1.{self._draw(40)}.{self._draw(86)}"
        expires = now + TOKEN_SECONDS
        self._issued[token] = subject, expires
        return token, expires

    def revoke(self, token: str) -> str:
        """Accept a token no longer; returns whose it was. One not issued here counts as `CREATED_BY`'s."""
        self._revoked.add(token)
        subject, _ = self._issued.get(token, (CREATED_BY, 0.0))
        return subject

    def _draw(self, length: int) -> str:
        return "".join(self._random.choices(_TOKEN_CHARACTERS, k=length))


def check_folder(model_uri: str, folder: str) -> None:
    """Check the folder that a model belongs to. The message is quoted from the service.

    Args:
        model_uri: The URI of the model; one that is empty or malformed passes here and is refused later. Models of the
            service's own authorities, whose names have dots, belong to everybody.
        folder: The only folder that exists.

    Raises:
        Refusal: INVALID_ARGUMENT: the model belongs to another folder.
    """
    named = model_uri.partition("://")[2].partition("/")[0]
    if named and named != folder and "." not in named:
        raise invalid(f"Specified folder ID '{named}' does not match with service account folder ID '{folder}'")


def unauthenticated(message: str, request_id: str) -> Refusal:
    """An UNAUTHENTICATED refusal, with the `RequestInfo` that the service adds to it."""
    detail = _pb.error_details_pb2.RequestInfo(request_id=request_id)
    return Refusal(make_status(grpc.StatusCode.UNAUTHENTICATED, message, detail))

"""Credentials: which are accepted, and the IAM tokens that the emulator issues itself.

Rules: no I/O and no clock, `now` is given. No message repeats a credential: a real one may be sent here by mistake.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Collection
from typing import Any, Final

import grpc

from yagrpc import _pb
from yagrpc.emulator.refusal import Refusal, invalid, make_status

__all__ = ["CREATED_BY", "TOKEN_SECONDS", "Guard", "check_auth", "check_folder", "unauthenticated"]

CREATED_BY: Final = "ajeyagrpcemulator000"
"""The account that owns everything in the emulator."""

TOKEN_SECONDS: Final = 12 * 3600.0
"""How long an issued IAM token is accepted. Source: Yandex Cloud documentation, "IAM token" (12 hours at most)."""

MOST_TOKENS: Final = 10_000
"""How many issued tokens, and how many revoked ones, are remembered. One that is forgotten is like any other token."""

_WELL_FORMED: Final = re.compile(r"(Api-Key|Bearer) (\S+)")
_TOKEN_CHARACTERS: Final = string.ascii_letters + string.digits + "_-"


def check_auth(auth: str | Collection[str]) -> None:
    """Check the option `auth`.

    Raises:
        ValueError: The value is neither `"off"` nor `"present"` nor a collection of whole `authorization` values.
    """
    if isinstance(auth, str):
        if auth not in ("off", "present"):
            raise ValueError(
                "auth is 'off', 'present' or a collection of accepted credentials, such as {'Api-Key abc'}"
            )
    elif not all(isinstance(value, str) and _WELL_FORMED.fullmatch(value) for value in auth):
        raise ValueError("an accepted credential is written as it is sent: 'Api-Key <key>' or 'Bearer <token>'")


class Guard:
    """Decides whether the `authorization` of a call is accepted, and keeps the tokens that were issued here.

    Unlike in HTTP, the case of the scheme matters: the documentation shows these spellings only. In `"present"` mode
    any well-formed credential is accepted, except a token that was revoked, or that was issued here and has expired.

    Args:
        auth: `"off"`, `"present"`, or the accepted values of `authorization`.
        rng: Draws the tokens.
    """

    def __init__(self, auth: str | Collection[str], rng: random.Random) -> None:
        self._off = auth == "off"
        self._accepted = None if isinstance(auth, str) else frozenset(auth)
        self._random = rng
        self._issued: dict[str, tuple[str, float]] = {}
        self._revoked: dict[str, None] = {}

    def check(self, authorization: str, now: float, request_id: str) -> None:
        """Check the credential of a call.

        Args:
            authorization: The value of the metadata key; empty if it was not sent.
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
        _limit(self._issued)
        return token, expires

    def revoke(self, token: str) -> str:
        """Revoke a token; returns its owner, which is `CREATED_BY` for a token that was not issued here."""
        self._revoked[token] = None
        _limit(self._revoked)
        subject, _ = self._issued.get(token, (CREATED_BY, 0.0))
        return subject

    def _draw(self, length: int) -> str:
        return "".join(self._random.choices(_TOKEN_CHARACTERS, k=length))


def _limit(tokens: dict[str, Any]) -> None:
    """Forget the oldest token, if there are too many."""
    if len(tokens) > MOST_TOKENS:
        del tokens[next(iter(tokens))]


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

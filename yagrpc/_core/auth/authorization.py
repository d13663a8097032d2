"""How calls are authorized: what is put into their metadata, and that what was refused is sent once more.

A token that the service refuses as UNAUTHENTICATED is renewed, and the call repeated, submits included: the refusal
proves that nothing was started.

Rules: no I/O. Only where credentials change: those that are fixed are put into the metadata when a call is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from yagrpc._core.call.requests import AsyncRequestStream, RequestStream
from yagrpc._core.flow import Flow
from yagrpc.credentials import Credentials
from yagrpc.credentials.base import SecretText
from yagrpc.errors import AmbiguousSubmitError, CallError, ConfigError, UnauthenticatedError, YagrpcError

if TYPE_CHECKING:
    from yagrpc._core.auth.tokens import Tokens
    from yagrpc._core.flow import Call
    from yagrpc._core.send import Clock

ResponseT = TypeVar("ResponseT")

_SENT: Final = re.compile(r"[ -~]+")


class Authorizer:
    """Authorizes the calls of one client.

    Args:
        tokens: Keeps the token, where credentials have one that is obtained.
        folder_id: The client's folder, which goes along with a user account's token.
        clock: Tells passed time, in seconds.
    """

    def __init__(self, tokens: Tokens, folder_id: str | None, clock: Clock) -> None:
        self.tokens = tokens
        self._folder_id = folder_id
        self._clock = clock

    def authorized(self, call: Call[Any, Any], send: Callable[[], Flow[ResponseT]]) -> Flow[ResponseT]:
        """Authorize a call and send it; once more where the service refuses a token that can be renewed.

        Args:
            call: The call.
            send: Makes the flow that sends it, within the call's timeout.

        Raises:
            YagrpcError: There is no token, or the call failed.
        """
        deadline = None if call.timeout is None else self._clock() + call.timeout
        yield from self.authorize(call)
        self._shorten(call, deadline)
        try:
            return (yield from send())
        except UnauthenticatedError as error:
            self._shorten(call, deadline)
            if not (yield from self.renew(call, error)):
                raise
            before = error.attempts
        self._shorten(call, deadline)
        try:
            return (yield from send())
        except (CallError, AmbiguousSubmitError) as failure:
            failure.attempts += before
            raise

    def authorize(self, call: Call[Any, Any]) -> Flow[None]:
        """Put what authorizes it into a call's metadata, where the client puts anything there.

        Raises:
            YagrpcError: It can't be had.
        """
        if call.authorization is None:
            return
        authorization = yield from self.tokens.current(call)
        if authorization is None:
            authorization = asked(self.tokens.credentials)
        ours = self._pairs(call.authorization)
        call.metadata = tuple(pair for pair in call.metadata if pair not in ours)
        call.authorization = authorization or ""
        if authorization:
            taken = {key for key, _ in call.metadata}
            call.metadata += tuple(pair for pair in self._pairs(authorization) if pair[0] not in taken)

    def renew(self, call: Call[Any, Any], error: UnauthenticatedError) -> Flow[bool]:
        """After a refusal: get another token and put it into the call; gives whether there is another.

        Args:
            call: What was refused.
            error: The refusal.

        Raises:
            YagrpcError: A new token can't be had.
        """
        refused = call.authorization
        if not refused or isinstance(call.request, (RequestStream, AsyncRequestStream)):
            return False  # the requests of a stream are used up
        yield from self.tokens.renew(call, refused, error)
        yield from self.authorize(call)
        return call.authorization != refused

    def _pairs(self, authorization: str) -> tuple[tuple[str, str], ...]:
        return credential_pairs(self.tokens.credentials, authorization, self._folder_id)

    def _shorten(self, call: Call[Any, Any], deadline: float | None) -> None:
        if deadline is not None:
            call.timeout = max(0.0, deadline - self._clock())


def credential_pairs(
    credentials: Credentials, authorization: str | None, folder_id: str | None
) -> tuple[tuple[str, str], ...]:
    """The metadata that a credential makes: with a user account's goes the folder, with no other."""
    if not authorization:
        return ()
    pairs = (("authorization", SecretText(authorization)),)
    return (*pairs, ("x-folder-id", folder_id)) if credentials.user_account and folder_id else pairs


def asked(credentials: Credentials) -> str | None:
    """What credentials authorize a call with, checked: they may be anybody's code.

    Raises:
        ConfigError: They failed, or gave what can't be sent.
    """
    name = type(credentials).__name__
    try:
        authorization: object = credentials.authorization()
    except YagrpcError:
        raise
    except Exception as error:
        raise ConfigError(f"{name}.authorization() failed with {type(error).__name__}") from error
    if authorization is None or (isinstance(authorization, str) and _SENT.fullmatch(authorization)):
        return authorization
    raise ConfigError(f"{name}.authorization() gave what can't be sent: it has to be printable ASCII text, or None")

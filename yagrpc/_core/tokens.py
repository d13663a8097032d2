"""When an IAM token is obtained, renewed and put into a call: one keeper for each client.

A token is renewed when a tenth of its life is over, and at least hourly, by the first call that finds it so (the
documentation advises to ask hourly, and timers do not run where a machine is suspended). Callers meanwhile use the
old one; near its end they wait. What the service refuses as UNAUTHENTICATED is sent once more with a new token: the
refusal proves that nothing was started.

Rules: no I/O. Ages are told by the wall clock, which goes on while a machine is suspended. A renewal that fails costs
nothing while the old token lives. Once for all callers: everything that obtains a token is one shared flow.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from yagrpc._core import retry
from yagrpc._core.flow import Flow, block, share, sleep
from yagrpc._core.requests import AsyncRequestStream, RequestStream
from yagrpc.credentials import (
    AccessToken,
    Automatic,
    Credentials,
    ExchangedCredentials,
    FetchedCredentials,
    ObtainedCredentials,
)
from yagrpc.credentials.base import FETCH_TIMEOUT, SecretText, bearer
from yagrpc.errors import CallError, ConfigError, UnauthenticatedError, UnavailableError, YagrpcError

if TYPE_CHECKING:
    from yagrpc._core.flow import Call
    from yagrpc._core.sending import Clock

ResponseT = TypeVar("ResponseT")

RENEWED_AFTER: Final = 3600.0
"""Seconds of age at which a token is renewed at the latest: the documented advice."""
RENEWED_PART: Final = 0.1
"""Part of a token's life after which it is renewed."""
NEAR_END: Final = 60.0
"""Seconds before its end in which a token is used only where no new one can be had."""
UNKNOWN_LIFE: Final = 12 * 3600.0
"""Seconds that a token lives where nobody said: the documented longest."""

PAUSE: Final = 30.0
"""Seconds after a failed renewal until the next, while the old token lives."""
FAILURE_KEPT: Final = 1.0
"""Seconds for which a failure is told without another attempt, to those who have no token."""
FETCHES: Final = 3
"""Attempts to fetch a token, the first included; an exchange is a call, and repeated as calls are."""

_KEY: Final = "token"

log = logging.getLogger("yagrpc.credentials")


class Held(NamedTuple):
    """A token, and its times by the wall clock: obtained, renewed after, used without care until, dead after.

    The last is a guess where nobody said.
    """

    authorization: str
    since: float
    due: float
    safe: float
    end: float
    told: bool


class Tokens:
    """What one client's calls are authorized with, where that changes.

    Args:
        credentials: Where it comes from.
        folder_id: The client's folder, which goes along with a user account's token.
        exchange: Exchanges an identity (a field of `CreateIamTokenRequest`) for a token.
        audience: Gives whom a signed identity is made for.
        clock: Tells passed time, in seconds.
        wall: Tells the time, in seconds since the epoch.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        folder_id: str | None,
        exchange: Callable[[dict[str, str]], Flow[AccessToken]],
        audience: Callable[[], str],
        clock: Clock,
        wall: Clock,
    ) -> None:
        self.credentials = credentials
        self.held: Held | None = None
        self._folder_id = folder_id
        self._exchange = exchange
        self._audience = audience
        self._clock = clock
        self._wall = wall
        self._failure: tuple[float, YagrpcError] | None = None

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
            if not (yield from self.renew(call, error)):
                raise
        self._shorten(call, deadline)
        return (yield from send())

    def authorize(self, call: Call[Any, Any]) -> Flow[None]:
        """Put what authorizes it into a call's metadata, where the client puts anything there.

        Raises:
            YagrpcError: It can't be had.
        """
        if call.authorization is None:
            return
        authorization = yield from self._current(call)
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
        held = self.held
        if held is not None and held.authorization == refused:
            log.info("a token was refused, it is renewed (client request id %s)", call.client_request_id)
            failure = yield from self._obtained(call)
            if failure is not None:
                raise _about(failure, call) from error
        yield from self.authorize(call)
        return call.authorization != refused

    def _current(self, call: Call[Any, Any]) -> Flow[str | None]:
        """What authorizes a call now, obtained first where there is none that lives."""
        if not isinstance(self.credentials, ObtainedCredentials):
            return self.credentials.authorization()
        held, now = self.held, self._wall()
        if held is not None and held.since <= now < held.safe:
            if now >= held.due and self._recent(PAUSE) is None:
                yield from share(_KEY, self._obtain, wait=False)
            return held.authorization
        failure = yield from self._obtained(call)
        if failure is None:
            return self.held.authorization if self.held is not None else self.credentials.authorization()
        held = self.held
        if held is None or self._wall() >= held.end:
            raise _about(failure, call)
        return held.authorization

    def _obtained(self, call: Call[Any, Any]) -> Flow[YagrpcError | None]:
        """Obtain a token, or wait while somebody does; gives why there is none."""
        failure = self._recent(FAILURE_KEPT)
        if failure is not None:
            return failure
        try:
            return (yield from share(_KEY, self._obtain, call.timeout))
        except TimeoutError:
            return UnavailableError(
                f"no IAM token from {self.credentials!r} within {call.timeout:g} s, nothing was sent",
                method=call.method.path,
                client_request_id=call.client_request_id,
                attempts=0,
            )

    def _obtain(self) -> Flow[YagrpcError | None]:
        """The shared flow: obtain a token and keep it; gives why that failed."""
        try:
            if isinstance(self.credentials, Automatic):
                self.credentials = yield from block(self.credentials.choose)
                log.info("credentials: %r", self.credentials)
            if isinstance(self.credentials, ObtainedCredentials):
                self._keep((yield from self._token(self.credentials)))
        except Exception as error:
            failure = _told(error, self.credentials)
            self._failure = self._clock(), failure
            left = 0.0 if self.held is None else max(0.0, self.held.end - self._wall())
            log.warning("no new IAM token from %r, the old one lives for %.0f s: %s", self.credentials, left, failure)
            return failure
        self._failure = None
        return None

    def _token(self, credentials: ObtainedCredentials) -> Flow[AccessToken]:
        if isinstance(credentials, ExchangedCredentials):
            identity = yield from block(lambda: credentials.identity(self._audience(), self._wall()))
            return (yield from self._exchange(identity))
        assert isinstance(credentials, FetchedCredentials)
        for attempt in range(2, FETCHES + 1):
            try:
                return (yield from block(lambda: credentials.fetch(FETCH_TIMEOUT)))
            except (UnavailableError, OSError):
                pause = retry.pause_before(attempt)
            yield from sleep(pause)
        return (yield from block(lambda: credentials.fetch(FETCH_TIMEOUT)))

    def _keep(self, token: AccessToken) -> None:
        now = self._wall()
        life = UNKNOWN_LIFE if token.lifetime is None else token.lifetime
        if life <= 0:
            log.warning("an IAM token is over as soon as it is there: the clock of this machine is probably wrong")
            life = RENEWED_AFTER
        due, safe = min(RENEWED_AFTER, life * RENEWED_PART), life - min(NEAR_END, life * RENEWED_PART)
        self.held = Held(bearer(token.value), now, now + due, now + safe, now + life, token.lifetime is not None)
        log.info("an IAM token from %r, good for %.0f s", self.credentials, life)

    def _recent(self, seconds: float) -> YagrpcError | None:
        """The last failure, where it is not older than that and nothing was obtained since."""
        if self._failure is None or self._clock() - self._failure[0] >= seconds:
            return None
        return self._failure[1]

    def _pairs(self, authorization: str) -> tuple[tuple[str, str], ...]:
        return credential_pairs(self.credentials, authorization, self._folder_id)

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


def _told(error: Exception, credentials: Credentials) -> YagrpcError:
    """Why a token can't be had, as one of ours; what somebody else's code raised may show a secret."""
    if isinstance(error, YagrpcError):
        return error
    text = f"{type(credentials).__name__} failed with {type(error).__name__}"
    failure = UnavailableError(text) if isinstance(error, OSError) else ConfigError(text)
    failure.__cause__ = error
    return failure


def _about(failure: YagrpcError, call: Call[Any, Any]) -> YagrpcError:
    """A failure of one's own to raise: several may have waited for the token, and each raise writes into it."""
    mine = copy.copy(failure)
    mine.__cause__ = failure.__cause__
    if isinstance(mine, CallError) and call.operation_id:
        mine.operation_id = call.operation_id
    return mine

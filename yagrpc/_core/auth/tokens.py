"""When an IAM token is obtained and renewed: one keeper for each client.

A token is renewed when a tenth of its life is over, and at least hourly, by the first call that finds it so (the
documentation advises to ask hourly, and timers do not run where a machine is suspended). Callers meanwhile use the
old one; near its end they wait.

Rules: no I/O. Ages are read from the wall clock, which runs while a machine is suspended. A renewal that fails costs
nothing while the old token lives. Once for all callers: everything that obtains a token is one shared flow.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yagrpc._core.failure.pauses import backoff
from yagrpc._core.flow import Flow, block, share, sleep
from yagrpc.credentials import (
    AccessToken,
    Automatic,
    Credentials,
    ExchangedCredentials,
    FetchedCredentials,
    ObtainedCredentials,
)
from yagrpc.credentials.base import FETCH_TIMEOUT, ForeignError, bearer
from yagrpc.errors import ConfigError, UnavailableError, YagrpcError
from yagrpc.errors.base import own_copy
from yagrpc.hiding import SecretText, hidden

if TYPE_CHECKING:
    from yagrpc._core.call.call import Call
    from yagrpc._core.deadline import Clock, Deadline

RENEWED_AFTER: Final = 3600.0
"""Seconds of age at which a token is renewed at the latest: the documented advice."""
RENEWED_PART: Final = 0.1
"""Part of a token's life after which it is renewed."""
NEAR_END: Final = 60.0
"""Seconds before its end in which a token is used only where no new one can be obtained."""
UNKNOWN_LIFE: Final = 12 * 3600.0
"""Seconds that a token lives where its source does not say: the documented longest."""

PAUSE: Final = 30.0
"""Seconds after a failed renewal until the next, while the old token lives."""
FAILURE_KEPT: Final = 1.0
"""Seconds for which callers without a token get the last failure, without another attempt."""
FETCHES: Final = 3
"""Attempts to fetch a token, the first included; an exchange is a call, and repeated as calls are."""

_KEY: Final = "token"

log = logging.getLogger("yagrpc.credentials")


class Held(NamedTuple):
    """A token, and its times by the wall clock: obtained, renewed after, used without care until, dead after.

    The last is a guess unless it is `known`.
    """

    authorization: SecretText
    since: float
    due: float
    safe: float
    end: float
    known: bool


class Tokens:
    """The token of one client, where its credentials have one that is obtained.

    Args:
        credentials: Where it comes from.
        exchange: Exchanges an identity (a field of `CreateIamTokenRequest`) for a token.
        audience: Gives the audience of a signed identity.
        clock: Gives passed time, in seconds.
        wall: Gives the time, in seconds since the epoch.
        jitter: Gives what a pause is multiplied by, about 1.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        exchange: Callable[[Mapping[str, str]], Flow[AccessToken]],
        audience: Callable[[], str],
        clock: Clock,
        wall: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self.credentials = credentials
        self.held: Held | None = None
        self._exchange = exchange
        self._audience = audience
        self._clock = clock
        self._wall = wall
        self._jitter = jitter
        self._failure: tuple[float, YagrpcError] | None = None

    def current(self, call: Call[Any, Any], deadline: Deadline) -> Flow[SecretText | None]:
        """The `authorization` of now, obtained first where no token lives; `None` where nothing has to be obtained.

        Args:
            call: What it is for; its errors have the call's ids.
            deadline: Until when a token is waited for.

        Raises:
            YagrpcError: There is no token.
        """
        if not isinstance(self.credentials, ObtainedCredentials):
            return None
        held, now = self.held, self._wall()
        if held is not None and held.since <= now < held.safe:
            if now >= held.due and self._recent(PAUSE) is None:
                try:
                    yield from share(_KEY, lambda: self._obtain(held), wait=False)
                except RuntimeError as error:  # there is no thread for it; the old token still works
                    self._failure = self._clock(), UnavailableError(f"no new IAM token: {error}")
                    log.warning("the renewal of an IAM token could not be started: %s", error)
            return held.authorization
        failure = yield from self._obtained(call, held, deadline)
        held = self.held
        if failure is not None and (held is None or self._wall() >= held.end):
            raise _about(failure, call)
        return None if held is None else held.authorization

    def renew(self, call: Call[Any, Any], refused: SecretText, error: YagrpcError, deadline: Deadline) -> Flow[None]:
        """Obtain another token than one that was refused, unless another caller has.

        Args:
            call: What was refused.
            refused: Its `authorization`.
            error: The refusal.
            deadline: Until when a token is waited for.

        Raises:
            YagrpcError: There is none; the refusal is its cause.
        """
        held = self.held
        if held is None or held.authorization != refused:
            return
        log.info("a token was refused, it is renewed (client request id %s)", call.client_request_id)
        failure = yield from self._obtained(call, held, deadline)
        if failure is not None:
            failure = _about(failure, call)
            failure.message = f"the service refused the token, and there is no other: {failure.message}"
            raise failure from error

    def _obtained(self, call: Call[Any, Any], held: Held | None, deadline: Deadline) -> Flow[YagrpcError | None]:
        """Obtain a token other than the one held, or wait while another caller does; gives why there is none."""
        failure = self._recent(FAILURE_KEPT)
        if failure is not None:
            return failure
        try:
            return (yield from share(_KEY, lambda: self._obtain(held), deadline.left()))
        except TimeoutError:
            return UnavailableError(
                f"no IAM token from {self.credentials!r} within {deadline.seconds:g} s"
                f"{'' if call.attempts else ', nothing was sent'}",
                method=call.method.path,
                client_request_id=call.client_request_id,
                attempts=call.attempts,
            )

    def _obtain(self, held: Held | None) -> Flow[YagrpcError | None]:
        """The shared flow: obtain a token and keep it; gives why that failed.

        Args:
            held: The token to replace. Another caller may have replaced it a moment ago: then nothing is obtained.
        """
        if self.held is not held:
            return None
        try:
            if isinstance(self.credentials, Automatic):
                self.credentials = yield from block(self.credentials.choose)
                log.info("credentials: %r", self.credentials)
            if isinstance(self.credentials, ObtainedCredentials):
                self._keep((yield from self._token(self.credentials)))
        except Exception as error:
            failure = _token_error(error, self.credentials)
            self._failure = self._clock(), failure
            left = 0.0 if self.held is None else max(0.0, self.held.end - self._wall())
            log.warning("no new IAM token from %r, the old one lives for %.0f s: %s", self.credentials, left, failure)
            return failure
        self._failure = None
        return None

    def _token(self, credentials: ObtainedCredentials) -> Flow[AccessToken]:
        if isinstance(credentials, ExchangedCredentials):
            identity = hidden((yield from block(lambda: credentials.identity(self._audience(), self._wall()))))
            return (yield from self._exchange(identity.reveal()))
        assert isinstance(credentials, FetchedCredentials)
        for attempt in range(2, FETCHES + 1):
            try:
                return (yield from block(lambda: credentials.fetch(FETCH_TIMEOUT)))
            except (UnavailableError, OSError):
                pause = backoff(attempt) * self._jitter()
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


def _token_error(error: Exception, credentials: Credentials) -> YagrpcError:
    """Why no token can be obtained, as a yagrpc error; a foreign exception may hold a secret."""
    if isinstance(error, YagrpcError):
        cause = error.__cause__
        if isinstance(credentials, FetchedCredentials) and cause is not None and not isinstance(cause, YagrpcError):
            error.__cause__ = ForeignError.of(cause)
        return error
    text = f"{type(credentials).__name__} failed with {type(error).__name__}"
    failure = UnavailableError(text) if isinstance(error, OSError) else ConfigError(text)
    failure.__cause__ = ForeignError.of(error)
    return failure


def _about(failure: YagrpcError, call: Call[Any, Any]) -> YagrpcError:
    """A copy of a failure to raise: several callers may have waited for the token, and each raise writes into it."""
    return own_copy(failure).with_context(operation_id=call.operation_id)

"""When tokens are obtained and renewed, by clocks that a test moves; no network, no waiting."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import Any

import pytest

from yagrpc import methods
from yagrpc._core.auth.authorization import Authorizer
from yagrpc._core.auth.tokens import FETCHES, PAUSE, Tokens
from yagrpc._core.call.call import Call
from yagrpc._core.call.policy import policy_of
from yagrpc._core.deadline import Deadline
from yagrpc._core.events import Hub
from yagrpc._core.failure.status import RpcStatus
from yagrpc._core.flow import Block, Flow, Send, Share, Sleep
from yagrpc._core.ports import Route
from yagrpc._core.send import send_call
from yagrpc.credentials import AccessToken, ApiKey, Credentials, FetchedCredentials, IamToken
from yagrpc.errors import Code, ConfigError, UnauthenticatedError, UnavailableError, YagrpcError
from yagrpc.hiding import revealed
from yagrpc.method import AnyMethod

HOUR = 3600.0


class Time:
    """Both of a client's clocks. They move together, until a machine is suspended or its clock set."""

    def __init__(self) -> None:
        self.passed = 100.0
        self.wall = 1_800_000_000.0

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self.passed += seconds
        self.wall += seconds


class Source(FetchedCredentials):
    """Gives `t1.1`, `t1.2`, ...; fails as configured."""

    def __init__(self, lifetime: float | None = 12 * HOUR) -> None:
        self.lifetime = lifetime
        self.failure: Exception | None = None
        self.fetched = 0
        self.same = False

    def fetch(self, timeout: float) -> AccessToken:
        """The next token."""
        if self.failure is not None:
            raise self.failure
        self.fetched += not (self.same and self.fetched)
        return AccessToken(f"t1.{self.fetched}", self.lifetime)


class Client:
    """Authorizes calls and runs the flows; a shared flow that nobody waits for is run when the test says so."""

    def __init__(self, credentials: Credentials, folder_id: str | None = "b1g") -> None:
        self.time = Time()
        self.clock = lambda: self.time.passed
        self.events = Hub([])
        self.routes: dict[AnyMethod, Route] = {methods.TokenizerService.Tokenize: Route("model:443")}
        self.sends: list[Send] = []
        self.refusals = 0
        self.started: list[Flow[Any]] = []
        self.late = False
        self.unable = False
        tokens = Tokens(
            credentials,
            exchange=lambda identity: self._exchanged(),
            audience=lambda: "https://iam",
            clock=lambda: self.time.passed,
            wall=lambda: self.time.wall,
            jitter=self.jitter,
        )
        self.authorizer: Authorizer | None = Authorizer(tokens, folder_id)

    def jitter(self) -> float:
        """What a pause is multiplied by."""
        return 1.0

    def find_route(self, call: Call[Any, Any], deadline: Deadline) -> Flow[Route]:
        """Where a call goes that is not in `routes`."""
        raise AssertionError(f"{call.method.path} has a route")
        yield

    def sent(self, refusals: int = 0, **call: Any) -> list[dict[str, Any]]:
        """The metadata of each sending of one call, whose first sendings the service refuses."""
        self.sends, self.refusals = [], refusals
        assert self.run(send_call(a_call(**call), self)) == "answer"
        return self.metadata()

    def metadata(self) -> list[dict[str, Any]]:
        """The metadata of each sending; that of a repetition says which one it is, which is left out here."""
        kept = [dict(revealed(send.metadata)) for send in self.sends]
        assert [each.pop("x-retry-attempt", "0") for each in kept] == [str(number) for number in range(len(kept))]
        return kept

    def authorization(self) -> Any:
        """What the next call is authorized with."""
        return self.sent()[0]["authorization"]

    def run(self, flow: Flow[Any]) -> Any:
        """Run a flow, and give what it returns."""
        return run(flow, self._perform)

    def finish(self) -> None:
        """Run the shared flows that nobody waits for."""
        started, self.started = self.started, []
        for flow in started:
            self.run(flow)

    def _perform(self, effect: Any) -> Any:
        if isinstance(effect, Send):
            self.sends.append(effect)
            refused = len(self.sends) <= self.refusals
            return RpcStatus(Code.UNAUTHENTICATED, "The token is invalid", from_peer=True) if refused else "answer"
        if isinstance(effect, Block):
            return effect.function()
        if isinstance(effect, Sleep):
            return self.time.pass_(effect.seconds)
        assert isinstance(effect, Share)
        if not effect.wait and self.unable:
            raise RuntimeError("can't start new thread")
        if not effect.wait:
            return self.started.append(effect.make())
        if self.late:
            self.time.pass_(effect.timeout or 0.0)
            raise TimeoutError
        return self.run(effect.make())

    def _exchanged(self) -> Flow[AccessToken]:
        raise AssertionError("nothing here is exchanged")
        yield


def run(flow: Generator[Any, Any, Any], perform: Callable[[Any], Any]) -> Any:
    """What a flow returns."""
    resume: Callable[[], Any] = lambda: next(flow)  # noqa: E731
    while True:
        try:
            effect = resume()
        except StopIteration as stop:
            return stop.value
        try:
            outcome = perform(effect)
        except Exception as error:
            resume = lambda error=error: flow.throw(error)  # type: ignore[misc]  # noqa: E731
        else:
            resume = lambda outcome=outcome: flow.send(outcome)  # type: ignore[misc]  # noqa: E731


def a_call(
    *, timeout: float | None = 60.0, metadata: Any = (), operation_id: str = "", needs_token: bool = True
) -> Call[Any, Any]:
    """A call that needs a token."""
    method = methods.TokenizerService.Tokenize
    return Call(method, policy_of(method), object(), timeout, metadata, "client-id", operation_id, needs_token)


# Ages


@pytest.mark.parametrize(
    ("lifetime", "renewed_after"),
    [(12 * HOUR, HOUR), (39944.0, HOUR), (10 * HOUR, HOUR), (HOUR, 360.0), (600.0, 60.0), (None, HOUR)],
)
def test_a_token_is_renewed_after_a_tenth_of_its_life_or_an_hour(lifetime: float | None, renewed_after: float) -> None:
    client = Client(Source(lifetime))
    assert client.authorization() == "Bearer t1.1"
    client.time.pass_(renewed_after - 1.0)
    assert client.authorization() == "Bearer t1.1"
    assert not client.started
    client.time.pass_(1.0)
    assert client.authorization() == "Bearer t1.1"  # it lives: nobody is kept waiting
    client.finish()
    assert client.authorization() == "Bearer t1.2"


def test_token_age_follows_the_wall_clock_while_the_machine_is_suspended() -> None:
    client = Client(Source())
    client.authorization()
    client.time.wall += 13 * HOUR
    assert client.authorization() == "Bearer t1.2"


def test_a_clock_that_is_set_back_makes_no_token_young() -> None:
    client = Client(Source())
    client.authorization()
    client.time.wall -= 24 * HOUR
    assert client.authorization() == "Bearer t1.2"


def test_a_token_near_its_end_is_waited_for() -> None:
    client = Client(Source())
    client.authorization()
    client.time.pass_(12 * HOUR - 61.0)
    assert client.authorization() == "Bearer t1.1"
    client.time.pass_(1.0)
    assert client.authorization() == "Bearer t1.2"


@pytest.mark.parametrize("lifetime", [-13 * HOUR, 0.0])
def test_a_clock_that_is_wrong_does_not_ask_for_every_call(caplog: pytest.LogCaptureFixture, lifetime: float) -> None:
    source = Source(lifetime)
    client = Client(source)
    assert [client.authorization() for _ in range(3)] == ["Bearer t1.1"] * 3
    assert "the clock of this machine is probably wrong" in caplog.text


# Failures


def test_a_failing_renewal_keeps_the_old_token_while_it_lives(caplog: pytest.LogCaptureFixture) -> None:
    source = Source()
    client = Client(source)
    client.authorization()
    source.failure = UnavailableError("down")
    for _ in range(20):
        client.time.pass_(0.54 * HOUR)
        assert client.authorization() == "Bearer t1.1"
        client.finish()
    client.time.pass_(1.19 * HOUR)  # a few seconds before its end
    assert client.authorization() == "Bearer t1.1"
    client.time.pass_(HOUR)
    with pytest.raises(UnavailableError, match="down"):
        client.authorization()
    source.failure = None
    client.time.pass_(1.0)
    assert client.authorization() == "Bearer t1.2"
    assert "no new IAM token from Source(...)" in caplog.text


def test_failing_renewal_is_not_started_by_every_call() -> None:
    source = Source()
    client = Client(source)
    client.authorization()
    client.time.pass_(HOUR)
    source.failure = UnavailableError("down")
    client.authorization()
    client.finish()
    for _ in range(5):
        client.authorization()
    client.time.pass_(29.0)
    client.authorization()
    assert not client.started
    client.time.pass_(1.0)
    client.authorization()
    assert len(client.started) == 1


def test_a_renewal_that_cannot_be_started_keeps_the_old_token(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(Source())
    client.authorization()
    client.time.pass_(HOUR)
    client.unable = True
    assert [client.authorization() for _ in range(3)] == ["Bearer t1.1"] * 3
    assert caplog.text.count("could not be started: can't start new thread") == 1
    client.unable = False
    client.time.pass_(PAUSE)
    assert client.authorization() == "Bearer t1.1"
    client.finish()
    assert client.authorization() == "Bearer t1.2"


def test_a_blip_is_ridden_out() -> None:
    failures = [UnavailableError("blip"), OSError("blip"), None]
    source = Source()
    client = Client(source)
    fetch = source.fetch

    def flaky(timeout: float) -> AccessToken:
        source.failure = failures.pop(0)
        return fetch(timeout)

    source.fetch = flaky  # type: ignore[method-assign]
    assert len(failures) == FETCHES
    assert client.authorization() == "Bearer t1.1"


@pytest.mark.parametrize(
    ("raised", "kind", "reported"),
    [
        (ConfigError("no service account"), ConfigError, "no service account"),
        (RuntimeError("t1.secret"), ConfigError, "Source failed with RuntimeError"),
        (OSError("t1.secret"), UnavailableError, "Source failed with OSError"),
    ],
)
def test_failure_without_a_token_is_reported(raised: Exception, kind: type[YagrpcError], reported: str) -> None:
    source = Source()
    source.failure = raised
    with pytest.raises(kind, match=reported) as caught:
        Client(source).authorization()
    assert "secret" not in str(caught.value)


def test_failure_is_raised_as_a_separate_error_for_each_caller() -> None:
    source = Source()
    source.failure = UnavailableError("down")
    client = Client(source)
    raised: list[UnavailableError] = []
    for operation_id in ("", "d7q"):
        with pytest.raises(UnavailableError, match="down") as caught:
            client.sent(operation_id=operation_id)
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert [error.operation_id for error in raised] == ["", "d7q"]


def test_waiting_for_a_token_counts_into_the_timeout() -> None:
    client = Client(Source())
    client.late = True
    with pytest.raises(
        UnavailableError, match=r"no IAM token from Source\(\.\.\.\) within 5 s, nothing was sent"
    ) as got:
        client.sent(timeout=5.0)
    assert got.value.attempts == 0
    assert got.value.client_request_id == "client-id"


def test_the_time_that_the_token_took_is_taken_from_the_call() -> None:
    source = Source()
    client = Client(source)
    fetch = source.fetch

    def slow(timeout: float) -> AccessToken:
        client.time.pass_(3.0)
        return fetch(timeout)

    source.fetch = slow  # type: ignore[method-assign]
    client.sent(timeout=5.0)
    assert [send.timeout for send in client.sends] == [pytest.approx(1.0)]  # half of what is left


# Refusals


def test_a_refused_token_is_renewed_once_and_the_call_sent_again() -> None:
    client = Client(Source())
    assert [each["authorization"] for each in client.sent(refusals=1)] == ["Bearer t1.1", "Bearer t1.2"]
    with pytest.raises(UnauthenticatedError):
        client.sent(refusals=2)


def test_a_token_that_others_have_renewed_is_taken() -> None:
    source = Source()
    client = Client(source)
    first, deadline, authorizer = a_call(), Deadline(60.0, client.clock), client.authorizer
    assert authorizer is not None
    pairs = client.run(authorizer.authorize(first, deadline))
    assert revealed(pairs) == (("authorization", "Bearer t1.1"),)
    client.sent(refusals=1)
    assert source.fetched == 2
    renewed = client.run(authorizer.renew(first, pairs, UnauthenticatedError("no"), deadline))
    assert source.fetched == 2
    assert revealed(renewed) == (("authorization", "Bearer t1.2"),)


def test_a_caller_who_comes_late_does_not_renew_what_was_renewed() -> None:
    """Another caller's renewal may end between the look at the token and the start of one's own."""
    source = Source()
    client = Client(source)
    client.authorization()
    assert client.authorizer is not None
    tokens = client.authorizer.tokens
    late = tokens._obtain(tokens.held)
    client.sent(refusals=1)
    assert source.fetched == 2
    assert client.run(late) is None
    assert source.fetched == 2


def test_the_same_token_is_not_sent_again() -> None:
    source = Source()
    source.same = True
    with pytest.raises(UnauthenticatedError):
        Client(source).sent(refusals=1)


def test_failed_renewal_is_the_error_that_is_raised() -> None:
    source = Source()
    client = Client(source)
    client.authorization()
    source.failure = UnavailableError("down")
    expected = "the service refused the token, and there is no other: down"
    with pytest.raises(UnavailableError, match=expected) as caught:
        client.sent(refusals=1)
    assert isinstance(caught.value.__cause__, UnauthenticatedError)


def test_a_renewal_that_takes_too_long_does_not_say_that_nothing_was_sent() -> None:
    client = Client(Source())
    client.authorization()
    client.late = True
    with pytest.raises(UnavailableError, match=r"refused the token, .* no IAM token from .* within 5 s") as caught:
        client.sent(refusals=1, timeout=5.0)
    assert "nothing was sent" not in str(caught.value)
    assert caught.value.attempts == 1
    assert isinstance(caught.value.__cause__, UnauthenticatedError)


def test_a_callable_is_asked_again() -> None:
    tokens = iter(["t1.old", "t1.new", "t1.newer", "t1.newer"])
    client = Client(IamToken(lambda: next(tokens)))
    assert [each["authorization"] for each in client.sent(refusals=1)] == ["Bearer t1.old", "Bearer t1.new"]
    with pytest.raises(UnauthenticatedError):
        client.sent(refusals=1)


def test_credentials_that_never_change_are_not_asked_again() -> None:
    with pytest.raises(UnauthenticatedError):
        Client(ApiKey("key")).sent(refusals=1)


def test_a_call_with_an_authorization_of_its_callers_is_left_alone() -> None:
    source = Source()
    own = (("authorization", "Bearer mine"),)
    assert Client(source).sent(metadata=own, needs_token=False) == [dict(own)]
    with pytest.raises(UnauthenticatedError):
        Client(source).sent(refusals=1, metadata=own, needs_token=False)
    assert source.fetched == 0


class Own(Credentials):
    """Credentials of somebody's own."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def authorization(self) -> Any:
        """What the test says."""
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


@pytest.mark.parametrize(
    "given", ["", "Own secret\n", "ключ", b"Own secret", 5, RuntimeError("secret"), KeyError("secret")]
)
def test_what_somebodys_credentials_give_is_checked(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^Own\.authorization\(\) (gave what can't be sent|failed with)") as caught:
        Client(Own(given)).sent()
    assert "secret" not in str(caught.value)


def test_somebodys_credentials_may_be_none() -> None:
    assert Client(Own(None)).sent() == [{}]
    assert Client(Own("Own scheme")).sent() == [{"authorization": "Own scheme"}]


# Folders


def test_the_folder_goes_with_a_users_token_and_with_no_other() -> None:
    assert Client(IamToken(lambda: "t1.x", user=True)).sent() == [
        {"authorization": "Bearer t1.x", "x-folder-id": "b1g"}
    ]
    assert Client(IamToken(lambda: "t1.x")).sent() == [{"authorization": "Bearer t1.x"}]
    assert "x-folder-id" not in Client(Source()).sent()[0]
    assert "x-folder-id" not in Client(IamToken(lambda: "t1.x", user=True), folder_id=None).sent()[0]


def test_a_folder_of_the_callers_stays() -> None:
    source = Source()
    source.user_account = True
    for sent in Client(source).sent(refusals=1, metadata=(("x-folder-id", "other"),)):
        assert sent["x-folder-id"] == "other"


def test_no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = Client(Source())
    client.sent(refusals=1)
    assert "an IAM token from Source(...), good for 43200 s" in caplog.text
    assert "t1." not in caplog.text

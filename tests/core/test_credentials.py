"""Credentials: where they come from, what is refused, and that no secret is ever shown."""

from __future__ import annotations

import copy
import io
import itertools
import json
import logging
import pickle
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import yagrpc
from yagrpc import _pb, methods
from yagrpc._core.client import ClientCore
from yagrpc._core.failure.status import RpcStatus
from yagrpc._grpc.runtime import RUNTIME
from yagrpc.credentials import (
    AccessToken,
    ApiKey,
    Automatic,
    Credentials,
    FetchedCredentials,
    IamToken,
    MetadataService,
    NoCredentials,
    OAuthToken,
    ServiceAccountKey,
    YcCli,
    resolve_credentials,
)
from yagrpc.errors import Code, ConfigError
from yagrpc.hiding import revealed
from yagrpc.method import UnaryMethod

API_KEY = "AQVNsecret-Secret_0123456789"
IAM = "t1.9euelSecretSecret.Zm9v-_bar"
OAUTH = "y0_AgAAAAsecretSecret"

JUNK = [
    "",
    " ",
    f"{API_KEY}\n",
    f" {API_KEY}",
    f"{API_KEY}\r\n",
    "a b",
    "a\tb",
    "a\nb",
    "ключ",
    "a\x00b",
    "\ud800",
    "a\x7f",
]
KINDS: list[Callable[[Any], Credentials]] = [ApiKey, IamToken]


def refused(make: Callable[[], object], *secrets: str) -> ConfigError:
    """The error of what has to be refused; neither it nor its causes show a secret."""
    with pytest.raises(ConfigError) as caught:
        make()
    reported = "".join(traceback.format_exception_only(type(caught.value), caught.value))
    cause = caught.value.__cause__ or caught.value.__context__
    assert cause is None or isinstance(cause, (ConfigError, FileNotFoundError))
    for secret in (API_KEY, IAM, OAUTH, *secrets):
        assert secret.strip() not in reported
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


def resolve(credentials: Any = None, **environment: str) -> Credentials:
    """What is used under an environment."""
    return resolve_credentials(credentials, environment)


# What is sent


def test_each_kind_has_its_scheme() -> None:
    assert ApiKey(API_KEY).authorization() == f"Api-Key {API_KEY}"
    assert IamToken(IAM).authorization() == f"Bearer {IAM}"
    assert NoCredentials().authorization() is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("key", ["x", "AQVN", "some-other-shape!", "t", "t1", "y0", "~" * 1000])
def test_the_shape_of_a_key_is_not_known_beforehand(key: str) -> None:
    assert ApiKey(key).authorization() == f"Api-Key {key}"


def test_a_callable_is_asked_for_every_call() -> None:
    tokens = iter(["t1.one", "t1.two"])
    credentials = IamToken(lambda: next(tokens))
    assert [credentials.authorization() for _ in range(2)] == ["Bearer t1.one", "Bearer t1.two"]


def test_a_user_may_bring_credentials_of_their_own() -> None:
    class Own(Credentials):
        def authorization(self) -> str:
            return "Own scheme"

    own = Own()
    assert resolve(own) is own
    assert repr(own) == "Own(...)"
    with pytest.raises(TypeError, match="abstract"):
        Credentials()  # type: ignore[abstract]


# What is refused


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("junk", JUNK)
def test_what_cannot_be_sent_is_refused(kind: Any, junk: str) -> None:
    refused(lambda: kind(junk))


@pytest.mark.parametrize(
    ("secret", "reported"),
    [
        ("", "is empty"),
        (f"{API_KEY}\n", "begins or ends with white space"),
        (f"Api-Key {API_KEY}", "begins with its scheme: give the secret alone"),
        (f"Bearer {IAM}", "begins with its scheme: give the secret alone"),
        (f"bearer {IAM}", "holds white space or characters outside ASCII"),
        ("ключ", "holds white space or characters outside ASCII"),
    ],
)
def test_a_refusal_says_what_is_wrong(secret: str, reported: str) -> None:
    for kind, what in ((ApiKey, "the API key"), (IamToken, "the IAM token")):
        assert str(refused(lambda kind=kind: kind(secret))).startswith(f"{what} {reported}")  # type: ignore[misc]


@pytest.mark.parametrize("wrong", [None, 5, b"AQVN", ["AQVN"], object()])
def test_a_secret_is_a_text(wrong: Any) -> None:
    assert str(refused(lambda: ApiKey(wrong))) == f"the API key is a {type(wrong).__name__}, not a string"
    assert str(refused(lambda: IamToken(wrong))) == f"the IAM token is a {type(wrong).__name__}, not a string"


def test_a_secret_of_another_kind_is_refused() -> None:
    assert "use IamToken(...)" in str(refused(lambda: ApiKey(IAM)))
    assert "use ApiKey(...)" in str(refused(lambda: IamToken(API_KEY)))
    for kind in KINDS:
        assert "OAuth token: use OAuthToken(...)" in str(refused(lambda kind=kind: kind(OAUTH)))  # type: ignore[misc]


def test_a_callable_that_gives_a_secret_of_another_kind_is_refused() -> None:
    for secret in (API_KEY, OAUTH):
        refused(lambda secret=secret: IamToken(lambda: secret).authorization())  # type: ignore[misc]


@pytest.mark.parametrize("junk", [*JUNK, None, 5, b"t1.x", ["t1.x"], f"Bearer {IAM}"])
def test_a_callable_that_gives_junk_is_refused_when_it_is_asked(junk: Any) -> None:
    credentials = IamToken(lambda: junk)
    assert str(refused(credentials.authorization)).startswith("the IAM token ")


@pytest.mark.parametrize("error", [RuntimeError(IAM), KeyError(IAM), ConfigError(IAM), OSError(2, IAM)])
def test_failing_callable_is_reported_by_the_kind_of_its_failure(error: Exception) -> None:
    def failing() -> str:
        raise error

    with pytest.raises(ConfigError) as caught:
        IamToken(failing).authorization()
    assert str(caught.value) == f"the callable that gives the IAM token failed with {type(error).__name__}"
    # The exception itself, whose text and frames may hold the token, is no part of the error: its type and place are.
    cause = caught.value.__cause__
    assert str(cause).startswith(f"{type(error).__name__} in failing, line ")
    assert IAM not in str(cause)
    assert cause is not None
    assert (cause.__traceback__, caught.value.__context__ in (None, cause)) == (None, True)


def test_an_interrupt_in_a_callable_is_an_interrupt() -> None:
    def interrupted() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        IamToken(interrupted).authorization()


# Where they come from


def test_a_string_is_known_by_its_beginning() -> None:
    assert resolve(API_KEY).authorization() == f"Api-Key {API_KEY}"
    assert resolve(IAM).authorization() == f"Bearer {IAM}"
    assert isinstance(resolve(OAUTH), OAuthToken)
    assert "say which it is with ApiKey(...) or IamToken(...)" in str(refused(lambda: resolve("secret!"), "secret!"))
    for junk in JUNK:
        refused(lambda junk=junk: resolve(junk))  # type: ignore[misc]


@pytest.mark.parametrize("wrong", [5, b"AQVN", {"api_key": API_KEY}, ApiKey, lambda: IAM])
def test_other_kinds_of_credentials_are_refused_without_being_shown(wrong: Any) -> None:
    assert str(refused(lambda: resolve(wrong))) == (
        f"credentials is a {type(wrong).__name__}: give ApiKey(...), IamToken(...) or NoCredentials()"
    )


ENVIRONMENT = {"YC_API_KEY": "key", "YC_IAM_TOKEN": "t1.iam", "YC_TOKEN": "t1.token"}


@pytest.mark.parametrize(
    ("missing", "sent"),
    [(0, "Api-Key key"), (1, "Bearer t1.iam"), (2, "Bearer t1.token")],
)
def test_the_environment_has_an_order(missing: int, sent: str) -> None:
    present = dict(list(ENVIRONMENT.items())[missing:])
    assert resolve(**present).authorization() == sent
    empty = {**dict.fromkeys(ENVIRONMENT, ""), **present}
    assert resolve(**empty).authorization() == sent


def test_an_argument_is_stronger_than_the_environment() -> None:
    assert resolve(ApiKey("mine"), **ENVIRONMENT).authorization() == "Api-Key mine"
    assert resolve(NoCredentials(), **ENVIRONMENT).authorization() is None


def test_what_somebody_has_set_comes_before_what_the_machine_offers(caplog: pytest.LogCaptureFixture) -> None:
    assert resolve(YC_OAUTH_TOKEN=OAUTH, YC_IAM_TOKEN=IAM).authorization() == f"Bearer {IAM}"
    assert not caplog.records
    assert isinstance(resolve(YC_OAUTH_TOKEN=OAUTH, YC_SERVICE_ACCOUNT_KEY_FILE="key.json"), OAuthToken)
    assert "OAuth tokens are being retired" in caplog.text
    assert repr(resolve(YC_SERVICE_ACCOUNT_KEY_FILE="key.json", YC_TOKEN=IAM)) == "ServiceAccountKey('key.json')"
    assert repr(resolve(YC_TOKEN=IAM)) == "Automatic()"


def test_missing_credentials_are_reported_at_first_use() -> None:
    for environment in ({}, dict.fromkeys([*ENVIRONMENT, "YC_OAUTH_TOKEN", "YC_SERVICE_ACCOUNT_KEY_FILE"], "")):
        nothing = resolve(**environment)
        with pytest.raises(ConfigError) as caught:
            nothing.authorization()
        reported = str(caught.value)
        assert reported.startswith(
            "no credentials: YC_API_KEY, YC_IAM_TOKEN, YC_OAUTH_TOKEN, YC_SERVICE_ACCOUNT_KEY_FILE are"
        )
        for source in (
            "the metadata service at 127.0.0.1:1 can't be reached",
            "YC_TOKEN is not set",
            "the yc command",
        ):
            assert source in reported
        assert len(reported.splitlines()) == 1


def test_the_token_of_the_environment_is_read_again_for_every_call() -> None:
    environment = {"YC_TOKEN": "t1.one"}
    credentials = resolve_credentials(None, environment)
    assert credentials.authorization() == "Bearer t1.one"
    environment["YC_TOKEN"] = "t1.two"
    assert credentials.authorization() == "Bearer t1.two"
    chosen = Automatic(environment).choose()
    assert chosen.authorization() == "Bearer t1.two"
    del environment["YC_TOKEN"]
    assert str(refused(chosen.authorization)) == "the IAM token is empty"


@pytest.mark.parametrize("name", ["YC_API_KEY", "YC_IAM_TOKEN"])
@pytest.mark.parametrize("junk", [f"{IAM}\n", f"Bearer {IAM}", "два", OAUTH])
def test_the_environment_is_checked_too(name: str, junk: str) -> None:
    refused(lambda: resolve(**{name: junk}), junk)


# Secrets


def shown(credentials: Credentials) -> str:
    """All that is shown of credentials by accident."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.warning("%s %r", credentials, [credentials])
    return f"{credentials} {credentials!r} {[credentials]} {copy.copy(credentials)} {log.getvalue()}"


KEY = {"id": "ajekey", "service_account_id": "ajeaccount", "private_key": "-----BEGIN PRIVATE KEY-----secretSecret"}

HOLDERS: list[tuple[Credentials, str]] = [
    (ApiKey(API_KEY), API_KEY),
    (IamToken(IAM), IAM),
    (IamToken(lambda: IAM), IAM),
    (resolve(YC_TOKEN=IAM), IAM),
    (OAuthToken(OAUTH, warn=False), OAUTH),
    (ServiceAccountKey(KEY), "secretSecret"),
]


@pytest.mark.parametrize(("credentials", "secret"), HOLDERS)
def test_a_secret_is_not_shown(credentials: Credentials, secret: str) -> None:
    assert secret not in shown(credentials)
    assert shown(NoCredentials()).startswith("NoCredentials()")
    assert IAM not in repr(AccessToken(IAM, 5.0))


@pytest.mark.parametrize(
    "credentials", [*(held for held, _ in HOLDERS), NoCredentials(), MetadataService(), YcCli(), AccessToken(IAM)]
)
def test_credentials_can_not_be_pickled(credentials: Any) -> None:
    name = type(credentials).__name__
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=f"{name} can't be pickled") as caught:
            pickle.dumps(credentials, protocol)
        assert not {API_KEY, IAM, OAUTH} & set(str(caught.value).split())
    assert copy.deepcopy([credentials])[0] is credentials


def no_flag(wrong: Any) -> Any:
    return None if wrong is True else wrong


def no_number(wrong: Any) -> Any:
    return "a" if wrong in (5, 1.5) else wrong


@pytest.mark.parametrize(
    "wrong", [5, b"bytes", ["a"], {"a": 1}, 1.5, object(), True], ids=lambda wrong: type(wrong).__name__
)
@pytest.mark.parametrize(
    ("setting", "make"),
    {
        "the API key": ApiKey,
        "the IAM token": IamToken,
        "user": lambda wrong: IamToken(IAM, user=no_flag(wrong)),
        "the OAuth token": lambda wrong: OAuthToken(wrong, warn=False),
        "warn": lambda wrong: OAuthToken(OAUTH, warn=no_flag(wrong)),
        "the service account key": ServiceAccountKey,
        "address": MetadataService,
        "profile": YcCli,
        "user of yc": lambda wrong: YcCli(user=no_flag(wrong)),
        "command": lambda wrong: YcCli(command=wrong),
        "the IAM token that is fetched": AccessToken,
        "lifetime": lambda wrong: AccessToken(IAM, no_number(wrong)),
        "credentials": resolve,
    }.items(),
)
def test_a_setting_of_the_wrong_kind_is_named(setting: str, make: Callable[[Any], object], wrong: Any) -> None:
    assert setting.partition(" of ")[0].partition(" that ")[0] in str(refused(lambda: make(wrong)))


@pytest.mark.parametrize("empty", [{"profile": ""}, {"command": ""}])
def test_an_empty_setting_of_yc_is_named(empty: dict[str, str]) -> None:
    assert f"{next(iter(empty))} is ''" in str(refused(lambda: YcCli(**empty)))  # type: ignore[arg-type]


ANY_TEXT = st.text() | st.binary().map(lambda data: data.decode("latin-1"))
BEGINNINGS = st.sampled_from(["", "AQVN", "t1.", "y0_", "Bearer ", "Api-Key ", '"', "<", " "])
"""What decides what is said of a secret."""
MARK = "Unmistakable7Secret"
"""A part of the secret that no message of ours has by chance, as it may have all of a text such as "an IAM token"."""
PARTS = [MARK[start : start + 6] for start in range(len(MARK) - 5)]
"""What would show a part of it."""


@given(beginning=BEGINNINGS, before=ANY_TEXT, after=ANY_TEXT)
@example(beginning="", before="an IAM token", after="")
def test_any_text_is_sent_unchanged_or_refused_without_being_shown(beginning: str, before: str, after: str) -> None:
    secret = f"{beginning}{before}{MARK}{after}"
    for make in (ApiKey, IamToken, resolve, lambda text: IamToken(lambda: text)):
        try:
            authorization = make(secret).authorization()
        except ConfigError as error:
            assert not [part for part in PARTS if part in f"{error} {error!r}"]
        else:
            assert authorization is not None
            scheme, _, sent = authorization.partition(" ")
            assert scheme in {"Api-Key", "Bearer"}
            assert sent == secret
            assert secret.isascii()
            assert secret.isprintable()


def core(credentials: Credentials) -> ClientCore:
    """A client's settings."""
    return ClientCore(
        RUNTIME,
        folder_id="b1g",
        credentials=credentials,
        model="yandexgpt",
        endpoint=None,
        operation_endpoint=None,
        plaintext=False,
        endpoints=None,
        quota=None,
        polling=yagrpc.Polling(),
        data_logging=None,
    )


@pytest.mark.parametrize(
    "metadata",
    [
        {"Authorization": f"Bearer {IAM}"},
        {"authorization": f"Bearer {IAM}\n"},
        {"authorization": IAM.encode()},
        [("authorization", f"Bearer {IAM}\n")],
        [("authorization", "Bearer", IAM)],
        [["authorization", "Bearer", IAM]],
        [f"authorization: Bearer {IAM}"],
        [IAM],
        [(IAM,)],
        IAM,
        IAM.encode(),
        [{"authorization": IAM}],
        (("token-bin", IAM),),
        5,
    ],
)
def test_metadata_that_cannot_be_sent_is_not_shown(metadata: Any) -> None:
    request = _pb.text_generation_service_pb2.TokenizeRequest()
    with pytest.raises(yagrpc.RequestError) as caught:
        core(NoCredentials()).call(methods.TokenizerService.Tokenize, request, {"metadata": metadata})
    assert caught.value.field == "metadata"
    for reported in (str(caught.value), repr(caught.value), str(vars(caught.value))):
        assert IAM not in reported


def test_a_call_shows_no_secret() -> None:
    request = _pb.text_generation_service_pb2.TokenizeRequest()
    call = core(ApiKey(API_KEY)).call(methods.TokenizerService.Tokenize, request, {})
    assert ("authorization", f"Api-Key {API_KEY}") in revealed(call.metadata)
    assert API_KEY not in repr(call)
    assert API_KEY not in repr(core(ApiKey(API_KEY)))


def test_a_refusal_where_discovery_came_first_is_answered_once(drive: Any) -> None:
    kinds = f"{_pb.text_generation_service_pb2.__name__}:TokenizeRequest"
    method = UnaryMethod[Any, Any]("/yandex.cloud.quantum.v1.Nets/Take", request=kinds, response=kinds)
    given = itertools.count()
    client = core(IamToken(lambda: f"t1.{next(given)}"))
    client.clock = drive.clock
    listing = _pb.api_endpoint_service_pb2.ListApiEndpointsResponse()
    listing.endpoints.add(id="quantum", address="quantum.api.cloud.yandex.net:443")
    refused = [RpcStatus(Code.UNAUTHENTICATED, from_peer=True) for _ in range(2)]
    call = client.call(method, _pb.text_generation_service_pb2.TokenizeRequest(), {"timeout": 10.0})
    with pytest.raises(yagrpc.UnauthenticatedError) as caught:
        drive(client.send(call), [listing, *refused], each=2.0)
    assert drive.figures("send") == [5.0, 8.0, 6.0]  # the timeout is over all of it; a read leaves half
    assert caught.value.attempts == len(refused)


def test_a_discovery_that_fails_names_the_timeout_of_its_caller(drive: Any) -> None:
    """Not what a token left of it."""
    kinds = f"{_pb.text_generation_service_pb2.__name__}:TokenizeRequest"
    method = UnaryMethod[Any, Any]("/yandex.cloud.unheard.v1.Nets/Take", request=kinds, response=kinds)

    def token() -> str:
        drive.clock.pass_(4.0)
        return "t1.a"

    client = core(IamToken(token))
    client.clock = drive.clock
    call = client.call(method, _pb.text_generation_service_pb2.TokenizeRequest(), {"timeout": 10.0})
    gone = RpcStatus(Code.UNAVAILABLE, "gone")
    with pytest.raises(yagrpc.UnavailableError, match="no connection within 10 s") as caught:
        drive(client.send(call), [gone], connected=[False])
    assert caught.value.method == methods.ApiEndpointService.List.path
    assert drive.figures("connect") == [pytest.approx(5.8, abs=0.1)]  # the pause has its jitter


# What is obtained


def test_an_oauth_token_is_legacy() -> None:
    with pytest.warns(DeprecationWarning, match="OAuth tokens are being retired") as warned:
        token = OAuthToken(OAUTH)
    assert warned[0].filename == __file__
    assert token.user_account
    assert token.identity("https://iam", 0.0) == {"yandex_passport_oauth_token": OAUTH}
    assert "a client exchanges it" in str(refused(token.authorization))


def test_an_oauth_token_of_another_kind_is_refused() -> None:
    assert "use IamToken(...)" in str(refused(lambda: OAuthToken(IAM, warn=False)))
    assert "use ApiKey(...)" in str(refused(lambda: OAuthToken(API_KEY, warn=False)))
    for junk in JUNK:
        refused(lambda junk=junk: OAuthToken(junk, warn=False))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        (5, "the service account key is a int: give its file's path, or a dict"),
        ("", "the service account key's file name is empty"),
        ({}, "the service account key has no id: it takes what 'yc iam key create' wrote"),
        ({**KEY, "service_account_id": ""}, "the service account key has no service_account_id"),
        ({**KEY, "private_key": None}, "the service account key has no private_key"),
        ({**KEY, "private_key": "secretSecret"}, "the service account key has a private_key without a PEM block"),
        ({"key": "x", "privateKey": "y"}, "the service account key has a 'key' that is no object"),
    ],
)
def test_a_key_that_is_none_is_refused(wrong: Any, reported: str) -> None:
    assert str(refused(lambda: ServiceAccountKey(wrong), "secretSecret")).startswith(reported)


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        (None, "can't be read: No such file or directory"),
        ("{", "is no JSON object"),
        ("[]", "is no JSON object"),
        ("\xff", "is no JSON object"),
        ("{}", "has no id"),
        (json.dumps(KEY), "has a private_key that is no RSA key in PEM"),
    ],
)
def test_invalid_key_file_is_reported_when_read(tmp_path: Path, content: str | None, reported: str) -> None:
    path = tmp_path / "key.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    key = ServiceAccountKey(path)
    error = refused(lambda: key.identity("https://iam", 0.0), "secretSecret")
    assert str(error).startswith(f"the service account key file '{path}' {reported}")


def test_missing_extra_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigError, match=r"pip install 'yagrpc\[auth\]'"):
        ServiceAccountKey(KEY).identity("https://iam", 0.0)


@pytest.mark.parametrize("address", ["", "http://169.254.169.254", "host:99999", "a b", "host:", 5])
def test_an_address_that_is_none_is_refused(address: Any) -> None:
    assert str(refused(lambda: MetadataService(address))).startswith("address is ")


def test_what_belongs_to_users_is_marked() -> None:
    assert not MetadataService().user_account
    assert YcCli().user_account
    assert not YcCli(user=False).user_account
    assert not ServiceAccountKey(KEY).user_account
    assert not IamToken(IAM).user_account
    assert IamToken(IAM, user=True).user_account


def test_a_user_may_bring_a_source_of_tokens() -> None:
    class Vault(FetchedCredentials):
        def fetch(self, timeout: float) -> AccessToken:
            assert timeout > 0
            return AccessToken(IAM, 60.0)

    assert Vault().authorization() == f"Bearer {IAM}"
    assert repr(Vault()) == "Vault(...)"

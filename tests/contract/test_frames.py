"""A secret is in no variable of a frame of an error, in no cause of it, and in none of their texts.

Crash reporters, `pytest -l` and rich print the variables of every frame, and every cause. The frames of the test's own
files are their user's own business: only those of the package and of the libraries that it uses are searched.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from traceback import walk_tb
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import yagrpc
from tests.contract.raw import RawServer, refusing
from yagrpc import _pb, methods

MARK = "UnmistakableSecret"
"""Part of every secret here."""

API_KEY = f"AQVN{MARK}" + "x" * 80
IAM_TOKEN = f"t1.{MARK}." + "x" * 80
OAUTH_TOKEN = f"y0_{MARK}" + "x" * 80

Scenario = Callable[[Any, RawServer, Any], None]


@pytest.fixture
def raw() -> Iterator[RawServer]:
    server = RawServer()
    server.answers["Tokenize"] = lambda request, context: b""
    yield server
    server.stop()


@pytest.fixture(scope="module")
def key() -> dict[str, str]:
    """A service account's key."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"id": "ajekey", "service_account_id": "ajeaccount", "private_key": pem.decode()}


def searched(error: BaseException) -> Iterator[str]:
    """All that an error shows, and what every error behind it shows."""
    found: list[BaseException | None] = [error]
    seen: set[int] = set()
    while found:
        one = found.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield from (str(one), repr(one), repr(vars(one)))
        for frame, _ in walk_tb(one.__traceback__):
            if Path(frame.f_code.co_filename).parent == Path(__file__).parent:
                continue
            for name, value in frame.f_locals.items():
                yield f"{getattr(frame.f_code, 'co_qualname', '')} {name}: {value!r}"  # Python 3.10 has no such name
                if isinstance(value, (str, bytes)):
                    yield repr(value[:80])  # as rich cuts long ones
        found += [one.__cause__, one.__context__]


def assert_hidden(error: BaseException, *secrets: str) -> None:
    for text in searched(error):
        for secret in (MARK, "eyJ", *secrets):
            assert secret not in text, (type(error), text[:300])


def tokenize(subject: Any, raw: RawServer, credentials: Any, **parameters: Any) -> Any:
    client = subject.client(raw, credentials=credentials)
    return subject(client.tokenize("a", **parameters))


def failure(function: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is not what is tested
        function()
    return caught.value


# Values that can't be sent


@pytest.mark.parametrize("secret", [API_KEY[:40], IAM_TOKEN[:40], OAUTH_TOKEN[:40]], ids=["key", "token", "oauth"])
def test_a_credential_in_place_of_an_id_is_refused_and_not_shown(subject: Any, raw: RawServer, secret: str) -> None:
    """Errors and logs show ids."""
    client = subject.client(raw)
    for error in (
        failure(lambda: subject(client.tokenize("a", request_id=secret))),
        failure(lambda: subject(client.operation(secret).result(timeout=0))),
    ):
        assert isinstance(error, yagrpc.RequestError)
        assert MARK not in "".join(traceback.format_exception(error))
    assert raw.calls == []


@pytest.mark.parametrize(
    "made",
    [
        lambda: yagrpc.ApiKey(API_KEY + "\n"),
        lambda: yagrpc.ApiKey(API_KEY.encode()),  # type: ignore[arg-type]
        lambda: yagrpc.ApiKey([API_KEY]),  # type: ignore[arg-type]
        lambda: yagrpc.ApiKey(IAM_TOKEN),
        lambda: yagrpc.ApiKey(f"Api-Key {API_KEY}"),
        lambda: yagrpc.IamToken(f" {IAM_TOKEN}"),
        lambda: yagrpc.IamToken(OAUTH_TOKEN),
        lambda: yagrpc.IamToken(lambda: IAM_TOKEN + "\n").authorization(),
        lambda: yagrpc.IamToken(lambda: [IAM_TOKEN]).authorization(),  # type: ignore[arg-type, return-value]
        lambda: yagrpc.OAuthToken(OAUTH_TOKEN + " x", warn=False),
        lambda: yagrpc.OAuthToken(API_KEY, warn=False),
        lambda: yagrpc.AccessToken(f"{IAM_TOKEN}\n"),
        lambda: yagrpc.ServiceAccountKey({"private_key": MARK}),
        lambda: yagrpc.ServiceAccountKey({"key": MARK, "private_key": MARK}),
        lambda: yagrpc.ServiceAccountKey({"id": "a", "service_account_id": "b", "private_key": MARK}),
        lambda: yagrpc.ServiceAccountKey({"id": "a", "service_account_id": "b", "private_key": [MARK]}),
        lambda: yagrpc.ServiceAccountKey(f'{{"private_key": "{MARK}"'),
        lambda: yagrpc.ServiceAccountKey([MARK]),  # type: ignore[arg-type]
    ],
)
def test_a_secret_that_is_refused_is_in_no_frame(made: Callable[[], object]) -> None:
    assert_hidden(failure(made))


@pytest.mark.parametrize(
    ("settings", "environment"),
    [
        ({"credentials": API_KEY + "\n"}, {}),
        ({"credentials": MARK}, {}),
        ({"credentials": MARK.encode()}, {}),
        ({"credentials": {"authorization": MARK}}, {}),
        ({"credentials": API_KEY, "endpoint": "no endpoint"}, {}),
        ({"credentials": API_KEY, "folder_id": "a b"}, {}),
        ({"credentials": API_KEY, "quota": 5}, {}),
        ({"credentials": API_KEY, "channel_options": 5}, {}),
        ({"credentials": API_KEY, "interceptors": 5}, {}),
        ({"credentials": API_KEY, "events": 5}, {}),
        ({}, {"YC_API_KEY": API_KEY + "\n"}),
        ({}, {"YC_IAM_TOKEN": IAM_TOKEN + "\n"}),
        ({}, {"YC_OAUTH_TOKEN": OAUTH_TOKEN + "\n"}),
        ({}, {"YC_API_KEY": API_KEY, "YC_FOLDER_ID": "a b"}),
        ({}, {"YC_API_KEY": API_KEY, "YAGRPC_EMULATOR_HOST": "no endpoint"}),
        ({}, {"YC_API_KEY": API_KEY, "YAGRPC_EMULATOR_HOST": "service.example:1"}),
        ({}, {"YC_SERVICE_ACCOUNT_KEY_FILE": f'{{"private_key": "{MARK}"'}),
    ],
)
def test_a_secret_of_a_client_that_can_not_be_created_is_in_no_frame(
    subject: Any, settings: dict[str, Any], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_PASSWORD", MARK)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert_hidden(failure(lambda: subject.client(**{"credentials": None, "folder_id": None, **settings})))


# Metadata


METADATA = {
    "a value that can't be sent": {"authorization": f"Bearer {IAM_TOKEN}\n"},
    "a value that is refused": {"authorization": f"Bearer {IAM_TOKEN}"},
    "pairs": [("authorization", f"Bearer {IAM_TOKEN}"), ("x-secret", MARK)],
    "bytes that can't be sent": {"authorization": MARK.encode()},
    "a text": f"authorization: {IAM_TOKEN}",
    "texts": [f"authorization: {IAM_TOKEN}"],
    "a key in upper case": {"Authorization": f"Bearer {IAM_TOKEN}"},
    "three parts": [("authorization", "Bearer", IAM_TOKEN)],
}


@pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
@pytest.mark.parametrize(
    "method",
    [
        "tokenize", "completion", "completion_stream", "completion_async", "text_embedding", "tokenize_completion",
        "call", "cancel", "upload", "a wrong text", "a wrong argument", "a wrong flag", "stream=True",
    ],
)  # fmt: skip
def test_a_secret_in_metadata_is_in_no_frame(subject: Any, raw: RawServer, metadata: Any, method: str) -> None:
    refuse = refusing(grpc.StatusCode.UNAUTHENTICATED, "the token is unknown")
    raw.answers = dict.fromkeys(("Tokenize", "TokenizeCompletion", "TextEmbedding", "Cancel"), refuse)
    raw.answers["/yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService/Completion"] = refuse
    raw.streams["/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion"] = _refused_stream
    client = subject.client(raw, credentials=yagrpc.NoCredentials())
    request = _pb.text_generation_service_pb2.TokenizeRequest(text="a")
    given: dict[str, Any] = {"metadata": metadata, "timeout": 30.0}
    if method in ("a wrong argument", "a wrong flag"):
        given = {"metadat": metadata} if method == "a wrong argument" else {"data_logging": 5, **given}
    called: dict[str, Callable[[], Any]] = {
        "call": lambda: client.call(methods.TokenizerService.Tokenize, request, **given),
        "upload": lambda: client.call(UPLOAD, [request], **given),
        "cancel": lambda: client.operation("d7q").cancel(**given),
        "a wrong text": lambda: client.completion(5, **given),
        "a wrong argument": lambda: client.tokenize("a", **given),
        "a wrong flag": lambda: client.tokenize("a", **given),
        "stream=True": lambda: client.completion("a", stream=True, **given),
    }
    function = called.get(method) or (lambda: getattr(client, method)("a", **given))
    assert_hidden(failure(lambda: subject(function())))


def _refused_stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is unknown")
    yield b""


_KINDS = f"{_pb.text_generation_service_pb2.__name__}:TokenizeRequest"
UPLOAD: Any = yagrpc.ClientStreamMethod("/yandex.cloud.ai.foundation_models.v1.X/Y", request=_KINDS, response=_KINDS)


# The exchange


IAM = "/yandex.cloud.iam.v1.IamTokenService/Create"
EXCHANGES = {
    "refused": refusing(grpc.StatusCode.UNAUTHENTICATED, "no such account"),
    "down": refusing(grpc.StatusCode.UNKNOWN, "down"),
    "answered without a token": lambda request, context: b"",
    "answered with bytes": lambda request, context: MARK.encode(),
    "answered with half a token": lambda request, context: answer(f"t1.{MARK} x"),
    "answered with an API key": lambda request, context: answer(API_KEY),
}


def answer(token: str) -> bytes:
    return _pb.iam_token_service_pb2.CreateIamTokenResponse(iam_token=token).SerializeToString()


@pytest.mark.parametrize("exchange", EXCHANGES.values(), ids=EXCHANGES)
@pytest.mark.parametrize("kind", ["key", "oauth"])
def test_a_failed_exchange_has_no_secret_in_its_frames(
    subject: Any, raw: RawServer, key: dict[str, str], exchange: Any, kind: str
) -> None:
    raw.answers[IAM] = exchange
    credentials: Any = yagrpc.ServiceAccountKey(key) if kind == "key" else yagrpc.OAuthToken(OAUTH_TOKEN, warn=False)
    error = failure(lambda: tokenize(subject, raw, credentials))
    assert_hidden(error, *key["private_key"].splitlines()[2:5])
    client = subject.client(raw, credentials=credentials)
    waited = failure(lambda: subject(client.operation("d7q").result(0)))
    assert_hidden(waited, *key["private_key"].splitlines()[2:5])


@pytest.mark.parametrize("kind", ["key", "oauth"])
def test_a_failed_renewal_has_no_secret_in_its_frames(
    subject: Any, raw: RawServer, key: dict[str, str], kind: str
) -> None:
    def once(request: bytes, context: grpc.ServicerContext) -> bytes:
        raw.answers[IAM] = refusing(grpc.StatusCode.PERMISSION_DENIED, "no")
        return answer(IAM_TOKEN)

    raw.answers[IAM] = once
    raw.answers["Tokenize"] = refusing(grpc.StatusCode.UNAUTHENTICATED, "the token is unknown")
    credentials: Any = yagrpc.ServiceAccountKey(key) if kind == "key" else yagrpc.OAuthToken(OAUTH_TOKEN, warn=False)
    error = failure(lambda: tokenize(subject, raw, credentials))
    assert isinstance(error, yagrpc.PermissionDeniedError)
    assert isinstance(error.__cause__, yagrpc.UnauthenticatedError)
    assert_hidden(error, *key["private_key"].splitlines()[2:5])


@pytest.mark.parametrize("method", ["tokenize", "completion", "completion_stream", "completion_async", "wait"])
@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL])
def test_a_credential_that_the_other_side_repeats_is_shown_nowhere(
    subject: Any, raw: RawServer, method: str, code: grpc.StatusCode
) -> None:
    raw.answers = dict.fromkeys(["Tokenize", "Completion", "Get"], refusing(code, f"no: Api-Key {API_KEY}\nend"))
    client = subject.client(raw, credentials=yagrpc.ApiKey(API_KEY))
    error = failure(lambda: subject(ask(client, method)))
    assert_hidden(error)
    printed = "".join(traceback.format_exception(error))
    assert MARK not in printed
    assert "\nend" not in printed


def ask(client: Any, method: str) -> Any:
    return client.operation("d7q").result(timeout=0.1) if method == "wait" else getattr(client, method)("a", timeout=1)


def test_a_missing_extra_has_no_key_in_its_frames(
    subject: Any, raw: RawServer, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    error = failure(lambda: tokenize(subject, raw, yagrpc.ServiceAccountKey(key)))
    assert "pip install 'yagrpc[auth]'" in str(error)
    assert_hidden(error, *key["private_key"].splitlines()[2:5])


@pytest.mark.parametrize("broken", ["cut", "no object", "no PEM", "no RSA key", "no id", "no UTF-8", "missing"])
def test_a_broken_key_file_has_no_key_in_its_frames(
    subject: Any, raw: RawServer, key: dict[str, str], broken: str, tmp_path: Path
) -> None:
    pem = f"-----BEGIN PRIVATE KEY-----\n{MARK}\n-----END PRIVATE KEY-----"
    content = {
        "cut": json.dumps({**key, "private_key": pem})[:-3],
        "no object": json.dumps([pem]),
        "no PEM": json.dumps({**key, "private_key": MARK}),
        "no RSA key": json.dumps({**key, "private_key": pem}),
        "no id": json.dumps({"private_key": pem}),
        "no UTF-8": f"\xff{MARK}",
    }
    path = tmp_path / "key.json"
    if broken != "missing":
        path.write_bytes(content[broken].encode("latin-1"))
    error = failure(lambda: tokenize(subject, raw, yagrpc.ServiceAccountKey(path)))
    assert str(path) in str(error)
    assert_hidden(error)


# What a user's own credentials do


class Vault(yagrpc.FetchedCredentials):
    """A source of tokens that fails with the token in its hands."""

    def __init__(self, failure: Any) -> None:
        self._failure = failure

    def fetch(self, timeout: float) -> yagrpc.AccessToken:
        token = IAM_TOKEN
        if isinstance(self._failure, str):
            return yagrpc.AccessToken(token + self._failure)
        try:
            raise ValueError(token)
        except ValueError as error:
            own = issubclass(self._failure, yagrpc.YagrpcError)
            raise self._failure("down" if own else token) from error


class Own(yagrpc.Credentials):
    """Credentials that give what can't be sent, or fail."""

    def __init__(self, given: Any) -> None:
        self._given = given

    def authorization(self) -> Any:
        if isinstance(self._given, type):
            raise self._given(IAM_TOKEN)
        return self._given


@pytest.mark.parametrize(
    "credentials",
    [Vault(RuntimeError), Vault(OSError), Vault(KeyError), Vault("\n"), Vault(" x"),
     Vault(yagrpc.ConfigError), Vault(yagrpc.UnavailableError),
     Own(RuntimeError), Own(f"Bearer {IAM_TOKEN}\n"), Own([IAM_TOKEN]), Own(IAM_TOKEN.encode()),
     yagrpc.IamToken(lambda: str([][len(IAM_TOKEN)]))],
)  # fmt: skip
def test_failed_credentials_of_a_user_are_in_no_cause(subject: Any, raw: RawServer, credentials: Any) -> None:
    error = failure(lambda: tokenize(subject, raw, credentials))
    assert isinstance(error, yagrpc.YagrpcError)
    assert_hidden(error)


def test_the_place_of_a_users_failure_is_known(subject: Any, raw: RawServer) -> None:
    error = failure(lambda: tokenize(subject, raw, Vault(RuntimeError)))
    assert str(error.__cause__).startswith("RuntimeError in fetch, line ")
    assert __file__ in str(error.__cause__)


@pytest.mark.parametrize("script", ["echo {0}; exit 3", "echo {0} >&2; exit 3", "echo AQVN{0}", "echo {0}; sleep 60"])
def test_a_failed_command_has_no_token_in_its_frames(
    subject: Any, raw: RawServer, script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "yc"
    command.write_text("#!/bin/sh\n" + script.format(IAM_TOKEN) + "\n")
    command.chmod(0o755)
    credentials = yagrpc.YcCli(command=str(command))
    if "sleep" in script:
        command.write_text(f"#!/bin/sh\necho {IAM_TOKEN}\nexec sleep 60\n")
        assert_hidden(failure(lambda: credentials.fetch(0.5)))
        return
    assert_hidden(failure(lambda: tokenize(subject, raw, credentials)))


# A call that the service refuses


@pytest.mark.parametrize(
    "credentials", [yagrpc.ApiKey(API_KEY), yagrpc.IamToken(IAM_TOKEN), yagrpc.IamToken(lambda: IAM_TOKEN)]
)
def test_a_refused_call_has_no_credential_in_its_frames(subject: Any, raw: RawServer, credentials: Any) -> None:
    raw.answers["Tokenize"] = refusing(grpc.StatusCode.UNAUTHENTICATED, "unknown")
    error = failure(lambda: tokenize(subject, raw, credentials))
    assert isinstance(error, yagrpc.UnauthenticatedError)
    assert_hidden(error)

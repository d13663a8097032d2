"""Credentials on the wire: real metadata services, a real `yc` process, keys that really sign; tokens that run out.

Time passes for both sides at once: the emulator's clock is moved, and the client's wall clock with it.
"""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import yagrpc
from yagrpc import _pb, methods
from yagrpc.emulator import Emulator

HELLO = "hello"
HOUR = 3600.0
TOKENIZE = "/yandex.cloud.ai.foundation_models.v1.TokenizerService/Tokenize"
CREATE = "/yandex.cloud.iam.v1.IamTokenService/Create"
OAUTH = "y0_AgAAAAAsecretSecret"


@pytest.fixture
def guarded() -> Iterator[Emulator]:
    """An emulator that takes the tokens which it has issued, and `Bearer t1.machine`."""
    with Emulator(duration=10 * HOUR, seed=1, auth={"Bearer t1.machine", "Bearer t1.user"}) as running:
        yield running


def let_pass(seconds: float, emulator: Emulator, client: Any) -> None:
    """Let time pass for the emulator, and for a client whose machine was suspended: only its wall clock goes on."""
    emulator.advance(seconds)
    before = client._core.wall
    client._core.wall = lambda: before() + seconds


def sent_with(emulator: Emulator, path: str = TOKENIZE) -> list[Any]:
    """What the calls of a method were authorized with."""
    return [each.metadata.get("authorization") for each in emulator.requests if each.path == path]


def revoke(emulator: Emulator) -> None:
    """Have the service refuse the token that it took last."""
    last = str(emulator.requests[-1].metadata["authorization"]).removeprefix("Bearer ")
    with grpc.insecure_channel(emulator.address) as channel:
        stub = _pb.iam_token_service_pb2_grpc.IamTokenServiceStub(channel)
        metadata = (("authorization", f"Bearer {last}"),)
        stub.Revoke(_pb.iam_token_service_pb2.RevokeIamTokenRequest(iam_token=last), metadata=metadata)


# The exchange


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    """A service account's key, as good as a real one."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def key_file(tmp_path: Path, private_key: rsa.RSAPrivateKey) -> Path:
    """The file that `yc iam key create` writes, with the line that comes before the PEM block."""
    plain = serialization.NoEncryption()
    pem = private_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
    content = {
        "id": "ajekey",
        "service_account_id": "ajeaccount",
        "created_at": "2026-01-01T00:00:00Z",
        "key_algorithm": "RSA_2048",
        "private_key": f"PLEASE DO NOT REMOVE THIS LINE! Yandex.Cloud SA Key ID <ajekey>\n{pem}",
    }
    path = tmp_path / "key.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("form", ["file", "dict", "the API's"])
def test_a_key_signs_a_jwt_that_is_exchanged(
    subject: Any, guarded: Emulator, key_file: Path, private_key: rsa.RSAPrivateKey, form: str
) -> None:
    content = json.loads(key_file.read_text())
    api = {"key": {"id": "ajekey", "serviceAccountId": "ajeaccount"}, "privateKey": content["private_key"]}
    given = {"file": key_file, "dict": content, "the API's": api}[form]
    client = subject.client(guarded, credentials=yagrpc.ServiceAccountKey(given))
    for _ in range(3):
        subject(client.tokenize(HELLO))
    (exchange,) = [each for each in guarded.requests if each.path == CREATE]
    assert "authorization" not in exchange.metadata
    signed = exchange.request.jwt  # type: ignore[attr-defined]
    assert jwt.get_unverified_header(signed) == {"typ": "JWT", "alg": "PS256", "kid": "ajekey"}
    audience = f"https://{guarded.address}/iam/v1/tokens"
    claims = jwt.decode(signed, private_key.public_key(), algorithms=["PS256"], audience=audience)
    assert claims["iss"] == "ajeaccount"
    assert claims["exp"] - claims["iat"] <= 3600
    assert claims["iat"] <= time.time() < claims["exp"]
    assert len(set(sent_with(guarded))) == 1
    assert all("x-folder-id" not in each.metadata for each in guarded.requests)


def test_the_audience_is_that_of_the_documentation(subject: Any, key_file: Path) -> None:
    client = subject.client(credentials=yagrpc.ServiceAccountKey(key_file))
    assert client._core.authorizer.tokens._audience() == "https://iam.api.cloud.yandex.net/iam/v1/tokens"


def test_a_key_file_can_be_replaced_in_place(subject: Any, guarded: Emulator, key_file: Path) -> None:
    client = subject.client(guarded, credentials=yagrpc.ServiceAccountKey(key_file))
    subject(client.tokenize(HELLO))
    key_file.write_text(json.dumps({**json.loads(key_file.read_text()), "id": "ajeother"}))
    revoke(guarded)
    subject(client.tokenize(HELLO))
    signed = [each.request.jwt for each in guarded.requests if each.path == CREATE]  # type: ignore[attr-defined]
    assert [jwt.get_unverified_header(each)["kid"] for each in signed] == ["ajekey", "ajeother"]


def test_an_oauth_token_is_exchanged_and_goes_with_the_folder(subject: Any, guarded: Emulator) -> None:
    with pytest.warns(DeprecationWarning, match="being retired"):
        credentials = yagrpc.OAuthToken(OAUTH)
    subject(subject.client(guarded, credentials=credentials).tokenize(HELLO))
    exchange, call = guarded.requests
    assert exchange.request.yandex_passport_oauth_token == OAUTH  # type: ignore[attr-defined]
    assert "x-folder-id" not in exchange.metadata
    assert OAUTH not in str(call.metadata)
    assert call.metadata["x-folder-id"] == "folder"


def test_refused_exchange_is_reported(subject: Any, guarded: Emulator, key_file: Path) -> None:
    content = json.loads(key_file.read_text())
    client = subject.client(guarded, credentials=yagrpc.ServiceAccountKey({**content, "id": "x" * 9000}))
    with pytest.raises(yagrpc.InvalidArgumentError, match="jwt") as caught:
        subject(client.completion_async(HELLO))
    assert caught.value.method == CREATE
    assert set(guarded.calls) == {CREATE}


# Renewal


@pytest.fixture
def client(subject: Any, guarded: Emulator, key_file: Path) -> Any:
    """A client whose tokens the emulator issues."""
    return subject.client(guarded, credentials=yagrpc.ServiceAccountKey(key_file))


def test_a_token_is_renewed_before_it_runs_out(subject: Any, guarded: Emulator, client: Any) -> None:
    subject(client.tokenize(HELLO))
    let_pass(11.999 * HOUR, guarded, client)
    subject(client.tokenize(HELLO))
    first, second = sent_with(guarded)
    assert first != second
    assert not guarded.refusals


def test_a_machine_that_was_suspended_gets_a_new_token(subject: Any, guarded: Emulator, client: Any) -> None:
    subject(client.tokenize(HELLO))
    let_pass(100 * HOUR, guarded, client)
    subject(client.tokenize(HELLO))
    assert not guarded.refusals
    assert guarded.calls[CREATE] == 2


def test_nobody_waits_for_a_renewal_while_the_token_lives(subject: Any, guarded: Emulator, client: Any) -> None:
    subject(client.tokenize(HELLO))
    let_pass(2 * HOUR, guarded, client)
    while guarded.calls[CREATE] < 2:
        subject(client.tokenize(HELLO))
    while len(set(sent_with(guarded))) < 2:
        subject(client.tokenize(HELLO))
    assert not guarded.refusals
    assert guarded.calls[CREATE] == 2


SENT_AGAIN: dict[str, Callable[[Any, Any], Any]] = {
    "read": lambda subject, client: subject(client.tokenize(HELLO)),
    "submit": lambda subject, client: subject(client.completion_async(HELLO)),
    "completion": lambda subject, client: subject(client.completion(HELLO)),
    "stream": lambda subject, client: subject(client.completion_stream(HELLO)),
}


@pytest.mark.parametrize("kind", SENT_AGAIN)
def test_what_a_revoked_token_was_sent_with_is_sent_again(
    subject: Any, guarded: Emulator, client: Any, kind: str
) -> None:
    subject(client.tokenize(HELLO))
    revoke(guarded)
    assert SENT_AGAIN[kind](subject, client)
    assert sum(guarded.refusals.values()) == 1
    assert guarded.calls[CREATE] == 2
    refused, taken = [each.metadata["authorization"] for each in guarded.requests if each.path != CREATE][-2:]
    assert refused != taken


def test_a_token_that_runs_out_in_the_middle_of_a_wait_does_not_end_it(
    subject: Any, guarded: Emulator, client: Any
) -> None:
    operation = subject(client.completion_async(HELLO))
    assert not subject(operation.done())
    revoke(guarded)
    assert not subject(operation.done())
    revoke(guarded)
    guarded.advance(10 * HOUR)
    assert HELLO in subject(operation.result(timeout=30)).text
    assert sum(guarded.refusals.values()) == 2
    assert guarded.calls[CREATE] == 3


def test_many_waits_share_one_renewal(subject: Any, guarded: Emulator, client: Any) -> None:
    operations = [subject(client.completion_async(f"number {number}")) for number in range(30)]
    revoke(guarded)
    guarded.advance(10 * HOUR)
    results = subject.together([lambda operation=each: operation.result(timeout=60) for each in operations])
    assert [f'"number {number}"' in result.text for number, result in enumerate(results)] == [True] * 30
    assert guarded.calls[CREATE] == 2


def test_many_callers_share_one_exchange(subject: Any, guarded: Emulator, client: Any) -> None:
    outcomes = subject.together([lambda: client.tokenize(HELLO)] * 40)
    assert all(isinstance(outcome, yagrpc.Tokens) for outcome in outcomes), outcomes
    assert guarded.calls[CREATE] == 1
    revoke(guarded)
    outcomes = subject.together([lambda: client.tokenize(HELLO)] * 40)
    assert all(isinstance(outcome, yagrpc.Tokens) for outcome in outcomes), outcomes
    assert guarded.calls[CREATE] == 2


class Flaky:
    """A service whose exchange does as configured; every call takes the token that was issued last."""

    def __init__(self) -> None:
        self.issued = 0
        self.code: grpc.StatusCode | None = None
        self.refuse: set[str] = set()
        self.hold = threading.Event()
        self.hold.set()
        self.waiting = threading.Event()
        self.gets = 0
        self.server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        # Any: the stubs type servicers as abstract, and here each gets just the methods that a test needs.
        tokens: Any = _pb.iam_token_service_pb2_grpc
        texts: Any = _pb.text_generation_service_pb2_grpc
        operations: Any = _pb.operation_service_pb2_grpc
        iam, tokenizer = tokens.IamTokenServiceServicer(), texts.TokenizerServiceServicer()
        polled = operations.OperationServiceServicer()
        iam.Create, tokenizer.Tokenize, polled.Get = self.create, self.tokenize, self.get
        tokens.add_IamTokenServiceServicer_to_server(iam, self.server)
        texts.add_TokenizerServiceServicer_to_server(tokenizer, self.server)
        operations.add_OperationServiceServicer_to_server(polled, self.server)
        self.settings = {
            "endpoint": f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}",
            "plaintext": True,
            "credentials": yagrpc.OAuthToken(OAUTH, warn=False),
        }
        self.server.start()

    def create(self, request: Any, context: Any) -> Any:
        """Issue a token, once the test lets it."""
        self.waiting.set()
        assert self.hold.wait(30.0)
        if self.code is not None:
            context.abort(self.code, "the exchange is down")
        self.issued += 1
        return _pb.iam_token_service_pb2.CreateIamTokenResponse(iam_token=f"t1.{self.issued}")

    def tokenize(self, request: Any, context: Any) -> Any:
        """Answer."""
        self.check(context)
        return _pb.text_generation_service_pb2.TokenizeResponse()

    def get(self, request: Any, context: Any) -> Any:
        """Give an operation that is done."""
        self.gets += 1
        self.check(context)
        operation = _pb.operation_pb2.Operation(id=request.operation_id, done=True)
        operation.response.Pack(_pb.text_generation_service_pb2.TokenizeResponse(model_version="done"))
        return operation

    def check(self, context: Any) -> None:
        """Refuse what is to be refused."""
        if dict(context.invocation_metadata())["authorization"] in self.refuse:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "The token is invalid")


@pytest.fixture
def flaky() -> Iterator[Flaky]:
    """A service of the test's own."""
    running = Flaky()
    yield running
    running.hold.set()
    running.server.stop(None).wait()


def test_an_exchange_that_is_down_does_not_end_a_wait(subject: Any, flaky: Flaky) -> None:
    client = subject.client(**flaky.settings)
    subject(client.tokenize(HELLO))
    flaky.refuse.add("Bearer t1.1")
    flaky.code = grpc.StatusCode.UNKNOWN  # passes in a wait, and is not tried again by the exchange itself
    operation = client.operation("d7q", _pb.text_generation_service_pb2.TokenizeResponse)
    with pytest.raises(yagrpc.OperationTimeoutError) as caught:
        subject(operation.result(timeout=0.2))
    assert isinstance(caught.value.__cause__, yagrpc.UnknownError)
    assert caught.value.__cause__.operation_id == "d7q"
    flaky.code = None
    assert subject(operation.result(timeout=30)).model_version == "done"


def test_a_refusal_after_a_renewal_ends_a_wait_with_the_id(subject: Any, flaky: Flaky) -> None:
    client = subject.client(**flaky.settings)
    flaky.refuse |= {"Bearer t1.1", "Bearer t1.2"}
    with pytest.raises(yagrpc.UnauthenticatedError, match="12 hours at most") as caught:
        subject(client.operation("d7q").result(timeout=30))
    assert caught.value.operation_id == "d7q"
    assert (flaky.issued, flaky.gets) == (2, 2)


def test_an_exchange_that_refuses_ends_a_wait_with_the_id(subject: Any, flaky: Flaky) -> None:
    flaky.code = grpc.StatusCode.UNAUTHENTICATED
    client = subject.client(**flaky.settings)
    with pytest.raises(yagrpc.UnauthenticatedError, match="the exchange is down") as caught:
        subject(client.operation("d7q").result(timeout=30))
    assert caught.value.operation_id == "d7q"
    assert caught.value.method == CREATE
    assert flaky.gets == 0


def test_a_token_that_does_not_come_costs_no_more_than_the_timeout(subject: Any, flaky: Flaky) -> None:
    flaky.hold.clear()
    client = subject.client(**flaky.settings)
    with pytest.raises(
        yagrpc.UnavailableError, match=r"no IAM token from OAuthToken\(\.\.\.\) within 0\.2 s"
    ) as caught:
        subject(client.tokenize(HELLO, timeout=0.2))
    assert caught.value.attempts == 0
    flaky.hold.set()
    subject(client.tokenize(HELLO))
    assert flaky.issued == 1  # the one that was started for the first call


def test_closing_ends_the_wait_for_a_token(subject: Any, flaky: Flaky) -> None:
    flaky.hold.clear()
    client = subject.client(**flaky.settings)

    def close() -> Any:
        assert flaky.waiting.wait(30.0)
        return client.close()

    async def close_later() -> None:
        await asyncio.to_thread(flaky.waiting.wait, 30.0)
        await client.close()

    waiting, _ = subject.together([lambda: client.tokenize(HELLO), close if subject.kind == "sync" else close_later])
    assert isinstance(waiting, yagrpc.YagrpcError)


async def test_cancelling_one_who_waits_leaves_the_token_to_the_others(flaky: Flaky) -> None:
    flaky.hold.clear()
    async with yagrpc.AsyncClient(folder_id="f", **flaky.settings) as client:  # type: ignore[arg-type]
        first, second = (asyncio.create_task(client.tokenize(HELLO)) for _ in range(2))
        await asyncio.to_thread(flaky.waiting.wait, 30.0)
        first.cancel()
        await asyncio.wait([first])
        flaky.hold.set()
        assert isinstance(await second, yagrpc.Tokens)
        assert first.cancelled()
    assert flaky.issued == 1


# The metadata service


class Metadata:
    """A metadata service on loopback that does as configured."""

    def __init__(self) -> None:
        self.status = 200
        self.body = json.dumps({"access_token": "t1.machine", "expires_in": 43199, "token_type": "Bearer"})
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers["Metadata-Flavor"]))
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(outer.body.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def stop(self) -> None:
        """Answer no longer."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    """A metadata service."""
    running = Metadata()
    yield running
    running.stop()


@pytest.mark.parametrize("automatic", [True, False])
def test_the_metadata_service_gives_a_token(
    subject: Any, guarded: Emulator, metadata: Metadata, monkeypatch: pytest.MonkeyPatch, automatic: bool
) -> None:
    monkeypatch.setenv("YC_METADATA_ADDR", metadata.address)
    monkeypatch.setenv("YC_TOKEN", "t1.worse")
    client = subject.client(guarded, credentials=None if automatic else yagrpc.MetadataService())
    assert not metadata.asked  # making a client asks nobody
    for _ in range(3):
        subject(client.tokenize(HELLO))
    assert sent_with(guarded) == ["Bearer t1.machine"] * 3
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    assert metadata.asked == [(path, "Google")] * (2 if automatic else 1)
    assert "x-folder-id" not in guarded.requests[-1].metadata
    let_pass(HOUR, guarded, client)
    asked = len(metadata.asked)
    while len(metadata.asked) == asked:
        subject(client.tokenize(HELLO))


@pytest.mark.parametrize(
    ("status", "body", "error", "reported"),
    [
        (404, "", yagrpc.ConfigError, "knows no service account: link one"),
        (403, "t1.secret", yagrpc.ConfigError, "answered with HTTP status 403"),
        (503, "", yagrpc.UnavailableError, "answered with HTTP status 503"),
        (200, "t1.secret", yagrpc.ConfigError, "answered, but not with a token"),
        (200, '{"access_token": "t1.secret"}', yagrpc.ConfigError, "answered, but not with a token"),
        (200, '{"access_token": "t1.secret\\n", "expires_in": 1}', yagrpc.ConfigError, "answered, but not with"),
        (200, "[]", yagrpc.ConfigError, "answered, but not with a token"),
        (200, "[" * 60_000, yagrpc.ConfigError, "answered, but not with a token"),
    ],
)
def test_metadata_service_without_a_token_is_reported(
    subject: Any, guarded: Emulator, metadata: Metadata, status: int, body: str, error: Any, reported: str
) -> None:
    metadata.status, metadata.body = status, body
    client = subject.client(guarded, credentials=yagrpc.MetadataService(metadata.address))
    with pytest.raises(error, match=reported) as caught:
        subject(client.tokenize(HELLO))
    assert metadata.address in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not guarded.calls


def test_missing_metadata_service_is_reported(subject: Any, guarded: Emulator) -> None:
    client = subject.client(guarded, credentials=yagrpc.MetadataService("127.0.0.1:1"))
    with pytest.raises(yagrpc.UnavailableError, match=r"metadata service at 127\.0\.0\.1:1 can't be reached"):
        subject(client.tokenize(HELLO))


# The yc command


@pytest.fixture
def yc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a `yc` on the path that does as a script in Python says; what it was given goes to a file beside it."""

    def install(script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        command, program, given = folder / "yc", folder / "yc.py", folder / "given"
        program.write_text(
            f"import sys\nopen({str(given)!r}, 'a').write(repr(sys.argv[1:]) + '\\n')\n{script}", "utf-8"
        )
        # The path of this interpreter may have spaces, which a first line with `#!` can't hold.
        run = shlex.join([sys.executable, str(program)])
        command.write_text(f'#!/bin/sh\nexec {run} "$@"\n', "utf-8")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return given

    return install


def test_the_yc_command_gives_a_token(
    subject: Any, guarded: Emulator, yc: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = yc("print('There is a new version of yc'); print(); print('t1.user')")
    monkeypatch.setenv("YC_PROFILE", "work")
    client = subject.client(guarded, credentials=yagrpc.YcCli())
    for _ in range(2):
        subject(client.tokenize(HELLO))
    assert sent_with(guarded) == ["Bearer t1.user"] * 2
    assert given.read_text() == "['iam', 'create-token', '--no-user-output', '--profile', 'work']\n"
    assert guarded.requests[-1].metadata["x-folder-id"] == "folder"
    subject(subject.client(guarded, credentials=yagrpc.YcCli(user=False)).tokenize(HELLO))
    assert "x-folder-id" not in guarded.requests[-1].metadata


@pytest.mark.parametrize(
    ("script", "reported"),
    [
        ("sys.exit('You are not logged in as y0_secretSecret')", "failed with exit code 1: You are not logged in as "),
        ("sys.exit(3)", "failed with exit code 3: it said nothing"),
        ("print()", "printed no token"),
        ("print('AQVNsecretSecret')", "has the form of an API key"),
    ],
)
def test_yc_command_without_a_token_is_reported(
    subject: Any, guarded: Emulator, yc: Callable[[str], Path], script: str, reported: str
) -> None:
    yc(script)
    with pytest.raises(yagrpc.ConfigError, match=reported) as caught:
        subject(subject.client(guarded, credentials=yagrpc.YcCli()).tokenize(HELLO))
    assert "secretSecret" not in str(caught.value)


def test_missing_yc_command_is_reported(subject: Any, guarded: Emulator, tmp_path: Path) -> None:
    client = subject.client(guarded, credentials=yagrpc.YcCli(command=str(tmp_path / "yc")))
    with pytest.raises(yagrpc.ConfigError, match="yc' can't be run: No such file or directory"):
        subject(client.tokenize(HELLO))


def test_a_yc_command_that_hangs_is_killed(yc: Callable[[str], Path]) -> None:
    yc("import time; time.sleep(600)")
    with pytest.raises(yagrpc.UnavailableError, match=r"did not end within 0\.3 s"):
        yagrpc.YcCli().fetch(0.3)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_yc_command_is_the_last_resort_of_people(
    subject: Any,
    guarded: Emulator,
    yc: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
) -> None:
    yc("print('t1.user')")
    monkeypatch.setattr("yagrpc.credentials.choice._is_terminal", lambda: terminal)
    client = subject.client(guarded, credentials=None)
    if terminal:
        subject(client.tokenize(HELLO))
        assert guarded.requests[-1].metadata["x-folder-id"] == "folder"
        return
    with pytest.raises(yagrpc.ConfigError, match="no credentials: .*the yc command is not tried without a terminal"):
        subject(client.tokenize(HELLO))


# The environment, and credentials of one's own


def test_the_token_of_the_environment_is_read_for_every_call(
    subject: Any, guarded: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YC_TOKEN", "t1.machine")
    client = subject.client(guarded, credentials=None)
    subject(client.tokenize(HELLO))
    monkeypatch.setenv("YC_TOKEN", "t1.user")
    subject(client.tokenize(HELLO))
    assert sent_with(guarded) == ["Bearer t1.machine", "Bearer t1.user"]
    assert "x-folder-id" not in guarded.requests[-1].metadata


def test_a_callable_is_asked_again_when_what_it_gave_is_refused(subject: Any, guarded: Emulator) -> None:
    given = iter(["t1.old", "t1.machine"])
    client = subject.client(guarded, credentials=yagrpc.IamToken(lambda: next(given)))
    subject(client.tokenize(HELLO))
    assert sent_with(guarded)[-1] == "Bearer t1.machine"


def test_a_literal_token_is_not_sent_again(subject: Any, guarded: Emulator) -> None:
    client = subject.client(guarded, credentials=yagrpc.IamToken("t1.old"))
    with pytest.raises(yagrpc.UnauthenticatedError, match="a literal one is not renewed"):
        subject(client.tokenize(HELLO))
    assert guarded.calls[TOKENIZE] == 1


@pytest.mark.parametrize("user", [True, False])
def test_a_users_token_goes_with_the_folder(subject: Any, guarded: Emulator, user: bool) -> None:
    client = subject.client(guarded, credentials=yagrpc.IamToken("t1.user", user=user))
    subject(client.tokenize(HELLO))
    assert guarded.requests[-1].metadata.get("x-folder-id") == ("folder" if user else None)
    subject(client.tokenize(HELLO, metadata={"x-folder-id": "other"}))
    assert guarded.requests[-1].metadata["x-folder-id"] == "other"


def test_a_callers_own_authorization_is_left_alone(subject: Any, guarded: Emulator, client: Any) -> None:
    subject(client.tokenize(HELLO, metadata={"authorization": "Bearer t1.user"}))
    assert sent_with(guarded) == ["Bearer t1.user"]
    with pytest.raises(yagrpc.UnauthenticatedError):
        subject(client.tokenize(HELLO, metadata={"authorization": "Bearer t1.wrong"}))
    assert CREATE not in guarded.calls


class Vault(yagrpc.FetchedCredentials):
    """A source of tokens of a user's own, which blocks for a moment."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def fetch(self, timeout: float) -> yagrpc.AccessToken:
        """The token."""
        self.threads.append(threading.get_ident())
        return yagrpc.AccessToken("t1.machine", 60.0)


def test_a_source_of_ones_own_is_asked_in_a_thread_of_its_own(subject: Any, guarded: Emulator) -> None:
    vault = Vault()
    client = subject.client(guarded, credentials=vault)
    for _ in range(3):
        subject(client.tokenize(HELLO))
    assert sent_with(guarded) == ["Bearer t1.machine"] * 3
    assert len(vault.threads) == 1
    assert threading.get_ident() not in vault.threads


@pytest.mark.parametrize(
    ("error", "raised"),
    [(ValueError, yagrpc.ConfigError), (KeyError, yagrpc.ConfigError), (OSError, yagrpc.UnavailableError)],
)
def test_failing_user_source_is_reported_by_its_kind(
    subject: Any, guarded: Emulator, error: type[Exception], raised: type[yagrpc.YagrpcError]
) -> None:
    class Broken(yagrpc.FetchedCredentials):
        def fetch(self, timeout: float) -> yagrpc.AccessToken:
            raise error("t1.secret")

    client = subject.client(guarded, credentials=Broken())
    with pytest.raises(raised, match=rf"Broken failed with {error.__name__}$"):
        subject(client.tokenize(HELLO))
    assert not guarded.calls


def test_streams_of_requests_are_authorized_too(subject: Any, guarded: Emulator) -> None:
    kinds = f"{_pb.text_generation_service_pb2.__name__}:TokenizeRequest"
    method: Any = yagrpc.ClientStreamMethod("/yandex.cloud.none.v1.None/Take", request=kinds, response=kinds)
    client = subject.client(guarded, credentials=Vault())
    with pytest.raises(yagrpc.UnimplementedError):
        subject(client.call(method, iter([_pb.text_generation_service_pb2.TokenizeRequest()])))


def test_a_renewal_is_logged_without_the_token(
    subject: Any, guarded: Emulator, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "yagrpc")
    subject(client.tokenize(HELLO))
    assert "an IAM token from ServiceAccountKey(" in caplog.text
    assert "t1." not in caplog.text


def test_the_credentials_of_a_call_are_asked_of_the_service_that_issues_them(subject: Any, guarded: Emulator) -> None:
    """The exchange itself goes without a credential, or it would wait for itself."""
    client = subject.client(guarded, credentials=Vault())
    request = _pb.iam_token_service_pb2.CreateIamTokenRequest(jwt="a.b.c")
    assert subject(client.call(methods.IamTokenService.Create, request)).iam_token
    assert sent_with(guarded, CREATE) == [None]


@pytest.mark.parametrize(
    ("code", "message", "reported"),
    [
        (
            grpc.StatusCode.UNAUTHENTICATED,
            "You have to specify folder ID for user account",
            "give the client folder_id=, and IamToken(token, user=True)",
        ),
        (
            grpc.StatusCode.PERMISSION_DENIED,
            "Permission to [resource-manager.folder b1g] denied",
            "ai.languageModels.user",
        ),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            "Specified folder ID 'a' does not match with service account folder ID 'b'",
            "leave out x-folder-id and user=True",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["read", "submit", "completion", "stream"])
def test_refusal_is_reported_with_its_likely_cause(
    subject: Any, served: Any, kind: str, code: grpc.StatusCode, message: str, reported: str
) -> None:
    def refuse(request: Any, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata((("x-request-id", ""),))  # as the service does: it proves who refused
        context.abort(code, message)

    served.start(tokenize=refuse, completion=refuse, completion_async=refuse)
    client = subject.client(endpoint=served.address, plaintext=True, credentials=yagrpc.IamToken("t1.user"))
    with pytest.raises(yagrpc.CallError) as caught:
        SENT_AGAIN[kind](subject, client)
    assert reported in caught.value.hint
    assert str(caught.value).startswith(f"{code.name}: {message}; {caught.value.hint} (method ")
    assert len(served.calls) == 1


def test_a_client_that_may_not_leave_this_machine_calls_loopback_only(
    subject: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each endpoint is checked: the model service's when the client is created, the others when they are called."""
    monkeypatch.setenv("YAGRPC_FORBID_SERVICE", "1")
    with pytest.raises(yagrpc.ConfigError, match=r"calls to llm\.api\.cloud\.yandex\.net:443 are forbidden here"):
        subject.client()
    with Emulator(tls=True) as emulator:
        roots = Path(str(emulator.ca_file)).read_bytes()
        settings: dict[str, Any] = {"endpoint": emulator.address, "root_certificates": roots}
        client = subject.client(**settings)
        assert len(subject(client.tokenize("ping"))) == 1
        with pytest.raises(yagrpc.ConfigError, match=r"calls to operation\.api\.cloud\.yandex\.net:443 are forbidden"):
            subject(client.operation("d7q").refresh())
        client = subject.client(**settings, credentials=yagrpc.OAuthToken("y0_x", warn=False))
        with pytest.raises(yagrpc.ConfigError, match=r"calls to iam\.api\.cloud\.yandex\.net:443 are forbidden"):
            subject(client.tokenize("ping"))
        channel = subject.in_loop(lambda: host_channel(subject, emulator.address, roots))
        client = subject.client(channel=channel)
        assert len(subject(client.tokenize("ping"))) == 1
        subject(client.close())
        subject(subject.in_loop(channel.close))


def host_channel(subject: Any, address: str, roots: bytes) -> Any:
    """A channel of a host's own."""
    api: Any = grpc if subject.kind == "sync" else grpc.aio
    return api.secure_channel(address, grpc.ssl_channel_credentials(roots))

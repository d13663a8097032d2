"""A scan: secrets put into credentials of every kind are found in nothing that a run shows, logs, raises or keeps.

Each run is a process of its own with debug logging on, that makes calls which succeed, are refused, and time out; all
that it wrote is searched, and its command line as well.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import yagrpc
from yagrpc import _pb, methods
from yagrpc.emulator import Emulator

MARK = "UnmistakableSecret"
"""Part of every secret here. What is derived from one (a JWT, an issued token) is searched for too."""

PROGRAM = """
import asyncio, copy, io, json, logging, pickle, sys, time, traceback, warnings

log = io.StringIO()
logging.basicConfig(level=logging.DEBUG, stream=log, format="%(name)s %(levelname)s %(message)s %(args)s")
warnings.simplefilter("default")
import yagrpc
from yagrpc import _pb

kind, address, refusing, hanging, folder = sys.argv[1:]
secrets = json.load(sys.stdin)

class Vault(yagrpc.FetchedCredentials):
    def __init__(self, broken=False):
        self.broken = broken

    def fetch(self, timeout):
        if self.broken:
            raise RuntimeError(secrets["iam"] + " is refused")
        return yagrpc.AccessToken(secrets["iam"], 60.0)

MADE = {
    "api key": lambda: yagrpc.ApiKey(secrets["api"]),
    "iam": lambda: yagrpc.IamToken(secrets["iam"]),
    "callable": lambda: yagrpc.IamToken(lambda: secrets["iam"]),
    "failing": lambda: yagrpc.IamToken(lambda: {}["missing"]),
    "oauth": lambda: yagrpc.OAuthToken(secrets["oauth"]),
    "key": lambda: yagrpc.ServiceAccountKey(secrets["key"]),
    "bad key": lambda: yagrpc.ServiceAccountKey(
        {**secrets["key"], "private_key": f"-----BEGIN X-----:{secrets['api']}-----END X-----"}
    ),
    "key file": lambda: yagrpc.ServiceAccountKey(folder + "/key.json"),
    "key text": lambda: yagrpc.ServiceAccountKey(json.dumps(secrets["key"])),
    "no pyjwt": lambda: sys.modules.update(jwt=None) or yagrpc.ServiceAccountKey(secrets["key"]),
    "vault": lambda: Vault(),
    "broken vault": lambda: Vault(broken=True),
    "yc": lambda: yagrpc.YcCli(command=folder + "/yc"),
    "automatic": lambda: None,
}
shown, used = [], set()

def note(*things):
    for thing in things:
        shown.extend([str(thing), repr(thing), repr([thing])])

def failed(error):
    note(error, vars(error), getattr(error, "details", None), getattr(error, "hint", None))
    shown.append("".join(traceback.format_exception(error)))
    found, seen = [error], []
    while found:
        one = found.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        # As crash reporters do: the variables of every frame. Those of this file are the user's own business.
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename != __file__:
                shown.append(repr(frame.f_locals))
        found += [one.__cause__, one.__context__]
    shown.append(repr(pickle.loads(pickle.dumps(error)).__dict__) if isinstance(error, yagrpc.YagrpcError) else "")

def attempt(function):
    try:
        created = function()
        note(created)
        return created
    except Exception as error:
        failed(error)

credentials = attempt(MADE[kind])
for protocol in range(5):
    attempt(lambda: pickle.dumps(credentials, protocol))
attempt(lambda: copy.deepcopy(credentials))

def settings(endpoint):
    return {"folder_id": "b1g", "endpoint": endpoint, "plaintext": True, "credentials": credentials}

def calls(client, done):
    return [
        lambda: done(client.tokenize("a")),
        lambda: done(client.completion("a", timeout=0.5)),
        lambda: done(client.completion_async("a")),
        lambda: done(client.operation("d7qnone").result(timeout=0.1)),
        lambda: done(client.tokenize("a", timeout=0.05)),
        lambda: done(client.tokenize("a", metadata={"authorization": "Bearer " + secrets["iam"] + chr(10)})),
        lambda: done(client.tokenize("a", metadata=["authorization: " + secrets["api"]])),
        lambda: done(client.tokenize("a", metadata={"authorization": "Bearer " + secrets["iam"]})),
    ]

def keep(client):
    note(client, client._core, client._core.authorizer, client._core.credentials)
    held = client._core.authorizer and client._core.authorizer.tokens.held
    if held:
        used.add(held.authorization.reveal().removeprefix("Bearer "))

if kind == "key file":  # refused when a client is created
    attempt(lambda: yagrpc.Client(**settings(address)))
    attempt(lambda: yagrpc.AsyncClient(**settings(address)))
for endpoint in () if kind == "key file" else (address, refusing, hanging):
    with yagrpc.Client(**settings(endpoint)) as client:
        for call in calls(client, lambda done: done):
            attempt(call)
        keep(client)

    async def asynchronous():
        async with yagrpc.AsyncClient(**settings(endpoint)) as client:
            for call in calls(client, lambda done: done):
                try:
                    note(await call())
                except Exception as error:
                    failed(error)
            keep(client)

    asyncio.run(asynchronous())

print("\\n".join(shown))
print(log.getvalue())
print("command line:", open("/proc/self/cmdline").read().replace("\\0", " "))
print("records:", log.getvalue().count("yagrpc"))
json.dump(sorted(used), open(folder + "/used", "w"))
"""

KINDS = (
    "api key", "iam", "callable", "failing", "oauth", "key", "bad key", "key file", "key text", "no pyjwt", "vault",
    "broken vault", "yc", "automatic",
)  # fmt: skip
FAILING = ("failing", "bad key", "key file", "no pyjwt", "broken vault")
"""Those that give no credential."""


@pytest.fixture(scope="module")
def secrets() -> dict[str, object]:
    """One secret of each kind."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return {
        "api": f"AQVN{MARK}Api",
        "iam": f"t1.{MARK}Iam.signature",
        "oauth": f"y0_{MARK}Oauth",
        "key": {"id": "ajekey", "service_account_id": "ajeaccount", "private_key": pem},
    }


@pytest.fixture
def services() -> Iterator[tuple[Emulator, Emulator, Emulator]]:
    """One that takes everything, one that refuses everything but its own tokens, and one that never completes."""
    with (
        Emulator(auth="present") as good,
        Emulator(auth={"Api-Key other"}) as refusing,
        Emulator(completion_duration=3600.0, auth={"Api-Key other"}) as hanging,
    ):
        yield good, refusing, hanging


def fragments(secrets: dict[str, object]) -> list[str]:
    """What is searched for: the mark that is in all secrets, and lines from the middle of the private key."""
    key = secrets["key"]
    assert isinstance(key, dict)
    return [MARK, *str(key["private_key"]).splitlines()[2:6]]


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_is_found_in_what_a_run_shows(
    kind: str, secrets: dict[str, object], services: tuple[Emulator, Emulator, Emulator], tmp_path: Path
) -> None:
    command = tmp_path / "yc"
    command.write_text(f"#!/bin/sh\necho {MARK} is being refreshed >&2\necho {secrets['iam']}\n")
    command.chmod(0o755)
    (tmp_path / "key.json").write_text(json.dumps({**secrets["key"], "id": 5}))  # type: ignore[dict-item]
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run(
        [sys.executable, script, kind, *(each.address for each in services), tmp_path],
        input=json.dumps(secrets),
        env={**os.environ, "YC_TOKEN": str(secrets["iam"]), "YAGRPC_LOG_TEXTS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    written = done.stdout + done.stderr
    assert done.returncode == 0, done.stderr[-2000:]
    assert "command line: " in written
    assert "records: 0" not in written or kind in ("failing", "key file")
    used = json.loads((tmp_path / "used").read_text())
    obtained = {"oauth", "key", "key text", "vault", "yc"}
    assert bool(used) == (kind in obtained)
    for fragment in (*fragments(secrets), *used, "eyJ"):
        at = written.find(fragment)
        assert at < 0, written[max(0, at - 400) : at + 100]
    if kind not in FAILING:
        assert any(each.metadata.get("authorization") for each in services[0].requests)


@pytest.mark.parametrize(
    "environment",
    [
        {"YC_API_KEY": f"AQVN{MARK}"},
        {"YC_API_KEY": f"AQVN{MARK}\n"},
        {"YC_API_KEY": f"t1.{MARK}"},
        {"YC_IAM_TOKEN": f"t1.{MARK}"},
        {"YC_IAM_TOKEN": f"y0_{MARK}"},
        {"YC_OAUTH_TOKEN": f"y0_{MARK}"},
        {"YC_OAUTH_TOKEN": f"AQVN{MARK}"},
        {"YC_TOKEN": f"t1.{MARK}"},
        {"YC_TOKEN": f"{MARK} {MARK}"},
        {"YC_SERVICE_ACCOUNT_KEY_FILE": "key.json"},
        {"YC_SERVICE_ACCOUNT_KEY_FILE": f'{{"id": "a", "service_account_id": "b", "private_key": "{MARK}"}}'},
        {"YC_SERVICE_ACCOUNT_KEY_FILE": f'{{"id": "a", "private_key": "-----BEGIN PRIVATE KEY-----{MARK}'},
        {"YC_SERVICE_ACCOUNT_KEY_FILE": f"-----BEGIN PRIVATE KEY-----\n{MARK}"},
        {"YC_SERVICE_ACCOUNT_KEY_FILE": f"AQVN{MARK}"},
        {"YC_API_KEY": "AQVN0", "YC_METADATA_ADDR": f"t1.{MARK}", "YC_PROFILE": f"t1.{MARK}"},
        {"YAGRPC_EMULATOR_HOST": f"user:{MARK}@host:443"},
        {"YC_FOLDER_ID": f"AQVN{MARK}"},
    ],
    ids=lambda environment: "-".join(environment),
)
def test_no_secret_is_found_in_what_the_command_shows(
    environment: dict[str, str], services: tuple[Emulator, Emulator, Emulator], tmp_path: Path
) -> None:
    (tmp_path / "key.json").write_text(f'{{"id": "{MARK}", "private_key": "{MARK}"')
    for emulator in services[:2]:
        connection: tuple[str, ...] = ("--endpoint", emulator.address, "--plaintext", "--timeout", "5")
        if "YC_FOLDER_ID" not in environment:
            connection += ("--folder-id", "b1g")
        if "YAGRPC_EMULATOR_HOST" in environment:
            connection = ("--timeout", "5")
        commands: list[tuple[str, ...]] = [("doctor", "--json"), ("submit", "a")]
        if emulator is services[0]:
            commands += [("doctor",), ("submit", "--file", f"AQVN{MARK}")]
        for arguments in commands:
            done = subprocess.run(
                [sys.executable, "-m", "yagrpc", *arguments, *connection],
                cwd=tmp_path,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert done.returncode in (0, 1, 2)
            assert "Traceback" not in done.stderr
            assert MARK not in done.stdout + done.stderr


def test_no_secret_is_logged_where_texts_are(
    subject: Any, services: tuple[Emulator, Emulator, Emulator], caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setenv("YAGRPC_LOG_TEXTS", "1")
    caplog.set_level(logging.DEBUG)
    client = subject.client(services[0], credentials=yagrpc.OAuthToken(f"y0_{MARK}", warn=False))
    messages = _pb.iam_token_service_pb2
    create = messages.CreateIamTokenForServiceAccountRequest(service_account_id="ajeaccount")
    issued = [
        subject(client.call(methods.IamTokenService.Create, messages.CreateIamTokenRequest(jwt=f"{MARK}.b.c"))),
        subject(client.call(methods.IamTokenService.CreateForServiceAccount, create)),
    ]
    revoke = messages.RevokeIamTokenRequest(iam_token=issued[0].iam_token)
    subject(client.call(methods.IamTokenService.Revoke, revoke))
    subject(client.tokenize(f"a word, and an API key: AQVN{MARK}"))
    for secret in (MARK, *(each.iam_token for each in issued)):
        assert secret not in caplog.text
    assert "a word, and an API key: ***" in caplog.text
    assert caplog.text.count("IamTokenService/Create ") >= 2

"""A value that may be a secret is not shown, whichever setting it was given as by mistake."""

from __future__ import annotations

import base64
import collections
import copy
import dataclasses
import json
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import yagrpc
from yagrpc import _pb
from yagrpc.credentials import ServiceAccountKey, resolve_credentials
from yagrpc.hiding import (
    SecretBytes,
    SecretText,
    Unusable,
    hidden,
    hidden_metadata,
    kind_of,
    revealed,
    shown,
    shown_path,
    without_secrets,
)

MARK = "Unmistakable7Secret"
"""Part of every secret here."""

KEY = {"id": "ajek", "service_account_id": "ajes", "private_key": f"-----BEGIN PRIVATE KEY-----\n{MARK}\n"}
API_KEY = f"AQVN{MARK}0123456789"

SECRETS = {
    "an API key": API_KEY,
    "an IAM token": f"t1.{MARK}.signature",
    "an OAuth token": f"y0_{MARK}",
    "a JWT": f"eyJ{MARK}.e30.x",
    "a PEM": f"-----BEGIN PRIVATE KEY-----\n{MARK}\n-----END PRIVATE KEY-----",
    "JSON": json.dumps(KEY),
    "JSON on several lines": json.dumps(KEY, indent=2),
    "JSON that is cut": json.dumps(KEY)[:-3],
    "JSON in base64": base64.b64encode(json.dumps(KEY, indent=1).encode()).decode(),
    "a random text": f"YC{MARK}x9012345678901234567",
    "a user's password": f"https://user:{MARK}@host:443",
    "a scheme's secret": f"Bearer {API_KEY}",
}

SETTINGS: dict[str, Callable[[str], object]] = {
    "folder_id": lambda value: client(folder_id=value),
    "model": lambda value: client(model=value),
    "endpoint": lambda value: client(endpoint=value),
    "plaintext endpoint": lambda value: client(endpoint=f"{value}:443", plaintext=True),
    "operation_endpoint": lambda value: client(operation_endpoint=value),
    "endpoints": lambda value: client(endpoints={"yandex.cloud.x": value}),
    "names of endpoints": lambda value: client(endpoints={value: "no endpoint"}),
    "quota": lambda value: client(quota=value),
    "a number of the quota": lambda value: client(quota=yagrpc.Quota(get_per_second=value)),  # type: ignore[arg-type]
    "polling": lambda value: client(polling=yagrpc.Polling(value)),  # type: ignore[arg-type]
    "data_logging": lambda value: client(data_logging=value),
    "interceptors": lambda value: client(interceptors=[value]),
    "channel_options": lambda value: client(channel_options=[("grpc.max_send_message_length", value)]),
    "root_certificates": lambda value: client(root_certificates=value),
    "credentials": lambda value: client(credentials=value),
    "events": lambda value: client(events=value),
    "the metadata service": yagrpc.MetadataService,
    "the profile of yc": yagrpc.YcCli,
    "the command yc": lambda value: yagrpc.YcCli(command=value).fetch(5.0),
    "the path of a key": ServiceAccountKey,
    "the path of a key, which is read": lambda value: ServiceAccountKey(value).identity("https://iam", 0.0),
    "the key": lambda value: ServiceAccountKey({"id": "a", "service_account_id": "b", "private_key": value}),
    "a number of a call": lambda value: yagrpc.RequestError("temperature", value, "it takes a number"),
    "a message of a call": lambda value: yagrpc.RequestError("messages", [{"role": value}], "it takes messages"),
}


def client(**settings: Any) -> object:
    with yagrpc.Client(**{"credentials": yagrpc.NoCredentials(), "folder_id": "b1g", **settings}) as created:
        return created


def showings(function: Callable[[str], object], value: str) -> str:
    """All that a setting shows: its repr, or its error with every cause."""
    try:
        given: object = function(value)
    except (yagrpc.YagrpcError, TypeError) as error:
        given = error
    texts = []
    while given is not None:
        texts += [str(given), repr(given), str(vars(given)) if isinstance(given, BaseException) else ""]
        given = getattr(given, "__cause__", None) or getattr(given, "__context__", None)
    return "\n".join(texts)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_given_as_another_setting_is_not_shown(setting: str, secret: str) -> None:
    text = showings(SETTINGS[setting], SECRETS[secret])
    assert MARK not in text
    assert base64.b64encode(MARK.encode()).decode()[4:-4] not in text


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "name",
    [
        "YC_SERVICE_ACCOUNT_KEY_FILE", "YC_FOLDER_ID", "YC_METADATA_ADDR", "YC_PROFILE", "YAGRPC_EMULATOR_HOST",
        "YC_API_KEY", "YC_IAM_TOKEN", "YC_OAUTH_TOKEN",
    ],
)  # fmt: skip
def test_a_secret_in_another_variable_is_not_shown(name: str, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, SECRETS[secret])

    def create(value: str) -> object:
        with yagrpc.Client() as created:
            core = created._core
        return [core.credentials, *(kind() for kind in (yagrpc.MetadataService, yagrpc.YcCli))]

    assert MARK not in showings(create, "")


# A key as JSON


@pytest.mark.parametrize("text", [json.dumps(KEY), json.dumps(KEY, indent=2), f"\n {json.dumps(KEY)}\n"])
def test_a_key_is_taken_as_json_text(text: str) -> None:
    key = ServiceAccountKey(text)
    assert repr(key) == "ServiceAccountKey(...)"
    assert key._parts == ServiceAccountKey(KEY)._parts
    found = resolve_credentials(None, {"YC_SERVICE_ACCOUNT_KEY_FILE": text})
    assert isinstance(found, ServiceAccountKey)


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        (json.dumps(KEY)[:-3], "the service account key is no JSON object: it takes what 'yc iam key create' wrote"),
        ("{}", "the service account key has no id: it takes what 'yc iam key create' wrote"),
        (API_KEY, "the service account key has the form of an API key: use ApiKey(...), or YC_API_KEY"),
        (SECRETS["an IAM token"], "the service account key has the form of an IAM token: use IamToken(...), or "),
        (KEY["private_key"], "the service account key is neither a path nor JSON: give the path of the file that "),
        ("x" * 5000, "the service account key is neither a path nor JSON: give the path of the file that "),
    ],
)
def test_a_key_that_is_no_path_is_refused_when_it_is_given(text: str, reported: str) -> None:
    with pytest.raises(yagrpc.ConfigError) as caught:
        ServiceAccountKey(text)
    assert str(caught.value).startswith(reported)


def test_a_long_path_is_shown_whole() -> None:
    path = "/" + "/".join(["a folder of somebody"] * 9) + "/key.json"
    with pytest.raises(yagrpc.ConfigError) as caught:
        ServiceAccountKey(path).identity("https://iam", 0.0)
    assert str(caught.value) == f"the service account key file '{path}' can't be read: No such file or directory"


@pytest.mark.parametrize("setting", ["folder_id", "model"])
def test_a_credential_is_not_sent_as_another_setting(setting: str) -> None:
    with pytest.raises(yagrpc.ConfigError, match=f"^{setting} has the form of a credential: it takes "):
        client(**{setting: API_KEY})


# What is shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("b1g/x", "'b1g/x'"),
        ("a\nb", "'a\\nb'"),
        (5, "5"),
        (None, "None"),
        ("x" * 100, "'" + "x" * 76 + "..."),
        ({"max_tokens": 5}, "{'max_tokens': 5}"),
        ({"token": "x"}, "a dict that may hold a secret, and is not shown"),
        ("key.json", "'key.json'"),
        ("0123456789abcdef" * 3, "'" + "0123456789abcdef" * 3 + "'"),
        ("host:443", "'host:443'"),
        ("user:word@host", "'***@host'"),
        (API_KEY, "'***'"),
        (f"a\n{API_KEY}", "'a\\n***'"),
        (f"a\nt1.{MARK}", "'a\\n***'"),
        (f"a\x00t1.{MARK}", "'a\\x00***'"),
        (f"a\u2028t1.{MARK}", "'a\\u2028***'"),
        ("part1.text", "'part1.text'"),
    ],
)
def test_a_value_is_shown_in_one_line_without_secrets(value: object, text: str) -> None:
    assert shown(value) == text


@given(st.one_of(st.text(), st.binary(), st.dictionaries(st.text(), st.text()), st.lists(st.text())))
def test_whatever_is_shown_is_short_and_one_line(value: object) -> None:
    assert len(shown(value)) <= 80
    assert len(shown_path(value).splitlines()) == 1


def test_a_value_that_can_not_be_shown_is_named_by_its_type() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError(MARK)

    assert shown(Broken()) == "a Broken that can't be shown"


def test_texts_from_outside_lose_what_has_the_form_of_a_secret() -> None:
    assert without_secrets(f"no\n {API_KEY} is\tgood\n-----BEGIN x\n{MARK}") == "no *** is good ***"


# What holds a secret


@pytest.mark.parametrize(
    "value", [MARK, MARK.encode(), {"a": MARK}, [MARK], (MARK,), {MARK}, bytearray(MARK.encode()), os.environ]
)
def test_what_is_hidden_shows_nothing_and_knows_its_type(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", MARK)
    held = hidden(value)
    assert MARK not in repr(held)
    assert MARK not in repr([held])
    assert kind_of(held) == type(value).__name__
    assert hidden(held) is held


def test_a_secret_text_is_no_text_and_reveals_one_whose_slices_are_secret_too() -> None:
    held = SecretText(MARK)
    assert not isinstance(held, str)
    assert (str(held), f"{held}", f"{held!s:>20}") == ("SecretText(...)",) * 2 + ("     SecretText(...)",)
    text = held.reveal()
    assert (text, len(text), f"{text}") == (MARK, len(MARK), MARK)
    assert (repr(text), repr(text[:5]), repr(text[0])) == ("'***'",) * 3
    assert text[:5] == MARK[:5]
    assert SecretBytes(b"abc").reveal() == b"abc"
    assert held
    assert not SecretText("")
    assert not SecretBytes(b"")


def call_with_secrets() -> Any:
    given: Any = {"metadata": {"x-key": MARK, "x-bin": MARK.encode()}}
    request = _pb.text_generation_service_pb2.TokenizeRequest()
    with yagrpc.Client(folder_id="folder", credentials=API_KEY) as client:
        return client._core.call(yagrpc.methods.TokenizerService.Tokenize, request, given)


CREDENTIALS: dict[str, Callable[[], Any]] = {
    "an API key": lambda: yagrpc.ApiKey(API_KEY),
    "an IAM token": lambda: yagrpc.IamToken(SECRETS["an IAM token"]),
    "an OAuth token": lambda: yagrpc.OAuthToken(SECRETS["an OAuth token"], warn=False),
    "a service account's key": lambda: ServiceAccountKey(
        {**KEY, "private_key": f"-----BEGIN PRIVATE KEY-----\n{MARK}\n-----END PRIVATE KEY-----"}
    ),
    "an access token": lambda: yagrpc.AccessToken(SECRETS["an IAM token"]),
    "what the machine offers": lambda: resolve_credentials(None, {"YC_TOKEN": MARK}),
    "a client": lambda: yagrpc.Client(folder_id="folder", credentials=API_KEY),
    "a client that shares quotas": lambda: yagrpc.Client(
        folder_id="folder", credentials=API_KEY, share=f"redis://user:{MARK}@127.0.0.1:1/0", on_limiter_failure="error"
    ),
    "metadata": lambda: hidden_metadata({"authorization": MARK, "a-bin": MARK.encode()}),
    "a call": lambda: call_with_secrets(),
}


@pytest.mark.parametrize("made", CREDENTIALS.values(), ids=list(CREDENTIALS))
def test_no_dump_of_an_objects_variables_has_a_secret(made: Callable[[], Any]) -> None:
    """As crash reporters dump them, and `json` with `default=vars`."""
    thing = made()
    try:
        found = list(dumped(thing))
        assert found
        for text in found:
            assert MARK not in text
            assert API_KEY not in text
    finally:
        if isinstance(thing, yagrpc.Client):
            thing.close()


@pytest.mark.parametrize("name", list(CREDENTIALS)[:6])
def test_no_serializer_writes_a_secret(name: str) -> None:
    made = CREDENTIALS[name]()
    held = dataclasses.make_dataclass("Settings", ["credentials"])(made)
    assert MARK not in repr(dataclasses.asdict(held))
    assert MARK not in json.dumps(made, default=lambda each: repr(each) if callable(each) else vars(each))
    assert MARK not in repr(vars(made)) + str(vars(copy.deepcopy(made))) + repr(vars(copy.copy(made)))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="can't be pickled"):
            pickle.dumps(made, protocol)


def dumped(thing: Any) -> Iterator[str]:
    """All texts that can be reached by the variables of an object, and of those in turn."""
    waiting, seen = [thing], [thing]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (str, bytes)):
            yield str.__str__(one) if isinstance(one, str) else repr(bytes(one))
            continue
        if isinstance(one, Mapping):
            inner = [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset, collections.deque)):
            inner = list(one)
        else:
            yield repr(one)
            slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
            inner = [getattr(one, name) for name in slots if hasattr(one, name)] + list(
                getattr(one, "__dict__", {}).values()
            )
        for each in inner:
            if not isinstance(each, (type, ModuleType, FunctionType)) and not any(each is other for other in seen):
                seen.append(each)
                waiting.append(each)


def test_secrets_are_compared_by_what_they_hold() -> None:
    assert SecretText(MARK) == SecretText(MARK)
    assert hash(SecretText(MARK)) == hash(SecretText(MARK))
    assert SecretText(MARK) != SecretText("other")
    assert SecretText(MARK) != MARK


def test_metadata_is_hidden_value_by_value() -> None:
    pairs = [("authorization", MARK), ["a-bin", MARK.encode()], (MARK,), MARK]
    found = hidden_metadata(iter(pairs))
    assert MARK not in repr(found)
    assert revealed(found[:2]) == (("authorization", MARK), ("a-bin", MARK.encode()))
    assert [type(value) for _, value in found[:2]] == [SecretText, SecretBytes]
    assert [type(pair) for pair in found[2:]] == [Unusable, Unusable]
    assert revealed(hidden_metadata({"a": "b"})) == (("a", "b"),)
    assert hidden_metadata(found) == found
    assert MARK not in repr([hidden_metadata(MARK), hidden_metadata(5), hidden_metadata(MARK.encode())])

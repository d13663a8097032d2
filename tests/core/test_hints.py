"""Hints: which cause is named for which refusal, by the messages that the service is known to send."""

from __future__ import annotations

from typing import Any

import pytest

from yagrpc import _pb
from yagrpc._core.failure.hints import HINTS, hint
from yagrpc.errors import CallError, Code, UnauthenticatedError

EMPTY_FOLDER = _pb.text_generation_service_pb2.CompletionRequest(model_uri="gpt:///yandexgpt")
A_FOLDER = _pb.text_generation_service_pb2.CompletionRequest(model_uri="gpt://b1g/yandexgpt")


@pytest.mark.parametrize(
    ("code", "message", "request_sent", "expected"),
    [
        (Code.UNAUTHENTICATED, "You have to specify folder ID for user account", None, "IamToken(token, user=True)"),
        (Code.UNAUTHENTICATED, "IAM token or API key has to be passed in request", None, "no credential was sent"),
        (Code.UNAUTHENTICATED, "Unknown api key '****'", None, "yc.ai.languageModels.execute"),
        (Code.UNAUTHENTICATED, "The apikey has expired", None, "create a new API key"),
        (Code.UNAUTHENTICATED, "The token is invalid", None, "12 hours"),
        (Code.UNAUTHENTICATED, "Token is invalid or has expired.", None, "12 hours"),
        (Code.UNAUTHENTICATED, "something else", None, "yagrpc doctor"),
        (
            Code.INVALID_ARGUMENT,
            "Specified folder ID 'a' does not match with service account folder ID 'b'",
            A_FOLDER,
            "a service account works in its own folder",
        ),
        (Code.INVALID_ARGUMENT, "invalid model_uri", EMPTY_FOLDER, "empty folder"),
        (Code.PERMISSION_DENIED, "Access to model gpt:///yandexgpt denied", EMPTY_FOLDER, "empty folder"),
        (
            Code.PERMISSION_DENIED,
            "Access to model art://yandex-art/latest denied",
            A_FOLDER,
            "the model is not available",
        ),
        (
            Code.PERMISSION_DENIED,
            "Permission to [resource-manager.folder b1g, resource-manager.cloud b1h] denied",
            A_FOLDER,
            "role ai.languageModels.user",
        ),
        (Code.PERMISSION_DENIED, "no", A_FOLDER, "billing account"),
    ],
)
def test_a_refusal_gets_its_likely_cause(code: Code, message: str, request_sent: Any, expected: str) -> None:
    assert expected in hint(code, message, request_sent)


def test_what_is_not_known_gets_no_hint() -> None:
    assert hint(Code.INVALID_ARGUMENT, "temperature is 2", A_FOLDER) == ""
    assert hint(Code.UNAVAILABLE, "the token is invalid") == ""


def test_the_hints_of_other_statuses_do_not_count() -> None:
    said = "Specified folder ID 'a' does not match: unknown api key, the token is invalid"
    assert hint(Code.PERMISSION_DENIED, said, A_FOLDER).startswith("the account needs the role")
    assert hint(Code.INVALID_ARGUMENT, said, A_FOLDER).startswith("a service account works in its own folder")
    assert hint(Code.UNAUTHENTICATED, said, EMPTY_FOLDER).startswith("the API key is wrong")


def test_a_hint_is_part_of_a_line() -> None:
    for row in HINTS:
        assert row.hint == " ".join(row.hint.split())
        assert not row.hint.endswith(".")


def test_an_error_shows_its_hint() -> None:
    error = UnauthenticatedError("The token is invalid", hint="get another", method="/a/B")
    assert str(error) == "UNAUTHENTICATED: The token is invalid; get another (method /a/B)"
    assert CallError("x").hint == ""

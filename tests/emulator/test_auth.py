"""Credentials: what is accepted in each mode, in which words the rest is refused, and issued tokens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc import _pb

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused, Service

MISSING = "IAM token or API key has to be passed in request"
TOKEN = re.compile(r"t1\.[A-Z0-9a-z_-]+[=]{0,2}\.[A-Z0-9a-z_-]{86}[=]{0,2}")
Create = _pb.iam_token_service_pb2.CreateIamTokenRequest
CreateForServiceAccount = _pb.iam_token_service_pb2.CreateIamTokenForServiceAccountRequest
Revoke = _pb.iam_token_service_pb2.RevokeIamTokenRequest


def sent(value: str) -> dict[str, Any]:
    return {"metadata": [("authorization", value)]}


def test_nothing_is_checked_unless_asked_for(service: Service, ask: Ask) -> None:
    assert service.complete(ask("ping"))
    assert service.complete(ask("ping"), **sent("nonsense"))


@pytest.mark.parametrize("value", ["Api-Key abc", "Bearer t1.abc"])
def test_any_well_formed_credential_will_do(emulate: Emulate, ask: Ask, value: str) -> None:
    assert emulate(auth="present").complete(ask("ping"), **sent(value))


@pytest.mark.parametrize("auth", ["present", {"Api-Key abc"}], ids=["present", "listed"])
@pytest.mark.parametrize("value", [None, "", "abc", "Bearer", "Bearer ", "OAuth y0_abc", "api-key abc", "Bearer a b"])
def test_another_credential_is_none(emulate: Emulate, ask: Ask, refused: Refused, auth: Any, value: Any) -> None:
    service = emulate(auth=auth)
    refusal = refused(service.text.Completion, ask("ping"), **({} if value is None else sent(value)))
    assert (refusal.code, refusal.message) == (grpc.StatusCode.UNAUTHENTICATED, MISSING)
    assert refusal.status is not None
    assert (refusal.status.code, refusal.status.message) == (16, MISSING)
    info = _pb.error_details_pb2.RequestInfo()
    assert refusal.status.details[0].Unpack(info)
    assert info.request_id == refusal.initial_metadata["x-request-id"]


def test_only_listed_credentials_are_accepted(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(auth=["Api-Key abc", "Bearer t1.abc"])
    assert service.complete(ask("ping"), **sent("Api-Key abc"))
    assert service.complete(ask("ping"), **sent("Bearer t1.abc"))
    for value, words in (("Api-Key t1.abc", "Unknown api key"), ("Bearer abcd", "The token is invalid")):
        refusal = refused(service.text.Completion, ask("ping"), **sent(value))
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        assert words in refusal.message
        assert value.split()[1] not in refusal.message, "a credential is never repeated"
        assert refusal.status is not None
        assert len(refusal.status.details) == 1


def test_every_service_but_discovery_and_iam_is_guarded(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(auth="present")
    tokenize = _pb.text_generation_service_pb2.TokenizeRequest(model_uri="gpt://b1gfolder/yandexgpt", text="ping")
    for method, request in (
        (service.text.Completion, ask("ping")),
        (service.text_async.Completion, ask("ping")),
        (service.tokenizer.Tokenize, tokenize),
        (service.tokenizer.TokenizeCompletion, ask("ping")),
        (service.get, "d7q"),
        (service.cancel, "d7q"),
    ):
        assert refused(method, request).code is grpc.StatusCode.UNAUTHENTICATED
    assert service.endpoints.List(_pb.api_endpoint_service_pb2.ListApiEndpointsRequest()).endpoints
    assert service.tokens.Create(Create(jwt="a.b.c")).iam_token


@pytest.mark.parametrize("request_", [Create(jwt="a.b.c"), Create(yandex_passport_oauth_token="y0_abc")])
def test_a_token_has_the_documented_shape_and_life(emulate: Emulate, request_: Create) -> None:
    service = emulate()
    response = service.tokens.Create(request_)
    assert TOKEN.fullmatch(response.iam_token)
    assert abs(response.expires_at.seconds - service.emulator.now() - 12 * 3600) < 5
    assert service.tokens.Create(request_).iam_token != response.iam_token


def test_an_issued_token_is_accepted_until_it_expires(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    for auth in ("present", {"Api-Key abc"}):
        service = emulate(auth=auth)
        old = sent(f"Bearer {service.tokens.Create(Create(jwt='a.b.c')).iam_token}")
        assert service.complete(ask("ping"), **old)
        service.emulator.advance(12 * 3600)
        assert refused(service.text.Completion, ask("ping"), **old).message == "The token is invalid"
        new = sent(f"Bearer {service.tokens.Create(Create(jwt='a.b.c')).iam_token}")
        assert service.complete(ask("ping"), **new)


def test_a_revoked_token_is_not_accepted(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(auth={"Bearer t1.listed"})
    for_account = CreateForServiceAccount(service_account_id="ajeother")
    tokens = {
        service.tokens.Create(Create(jwt="a.b.c")).iam_token: "ajeyagrpcemulator000",
        service.tokens.CreateForServiceAccount(for_account).iam_token: "ajeother",
        "t1.listed": "ajeyagrpcemulator000",
    }
    for token, subject in tokens.items():
        assert service.complete(ask("ping"), **sent(f"Bearer {token}"))
        assert service.tokens.Revoke(Revoke(iam_token=token)).subject_id == subject
        refusal = refused(service.text.Completion, ask("ping"), **sent(f"Bearer {token}"))
        assert refusal.message == "The token is invalid"


def test_requests_for_tokens_are_validated(service: Service, refused: Refused) -> None:
    for method, request, words in (
        (service.tokens.Create, Create(), "exactly one"),
        (service.tokens.Create, Create(jwt=""), "required"),
        (service.tokens.Create, Create(jwt="x" * 8001), "8000"),
        (service.tokens.Create, Create(yandex_passport_oauth_token=""), "required"),
        (service.tokens.Create, Create(yandex_passport_oauth_token="x" * 4001), "4000"),
        (service.tokens.CreateForServiceAccount, CreateForServiceAccount(), "required"),
        (service.tokens.CreateForServiceAccount, CreateForServiceAccount(service_account_id="x" * 51), "50"),
        (service.tokens.Revoke, Revoke(), "required"),
        (service.tokens.Revoke, Revoke(iam_token="x" * 4097), "4096"),
    ):
        refusal = refused(method, request)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert words in refusal.message


@pytest.mark.parametrize("auth", ["on", "Api-Key abc", {"abc"}, {"Bearer "}, [5]])
def test_an_auth_option_that_cannot_work_is_refused(emulate: Emulate, auth: Any) -> None:
    with pytest.raises(ValueError, match="credential"):
        emulate(auth=auth)

"""The exchange of an identity for a token: the request, the end of the token, and what is cleared."""

from __future__ import annotations

from typing import Any

import pytest

from yagrpc import _pb
from yagrpc._core.auth.exchange import audience, exchange
from yagrpc._core.flow import Flow
from yagrpc.credentials import AccessToken
from yagrpc.errors import UnavailableError

NOW = 1_800_000_000.0


class Service:
    """The IAM service.

    Args:
        expires: Fields of the time at which the token ends; `None` where the answer does not say it.
    """

    def __init__(self, expires: dict[str, int] | None = None) -> None:
        self.jwts: list[str] = []
        self.requests: list[Any] = []
        self.failure: Exception | None = None
        self.response = _pb.iam_token_service_pb2.CreateIamTokenResponse(iam_token="t1.secret")
        if expires is not None:
            self.response.expires_at.seconds = expires["seconds"]
            self.response.expires_at.nanos = expires["nanos"]

    def send(self, request: Any) -> Flow[Any]:
        """Answer a request."""
        self.jwts.append(request.jwt)
        self.requests.append(request)
        if self.failure is not None:
            raise self.failure
        return self.response
        yield

    def token(self) -> AccessToken:
        """The token that an identity is exchanged for."""
        flow = exchange({"jwt": "signed"}, self.send, lambda: NOW)
        with pytest.raises(StopIteration) as stopped:
            next(flow)
        token: AccessToken = stopped.value.value
        return token


def test_the_lifetime_is_what_is_left_until_the_end() -> None:
    service = Service({"seconds": int(NOW) + 600, "nanos": 500_000_000})
    token = service.token()
    assert token.lifetime == pytest.approx(600.5)
    assert str(token.value) == "t1.secret"
    assert service.jwts == ["signed"]


def test_an_end_that_is_not_said_is_not_known() -> None:
    assert Service().token().lifetime is None


def test_the_messages_are_cleared() -> None:
    service = Service()
    service.token()
    assert service.requests[0].ByteSize() == service.response.ByteSize() == 0
    service.failure = UnavailableError("down")
    with pytest.raises(UnavailableError):
        service.token()
    assert service.requests[1].ByteSize() == 0


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("iam.api.cloud.yandex.net:443", "https://iam.api.cloud.yandex.net/iam/v1/tokens"),
        ("localhost:4430", "https://localhost:4430/iam/v1/tokens"),
    ],
)
def test_the_audience_is_the_url_of_the_exchange(endpoint: str, expected: str) -> None:
    assert audience(endpoint) == expected

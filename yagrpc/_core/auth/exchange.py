"""The exchange of a credential that is never sent itself for an IAM token: a call like any other.

Rules: no I/O; whether it is repeated is decided as for every call that reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yagrpc import _pb, methods
from yagrpc.credentials import AccessToken
from yagrpc.credentials.base import FETCH_TIMEOUT

if TYPE_CHECKING:
    from yagrpc._core.client import ClientCore
    from yagrpc._core.flow import Flow


def exchange(core: ClientCore, identity: dict[str, str]) -> Flow[AccessToken]:
    """Exchange an identity, a field of `CreateIamTokenRequest`, for a token.

    Raises:
        CallError: The IAM service refused, or could not be reached.
        ConfigError: What it gave is no token.
    """
    request = _pb.iam_token_service_pb2.CreateIamTokenRequest(**identity)
    call = core.call(methods.IamTokenService.Create, request, {}, FETCH_TIMEOUT)
    response: _pb.iam_token_service_pb2.CreateIamTokenResponse = yield from core.flow(call)
    end = response.expires_at
    known = response.HasField("expires_at")
    return AccessToken(response.iam_token, end.seconds + end.nanos / 1e9 - core.wall() if known else None)


def audience(core: ClientCore) -> str:
    """Whom a service account's key signs for: the URL of the exchange (documented)."""
    return f"https://{core.endpoint_of(methods.IamTokenService.Create).removesuffix(':443')}/iam/v1/tokens"

"""The exchange of a credential that is never sent itself for an IAM token: a call like any other.

Rules: no I/O; whether the call is repeated is decided as for every call that reads. The messages are cleared once they
are used: frames of an error refer to them, gRPC's own frames included, and a message shows all of its fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from yagrpc import _pb
from yagrpc.credentials import AccessToken
from yagrpc.hiding import hidden

if TYPE_CHECKING:
    from yagrpc._core.deadline import Clock
    from yagrpc._core.flow import Flow


def exchange(identity: Mapping[str, str], send: Callable[[Any], Flow[Any]], wall: Clock) -> Flow[AccessToken]:
    """Exchange an identity for a token.

    Args:
        identity: A field of `CreateIamTokenRequest`, with its value.
        send: Sends such a request, and gives the answer.
        wall: Gives the time, in seconds since the epoch.

    Raises:
        CallError: The IAM service refused, or could not be reached.
        ConfigError: The answer holds no usable token.
    """
    request = _pb.iam_token_service_pb2.CreateIamTokenRequest(**identity)
    try:
        response: _pb.iam_token_service_pb2.CreateIamTokenResponse = yield from send(request)
    finally:
        request.Clear()
    end = response.expires_at.seconds + response.expires_at.nanos / 1e9
    known = response.HasField("expires_at")
    token = hidden(response.iam_token)
    response.Clear()
    return AccessToken(token.reveal(), end - wall() if known else None)


def audience(endpoint: str) -> str:
    """The party that a service account's key signs for: the URL of the exchange (documented).

    Args:
        endpoint: Where the IAM service is served, `host:port`.
    """
    return f"https://{endpoint.removesuffix(':443')}/iam/v1/tokens"

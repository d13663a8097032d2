"""`IamTokenService`."""

from __future__ import annotations

from typing import Any

import grpc.aio

from yagrpc import _pb
from yagrpc.emulator.clock import END
from yagrpc.emulator.cloud.auth import CREATED_BY
from yagrpc.emulator.received import CURRENT
from yagrpc.emulator.refusal import invalid
from yagrpc.emulator.services import checks
from yagrpc.emulator.state import State

__all__ = ["add"]


def add(server: grpc.aio.Server, state: State) -> None:
    """Register the servicer."""
    _pb.iam_token_service_pb2_grpc.add_IamTokenServiceServicer_to_server(_IamTokens(state), server)


class _IamTokens(_pb.iam_token_service_pb2_grpc.IamTokenServiceServicer):
    """The limits of length are those of the protos. Whether an OAuth token or JWT is genuine is not checked."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def Create(
        self, request: _pb.iam_token_service_pb2.CreateIamTokenRequest, context: Any
    ) -> _pb.iam_token_service_pb2.CreateIamTokenResponse:
        identity = request.WhichOneof("identity")
        if identity is None:
            raise invalid("identity: exactly one of yandex_passport_oauth_token, jwt is required")
        if identity == "jwt":
            checks.check_required("jwt", request.jwt, 8000)
        else:
            checks.check_required(identity, request.yandex_passport_oauth_token, 4000)
        return self._issue(CREATED_BY)

    async def CreateForServiceAccount(
        self, request: _pb.iam_token_service_pb2.CreateIamTokenForServiceAccountRequest, context: Any
    ) -> _pb.iam_token_service_pb2.CreateIamTokenResponse:
        checks.check_required("service_account_id", request.service_account_id, 50)
        return self._issue(request.service_account_id)

    async def Revoke(
        self, request: _pb.iam_token_service_pb2.RevokeIamTokenRequest, context: Any
    ) -> _pb.iam_token_service_pb2.RevokeIamTokenResponse:
        checks.check_required("iam_token", request.iam_token, 4096)
        subject = self._state.guard.revoke(request.iam_token)
        return _pb.iam_token_service_pb2.RevokeIamTokenResponse(subject_id=subject)

    def _issue(self, subject: str) -> _pb.iam_token_service_pb2.CreateIamTokenResponse:
        token, expires = self._state.guard.issue(subject, CURRENT.get().at)
        return _pb.iam_token_service_pb2.CreateIamTokenResponse(
            iam_token=token, expires_at=_pb.timestamp_pb2.Timestamp(seconds=int(min(expires, END)))
        )

"""How calls are authorized: what is put into their metadata, and another of it after a refusal.

Rules: no I/O. Only where credentials change: those that are fixed are put into the metadata when a call is created.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from yagrpc._core.flow import Flow
from yagrpc.credentials import Credentials
from yagrpc.credentials.base import ForeignError
from yagrpc.errors import ConfigError, YagrpcError
from yagrpc.hiding import SecretText, hidden

if TYPE_CHECKING:
    from yagrpc._core.auth.tokens import Tokens
    from yagrpc._core.call.call import Call, Metadata
    from yagrpc._core.deadline import Deadline

_SENT: Final = r"[ -~]+"


class Authorizer:
    """Authorizes the calls of one client.

    Args:
        tokens: Keeps the token, where credentials have one that is obtained.
        folder_id: The client's folder, which goes along with a user account's token.
    """

    def __init__(self, tokens: Tokens, folder_id: str | None) -> None:
        self.tokens = tokens
        self._folder_id = folder_id

    def authorize(self, call: Call[Any, Any], deadline: Deadline) -> Flow[Metadata]:
        """What authorizes a call, as metadata to be added to its own; a key that its caller gave is left out.

        Args:
            call: The call.
            deadline: Until when a token is waited for.

        Raises:
            YagrpcError: It can't be obtained.
        """
        authorization = yield from self.tokens.current(call, deadline)
        if authorization is None:
            authorization = asked(self.tokens.credentials)
        pairs = credential_pairs(self.tokens.credentials, authorization, self._folder_id)
        given = {key for key, _ in call.metadata}
        return tuple(pair for pair in pairs if pair[0] not in given)

    def renew(
        self, call: Call[Any, Any], refused: Metadata, error: YagrpcError, deadline: Deadline
    ) -> Flow[Metadata | None]:
        """Another authorization than one that was refused; `None` where there is no other.

        Args:
            call: The call that was refused.
            refused: What authorized it, as `authorize` gave it.
            error: The refusal.
            deadline: Until when a token is waited for.

        Raises:
            YagrpcError: A new token can't be obtained.
        """
        before = hidden(dict(refused).get("authorization"))
        if not before:
            return None
        yield from self.tokens.renew(call, before, error, deadline)
        after = yield from self.authorize(call, deadline)
        return None if after == refused else after


def credential_pairs(credentials: Credentials, authorization: SecretText | None, folder_id: str | None) -> Metadata:
    """The metadata that a credential makes: the folder goes with a user account's, and with no other."""
    if not authorization:
        return ()
    pairs: Metadata = (("authorization", authorization),)
    return (*pairs, ("x-folder-id", folder_id)) if credentials.user_account and folder_id else pairs


def asked(credentials: Credentials) -> SecretText | None:
    """What credentials authorize a call with, checked: a user may have written them.

    Raises:
        ConfigError: They failed, or gave what can't be sent.
    """
    name = type(credentials).__name__
    failure: ForeignError | None = None
    try:
        authorization = hidden(credentials.authorization())
    except YagrpcError:
        raise
    except Exception as error:
        failure = ForeignError.of(error)
    else:
        if authorization is None or (
            isinstance(authorization, SecretText) and re.fullmatch(_SENT, authorization.reveal())
        ):
            return authorization
    if failure is not None:
        raise ConfigError(f"{name}.authorization() failed with {failure.kind}") from failure
    raise ConfigError(f"{name}.authorization() gave what can't be sent: it has to be printable ASCII text, or None")

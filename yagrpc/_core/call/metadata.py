"""Metadata, both ways: the caller's own, checked before it is sent, and the ids that an answer brings.

Rules: a value that may be a secret is never shown; gRPC's own refusal of metadata names neither key nor value.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, Final

from yagrpc.errors import RequestError
from yagrpc.foreign import ID, identifier
from yagrpc.hiding import SecretBytes, SecretText, has_form_of_secret, hidden_metadata
from yagrpc.ids import RequestIds
from yagrpc.quantities import request_id

if TYPE_CHECKING:
    from yagrpc._core.call.call import Metadata
    from yagrpc._core.call.parameters import CallParameters

_KEY: Final = r"[0-9a-z_.-]+"
_VALUE: Final = r"[ -~]*"


def given_request_id(parameters: CallParameters) -> str:
    """The caller's own request id as text; empty where none was given.

    Raises:
        RequestError: It can't be sent, is too long for an id, or is a credential, which errors and logs would show.
    """
    given = parameters.get("request_id")
    if given is None:
        return ""
    text = given if isinstance(given, str) else request_id(given)
    if not (isinstance(text, str) and re.fullmatch(_VALUE, text) and 0 < len(text) <= ID) or has_form_of_secret(text):
        raise RequestError("request_id", given, f"it takes printable ASCII text of 1 to {ID} characters, or a UUID")
    return text


def given_metadata(parameters: CallParameters) -> Metadata:
    """The caller's own metadata, checked.

    Raises:
        RequestError: A key or a value can't be sent.
    """
    given = hidden_metadata(parameters.get("metadata"))
    if not given:
        return ()
    if not isinstance(given, tuple):
        raise RequestError("metadata", given, "it takes pairs of key and value, or a dict")
    for pair in given:
        if not isinstance(pair, tuple):
            raise RequestError("metadata", pair, "it takes pairs of key and value, or a dict")
        _check_pair("metadata", *pair)
    return given


def pairs_of(metadata: Any) -> dict[str, str | bytes]:
    """Metadata as a dict; `dict` itself fails on that of asyncio, whose keys were pairs before grpcio 1.70."""
    return {key: value for key, value in metadata or ()}  # noqa: C416


def request_ids(client_request_id: str, *metadata: Any) -> RequestIds:
    """The ids of a call by the metadata of its answer, initial and trailing: they may be in either."""
    request_id = server_trace_id = ""
    with contextlib.suppress(TypeError, ValueError):  # an interceptor's may be no pairs
        for pairs in metadata:
            for key, value in pairs or ():
                if key == "x-request-id":
                    request_id = identifier(text_of(value))
                elif key == "x-server-trace-id":
                    server_trace_id = identifier(text_of(value))
    return RequestIds(client_request_id, request_id, server_trace_id)


def text_of(value: object) -> str:
    """A value of metadata as text."""
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")


def _check_pair(field: str, key: object, value: object) -> None:
    if not isinstance(key, str) or not re.fullmatch(_KEY, key):
        raise RequestError(field, key, "a key has lower-case letters, digits, '.', '-' and '_'")
    if key.endswith("-bin"):
        if not isinstance(value, SecretBytes):
            raise RequestError(field, key, "a key that ends in -bin takes bytes")
    elif not isinstance(value, SecretText) or not re.fullmatch(_VALUE, value.reveal()):
        # The value may be a secret, so it is not shown.
        raise RequestError(field, key, "its value has to be printable ASCII text")

"""What the logs show of a message where texts are wanted: the message without its secrets.

The rule, for messages of any proto:

- Nothing is shown of a message whose service, or whose own type, is of a package that issues or keeps secrets
  (`SECRET_PACKAGES`): the exchange of a credential for a token is one of them.
- Of other messages a text, bytes, a map or a message is not shown if its field has the option `debug_redact`, or if a
  word in its name says what it is (`SECRET_WORDS`, `SECRET_KEYS`). The keys of maps count as names, those of
  `google.protobuf.Struct` too. Numbers are shown.
- Of an `Any` the message in it is shown by the same rule; of one whose type is not known, only its type is.
- What has the form of a credential is replaced in all texts.

Rules: no I/O; nothing here raises, for any message. A message is copied before anything is changed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, MutableMapping
from typing import Any, Final

from yagrpc import _pb
from yagrpc.foreign import cleaned
from yagrpc.hiding import without_secrets

SECRET_PACKAGES: Final = (
    "yandex.cloud.certificatemanager.",
    "yandex.cloud.iam.",
    "yandex.cloud.kms.",
    "yandex.cloud.lockbox.",
    "yandex.cloud.organizationmanager.",
)
"""How the full names of services and messages begin whose subject is secrets."""

SECRET_WORDS: Final = frozenset(
    {
        "authorization", "cookie", "credential", "credentials", "jwt", "passphrase", "passwd", "password", "passwords",
        "pem", "secret", "secrets", "token",
    }
)  # fmt: skip
"""Words in the names of fields that hold secrets. `tokens` is not one of them: a model's are counted."""

SECRET_KEYS: Final = frozenset({"access", "api", "encryption", "hmac", "private", "secret", "shared", "signing", "ssh"})
"""Words before `key` or `keys` in the names of such fields."""

HARMLESS: Final = frozenset({"page_token", "next_page_token"})

_HIDDEN: Final = "***"
_DEEPEST: Final = 100
"""How deeply messages are followed; protobuf itself reads no deeper ones, but for what an `Any` holds."""
_WORD_STARTS: Final = r"(?<=[a-z0-9])(?=[A-Z])|[-.\s]+"


def loggable(message: Any, service: str) -> str:
    """A message as the logs show it, in one line; empty where nothing of it is shown.

    Args:
        message: The message, of any package.
        service: The full name of the service that it is sent to, or comes from.
    """
    try:
        if service.startswith(SECRET_PACKAGES) or message.DESCRIPTOR.full_name.startswith(SECRET_PACKAGES):
            return ""
        copied = type(message)()
        copied.CopyFrom(message)
        _redact(copied, _DEEPEST)
        return cleaned(without_secrets(str(copied)))
    except Exception:  # a log is no reason for a call to fail
        return ""


def is_secret_name(name: str) -> bool:
    """Whether the name of a field, or a key of a map, says that its value is a secret."""
    words = re.sub(_WORD_STARTS, "_", name).lower().split("_")
    if "_".join(words) in HARMLESS:
        return False
    keys = any(after in ("key", "keys") and word in SECRET_KEYS for word, after in itertools.pairwise(words))
    return keys or not SECRET_WORDS.isdisjoint(words)


def _redact(message: Any, levels: int) -> None:
    """Remove the secrets from a message, in place."""
    name = message.DESCRIPTOR.full_name
    if levels == 0 or name.startswith(SECRET_PACKAGES):
        message.Clear()
    elif name == "google.protobuf.Any":
        _redact_any(message, levels)
    else:
        for field, value in message.ListFields():
            if is_secret_name(field.name) or field.GetOptions().debug_redact:
                _hide(message, field.name, value)
            elif isinstance(value, MutableMapping) and not hasattr(value, "ListFields"):  # as a Struct is, too
                _redact_map(value, levels)
            else:
                _redact_all(_messages(value), levels)


def _redact_all(messages: Iterable[Any], levels: int) -> None:
    for message in messages:
        _redact(message, levels - 1)


def _redact_map(values: Any, levels: int) -> None:
    for key in list(values):
        value = values[key]
        if isinstance(key, str) and is_secret_name(key):
            if hasattr(value, "ListFields"):
                value.Clear()
            elif isinstance(value, (str, bytes)):
                values[key] = _HIDDEN if isinstance(value, str) else _HIDDEN.encode()
        else:
            _redact_all(_messages(value), levels)


def _redact_any(packed: Any, levels: int) -> None:
    name = packed.type_url.rpartition("/")[2]
    found = None if name.startswith(SECRET_PACKAGES) else _pb.find_message(name)
    if found is None:
        packed.value = b""
        return
    message = found.FromString(packed.value)
    _redact(message, levels - 1)
    packed.value = message.SerializeToString()


def _messages(value: Any) -> Iterable[Any]:
    """The messages in a field's value: it, or those that it repeats."""
    if hasattr(value, "ListFields"):
        return (value,)
    if isinstance(value, (str, bytes, int, float)):  # bool is an int
        return ()
    return (each for each in value if hasattr(each, "ListFields"))


def _hide(message: Any, name: str, value: Any) -> None:
    """Replace the value of a field; numbers stay."""
    if isinstance(value, (int, float)):
        return
    message.ClearField(name)
    if isinstance(value, str):
        setattr(message, name, _HIDDEN)
    elif isinstance(value, bytes):
        setattr(message, name, _HIDDEN.encode())
    elif hasattr(value, "ListFields"):
        getattr(message, name).SetInParent()

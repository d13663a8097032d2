"""The errors about what the caller gave: settings, and arguments of requests.

Rules: each is raised before anything is sent.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING

from yagrpc.errors.base import YagrpcError
from yagrpc.hiding import shown

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc.errors.base import Context

__all__ = ["ConfigError", "RequestError"]


class ConfigError(YagrpcError, ValueError):
    """Settings that cannot work, e.g. no credentials, no folder, a plaintext endpoint that is not loopback."""


class RequestError(YagrpcError, ValueError):
    """An argument of a request that the service would refuse; nothing was sent.

    Args:
        field: The argument, e.g. `temperature` or `messages[2].role`.
        value: The value that was given.
        allowed: The values that are allowed.
        **context: As for any `YagrpcError`.
    """

    def __init__(self, field: str, value: object, allowed: str, **context: Unpack[Context]) -> None:
        if isinstance(value, Coroutine):
            allowed = f"{allowed}; this is a coroutine: await it, and give its result"
        self.field = field
        self.value = shown(value)
        self.allowed = allowed
        super().__init__(f"{field} is {self.value}: {allowed}", **context)

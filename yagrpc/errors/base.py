"""What all errors share; `yagrpc.errors` has them all, and is where they are imported from.

Rules: attributes are plain data, and an error can be pickled and copied whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from yagrpc.errors.wording import with_context

__all__ = ["Detail", "ResultError", "YagrpcError"]

ErrorT = TypeVar("ErrorT", bound="YagrpcError")

Detail = Mapping[str, Any]
"""One entry of a status's details, as proto JSON with `@type`."""


class YagrpcError(Exception):
    """Base of everything that yagrpc raises."""

    __module__ = "yagrpc.errors"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[ErrorT], args: tuple[Any, ...], state: dict[str, Any]) -> ErrorT:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ResultError(YagrpcError):
    """The service answered, but without a result: no alternative, one of another type, or one that does not parse.

    `client_request_id` is the id that was sent along, where a call's answer is meant.
    """

    __module__ = "yagrpc.errors"

    client_request_id: str = ""

    def __str__(self) -> str:
        return with_context(super().__str__(), {"client request id": self.client_request_id})

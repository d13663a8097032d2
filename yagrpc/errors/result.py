"""The error of an answer that can't be used."""

from __future__ import annotations

from yagrpc.errors.base import YagrpcError

__all__ = ["ResultError"]


class ResultError(YagrpcError):
    """The service answered, but without a result: no alternative, one of another type, or one that does not parse."""

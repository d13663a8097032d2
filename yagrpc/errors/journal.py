"""The errors of a journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from yagrpc.errors.base import YagrpcError
from yagrpc.errors.given import ConfigError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc.errors.base import Context

__all__ = ["JournalError", "JournalInUseError"]


class JournalError(YagrpcError):
    """A journal can't be written or read, such as on a full disk; what it has had before is still there.

    What was not recorded is not sent.

    Args:
        message: What happened.
        operation_ids: The operations that were accepted and are not in the journal.
        **context: As for any `YagrpcError`.
    """

    def __init__(self, message: str = "", operation_ids: Sequence[str] = (), **context: Unpack[Context]) -> None:
        super().__init__(message, **context)
        self.operation_ids = tuple(operation_ids)


class JournalInUseError(ConfigError):
    """Another process writes the journal: wait for its end, or name another."""

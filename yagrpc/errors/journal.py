"""The errors of a journal."""

from __future__ import annotations

from yagrpc.errors.base import YagrpcError

__all__ = ["JournalError"]


class JournalError(YagrpcError):
    """A journal can't be written or read, such as on a full disk; what it has had before is still there.

    What was not recorded is not sent.
    """

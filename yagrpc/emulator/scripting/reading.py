"""Reading the files that a user names: text in UTF-8, of a limited length."""

from __future__ import annotations

import os
from typing import Final

from yagrpc.files import read_file

__all__ = ["LONGEST", "read_text"]

LONGEST: Final = 256 * 1024 * 1024
"""Bytes of the longest file that is read: a recording of many images."""


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a file in UTF-8.

    Raises:
        OSError: It can't be read, is no regular file, or is too long.
        UnicodeDecodeError: It is not UTF-8.
    """
    return read_file(path, LONGEST).decode()

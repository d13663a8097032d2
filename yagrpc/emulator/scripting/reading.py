"""Reading files that a user names: text of a limited length, since devices and pipes may have no end."""

from __future__ import annotations

import errno
import os
from typing import Final

__all__ = ["LONGEST", "read_text"]

LONGEST: Final = 256 * 1024 * 1024
"""Characters of the longest file that is read: a recording of many images."""


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a file in UTF-8.

    Raises:
        OSError: It can't be read, or is too long.
        UnicodeDecodeError: It is not UTF-8.
    """
    with open(path, encoding="utf-8") as file:
        text = file.read(LONGEST + 1)
    if len(text) > LONGEST:
        raise OSError(errno.EFBIG, f"longer than {LONGEST // 1024**2} MiB, the most that is read")
    return text

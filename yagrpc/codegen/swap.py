"""Puts a new folder in the place of an old one, so that there is a whole one at every moment, whatever stops the run.

Rules: on Linux the two change places in one step; elsewhere, and where the file system can't, the old one moves aside
first and comes back if the new one does not get there.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

__all__ = ["swap"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
"""Of Linux's `renameat2`; see its manual page."""


def swap(new: Path, target: Path) -> None:
    """Put a folder in the place of another, which may be missing; the replaced folder takes the new one's place.

    Args:
        new: The folder to put there, on the same file system.
        target: Where it goes.

    Raises:
        OSError: The folder can't be moved there. The old folder is still in place.
    """
    if not os.path.lexists(target):
        os.rename(new, target)
    elif not _exchange(new, target):
        old = new.with_name(f"{new.name}.old")
        os.rename(target, old)
        try:
            os.rename(new, target)
        except OSError:
            os.rename(old, target)
            raise


def _exchange(new: Path, target: Path) -> bool:
    """Exchange two folders in one step; `False` where the system can't."""
    if sys.platform != "linux":
        return False
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)  # of glibc 2.28 and newer
    if renameat2 is None:
        return False
    return bool(renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(target), _RENAME_EXCHANGE) == 0)

"""Reading a file that a setting names: a regular one, up to a size.

A path may lead to anything. To open a FIFO waits for a writer, a device such as /dev/zero has no end, and a file may
have gigabytes, or claim to.

Rules: standard library only; the emulator and the generator, which share nothing else with the client, read files by
this function too.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

_OPENED: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
"""To open a FIFO in this way waits for nobody."""


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a regular file.

    Args:
        path: The file; links are followed.
        most: Bytes that it has at most.

    Raises:
        OSError: There is no such file, it is something else (a folder, a FIFO, a device), it has more bytes, or it
            can't be read. `strerror` says which.
        ValueError: No file can have such a name.
    """
    opened = os.open(path, _OPENED)
    try:
        found = check_regular(opened)
        data = b""
        if found.st_size <= most:
            with open(opened, "rb", closefd=False) as file:
                data = file.read(most + 1)  # a file of the kernel's has no size, and others grow
        if max(found.st_size, len(data)) > most:
            raise OSError(errno.EFBIG, f"longer than {_size(most)}, the most that is read")
        return data
    finally:
        os.close(opened)


def check_regular(opened: int) -> os.stat_result:
    """The status of an open file, which has to be a regular one.

    Args:
        opened: Its descriptor.

    Raises:
        OSError: It is something else; `strerror` says what.
    """
    found = os.fstat(opened)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, f"it is {_kind(found.st_mode)}, and not a regular file")
    return found


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a FIFO" if stat.S_ISFIFO(mode) else "a device"


def _size(most: int) -> str:
    return f"{most // 1024**2} MiB" if most >= 1024**2 else f"{most // 1024} KiB"

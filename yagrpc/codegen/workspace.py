"""The folder that a run works in, `.generate-*` beside its output, and what killed runs have left of theirs.

Rules: every run holds a shared lock on the output folder, which ends with the process, however that ends. A run that
gets it exclusively knows that no other run is there, so that each such folder is left over. A folder with anything in
it that the generator does not write stays. The lock is never waited for: the program that holds it may wait for this
run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["workspace"]

_PREFIX = ".generate-"
_HELD = {"sources.d", "stubs.d", "new.d", "arguments", "compiled.binpb", "stubs.binpb"}
_HELD_ONCE = {"sources.binpb", "renamed.binpb", "arguments-0", "arguments-1", "new"}
"""What the generator writes there, and what its earlier versions wrote."""


@contextlib.contextmanager
def workspace(out: Path) -> Iterator[Path]:
    """Make a folder to work in, and remove it afterwards, with those of runs that were killed.

    Args:
        out: The existing folder to make it in.
    """
    with _locked(out), tempfile.TemporaryDirectory(prefix=_PREFIX, dir=out, ignore_cleanup_errors=True) as work:
        yield Path(work).absolute()


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    if sys.platform == "win32":
        yield  # no locks that end with the process: what is left over stays
        return
    import fcntl

    folder = os.open(out, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # another run is there, or the file system has no locks
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_leftovers(out)
        for _ in range(20):  # a run that removes leftovers is done with them soon
            with contextlib.suppress(OSError):
                fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            time.sleep(0.02)
        yield
    finally:
        os.close(folder)


def _remove_leftovers(out: Path) -> None:
    for path in out.glob(f"{_PREFIX}*"):
        if path.is_dir() and not path.is_symlink() and set(os.listdir(path)) <= _HELD | _HELD_ONCE:
            shutil.rmtree(path, ignore_errors=True)

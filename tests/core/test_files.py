"""What is read of a path that a setting names: nothing but a regular file, up to a size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yagrpc.files import read_file


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1024)
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "file", 1024) == read_file(str(tmp_path / "link"), 1024) == b"x" * 1024
    assert read_file("/proc/self/cmdline", 1024**2), "a file of the kernel's has no size"


@pytest.mark.parametrize(("most", "said"), [(1023, "0 KiB"), (2048, "2 KiB"), (3 * 1024**2, "3 MiB")])
def test_a_file_over_the_limit_is_refused(tmp_path: Path, most: int, said: str) -> None:
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", most + 1)
    with pytest.raises(OSError, match=f"longer than {said}, the most that is read"):
        read_file(tmp_path / "file", most)


def test_a_file_without_a_size_is_refused_over_the_limit() -> None:
    with pytest.raises(OSError, match="longer than"):
        read_file("/proc/self/maps", 16)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    for path, kind in ((tmp_path / "link", "a FIFO"), (tmp_path, "a folder"), (Path("/dev/zero"), "a device")):
        with pytest.raises(OSError, match=f"it is {kind}, and not a regular file"):
            read_file(path, 1024)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "nothing", 1024)
    with pytest.raises(ValueError, match="null"):
        read_file("a\0b", 1024)


def test_nothing_stays_open(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = os.listdir("/proc/self/fd")
    read_file(tmp_path / "file", 1)
    with pytest.raises(OSError, match="folder"):
        read_file(tmp_path, 1)
    assert os.listdir("/proc/self/fd") == before

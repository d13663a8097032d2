"""Files that are not the generator's own: it neither waits for them, nor follows them, nor removes them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")

from yagrpc.codegen import GenerateError, generate

FINE = 'syntax = "proto3"; message Fine {}'

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are neither FIFOs nor links for everybody")


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    (tmp_path / "proto").mkdir()
    (tmp_path / "proto/fine.proto").write_text(FINE, "utf-8")
    return tmp_path / "proto"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A file of somebody's, which links lead to."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/mine.txt").write_text("by hand", "utf-8")
    return tmp_path / "elsewhere"


@pytest.fixture
def short() -> Iterator[Callable[[Path], None]]:
    """Makes sockets by names that a socket can have, however long the path is."""
    made: list[socket.socket] = []

    def make(path: Path) -> None:
        made.append(socket.socket(socket.AF_UNIX))
        before = Path.cwd()
        os.chdir(path.parent)
        try:
            made[-1].bind(path.name)
        finally:
            os.chdir(before)

    yield make
    for each in made:
        each.close()


KINDS = ["fifo", "link to a fifo", "socket", "link to a device", "link to nothing", "folder", "link to a folder"]


def make(kind: str, path: Path, make_socket: Callable[[Path], None]) -> None:
    """Make something that is no file."""
    target = path.with_name("target")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link to a fifo":
        os.mkfifo(target)
        path.symlink_to(target)
    elif kind == "socket":
        make_socket(path)
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "link to nothing":
        path.symlink_to(target)
    elif kind == "folder":
        path.mkdir()
    else:
        target.mkdir()
        path.symlink_to(target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["found", "given", "imported"])
def test_a_proto_that_is_no_file_is_refused(
    tmp_path: Path, protos: Path, kind: str, way: str, short: Callable[[Path], None]
) -> None:
    odd = protos / "odd.proto"
    make(kind, odd, short)
    if way == "imported":
        (protos / "fine.proto").write_text('syntax = "proto3"; import "odd.proto";', "utf-8")
    files = {"found": (), "given": ("odd.proto",), "imported": ("fine.proto",)}[way]
    if kind.endswith("folder") and way == "found":
        generate([protos], tmp_path / "out", "p", files)  # it has no protos in it
        return
    with pytest.raises(GenerateError, match=r"odd\.proto (is a link to nothing|can't be read: )"):
        generate([protos], tmp_path / "out", "p", files)
    assert not list(tmp_path.glob("out/*"))


def test_a_file_that_claims_to_be_endless_is_not_read_to_its_end(tmp_path: Path, protos: Path) -> None:
    (protos / "odd.proto").touch()
    os.truncate(protos / "odd.proto", 10**12)  # without a block on the disk
    with pytest.raises(GenerateError, match=r"odd\.proto can't be read: longer than 64 MiB"):
        generate([protos], tmp_path / "out", "p")
    assert not list(tmp_path.glob("out/*"))


def test_a_proto_may_be_a_link(tmp_path: Path, protos: Path) -> None:
    (protos / "linked.proto").symlink_to(tmp_path / "original")
    (tmp_path / "original").write_text('syntax = "proto3"; import "folder/a.proto"; message Linked {}', "utf-8")
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.proto").write_text('syntax = "proto3"; package a; message A {}', "utf-8")
    (protos / "folder").symlink_to(tmp_path / "real")
    generate([protos], tmp_path / "out", "p")
    assert (tmp_path / "out/p/folder/a_pb2.py").exists()


def test_what_a_killed_import_leaves_is_no_file_of_others(tmp_path: Path, protos: Path) -> None:
    cache = tmp_path / "out/p/__pycache__"
    generate([protos], tmp_path / "out", "p")
    cache.mkdir()
    (cache / "methods.cpython-311.pyc.140231337").write_bytes(b"half")
    generate([protos], tmp_path / "out", "p")
    assert not cache.exists()
    (tmp_path / "out/p/methods.cpython-311.pyc.140231337").write_bytes(b"half")
    with pytest.raises(GenerateError, match=r" was not written by this generator, and would be deleted"):
        generate([protos], tmp_path / "out", "p")


def test_hidden_files_are_left_out(tmp_path: Path, protos: Path) -> None:
    for name in (".venv/bad-1.2/x.proto", ".git/x.proto", "._fine.proto", ".generate-abcdefgh/sources.d/x.proto"):
        (protos / name).parent.mkdir(parents=True, exist_ok=True)
        (protos / name).write_bytes(b"\0")
    generate([protos], protos, "p")
    assert (protos / "p/fine_pb2.py").exists()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "folder"])
@pytest.mark.parametrize("place", ["p/odd", "p/odd.py", "p/google/__pycache__/odd.pyc", "p"])
def test_what_is_no_file_of_ours_stays(
    tmp_path: Path, protos: Path, kind: str, place: str, short: Callable[[Path], None]
) -> None:
    out = tmp_path / "out"
    if place == "p":
        out.mkdir()
    else:
        generate([protos], out, "p")
    odd = out / place
    odd.parent.mkdir(exist_ok=True)
    make(kind, odd, short)
    before = odd.lstat()
    with pytest.raises(GenerateError, match=r" was not written by this generator, and would be deleted"):
        generate([protos], out, "p")
    after = odd.lstat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)


@pytest.mark.parametrize("place", ["p/mine.py", "p/mine", "p"])
def test_force_removes_a_link_and_not_what_it_leads_to(
    tmp_path: Path, protos: Path, elsewhere: Path, place: str
) -> None:
    out = tmp_path / "out"
    if place == "p":
        out.mkdir()
    else:
        generate([protos], out, "p")
    (out / place).symlink_to(elsewhere if place != "p/mine.py" else elsewhere / "mine.txt")
    generate([protos], out, "p", force=True)
    assert not (out / place).is_symlink()
    assert (out / "p/fine_pb2.py").exists()
    assert [path.name for path in elsewhere.iterdir()] == ["mine.txt"]


def test_bytecode_of_the_package_may_be_there(tmp_path: Path, protos: Path) -> None:
    out = tmp_path / "out"
    generate([protos], out, "p")
    done = subprocess.run([sys.executable, "-c", "import p.fine_pb2"], cwd=out, check=False, env=_writing_bytecode())
    assert done.returncode == 0
    assert list(out.rglob("*.pyc"))
    generate([protos], out, "p")
    mine = out / "p/__pycache__/notes.txt"
    mine.parent.mkdir()
    mine.write_text("by hand", "utf-8")
    with pytest.raises(GenerateError, match=r"notes\.txt was not written by this generator"):
        generate([protos], out, "p")


def _writing_bytecode() -> dict[str, str]:
    without = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    return {name: value for name, value in os.environ.items() if name not in without}


WORKING = """
import sys
from pathlib import Path
from yagrpc.codegen.workspace import workspace
with workspace(Path(sys.argv[1])) as work:
    (work / "new.d").mkdir()
    (work / "new.d/half.py").touch()
    print(work.name, flush=True)
    sys.stdin.read()
"""


def test_only_what_killed_runs_have_left_is_removed(tmp_path: Path, protos: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mine = out / ".generate-notes"
    mine.mkdir()
    (mine / "mine.txt").write_text("by hand", "utf-8")
    (out / ".generate-link").symlink_to(protos)
    (out / ".generate-file").touch()
    command = [sys.executable, "-c", WORKING, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        work = out / other.stdout.readline().strip()
        generate([protos], out, "p")
        assert (work / "new.d/half.py").exists(), "of a run that is not over"
        other.send_signal(signal.SIGKILL)
    assert work.exists()
    generate([protos], out, "p")
    kept = [".generate-file", ".generate-link", ".generate-notes", "p"]
    assert sorted(path.name for path in out.iterdir()) == kept
    assert (mine / "mine.txt").exists()
    assert (protos / "fine.proto").exists()


def test_a_lock_that_somebody_holds_is_not_waited_for(tmp_path: Path, protos: Path) -> None:
    import fcntl

    (tmp_path / "out").mkdir()
    held = os.open(tmp_path / "out", os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)  # as `flock out yagrpc generate --out out` does
        generate([protos], tmp_path / "out", "p")
    finally:
        os.close(held)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p"]


def test_names_that_a_file_system_takes_for_one_are_no_silent_loss(tmp_path: Path, protos: Path) -> None:
    (protos / "Fine.proto").write_text('syntax = "proto3"; package other; message Other {}', "utf-8")
    if (protos / "FINE.proto").exists():
        pytest.skip("the protos themselves can't lie side by side")
    generate([protos], tmp_path / "out", "p")
    assert {path.name for path in (tmp_path / "out/p").glob("*_pb2.py")} == {"fine_pb2.py", "Fine_pb2.py"}

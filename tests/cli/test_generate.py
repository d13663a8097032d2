"""`yagrpc generate`, as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROTOS = Path(__file__).parents[2] / "proto"
SERVICE = "yandex/cloud/operation/operation_service.proto"


def generate(*arguments: str | Path, hide: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, where a package may be hidden from it."""
    hidden = f"import sys; sys.modules[{hide!r}] = None; " if hide else ""
    code = f"{hidden}from yagrpc.cli import main; main()"
    command = [sys.executable, "-W", "error", "-c", code, "generate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_naming_one_service_is_enough(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")
    done = generate("--proto", PROTOS, "--out", tmp_path, "--package", "stubs", SERVICE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"stubs is in {tmp_path}\n")
    tables = [path.name for path in tmp_path.rglob("*_methods.py")]
    assert tables == ["operation_service_methods.py"]
    assert (tmp_path / "stubs/google/rpc/status_pb2.pyi").exists()
    used = subprocess.run(
        [sys.executable, "-W", "error", "-c", "from stubs import methods; print(methods.OperationService.Get.path)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert used.stdout == "/yandex.cloud.operation.OperationService/Get\n", used.stderr


FINE = 'syntax = "proto3"; message Fine {}'


@pytest.mark.parametrize(
    ("proto", "package", "more", "expected"),
    [
        ('syntax = "proto3";\nmessage {', "stubs", [], "a.proto:2:9: Expected message name."),
        ('syntax = "proto3"; message A { Nope nope = 1; }', "stubs", [], 'a.proto:1:32: "Nope" is not defined.'),
        ('syntax = "proto3"; import "nowhere.proto";', "stubs", [], "nowhere.proto: File not found."),
        (FINE, "not-a-name", [], "the package name 'not-a-name' can't be imported"),
        (FINE, "json", [], "the package name 'json' would hide a module of Python's own"),
        (FINE, "click", [], "the package name 'click' would hide an installed package"),
        (
            FINE,
            "taken",
            [],
            "mine.txt was not written by this generator, and would be deleted: move it, or give --force",
        ),
        (FINE, "stubs", ["--proto", "other"], "a.proto is in two roots, and differs"),
        (FINE, "stubs", ["--proto", "missing"], "missing is not a folder"),
        (FINE, "stubs", ["lost.proto"], "lost.proto: No such file or directory"),
        (FINE, "stubs", ["--out", "file.txt"], "file.txt/stubs can't be written"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_the_old_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proto: str, package: str, more: list[str], expected: str
) -> None:
    pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")
    monkeypatch.chdir(tmp_path)
    for folder, text in (("proto", FINE), ("other", f"{FINE} // not the same")):
        Path(folder).mkdir()
        Path(folder, "a.proto").write_text(text, "utf-8")
    arguments = ("--proto", "proto", "--out", "out", "--package")
    assert generate(*arguments, "stubs").returncode == 0
    Path("out/taken").mkdir()
    for name in ("out/taken/mine.txt", "file.txt"):
        Path(name).write_text("by hand", "utf-8")
    before = contents(tmp_path)
    Path("proto/a.proto").write_text(proto, "utf-8")
    done = generate(*arguments, package, *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("yagrpc: ")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert contents(tmp_path) == before | {"proto/a.proto": proto.encode()}


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_force_replaces_files_of_others(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")
    (tmp_path / "out/stubs").mkdir(parents=True)
    (tmp_path / "out/stubs/mine.txt").write_text("by hand", "utf-8")
    (tmp_path / "a.proto").write_text(FINE, "utf-8")
    done = generate("--proto", tmp_path, "--out", tmp_path / "out", "--package", "stubs", "--force")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out/stubs/mine.txt").exists()


def test_a_missing_extra_is_reported_with_its_remedy(tmp_path: Path) -> None:
    done = generate("--proto", PROTOS, "--out", tmp_path, "--package", "stubs", SERVICE, hide="grpc_tools")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'yagrpc[codegen]'" in done.stderr

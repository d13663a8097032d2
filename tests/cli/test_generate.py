"""`yagrpc generate`, as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import empty_pb2

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


def test_each_problem_has_a_line(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")
    fields = "\n".join(f"Lost{number} f{number} = {number};" for number in range(1, 41))
    (tmp_path / "a.proto").write_text(f'syntax = "proto3"; message A {{\n{fields}\n}}', "utf-8")
    done = generate("--proto", tmp_path, "--out", tmp_path / "out", "--package", "stubs")
    assert done.returncode == 2
    *lines, last = done.stderr.splitlines()
    assert lines == [
        f'yagrpc: {tmp_path}/a.proto:{number + 1}:1: "Lost{number}" is not defined.' for number in range(1, 21)
    ]
    assert last == "yagrpc: and 20 more problems"


def test_a_problem_is_readable_however_long_it_is(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")
    (tmp_path / "a.proto").write_text(f'syntax = "proto3"; message A {{ {"L" * 100_000} f = 1; }}', "utf-8")
    done = generate("--proto", tmp_path, "--out", tmp_path / "out", "--package", "stubs")
    assert done.returncode == 2
    assert done.stderr.startswith(f"yagrpc: {tmp_path}/a.proto:1:32: ")
    assert len(done.stderr) < 700
    (tmp_path / "a.proto").write_bytes(bytes(range(128)) * 1000)
    done = generate("--proto", tmp_path, "--out", tmp_path / "out", "--package", "stubs")
    assert done.returncode == 2
    assert len(done.stderr) < 20_000
    assert all(line.isprintable() and line.startswith("yagrpc: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize(
    ("imported", "remedy"),
    [
        ("yandex/cloud/vpc/v1/subnet.proto", "git clone https://github.com/yandex-cloud/cloudapi"),
        ("mine/subnet.proto", "Give --proto a folder that this path starts from"),
    ],
)
def test_a_missing_import_says_where_to_get_it(tmp_path: Path, imported: str, remedy: str) -> None:
    pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")
    text = f'syntax = "proto3";\nimport "{imported}";\nmessage A {{ yandex.cloud.vpc.v1.Subnet s = 1; }}'
    (tmp_path / "a.proto").write_text(text, "utf-8")
    done = generate("--proto", tmp_path, "--out", tmp_path / "out", "--package", "stubs")
    assert done.returncode == 2
    assert done.stderr.startswith(f"yagrpc: {tmp_path}/a.proto:2:1: {imported}: File not found. ")
    assert remedy in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_descriptor_set_is_not_taken_for_a_proto(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")
    image = tmp_path / "image.binpb"
    google = Path(str(empty_pb2.__file__)).parents[2]
    include = [f"-I{PROTOS}", f"-I{google}"]
    command = [sys.executable, "-m", "grpc_tools.protoc", *include, f"--descriptor_set_out={image}"]
    subprocess.run([*command, "--include_imports", SERVICE], check=True)
    where = ("--out", tmp_path / "out", "--package", "stubs")
    done = generate(*where, image)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "image.binpb is not the import path of a .proto file" in done.stderr
    assert "--descriptor-set" in done.stderr
    done = generate(*where, "--descriptor-set", image)
    assert (done.returncode, done.stderr) == (0, f"stubs is in {tmp_path / 'out'}\n")
    assert (tmp_path / "out/stubs/yandex/cloud/operation/operation_service_methods.py").exists()


def test_nothing_to_generate_is_a_usage_error(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")
    done = generate("--out", tmp_path / "out", "--package", "stubs")
    assert done.returncode == 2
    assert done.stderr == "yagrpc: nothing to generate: give --proto DIR, --descriptor-set FILE or the files\n"
    assert not (tmp_path / "out").exists()


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

"""Protos that another compiler has compiled: descriptor sets, and `protoc-gen-yagrpc` as a plugin of protoc."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2

from yagrpc.codegen import GenerateError, generate

PROTOS = Path(__file__).parents[2] / "proto"

SHOP = """syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "shop/v1/types.proto";
import "yandex/cloud/api/operation.proto";
import "yandex/cloud/operation/operation.proto";

// Sells things.
service ShopService {
  // Takes an order.
  rpc Order (Item) returns (yandex.cloud.operation.Operation) {
    option (google.api.http) = { post: "/orders" };
    option (yandex.cloud.api.operation) = { metadata: "Item" response: "google.protobuf.Empty" };
  }
}
"""
TYPES = """syntax = "proto3";
package shop.v1;
import "google/protobuf/struct.proto";
message Item { google.protobuf.Struct s = 1; optional int32 n = 2; }
"""


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def protoc(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "grpc_tools.protoc", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of protos."""
    root = tmp_path_factory.mktemp("proto")
    (root / "shop/v1").mkdir(parents=True)
    (root / "shop/v1/shop.proto").write_text(SHOP, "utf-8")
    (root / "shop/v1/types.proto").write_text(TYPES, "utf-8")
    google = Path(str(plugin_pb2.__file__)).parents[3]
    return [root, PROTOS, google]


@pytest.fixture(scope="module")
def expected(roots: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the generator makes of the sources."""
    out = tmp_path_factory.mktemp("expected")
    generate(roots[:1], out, "stubs.inner", ["shop/v1/shop.proto"])
    return contents(out)


def compiled(roots: list[Path], path: Path, *options: str) -> Path:
    """A descriptor set of protoc's."""
    include = [f"-I{root}" for root in roots]
    done = protoc(*include, f"--descriptor_set_out={path}", *options, "shop/v1/shop.proto", "shop/v1/types.proto")
    assert done.returncode == 0, done.stderr
    return path


def test_our_protos_are_found_without_being_given(expected: dict[str, bytes]) -> None:
    assert "stubs/inner/yandex/cloud/operation/operation_pb2.py" in expected
    assert "stubs/inner/google/api/annotations_pb2.py" in expected
    assert b"Sells things." in expected["stubs/inner/shop/v1/shop_methods.py"]


def test_the_callers_protos_go_before_ours(tmp_path: Path) -> None:
    api = tmp_path / "proto/yandex/cloud/api/operation.proto"
    api.parent.mkdir(parents=True)
    theirs = (PROTOS / "yandex/cloud/api/operation.proto").read_text("utf-8") + "\nmessage Theirs {}\n"
    api.write_text(theirs, "utf-8")
    generate([tmp_path / "proto"], tmp_path / "out", "p")
    assert "class Theirs" in (tmp_path / "out/p/yandex/cloud/api/operation_pb2.pyi").read_text("utf-8")


def test_a_file_of_ours_can_be_generated_without_roots(tmp_path: Path) -> None:
    generate([], tmp_path / "out", "p", ["yandex/cloud/operation/operation_service.proto"])
    assert (tmp_path / "out/p/yandex/cloud/operation/operation_service_methods.py").exists()


def test_a_descriptor_set_gives_the_same_package_as_its_sources(
    tmp_path: Path, roots: list[Path], expected: dict[str, bytes]
) -> None:
    path = compiled(roots, tmp_path / "set.binpb", "--include_imports", "--include_source_info")
    generate([], tmp_path / "out", "stubs.inner", descriptor_set=path)
    assert contents(tmp_path / "out") == expected


def test_what_buf_adds_for_itself_is_left_out(tmp_path: Path, roots: list[Path], expected: dict[str, bytes]) -> None:
    path = compiled(roots, tmp_path / "set.binpb", "--include_imports", "--include_source_info")
    image = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
    for file in image.file:
        # Field 8042 of a file in an image: is_import and is_syntax_unspecified.
        file.MergeFromString(b"\xd2\xf6\x03\x04\x08\x01\x10\x00")
    assert b"\xd2\xf6\x03" in image.SerializeToString()
    path.write_bytes(image.SerializeToString())
    generate([], tmp_path / "out", "stubs.inner", descriptor_set=path)
    assert contents(tmp_path / "out") == expected


def test_the_order_of_the_files_does_not_matter(tmp_path: Path, roots: list[Path], expected: dict[str, bytes]) -> None:
    path = compiled(roots, tmp_path / "set.binpb", "--include_imports", "--include_source_info")
    files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=list(files)[::-1]).SerializeToString())
    generate([], tmp_path / "out", "stubs.inner", descriptor_set=path)
    assert contents(tmp_path / "out") == expected


def test_imports_of_ours_and_of_googles_may_be_missing(
    tmp_path: Path, roots: list[Path], expected: dict[str, bytes]
) -> None:
    path = compiled(roots, tmp_path / "set.binpb", "--include_source_info")
    generate([], tmp_path / "out", "stubs.inner", descriptor_set=path)
    assert contents(tmp_path / "out") == expected


def test_a_missing_import_is_named(tmp_path: Path, roots: list[Path]) -> None:
    path = compiled(roots, tmp_path / "set.binpb")
    files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file
    kept = [file for file in files if file.name != "shop/v1/types.proto"]
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=kept).SerializeToString())
    with pytest.raises(GenerateError) as refused:
        generate([], tmp_path / "out", "p", descriptor_set=path)
    first, second = refused.value.problems
    assert first == "shop/v1/shop.proto imports shop/v1/types.proto, which is not in the descriptor set"
    assert "--include_imports" in second


def test_one_file_of_a_descriptor_set_and_its_imports(tmp_path: Path, roots: list[Path]) -> None:
    path = compiled(roots, tmp_path / "set.binpb", "--include_imports")
    generate([], tmp_path / "out", "p", ["shop/v1/types.proto"], descriptor_set=path)
    assert (tmp_path / "out/p/shop/v1/types_pb2.py").exists()
    assert (tmp_path / "out/p/google/protobuf/struct_pb2.py").exists()
    assert not (tmp_path / "out/p/shop/v1/shop_pb2.py").exists()
    assert not (tmp_path / "out/p/yandex").exists()
    with pytest.raises(GenerateError, match=r"^lost\.proto: No such file in the descriptor set"):
        generate([], tmp_path / "out", "p", ["lost.proto"], descriptor_set=path)


@pytest.mark.parametrize("data", [b"", b"\0\1\2", SHOP.encode(), b'{"file": []}', b"\x1f\x8b\x08\0", b"\n\0"])
def test_what_is_no_descriptor_set_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(GenerateError, match=r"image is not a descriptor set in binary form; to write one: buf build"):
        generate([], tmp_path / "out", "p", descriptor_set=tmp_path / "image")
    assert not (tmp_path / "out").exists()


def test_a_descriptor_set_that_protoc_would_not_write_is_refused(tmp_path: Path) -> None:
    files = {
        "a.proto": descriptor_pb2.FileDescriptorProto(name="a.proto", dependency=["b.proto"]),
        "b.proto": descriptor_pb2.FileDescriptorProto(name="b.proto", dependency=["a.proto"]),
    }
    path = tmp_path / "set.binpb"
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=files.values()).SerializeToString())
    with pytest.raises(GenerateError, match="files import each other: "):
        generate([], tmp_path / "out", "p", descriptor_set=path)
    lost = descriptor_pb2.FileDescriptorProto(name="a.proto")
    lost.message_type.add(name="T").field.add(name="f", number=1, type_name=".Gone", type=11, label=1)
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=[lost]).SerializeToString())
    with pytest.raises(GenerateError, match=r"^a\.proto: protobuf does not take this file: "):
        generate([], tmp_path / "out", "p", descriptor_set=path)


def test_a_set_takes_no_roots(tmp_path: Path, roots: list[Path]) -> None:
    path = compiled(roots, tmp_path / "set.binpb")
    with pytest.raises(GenerateError, match="takes no --proto"):
        generate(roots, tmp_path / "out", "p", descriptor_set=path)
    with pytest.raises(GenerateError, match="can't be read: No such file"):
        generate([], tmp_path / "out", "p", descriptor_set=tmp_path / "missing")
    with pytest.raises(GenerateError, match="nothing to generate: give --proto"):
        generate([], tmp_path / "out", "p")


def test_a_comment_in_a_set_is_never_code(tmp_path: Path) -> None:
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", syntax="proto3")
    file.message_type.add(name="T")
    file.service.add(name="S").method.add(name="M", input_type=".T", output_type=".T")
    comment = 'nul \0 and """ + open("ran", "w") + """ '
    file.source_code_info.location.add(path=[6, 0], leading_comments=comment)
    file.source_code_info.location.add(path=[4, 0], trailing_comments=comment + "~")
    data = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString().replace(b"~", b"\xff")
    (tmp_path / "set.binpb").write_bytes(data)
    generate([], tmp_path / "out", "p", descriptor_set=tmp_path / "set.binpb")
    for path in (tmp_path / "out/p").glob("a_*.py*"):
        text = path.read_text("utf-8")
        compile(text, str(path), "exec")
        assert '""" +' not in text
        assert "\0" not in text


# The plugin


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    """The option that names the plugin, as its console script is run."""
    path = tmp_path / "protoc-gen-yagrpc"
    code = "from yagrpc.codegen.plugin import main; main()"
    run = shlex.join([sys.executable, "-W", "error", "-c", code])
    path.write_text(f'#!/bin/sh\nexec {run} "$@"\n', "utf-8")
    path.chmod(0o755)
    return f"--plugin=protoc-gen-yagrpc={path}"


def test_the_plugin_gives_the_same_package(
    tmp_path: Path, roots: list[Path], expected: dict[str, bytes], plugin: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    include = [f"-I{root}" for root in roots]
    done = protoc(*include, plugin, f"--yagrpc_out={out}", "--yagrpc_opt=package=stubs.inner", "shop/v1/shop.proto")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert contents(out) == expected


@pytest.mark.parametrize(
    ("proto", "option", "said"),
    [
        ("message T {}", "package=json", "--yagrpc_out: the package name 'json' would hide a module of Python's own"),
        ("message T {}", "package=grpc", "--yagrpc_out: the package name 'grpc' would hide an installed package"),
        ("message T {}", "package=p,x=1", "--yagrpc_out: the plugin has one option, which is needed: package=NAME"),
        ("message T {}", "", "--yagrpc_out: the plugin has one option, which is needed: package=NAME"),
        (
            "message T {} service S { rpc _M (T) returns (T); }",
            "package=p",
            "--yagrpc_out: a.proto: rpc S._M can't begin with an underscore",
        ),
    ],
)
def test_the_plugin_says_what_is_wrong(tmp_path: Path, plugin: str, proto: str, option: str, said: str) -> None:
    (tmp_path / "a.proto").write_text(f'syntax = "proto3"; {proto}', "utf-8")
    (tmp_path / "out").mkdir()
    done = protoc(f"-I{tmp_path}", plugin, f"--yagrpc_out={option}:{tmp_path / 'out'}", "a.proto")
    assert done.returncode != 0
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


def test_the_plugin_takes_editions(tmp_path: Path, plugin: str) -> None:
    (tmp_path / "a.proto").write_text('edition = "2023"; message T { int32 n = 1; }', "utf-8")
    (tmp_path / "out").mkdir()
    done = protoc(f"-I{tmp_path}", plugin, f"--yagrpc_out={tmp_path / 'out'}", "--yagrpc_opt=package=edited", "a.proto")
    assert (done.returncode, done.stderr) == (0, "")
    code = "from edited import a_pb2; assert not a_pb2.T().HasField('n'); assert a_pb2.T(n=0).HasField('n')"
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path / "out", check=True)


@pytest.mark.parametrize(("arguments", "given"), [(["--help"], b""), ([], b"\0\1not a request")])
def test_the_plugin_is_no_program_for_people(plugin: str, arguments: list[str], given: bytes) -> None:
    command = [plugin.rpartition("=")[2], *arguments]
    done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"protoc-gen-yagrpc is a plugin of protoc and of buf")
    assert done.stderr.count(b"\n") == 1

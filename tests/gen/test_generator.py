"""The generator: what it makes of a tree of protos, and what it says of one that it can't compile."""

from __future__ import annotations

import importlib
import inspect
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")

from yagrpc.codegen import GenerateError, generate
from yagrpc.codegen.__main__ import main
from yagrpc.codegen.swap import swap
from yagrpc.codegen.writing.stubs import without_version_guard
from yagrpc.method import BidiStreamMethod, ClientStreamMethod, OperationMethod, StreamMethod, UnaryMethod

PROTOS = Path(__file__).parents[2] / "proto"

SHOP = """
syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
import "shop/v1/common-types.proto";
import "yandex/cloud/api/operation.proto";
import "yandex/cloud/operation/operation.proto";

// Sells things.
// By the dozen.
service ShopService {
  // Takes an order with "quotes", and \\\\ backslashes.
  rpc Order (OrderRequest) returns (yandex.cloud.operation.Operation) {
    option (google.api.http) = { post: "/shop/v1/orders" body: "order" };
    option (yandex.cloud.api.operation) = { metadata: "Receipt.Line" response: "google.protobuf.Empty" };
  }
  rpc Watch (OrderRequest) returns (stream Receipt);
  rpc Get (OrderRequest) returns (Receipt) {
    option (google.api.http) = { custom: { kind: "head" path: "/x" } additional_bindings { get: "/{order}/x" } };
  }
  // Returns an operation, and does not say what comes of it.
  rpc Raw (OrderRequest) returns (yandex.cloud.operation.Operation);
}
// What is asked for.
message OrderRequest {
  // Its number, as the customer knows it.
  string order = 1;
  google.protobuf.Struct extra = 2; Colour colour = 3; }
message Receipt { message Line { int64 number = 1; } repeated Line lines = 1; map<string, Line> by_name = 2; }
"""
COMMON = 'syntax = "proto3"; package shop.v1; enum Colour { NONE = 0; RED = 1; }'
HEAD = (
    'syntax = "proto3"; package a; import "yandex/cloud/api/operation.proto"; '
    'import "yandex/cloud/operation/operation.proto"; '
)


def write(root: Path, **files: str) -> Path:
    """Write protos; the underscores of a name are its path's slashes."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '-').replace('_', '/')}.proto"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which a generated package `shop_stubs.inner` lies; it can be imported."""
    root = tmp_path_factory.mktemp("shop")
    write(root / "proto", shop_v1_shop=SHOP, shop_v1_common__types=COMMON)
    generate([root / "proto", PROTOS], root / "out", "shop_stubs.inner", ["shop/v1/shop.proto"])
    sys.path.insert(0, str(root / "out"))
    yield root
    sys.path.remove(str(root / "out"))


def test_the_table_holds_what_the_options_say(shop: Path) -> None:
    service: Any = importlib.import_module("shop_stubs.inner.shop.v1.shop_methods").ShopService
    messages: Any = importlib.import_module("shop_stubs.inner.shop.v1.shop_pb2")
    empty: Any = importlib.import_module("shop_stubs.inner.google.protobuf.empty_pb2")
    operations: Any = importlib.import_module("shop_stubs.inner.yandex.cloud.operation.operation_pb2")
    # Python 3.13 removes the indentation of docstrings.
    assert inspect.cleandoc(service.__doc__) == "Sells things.\nBy the dozen."
    order = service.Order
    assert isinstance(order, OperationMethod)
    assert (order.path, order.service, order.name) == ("/shop.v1.ShopService/Order", "shop.v1.ShopService", "Order")
    assert (order.request_type, order.response_type) == (messages.OrderRequest, empty.Empty)
    assert (order.metadata_type, order.operation_type) == (messages.Receipt.Line, operations.Operation)
    assert repr(order.http) == "HttpRule('POST', '/shop/v1/orders', 'order')"
    assert isinstance(service.Watch, StreamMethod)
    assert service.Watch.http is None
    assert isinstance(service.Get, UnaryMethod)
    assert repr(service.Get.http) == "HttpRule('HEAD', '/x', '', HttpRule('GET', '/{order}/x', ''))"
    assert isinstance(service.Raw, UnaryMethod)
    assert service.Raw.response_type is operations.Operation
    assert repr(order) == "<OperationMethod /shop.v1.ShopService/Order>"


def test_comments_become_docstrings(shop: Path) -> None:
    home = shop / "out/shop_stubs/inner/shop/v1"
    expected = {
        "shop_pb2.pyi": ('"""What is asked for."""', '"""Its number, as the customer knows it."""'),
        "shop_pb2_grpc.pyi": ('"""Sells things.', '"""Takes an order with "quotes", and'),
        "shop_methods.py": ('    """Sells things.\n    By the dozen.\n    """', '"""Takes an order with "quotes", and'),
    }
    for name, texts in expected.items():
        written = (home / name).read_text("utf-8")
        for text in texts:
            assert text in written, (name, text)


def test_two_packages_of_one_proto_live_in_one_process(shop: Path) -> None:
    from yagrpc import _pb

    theirs: Any = importlib.import_module("shop_stubs.inner.yandex.cloud.operation.operation_pb2")
    ours = _pb.operation_pb2
    assert theirs.Operation is not ours.Operation
    assert theirs.DESCRIPTOR.name == ours.DESCRIPTOR.name == "yandex/cloud/operation/operation.proto"
    assert theirs.Operation.FromString(ours.Operation(id="x").SerializeToString()).id == "x"


def test_messages_hold_the_packages_own_well_known_types(shop: Path) -> None:
    messages: Any = importlib.import_module("shop_stubs.inner.shop.v1.shop_pb2")
    request = messages.OrderRequest(extra={"n": 1}, colour="RED")
    assert request.extra["n"] == 1
    assert type(request.extra).__module__ == "shop_stubs.inner.google.protobuf.struct_pb2"


def test_a_table_is_loaded_without_its_messages(shop: Path) -> None:
    code = (
        "import sys; from shop_stubs.inner.shop.v1 import shop_methods as m; m.ShopService.Order;"
        "assert not [name for name in sys.modules if name.endswith('_pb2') or name == 'grpc'];"
        "assert m.ShopService.Order.request_type.__name__ == 'OrderRequest'"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=shop / "out", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_one_service_loads_only_what_it_needs() -> None:
    home = "yagrpc_proto.yandex.cloud.iam.v1.iam_token_service"
    code = (
        f"import sys, {home}_pb2_grpc, {home}_methods; from yagrpc_proto import methods; methods.IamTokenService;"
        "names = (name for name in sys.modules if name.startswith('yagrpc_proto.'));"
        "print(*sorted(name for name in names if '_' in name.split('.')[-1]))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "yagrpc_proto._pool",
        "yagrpc_proto.google.api.annotations_pb2",
        "yagrpc_proto.google.api.http_pb2",
        "yagrpc_proto.google.protobuf.descriptor_pb2",
        "yagrpc_proto.google.protobuf.timestamp_pb2",
        f"{home}_methods",
        f"{home}_pb2",
        f"{home}_pb2_grpc",
        "yagrpc_proto.yandex.cloud.validation_pb2",
    ]


def test_every_file_names_its_generator_and_its_source(shop: Path) -> None:
    for name, text in contents(shop / "out").items():
        if name.endswith("py.typed"):
            assert text == b""
            continue
        first, second, *_ = [*text.decode().splitlines(), ""]
        assert first.startswith("# @generated by yagrpc.codegen with grpcio-tools "), name
        assert second.startswith("# Source: "), name
        if "_pb2" in name or "_methods" in name:
            assert second.endswith(".proto"), name


def test_equal_sources_give_equal_bytes(shop: Path, tmp_path: Path) -> None:
    generate([PROTOS, shop / "proto"], tmp_path, "shop_stubs.inner", ["shop/v1/shop.proto"])
    assert contents(tmp_path) == contents(shop / "out")


def test_the_module_prints_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "Args:" not in printed
    assert "--proto DIR a folder that import paths start from" in printed


def test_files_of_an_earlier_run_go(tmp_path: Path) -> None:
    protos = write(tmp_path / "proto", one='syntax = "proto3"; message One {}', two='syntax = "proto3"; message Two {}')
    generate([protos], tmp_path / "out", "stubs")
    assert (tmp_path / "out/stubs/two_pb2.py").exists()
    (protos / "two.proto").unlink()
    assert main(["--proto", str(protos), "--out", str(tmp_path / "out"), "--package", "stubs"]) == 0
    assert not (tmp_path / "out/stubs/two_pb2.py").exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["stubs"]


def test_public_imports_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protos = write(
        tmp_path / "proto",
        inner='syntax = "proto3"; message Inner {}',
        outer='syntax = "proto3"; import public "inner.proto"; message Outer { Inner inner = 1; }',
    )
    generate([protos], tmp_path / "out", "passing")
    monkeypatch.syspath_prepend(tmp_path / "out")
    assert importlib.import_module("passing.outer_pb2").Inner is importlib.import_module("passing.inner_pb2").Inner


def test_a_file_without_a_package_has_paths_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = "service Plain { rpc Up (stream T) returns (T); rpc Both (stream T) returns (stream T); }"
    generate(
        [write(tmp_path / "proto", plain=f'syntax = "proto3"; message T {{}} {service}')], tmp_path / "out", "bare"
    )
    monkeypatch.syspath_prepend(tmp_path / "out")
    plain: Any = importlib.import_module("bare.plain_methods").Plain
    assert (type(plain.Up), plain.Up.path) == (ClientStreamMethod, "/Plain/Up")
    assert (type(plain.Both), plain.Both.path) == (BidiStreamMethod, "/Plain/Both")


def test_the_listing_refuses_a_name_that_occurs_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protos = tmp_path / "proto"
    for package in ("a", "b"):
        text = f'syntax = "proto3"; package {package}; message T {{}} service Twin {{ rpc M (T) returns (T); }}'
        write(protos, **{f"{package}_twin": text})
    write(protos, one='syntax = "proto3"; import "a/twin.proto"; service One { rpc M (a.T) returns (a.T); }')
    generate([protos], tmp_path / "out", "listed")
    monkeypatch.syspath_prepend(tmp_path / "out")
    methods: Any = importlib.import_module("listed.methods")
    assert dir(methods) == ["One"]
    assert methods.One.M.path == "/One/M"
    twins = r"several services: import one of listed\.a\.twin_methods\.Twin, listed\.b\.twin_methods\.Twin"
    with pytest.raises(AttributeError, match=twins):
        methods.Twin  # noqa: B018
    with pytest.raises(AttributeError, match="no service 'Three'"):
        methods.Three  # noqa: B018


def test_two_modules_of_one_name_get_two_aliases(tmp_path: Path) -> None:
    service = 'syntax = "proto3"; import "a/t.proto"; import "b/t.proto"; service S { rpc M (a.T) returns (b.T); }'
    protos = write(
        tmp_path / "proto",
        a_t='syntax = "proto3"; package a; message T {}',
        b_t='syntax = "proto3"; package b; message T {}',
        s=service,
    )
    generate([protos], tmp_path / "out", "twice")
    table = (tmp_path / "out/twice/s_methods.py").read_text("utf-8")
    assert "from twice.a import t_pb2 as _t_pb2\n" in table
    assert "from twice.b import t_pb2 as _t_pb2_2\n" in table
    assert "M: _typing.Final[_method.UnaryMethod[_t_pb2.T, _t_pb2_2.T]]" in table
    assert "HttpRule" not in table


@pytest.mark.parametrize(
    ("proto", "text"),
    [
        ('syntax = "proto3";\nmessage {', "a.proto:2:9"),
        ('syntax = "proto3"; import "nowhere.proto";', "nowhere.proto"),
        (
            HEAD + "message T {} service S { rpc M (T) returns (yandex.cloud.operation.Operation) "
            '{ option (yandex.cloud.api.operation) = { response: "Lost" }; } }',
            "a.proto: rpc a.S.M: its operation's response type 'Lost' is not in any compiled file",
        ),
        (
            HEAD + "message T {} service S { rpc M (T) returns (yandex.cloud.operation.Operation) "
            '{ option (yandex.cloud.api.operation) = { response: ".a.T" metadata: ".a.Gone" }; } }',
            "metadata type '.a.Gone'",
        ),
        (
            HEAD + "message T {} service S { rpc M (T) returns (yandex.cloud.operation.Operation) "
            '{ option (yandex.cloud.api.operation) = { metadata: "T" }; } }',
            "names no response type",
        ),
    ],
)
def test_a_source_that_can_not_be_compiled_leaves_the_old_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], proto: str, text: str
) -> None:
    protos = write(tmp_path / "proto", a='syntax = "proto3"; message Fine {}')
    arguments = ["--proto", str(protos), "--proto", str(PROTOS), "--out", str(tmp_path / "out"), "--package", "p"]
    assert main([*arguments, "a.proto"]) == 0
    before = contents(tmp_path / "out")
    write(protos, a=proto)
    assert main([*arguments, "a.proto"]) == 2
    assert text in capsys.readouterr().err
    assert contents(tmp_path / "out") == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p"]


@pytest.mark.parametrize(
    ("package", "text"),
    [
        ("9lives", "can't be imported"),
        ("a.class", "can't be imported"),
        ("a..b", "can't be imported"),
        ("", "can't be imported"),
        ("json", "Python's own"),
        ("grpc.inner", "would hide an installed package"),
        ("google", "would hide an installed package"),
        ("yagrpc", "would hide an installed package"),
        ("yagrpc_proto", "yagrpc's own generated code"),
    ],
)
def test_a_package_that_can_not_be_is_refused(tmp_path: Path, package: str, text: str) -> None:
    protos = write(tmp_path / "proto", a='syntax = "proto3";')
    with pytest.raises(GenerateError, match=text):
        generate([protos], tmp_path / "out", package)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_merely_lies_here_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protos = write(tmp_path / "proto", a='syntax = "proto3"; message A {}')
    (tmp_path / "stubs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    generate([protos], tmp_path / "out", "stubs")
    monkeypatch.chdir(tmp_path / "out")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(GenerateError, match="would hide an installed package"):
        generate([protos], tmp_path / "out", "proto")


def test_files_of_somebody_else_are_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    protos = write(tmp_path / "proto", a='syntax = "proto3"; message A {}')
    arguments = ["--proto", str(protos), "--out", str(tmp_path / "out"), "--package", "p"]
    assert main(arguments) == 0
    mine = tmp_path / "out/p/mine.py"
    mine.write_text("# by hand\n", "utf-8")
    assert main(arguments) == 2
    assert "mine.py was not written by this generator" in capsys.readouterr().err
    assert mine.exists()
    assert main([*arguments, "--force"]) == 0
    assert not mine.exists()


def test_one_file_in_two_roots_has_to_be_the_same(tmp_path: Path) -> None:
    text = 'syntax = "proto3"; message A {}'
    one, two = write(tmp_path / "one", a=text), write(tmp_path / "two", a=text)
    generate([one, two], tmp_path / "out", "p")
    write(two, a=text + "\n// another version")
    with pytest.raises(
        GenerateError, match=r"a\.proto is in two roots, and differs: .*one/a\.proto and .*two/a\.proto"
    ):
        generate([one, two], tmp_path / "out", "p")


def test_packages_below_one_folder_leave_each_other_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protos = write(tmp_path / "proto", a='syntax = "proto3"; message A {}')
    generate([protos], tmp_path / "out", "beside.one")
    (tmp_path / "out/beside/mine.py").write_text("NUMBER = 5\n", "utf-8")
    generate([protos], tmp_path / "out", "beside.two")
    generate([protos], tmp_path / "out", "beside.two")
    monkeypatch.syspath_prepend(tmp_path / "out")
    first, second = (importlib.import_module(f"beside.{name}.a_pb2") for name in ("one", "two"))
    assert first.A is not second.A
    assert importlib.import_module("beside.mine").NUMBER == 5


def test_paths_with_words_of_pythons_own_are_importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protos = write(
        tmp_path / "proto",
        lambda_class='syntax = "proto3"; package q; message A {}',
        user='syntax = "proto3"; import "lambda/class.proto"; service S { rpc M (q.A) returns (q.A); }',
    )
    generate([protos], tmp_path / "out", "worded")
    monkeypatch.syspath_prepend(tmp_path / "out")
    table: Any = importlib.import_module("worded.user_methods")
    assert table.S.M.request_type is importlib.import_module("worded.lambda_.class_pb2").A
    importlib.import_module("worded.user_pb2_grpc")
    assert "import class_pb2" in (tmp_path / "out/worded/user_pb2_grpc.pyi").read_text("utf-8")


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (("a-b", "a_b"), r"a-b\.proto and a_b\.proto would both be the module p\.a_b_pb2"),
        (("v1.2/a",), r"v1\.2/a\.proto can't be a Python module"),
        (("2fa",), r"2fa\.proto can't be a Python module"),
    ],
)
def test_a_path_that_can_not_be_a_module_is_refused(tmp_path: Path, files: tuple[str, ...], text: str) -> None:
    for number, name in enumerate(files):
        path = tmp_path / f"proto/{name}.proto"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'syntax = "proto3"; message M{number} {{}}', "utf-8")
    with pytest.raises(GenerateError, match=text):
        generate([tmp_path / "proto"], tmp_path / "out", "p")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "message A {} service S { rpc import (A) returns (A); }",
        "message A {} service class { rpc M (A) returns (A); }",
        "message A { message None {} } service S { rpc M (A.None) returns (A); }",
    ],
)
def test_a_name_that_is_a_word_of_pythons_own_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(GenerateError, match="is named by a word of Python's own"):
        generate([write(tmp_path / "proto", a=f'syntax = "proto3"; {text}')], tmp_path / "out", "p")


@pytest.mark.parametrize("form", ["{0}/a.proto", "./a.proto", "../proto/a.proto"])
def test_a_path_of_the_file_system_is_no_import_path(tmp_path: Path, form: str) -> None:
    root = write(tmp_path / "proto", a='syntax = "proto3"; message A {}')
    with pytest.raises(
        GenerateError, match=r"a\.proto is no import path: name the folder that it starts from by --proto"
    ):
        generate([root], tmp_path / "out", "p", [form.format(root)])


def test_a_file_without_its_folder_is_not_found_and_the_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenerateError, match=r"shop\.proto: No such file .* the folder that it starts from by --proto"):
        generate([], tmp_path / "out", "p", ["shop.proto"])


def test_a_root_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(GenerateError, match="is not a folder"):
        generate([tmp_path / "nowhere"], tmp_path / "out", "p")


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    protos = write(tmp_path / "proto", a='syntax = "proto3"; message A {}')
    (tmp_path / "out").write_text("a file", "utf-8")
    with pytest.raises(GenerateError, match="can't be written"):
        generate([protos], tmp_path / "out", "p")


def test_no_permission_to_write_is_refused(tmp_path: Path) -> None:
    protos = write(tmp_path / "proto", a='syntax = "proto3"; message A {}')
    generate([protos], tmp_path / "out", "p")
    before = contents(tmp_path / "out")
    write(protos, b='syntax = "proto3"; message B {}')
    arguments = ["--proto", str(protos), "--out", str(tmp_path / "out"), "--package", "p"]
    command = [sys.executable, "-m", "yagrpc.codegen", *arguments]
    if os.geteuid() == 0:
        # Root may write anywhere by a capability of its own, without which it is bound as anybody is.
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may write anywhere, and there is no setpriv to take that from it")
        command = [setpriv, "--bounding-set=-dac_override", *command]
    (tmp_path / "out").chmod(0o500)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        (tmp_path / "out").chmod(0o700)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"there is no permission to write to {tmp_path / 'out'}\n"
    assert contents(tmp_path / "out") == before


def test_a_run_that_is_killed_leaves_the_old_output(tmp_path: Path) -> None:
    protos = write(tmp_path / "proto", a='syntax = "proto3"; message A {}')
    out = tmp_path / "out"
    arguments = ["--proto", str(protos), "--proto", str(PROTOS), "--out", str(out), "--package", "p"]
    assert main(arguments) == 0
    before = contents(out)
    write(protos, b='syntax = "proto3"; message B {}')
    command = [sys.executable, "-m", "yagrpc.codegen", *arguments]
    with subprocess.Popen(command, start_new_session=True) as run:
        while not list(out.glob(".generate-*/*")):
            assert run.poll() is None
        os.killpg(run.pid, signal.SIGKILL)
    assert contents(out / "p") == {name.removeprefix("p/"): text for name, text in before.items()}
    assert list(out.glob(".generate-*"))
    assert main(arguments) == 0
    assert (out / "p/b_pb2.py").exists()
    assert [path.name for path in out.iterdir()] == ["p"]


def test_there_is_a_whole_package_at_every_moment(tmp_path: Path) -> None:
    protos = write(tmp_path / "proto", a='syntax = "proto3"; message A {}')
    arguments = ["--proto", str(protos), "--out", str(tmp_path / "out"), "--package", "p"]
    assert main(arguments) == 0
    before = contents(tmp_path / "out/p")
    write(protos, b='syntax = "proto3"; message B {}')
    command = [sys.executable, "-m", "yagrpc.codegen", *arguments]
    seen, last = 0, tmp_path / "out/p/py.typed"
    with subprocess.Popen(command) as run:
        while run.poll() is None:
            assert last.exists()
            seen += 1
    assert run.returncode == 0
    assert seen > 100
    assert contents(tmp_path / "out/p").keys() - before.keys() == {"b_pb2.py", "b_pb2.pyi"}


@pytest.mark.parametrize("exchange", [True, False])
def test_a_swap_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(sys, "platform", "another")
    new, target = tmp_path / "new", tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(FileNotFoundError):
        swap(new, target)
    assert [path.name for path in target.iterdir()] == ["old"]
    new.mkdir()
    (new / "fresh").touch()
    swap(new, target)
    assert [path.name for path in target.iterdir()] == ["fresh"]


def test_nothing_to_compile_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GenerateError, match=r"no \.proto file below"):
        generate([tmp_path], tmp_path / "out", "p")


@pytest.mark.parametrize("suffix", [".py", ".pyi"])
def test_a_guard_of_another_shape_is_an_error(suffix: str) -> None:
    with pytest.raises(GenerateError, match="version guard has 1 statements"):
        without_version_guard("import grpc\nGRPC_VERSION = grpc.__version__\n", suffix, "x_pb2_grpc")

"""Protos that somebody else wrote: names, comments and files of theirs are data, wherever the generator reads them."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")

from google.protobuf import descriptor_pb2

from yagrpc.codegen import GenerateError, generate

FINE = 'syntax = "proto3"; message Fine {}'
EMPTY = 'syntax = "proto3"; package q; message T {} '


def put(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def run_in(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `yagrpc generate` as its console script does: the working folder is not on the path."""
    code = "import sys; sys.path[:] = [path for path in sys.path if path]; from yagrpc.cli import main; main()"
    command = [sys.executable, "-W", "error", "-c", code, "generate", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


# Names


@pytest.mark.parametrize(
    "name",
    [
        "--plugin=protoc-gen-evil=cloudapi/a.proto",
        "--plugin=protoc-gen-mypy=./evil/a.proto",
        "--evil_out=./a.proto",
        "-I/a.proto",
        "-Iroot.proto",
        "-a.proto",
        "@arguments/a.proto",
        "@arguments.proto",
        "a=b/c.proto",
        "a b/c.proto",
        "a;b.proto",
        "a:b.proto",
        "a\nb.proto",
        "a\n--plugin=protoc-gen-x=evil/b.proto",
        "a\\b.proto",
        "\u202egnp/a.proto",
        "\ufb01le.proto",
        "\ufb01/a.proto",
        os.fsdecode(b"\xff.proto"),
        "__pycache__/a.proto",
        "__init__/a.proto",
    ],
)
@pytest.mark.parametrize("way", ["found", "given", "imported"])
def test_a_name_that_protoc_or_python_would_mistake_is_refused(tmp_path: Path, name: str, way: str) -> None:
    protos = tmp_path / "proto"
    try:
        put(protos / name, FINE)
    except OSError:
        pytest.skip("this file system has no such names")
    put(tmp_path / "other/fine.proto", FINE)
    escaped = name.encode(errors="surrogateescape").decode("latin-1").encode("unicode_escape").decode()
    if way == "imported":
        put(tmp_path / "other/fine.proto", f'syntax = "proto3"; import "{escaped}"; message Other {{}}')
    roots = [protos] if way == "found" else [protos, tmp_path / "other"]
    files = {"found": (), "given": (name,), "imported": ("fine.proto",)}[way]
    with pytest.raises(GenerateError) as refused:
        generate(roots, tmp_path / "out", "p", files)
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].isprintable()
    assert not list(tmp_path.glob("out/*"))


def evil(path: Path) -> Path:
    """A program that leaves a trace beside itself."""
    put(path, f"#!/bin/sh\ntouch '{path.parent.resolve() / 'ran'}'\n").chmod(0o755)
    return path


def test_a_folder_named_as_an_option_runs_nothing(tmp_path: Path) -> None:
    evil(tmp_path / "cloudapi/a.proto")
    put(tmp_path / "cloudapi/--plugin=protoc-gen-evil=cloudapi/a.proto", FINE)
    put(tmp_path / "cloudapi/--evil_out=./a.proto", FINE)
    done = run_in(tmp_path, "--proto", "cloudapi", "--out", "out", "--package", "p")
    assert done.returncode == 2
    assert "for an option" in done.stderr
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize("name", ["with:colon", "virtual=disk", "-I.", "@file", "a\nb", "with space", "Кириллица"])
def test_a_folder_given_by_the_caller_may_have_any_name(tmp_path: Path, name: str) -> None:
    put(tmp_path / name / "a.proto", 'syntax = "proto3"; import "b/c.proto"; service S { rpc M (b.T) returns (b.T); }')
    put(tmp_path / name / "b/c.proto", 'syntax = "proto3"; package b; message T {}')
    generate([tmp_path / name], tmp_path / f"{name}.out", "p")
    assert (tmp_path / f"{name}.out/p/a_pb2_grpc.pyi").exists()


def test_a_folder_of_the_name_of_our_own_is_not_mistaken(tmp_path: Path) -> None:
    put(tmp_path / "proto/a.proto", 'syntax = "proto3"; message Outer {}')
    put(tmp_path / "proto/sources/a.proto", 'syntax = "proto3"; package s; message Inner {}')
    generate([tmp_path / "proto"], tmp_path / "out", "p")
    assert "class Inner" in (tmp_path / "out/p/sources/a_pb2.pyi").read_text("utf-8")


def test_a_package_name_is_one_that_python_finds_again(tmp_path: Path) -> None:
    put(tmp_path / "proto/a.proto", FINE)
    with pytest.raises(GenerateError, match="can't be imported"):
        generate([tmp_path / "proto"], tmp_path / "out", "\ufb01les")


# The interpreter's path


HIJACKED = [
    "types.py",
    "grpc_tools/__init__.py",
    "grpc_tools/protoc.py",
    "mypy_protobuf/__init__.py",
    "google/__init__.py",
    "runpy.py",
    "ast.py",
]


@pytest.mark.parametrize("path", [None, "", ".", os.pathsep])
def test_nothing_is_imported_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    here = tmp_path / "here"
    put(here / "a.proto", EMPTY + "service S { rpc M (T) returns (T); }")
    trace = tmp_path / "imported"
    for name in HIJACKED:
        put(here / name, f"open({str(trace)!r}, 'a').write({name!r}); raise SystemExit('hijacked')\n")
    # The command itself has a clean path; what it starts gets the environment as it is.
    own = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    code = (
        f"import os, sys; sys.path.remove(''); os.chdir({str(here)!r}); "
        + (f"os.environ['PYTHONPATH'] = {os.pathsep.join([*own, path])!r}; " if path is not None else "")
        + "from pathlib import Path; from yagrpc.codegen import generate; generate([Path()], Path('out'), 'p')"
    )
    (tmp_path / "elsewhere").mkdir()
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False, timeout=60)
    assert not trace.exists(), trace.read_text("utf-8")
    assert done.returncode == 0, done.stderr
    assert (here / "out/p/a_pb2_grpc.pyi").exists()


def test_a_path_given_relatively_still_counts(tmp_path: Path) -> None:
    put(tmp_path / "vendor/sitecustomize.py", f"open({str(tmp_path / 'seen')!r}, 'a').write('x')\n")
    put(tmp_path / "a.proto", FINE)
    own = os.environ.get("PYTHONPATH", "")
    code = "from yagrpc.cli import main; main()"
    command = [sys.executable, "-c", code, "generate", "--proto", ".", "--out", "out", "--package", "p"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, ["vendor", own]))}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "seen").read_text("utf-8")) > 1, "the children have it as well"


# Comments


COMMENTS = [
    '""" + __import__("os").system("touch ran") + """',
    'ends in """',
    '"""',
    'x = """"quoted"""" twice',
    'ends in "',
    'ends in ""',
    "ends in a backslash \\",
    "\\",
    "C:\\users and C:\\new",
    "\\x \\u12 \\U1 \\N \\N{no such name} \\8",
    "$variable$ and $ {braces} {0} %s %(x)s",
    "bell \a and escape \x1b[2J",
    "right \u202e to left \u2066",
    "lines\u2028of\u2029other\x85kinds\x0cand\x0bmore\x1cof\x1dthem",
    "carriage \r return",
    "Привет, мир: \U0001f600",
]
SERVICE = """syntax = "proto3"; package c;
/*DETACHED*/

/*HERE*/
message T { /*HERE*/ string f = 1 [deprecated = true]; /*HERE*/ oneof o { string g = 2; } /*HERE*/ }
/*HERE*/
enum E { /*HERE*/ ZERO = 0; /*HERE*/ }
/*DETACHED*/

/*HERE*/
service S { /*HERE*/ option deprecated = true; /*HERE*/ rpc M (T) returns (T); /*HERE*/ }
/*HERE*/
"""


def python_of(text: str, name: str) -> ast.Module:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an invalid escape in a string is a SyntaxWarning
        return ast.parse(text, name)


def shape(tree: ast.AST) -> str:
    """A module's code without the text of its docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = ""
        elif isinstance(node, ast.Call) and "deprecated" in ast.dump(node.func) and node.args:
            assert isinstance(node.args[0], ast.Constant)
            node.args[0].value = ""
    return ast.dump(tree)


def modules_of(root: Path, comment: str | bytes) -> dict[str, str]:
    """The modules that are generated of a file with a comment in every place."""
    given = comment.encode(errors="surrogatepass") if isinstance(comment, str) else comment
    text = SERVICE.encode().replace(b"/*HERE*/", b"/*" + given + b"*/").replace(b"/*DETACHED*/", b"// " + given)
    put(root / "proto/c.proto", text)
    generate([root / "proto"], root / "out", "commented")
    return {path.name: path.read_text("utf-8") for path in (root / "out/commented").glob("c_*.py*")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    modules = modules_of(tmp_path_factory.mktemp("plain"), "A comment.")
    return {name: shape(python_of(text, name)) for name, text in modules.items()}


@pytest.mark.parametrize("comment", COMMENTS)
def test_a_comment_is_never_code(tmp_path: Path, plain: dict[str, str], comment: str) -> None:
    modules = modules_of(tmp_path, comment)
    assert modules.keys() == plain.keys()
    for name, text in modules.items():
        assert shape(python_of(text, name)) == plain[name], name
        assert all(line.isprintable() or "\t" in line for line in text.split("\n")), name


@pytest.mark.parametrize("comment", ['C:\\users say "no" \\N', "Привет, мир: \U0001f600", "bell \a and escape \x1b"])
def test_a_comment_is_read_as_it_was_written(tmp_path: Path, comment: str) -> None:
    shown = comment.replace("\a", "\ufffd").replace("\x1b", "\ufffd")
    for name, text in modules_of(tmp_path, comment).items():
        if name == "c_pb2.py":
            continue
        documented = [
            node.value.value
            for node in ast.walk(python_of(text, name))
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ]
        assert any(shown in str(each) for each in documented), name


def test_a_comment_that_is_not_utf_8_keeps_what_can_be_read(tmp_path: Path, plain: dict[str, str]) -> None:
    modules = modules_of(tmp_path, "Saved as cp1251: Привет.".encode("cp1251"))
    assert {name: shape(python_of(text, name)) for name, text in modules.items()} == plain
    assert "Saved as cp1251: \ufffd" in modules["c_pb2_grpc.py"]
    assert "Saved as cp1251: \ufffd" in modules["c_methods.py"]


def test_text_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    text = b'syntax = "proto3"; // caf\xe9\npackage c;\nmessage T { option (x) = "\xcf"; }'
    put(tmp_path / "proto/c.proto", text)
    with pytest.raises(
        GenerateError, match=r"^.*proto.c\.proto:3: the text is not UTF-8: save the file in that encoding$"
    ):
        generate([tmp_path / "proto"], tmp_path / "out", "p")


OPTIONS = """syntax = "proto2"; package mypy_protobuf; import "google/protobuf/descriptor.proto";
extend google.protobuf.FieldOptions { optional Options options = 1154; optional string casttype = 1151; }
message Options { optional string casttype = 1; optional string keytype = 2; optional string valuetype = 3; }
"""


def test_an_option_is_never_code(tmp_path: Path) -> None:
    put(tmp_path / "proto/mypy_protobuf/extensions.proto", OPTIONS)
    text = '"os.x = 1\\nimport evil #"'
    field = f"int32 f = 1 [(mypy_protobuf.options) = {{ casttype: {text} }}, (mypy_protobuf.casttype) = {text}];"
    put(
        tmp_path / "proto/a.proto",
        f'syntax = "proto3"; import "mypy_protobuf/extensions.proto"; message T {{ {field} }}',
    )
    generate([tmp_path / "proto"], tmp_path / "out", "p", ["a.proto"])
    assert "evil" not in (tmp_path / "out/p/a_pb2.pyi").read_text("utf-8")


# Names in generated modules


def service(name: str, *rpcs: str) -> str:
    return f"service {name} {{ {' '.join(f'rpc {rpc} (T) returns (T);' for rpc in rpcs)} }}"


HELPERS = [
    *("UnaryMethod", "OperationMethod", "HttpRule", "Final", "TYPE_CHECKING", "typing", "method"),
    *("SERVICES", "importlib", "builtins", "Any", "str", "len", "globals", "getattr", "AttributeError", "tuple"),
    *("a_pb2", "helped", "yagrpc", "methods"),
]


@pytest.fixture(scope="module")
def helped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with a service and an rpc of every name that a module could use itself."""
    root = tmp_path_factory.mktemp("helped")
    http = 'rpc Http (T) returns (T) { option (google.api.http) = { get: "/x" }; }'
    services = [f"{service(name, *HELPERS)[:-1]} {http} }}" for name in HELPERS]
    text = 'syntax = "proto3"; import "google/api/annotations.proto"; message T {} '
    put(root / "proto/a.proto", text + " ".join(services) + " service Empty {}")
    generate([root / "proto"], root / "out", "helped")
    return root / "out"


def test_a_name_that_a_module_uses_is_a_proto_s_as_well(helped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(helped)
    methods: Any = importlib.import_module("helped.methods")
    for _ in range(2):
        for name in HELPERS:
            table = getattr(methods, name)
            assert [getattr(table, rpc).path for rpc in HELPERS] == [f"/{name}/{rpc}" for rpc in HELPERS]
            assert table.Http.http.path == "/x"
    with pytest.raises(AttributeError, match="no service 'Nothing'"):
        methods.Nothing  # noqa: B018
    assert set(dir(methods)) == {*HELPERS, "Empty"}
    importlib.import_module("helped.a_pb2_grpc")


def test_the_type_checker_knows_them_too(helped: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    uses = "\n".join(f"reveal_type(methods.{name}.{name})" for name in HELPERS)
    put(tmp_path / "use.py", f"from helped import methods\n{uses}\n")
    environment = {**os.environ, "MYPYPATH": os.pathsep.join(map(str, (helped, Path(__file__).parents[2])))}
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
    done = subprocess.run(
        [*command, "use.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("yagrpc.method.UnaryMethod[helped.a_pb2.T, helped.a_pb2.T]") == len(HELPERS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (service("S", "__slots__"), "rpc S.__slots__ can't begin with an underscore"),
        (service("S", "__init__"), "rpc S.__init__ can't begin with an underscore"),
        (service("S", "__private"), "rpc S.__private can't begin with an underscore"),
        (service("S", "_method"), "rpc S._method can't begin with an underscore"),
        (service("__all__", "M"), "service __all__ can't begin with an underscore"),
        (service("__getattr__", "M"), "service __getattr__ can't begin with an underscore"),
        (service("_SERVICES", "M"), "service _SERVICES can't begin with an underscore"),
        (service("grpc", "M"), "grpc would be the name of two things in a_pb2_grpc.py"),
        ("message sys {}", "sys would be the name of two things in a_pb2.pyi"),
        (service("annotations", "M"), "annotations would be the name of two things in a_methods.py"),
        (service("A", "M") + service("AStub", "M"), "AStub would be the name of two things in a_pb2_grpc.py"),
        (service("A", "M") + service("AServicer", "M"), "AServicer would be the name of two things"),
        (service("staticmethod", "M"), "gRPC's plugin uses Python's own staticmethod"),
        (service("S", "staticmethod", "M"), "gRPC's plugin uses Python's own staticmethod"),
        ("message DESCRIPTOR {}", "DESCRIPTOR would be the name of two things in a_pb2.pyi"),
        ("enum E { DESCRIPTOR = 0; }", "DESCRIPTOR would be the name of two things in a_pb2.pyi"),
        ("message _builtins {}", "_builtins would be the name of two things in a_pb2.pyi"),
    ],
)
def test_a_name_that_would_hide_another_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    put(tmp_path / "proto/a.proto", f'syntax = "proto3"; message T {{}} {text}')
    with pytest.raises(GenerateError) as refused:
        generate([tmp_path / "proto"], tmp_path / "out", "p")
    assert re.match(rf"a(\.proto|_pb2_grpc\.py): {re.escape(reason)}", str(refused.value))
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize(
    ("files", "module"),
    [
        (["_pool/a"], "p._pool"),
        (["methods/v1/a"], "p.methods"),
        (["x/a", "x/a_pb2/b"], "p.x.a_pb2"),
        (["a", "a_pb2_grpc/b"], "p.a_pb2_grpc"),
        (["a", "a-methods/b"], "p.a_methods"),
    ],
)
def test_a_folder_that_would_hide_a_module_is_refused(tmp_path: Path, files: list[str], module: str) -> None:
    for number, name in enumerate(files):
        put(tmp_path / f"proto/{name}.proto", f'syntax = "proto3"; package n{number}; message T {{}}')
    with pytest.raises(GenerateError, match=rf"its folder .*/ would hide the module {module}; rename it$"):
        generate([tmp_path / "proto"], tmp_path / "out", "p")


def test_a_public_import_takes_no_helper_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = "message globals {} message vars {} message add {} enum E { __name__ = 0; }"
    put(tmp_path / "proto/inner.proto", f'syntax = "proto3"; {inner}')
    put(tmp_path / "proto/outer.proto", 'syntax = "proto3"; import public "inner.proto"; message T { globals g = 1; }')
    generate([tmp_path / "proto"], tmp_path / "out", "taking")
    monkeypatch.syspath_prepend(tmp_path / "out")
    outer: Any = importlib.import_module("taking.outer_pb2")
    assert outer.T(g=outer.globals()).HasField("g")


HTTP = [
    "/a\nimport os",
    "/quote\"and'more",
    "/back\\slash",
    "/nul\0",
    "/\u202eleft",
    "/Кириллица \U0001f600",
    '/"""',
    "/\r",
]


def test_an_http_rule_is_what_the_proto_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def literal(text: str) -> str:
        return '"' + "".join(f"\\{byte:03o}" for byte in text.encode()) + '"'

    rules = [f"get: {literal(path)} body: {literal(path)}" for path in HTTP]
    rules.append(f"custom: {{ kind: {literal(HTTP[0])} path: {literal(HTTP[1])} }}")
    rpcs = [
        f"rpc M{number} (T) returns (T) {{ option (google.api.http) = {{ {rule} }}; }}"
        for number, rule in enumerate(rules)
    ]
    text = f'{EMPTY} import "google/api/annotations.proto"; service S {{ {" ".join(rpcs)} }}'
    put(tmp_path / "proto/a.proto", text)
    generate([tmp_path / "proto"], tmp_path / "out", "ruled")
    monkeypatch.syspath_prepend(tmp_path / "out")
    table: Any = importlib.import_module("ruled.a_methods").S
    for number, path in enumerate(HTTP):
        rule = getattr(table, f"M{number}").http
        assert (rule.path, rule.body) == (path, path)
    assert (getattr(table, f"M{len(HTTP)}").http.verb, getattr(table, f"M{len(HTTP)}").http.path) == (
        HTTP[0].upper(),
        HTTP[1],
    )
    written = (tmp_path / "out/ruled/a_methods.py").read_text("utf-8")
    assert all(line.isprintable() for line in written.split("\n"))


def test_a_descriptor_set_is_checked_as_protoc_checks_a_source(tmp_path: Path) -> None:
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", syntax="proto3")
    file.message_type.add(name="T")
    file.service.add(name="S").method.add(name="M", input_type=".T", output_type=".T")
    good = file.SerializeToString()
    names = {b"a.proto": b"../.pth", b"\x01T": b"\x01\n", b"\x01S": b"\x01(", b"\x01M": b"\x01\xff"}
    for old, new in names.items():
        assert len(old) == len(new)
        data = good.replace(old, new)
        data = b"\n" + bytes([len(data)]) + data
        (tmp_path / "set.binpb").write_bytes(data)
        with pytest.raises(GenerateError) as refused:
            generate([], tmp_path / "out", "p", descriptor_set=tmp_path / "set.binpb")
        assert "Traceback" not in str(refused.value)
        assert all(problem.isprintable() for problem in refused.value.problems)
        assert not list(tmp_path.glob("out/*"))

"""Puts the steps together: compile, write aside, swap in.

Rules: the previous output stays whole until the new one is complete, and goes away as a whole, so that no file
of an older run is left behind.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import descriptor_pb2

from yagrpc.codegen.checks import MARK, check_output, check_package, check_roots
from yagrpc.codegen.compiler import compile_protos, run_plugins, tool_versions
from yagrpc.codegen.errors import GenerateError
from yagrpc.codegen.layout import Layout
from yagrpc.codegen.listing import listing_module
from yagrpc.codegen.messages import messages_module, pool_module
from yagrpc.codegen.methods import MethodTables
from yagrpc.codegen.options import OptionReader
from yagrpc.codegen.plain_forms import with_plain_forms
from yagrpc.codegen.stubs import without_version_guard
from yagrpc.codegen.swap import swap

__all__ = ["generate"]

ALWAYS = ("google/protobuf/empty.proto", "google/rpc/error_details.proto", "google/rpc/status.proto")
"""Files that no proto need import: operation options name `Empty` in a string, and replies carry the others."""


def generate(roots: Sequence[Path], out: Path, package: str, files: Sequence[str] = (), *, force: bool = False) -> None:
    """Generate one importable package from a tree of protos.

    Args:
        roots: Folders that import paths start from.
        out: The folder that the package's folder is created in; the folder of an earlier run is replaced.
        package: The package's name; a name with dots is a nested package.
        files: Files to generate, as they are imported; by default all below the roots. Imports are followed.
        force: Replace an output folder that holds files which the generator did not write.

    Raises:
        GenerateError: A source does not compile, a type does not resolve, a tool is missing, or the output has no
            place. The output of an earlier run is left as it was.
    """
    check_package(package, out)
    target = out.joinpath(*package.split("."))
    check_output(out, target, force=force)
    check_roots(roots, ())
    wanted = list(files) or _protos_below(roots)
    if not wanted:
        raise GenerateError(f"no .proto file below {', '.join(str(root) for root in roots)}")
    versions = ", ".join(f"{tool} {number}" for tool, number in tool_versions().items())
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".generate-", dir=out) as work:
            aside = Path(work)
            compiled = compile_protos(roots, [*wanted, *(name for name in ALWAYS if name not in wanted)], aside)
            check_roots(roots, (file.name for file in compiled.file))
            _write(compiled, Layout(package, compiled.file), versions, aside / "new", aside)
            target.parent.mkdir(parents=True, exist_ok=True)
            swap(aside / "new" / target.relative_to(out), target)
    except OSError as error:
        raise GenerateError(f"{target} can't be written: {error}") from error


def _write(compiled: descriptor_pb2.FileDescriptorSet, layout: Layout, versions: str, out: Path, work: Path) -> None:
    options = OptionReader(compiled.file)
    tables = MethodTables(layout, options)
    root = out / layout.package.replace(".", "/")
    root.mkdir(parents=True)
    with_services = [file for file in compiled.file if file.service]
    run_plugins(
        _renamed(compiled, layout),
        messages=[layout.renamed(file.name) for file in compiled.file],
        services=[layout.renamed(file.name) for file in with_services],
        work=work,
        out=out,
    )
    for file in compiled.file:
        for suffix in _PLUGIN_SUFFIXES:
            path = out / layout.path(file.name, suffix)
            if path.exists():
                _put(path, _header(file.name, versions) + _adapted(path, layout.package))
        text = messages_module(file, layout, options, _header(file.name, versions))
        _put(out / layout.path(file.name, "_pb2.py"), text)
    for file in with_services:
        text = tables.module(file, _header(file.name, versions))
        _put(out / layout.path(file.name, "_methods.py"), text)
    everything = _header("all proto files of this package", versions)
    _put(root / "methods.py", listing_module(with_services, layout, everything))
    _put(root / "_pool.py", pool_module(everything))
    _put(root / "py.typed", "")
    _put(root / "__init__.py", everything)
    for folder in (path for path in root.rglob("*") if path.is_dir()):
        _put(folder / "__init__.py", _header(f"{folder.relative_to(root).as_posix()}/", versions))


_PLUGIN_SUFFIXES = ("_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


def _put(path: Path, text: str) -> None:
    path.write_text(text, "utf-8", newline="\n")  # the same bytes on any system


def _adapted(path: Path, package: str) -> str:
    """The text of a plugin's file, as this package has it."""
    text = path.read_text("utf-8")
    if path.name.endswith("_pb2.pyi"):
        return with_plain_forms(text, package)
    return without_version_guard(text, path.suffix, path.name)


def _header(source: str, versions: str) -> str:
    """What every generated file begins with; review tools recognise `@generated`."""
    return f"{MARK} with {versions}. DO NOT EDIT.\n# Source: {source}\n"


def _renamed(compiled: descriptor_pb2.FileDescriptorSet, layout: Layout) -> descriptor_pb2.FileDescriptorSet:
    """The same files with the package in front of their names: plugins derive every import from those names."""
    renamed = descriptor_pb2.FileDescriptorSet()
    renamed.CopyFrom(compiled)
    for file in renamed.file:
        file.name = layout.renamed(file.name)
        for index, dependency in enumerate(file.dependency):
            file.dependency[index] = layout.renamed(dependency)
    return renamed


def _protos_below(roots: Sequence[Path]) -> list[str]:
    return sorted({path.relative_to(root).as_posix() for root in roots for path in root.rglob("*.proto")})

"""Puts the steps together: compile, check, write aside, swap in.

Rules: the previous output stays whole until the new one is complete, and goes away as a whole, so that no file
of an older run is left behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from google.protobuf import descriptor_pb2

from yagrpc.codegen.checks import MARK, check_output, check_package
from yagrpc.codegen.compiler import SOURCES, compile_sources, run_plugins
from yagrpc.codegen.environment import installed_proto_roots, tool_versions
from yagrpc.codegen.errors import GenerateError
from yagrpc.codegen.reading.comments import clean_comments
from yagrpc.codegen.reading.descriptor_sets import check_names_of, missing_imports, needed, ordered, read_descriptor_set
from yagrpc.codegen.reading.sources import LARGEST, check_roots, copy_sources, protos_below
from yagrpc.codegen.swap import swap
from yagrpc.codegen.workspace import workspace
from yagrpc.codegen.writing.collisions import check_names
from yagrpc.codegen.writing.layout import Layout
from yagrpc.codegen.writing.listing import listing_module
from yagrpc.codegen.writing.messages import messages_module, pool_module
from yagrpc.codegen.writing.methods import MethodTables
from yagrpc.codegen.writing.options import OptionReader
from yagrpc.codegen.writing.plain_forms import with_plain_forms
from yagrpc.codegen.writing.stubs import without_version_guard
from yagrpc.files import read_file

__all__ = ["completed", "generate", "package_files"]

ALWAYS = ("google/protobuf/empty.proto", "google/rpc/error_details.proto", "google/rpc/status.proto")
"""Files that no proto need import: operation options name `Empty` in a string, and replies carry the others."""


def generate(
    roots: Sequence[Path],
    out: Path,
    package: str,
    files: Sequence[str] = (),
    *,
    force: bool = False,
    descriptor_set: Path | None = None,
) -> None:
    """Generate one importable package from a tree of protos.

    Args:
        roots: Folders that import paths start from. The protos of yagrpc and of Google need not be in them.
        out: The folder that the package's folder is created in; the folder of an earlier run is replaced.
        package: The package's name; a name with dots is a nested package.
        files: Files to generate, as they are imported; by default all below the roots, or in the descriptor set.
            Imports are followed.
        force: Replace an output folder that holds files which the generator did not write.
        descriptor_set: A file of compiled protos, as `buf build -o` and `protoc --descriptor_set_out` write it, in
            place of roots.

    Raises:
        GenerateError: A source does not compile, a type does not resolve, a tool is missing, or the output has no
            place. The output of an earlier run is left as it was.
    """
    check_package(package, out)
    target = out.joinpath(*package.split("."))
    check_output(out, target, force=force)
    check_roots(roots)
    if descriptor_set is not None and roots:
        raise GenerateError("a descriptor set has all files, so that it takes no --proto")
    if descriptor_set is None and not roots and not files:
        raise GenerateError("nothing to generate: give --proto DIR, --descriptor-set FILE or the files")
    given = None if descriptor_set is None else _read(descriptor_set)
    wanted = files if files or given is not None else protos_below(roots)
    tool_versions()  # that they are there is checked before anything is written
    try:
        out.mkdir(parents=True, exist_ok=True)
        with workspace(out) as work:
            compiled = _compiled([*wanted, *ALWAYS], roots, work) if given is None else completed(given, wanted, work)
            new = work / "new.d" / target.name
            for path, text in package_files(compiled, package, work).items():
                place = new.joinpath(*path.split("/"))
                place.parent.mkdir(parents=True, exist_ok=True)
                # The same bytes on any system; "x", since some systems take names that differ in case for the same.
                with place.open("x", encoding="utf-8", newline="\n") as file:
                    file.write(text)
            target.parent.mkdir(parents=True, exist_ok=True)
            swap(new, target)
    except OSError as error:
        raise GenerateError(f"{target} can't be written: {error}") from error


def completed(
    given: descriptor_pb2.FileDescriptorSet, files: Sequence[str], work: Path
) -> descriptor_pb2.FileDescriptorSet:
    """Complete compiled protos with the files of Google and of yagrpc that are missing.

    Args:
        given: Files, with texts that were checked.
        files: The files to generate, with what they import; by default all.
        work: A folder of ours.

    Raises:
        GenerateError: A file is missing, or a name can't be one.
    """
    check_names_of(given)
    installed = installed_proto_roots()
    missing = [name for name in missing_imports(given.file) if any((root / name).is_file() for root in installed)]
    ours = _compiled([*missing, *ALWAYS], [], work)
    everything = ordered([*given.file, *ours.file])
    return needed(everything, [*files, *ALWAYS]) if files else everything


def package_files(compiled: descriptor_pb2.FileDescriptorSet, package: str, work: Path) -> dict[str, str]:
    """The texts of a package's files, by their paths below the folder of the package.

    Args:
        compiled: All proto files, in an order in which imports come first.
        package: The package's name.
        work: A folder of ours.

    Raises:
        GenerateError: The protos can't be a package of Python's.
    """
    check_names_of(compiled)
    clean_comments(compiled)
    layout = Layout(package, compiled.file)
    options = OptionReader(compiled.file)
    tables = MethodTables(layout, options)
    versions = ", ".join(f"{tool} {number}" for tool, number in tool_versions().items())
    with_services = [file for file in compiled.file if file.service]
    written = run_plugins(
        _renamed(compiled, layout),
        messages=[layout.renamed(file.name) for file in compiled.file],
        services=[layout.renamed(file.name) for file in with_services],
        work=work,
    )
    above = len(package) + 1
    files: dict[str, str] = {}
    for file in compiled.file:
        header = _header(file.name, versions)
        for suffix in _PLUGIN_SUFFIXES if file.service else _PLUGIN_SUFFIXES[:1]:
            path = layout.path(file.name, suffix)
            text = _adapted(written[path], path.rpartition("/")[2], package)
            check_names(text, file.name, path[above:])
            files[path[above:]] = header + text
        files[layout.path(file.name, "_pb2.py")[above:]] = messages_module(file, layout, options, header)
        if file.service:
            path = layout.path(file.name, "_methods.py")[above:]
            files[path] = tables.module(file, header)
            check_names(files[path], file.name, path)
    everything = _header("all proto files of this package", versions)
    folders = {parent for path in files for parent in Path(path).parents if parent != Path()}
    for folder in folders:
        files[f"{folder.as_posix()}/__init__.py"] = _header(f"{folder.as_posix()}/", versions)
    return files | {
        "methods.py": listing_module(with_services, layout, everything),
        "_pool.py": pool_module(everything),
        "py.typed": "",
        "__init__.py": everything,
    }


_PLUGIN_SUFFIXES = ("_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


def _read(path: Path) -> descriptor_pb2.FileDescriptorSet:
    try:
        return read_descriptor_set(read_file(path, LARGEST), str(path))
    except OSError as error:
        raise GenerateError(f"{path} can't be read: {error.strerror}") from error


def _compiled(files: Sequence[str], roots: Sequence[Path], work: Path) -> descriptor_pb2.FileDescriptorSet:
    names = list(dict.fromkeys(files))
    origins = copy_sources(names, roots, installed_proto_roots(), work / SOURCES)
    return compile_sources(names, origins, work)


def _adapted(text: str, name: str, package: str) -> str:
    """The text of a plugin's file, as this package has it."""
    if name.endswith("_pb2.pyi"):
        return with_plain_forms(text, package)
    return without_version_guard(text, Path(name).suffix, name)


def _header(source: str, versions: str) -> str:
    """What every generated file begins with; review tools recognise `@generated`."""
    return f"{MARK} with {versions}. DO NOT EDIT.\n# Source: {source}\n"


def _renamed(compiled: descriptor_pb2.FileDescriptorSet, layout: Layout) -> descriptor_pb2.FileDescriptorSet:
    """The same files with the package in front of their names: plugins derive every import from those names."""
    renamed = descriptor_pb2.FileDescriptorSet()
    renamed.CopyFrom(compiled)
    # Custom options, which are unknown fields here: one plugin writes the texts of some of them as code.
    renamed.DiscardUnknownFields()
    for file in renamed.file:
        file.name = layout.renamed(file.name)
        for index, dependency in enumerate(file.dependency):
            file.dependency[index] = layout.renamed(dependency)
    return renamed

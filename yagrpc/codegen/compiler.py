"""Runs protoc and its plugins: sources to descriptors, and descriptors to what the plugins write.

Rules: the programs run in a folder of ours, in this interpreter's environment. On protoc's command line there are only
options that are written here, and import paths that were checked. What protoc says of a source (file, line, column) is
passed on, one problem a line.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2
from google.protobuf.message import DecodeError

from yagrpc.codegen.environment import INSTALL, run_python
from yagrpc.codegen.errors import GenerateError
from yagrpc.codegen.reading.comments import escaped_comments

__all__ = ["SOURCES", "compile_sources", "run_plugins"]

SOURCES = "sources.d"
"""The folder of the copied sources. No import path begins with its name, which has a dot: protoc would mistake that."""

_STUBS = "stubs.d"

_PLUGIN = """
import sys
from importlib.metadata import entry_points
plugin, *_ = entry_points(group="console_scripts", name=sys.argv.pop(1))
plugin.load()()
"""
"""Runs a plugin without the program that pip makes for it, which may be missing, or have a path that can't be run."""

_COPY = re.compile(rf"^{re.escape(SOURCES)}/([^:]+)")
_MISSING = re.compile(r"(.+): File not found\.")
_NOT_FOUND = re.compile(r'(.+:\d+:\d+): Import "(.+)" was not found or had errors\.')
_WARNING = re.compile(r".*: warning: .*")

_CLOUD = "git clone https://github.com/yandex-cloud/cloudapi, and give --proto cloudapi"


def compile_sources(files: Iterable[str], origins: Mapping[str, Path], work: Path) -> descriptor_pb2.FileDescriptorSet:
    """Compile proto files, and all that they import, into one descriptor set with comments.

    Args:
        files: Files to compile, as they are imported (`yandex/cloud/.../x.proto`); their names were checked.
        origins: Where the caller has each source, for messages.
        work: A folder with all sources in its folder `SOURCES`.

    Raises:
        GenerateError: protoc refused; the error has its messages, with file, line and column.
    """
    _protoc(
        [
            f"--proto_path={SOURCES}",
            "--descriptor_set_out=compiled.binpb",
            "--include_imports",
            "--include_source_info",
            *files,
        ],
        work,
        origins,
    )
    compiled = (work / "compiled.binpb").read_bytes()
    try:
        return descriptor_pb2.FileDescriptorSet.FromString(compiled)
    except (DecodeError, UnicodeDecodeError) as error:
        raise GenerateError(f"protobuf can't read what protoc wrote: {error}") from error


def run_plugins(
    descriptors: descriptor_pb2.FileDescriptorSet, messages: Sequence[str], services: Sequence[str], work: Path
) -> dict[str, str]:
    """Let the plugins write the `.pyi` of messages, and stubs with their `.pyi` of services.

    Args:
        descriptors: Every file, in an order in which imports come first, with comments that were cleaned.
        messages: Names of the files that get a `_pb2.pyi`.
        services: Names of the files that also get a `_pb2_grpc.py` and its `.pyi`.
        work: A folder of ours.

    Returns:
        The texts, by the path of their file.

    Raises:
        GenerateError: A plugin is missing or failed.
    """
    runs: list[Callable[[], dict[str, str]]] = [lambda: _mypy("mypy", descriptors, messages, work)]
    if services:
        runs.append(lambda: _mypy("mypy_grpc", descriptors, services, work))
        runs.append(lambda: _grpc(descriptors, services, work))
    with ThreadPoolExecutor(len(runs)) as pool:
        return {path: text for texts in pool.map(lambda run: run(), runs) for path, text in texts.items()}


def _mypy(name: str, descriptors: descriptor_pb2.FileDescriptorSet, files: Sequence[str], work: Path) -> dict[str, str]:
    request = plugin_pb2.CodeGeneratorRequest(
        parameter="quiet", file_to_generate=files, proto_file=descriptors.file
    ).SerializeToString()
    plugin = f"protoc-gen-{name}"
    done = run_python(["-c", _PLUGIN, plugin], work, request)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise GenerateError(f"{plugin}, which mypy-protobuf holds, failed: {said}; {INSTALL}")
    response = plugin_pb2.CodeGeneratorResponse.FromString(done.stdout)
    if response.error:
        raise GenerateError(f"{plugin}: {response.error}")
    return {file.name: file.content for file in response.file}


def _grpc(descriptors: descriptor_pb2.FileDescriptorSet, files: Sequence[str], work: Path) -> dict[str, str]:
    stored = work / "stubs.binpb"
    stored.write_bytes(escaped_comments(descriptors).SerializeToString(deterministic=True))
    (work / _STUBS).mkdir()
    _protoc([f"--descriptor_set_in={stored.name}", f"--grpc_python_out={_STUBS}", *files], work)
    names = [f"{file.removesuffix('.proto')}_pb2_grpc.py" for file in files]
    return {name: (work / _STUBS / name).read_text("utf-8") for name in names}


def _protoc(arguments: Sequence[str], work: Path, origins: Mapping[str, Path] = types.MappingProxyType({})) -> None:
    # A whole cloud's file names are longer than some systems' command lines.
    (work / "arguments").write_text("\n".join(arguments), "utf-8")
    done = run_python(["-m", "grpc_tools.protoc", "@arguments"], work)
    if done.returncode:
        said = done.stderr.decode(errors="replace")
        lines = [_COPY.sub(lambda copy: str(origins.get(copy[1], copy[1])), line) for line in said.splitlines()]
        raise GenerateError(*(_problems(lines) or [f"protoc ended with {done.returncode}"]))


def _problems(lines: Sequence[str]) -> list[str]:
    """What protoc says, without what only follows from something else that it says."""
    missing = {found[1] for line in lines if (found := _MISSING.fullmatch(line))}
    if missing:
        imports = filter(None, map(_NOT_FOUND.fullmatch, lines))
        return [
            f"{found[1]}: {found[2]}: File not found. {_remedy(found[2])}" for found in imports if found[2] in missing
        ]
    errors = [line for line in lines if line.strip() and not _NOT_FOUND.fullmatch(line)]
    return [line for line in errors if not _WARNING.fullmatch(line)] or errors


def _remedy(name: str) -> str:
    ours = f"; Yandex Cloud's protos: {_CLOUD}" if name.startswith("yandex/cloud/") else ""
    return f"Give --proto a folder that this path starts from{ours}"

"""Runs protoc: sources to descriptors, and descriptors to what its plugins write.

Rules: protoc is the only program that is run, always the one of this interpreter's environment, and its own
messages (file, line, column) are passed on unchanged.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from google.protobuf import descriptor_pb2

from yagrpc.codegen.errors import GenerateError

__all__ = ["compile_protos", "run_plugins", "tool_versions"]

TOOLS = ("grpcio-tools", "mypy-protobuf", "googleapis-common-protos")

INSTALL = "pip install 'yagrpc[codegen]'"


def tool_versions() -> dict[str, str]:
    """Versions of the packages that shape the output, by name.

    Raises:
        GenerateError: One of them is not installed.
    """
    try:
        return {tool: version(tool) for tool in TOOLS}
    except PackageNotFoundError as error:
        raise GenerateError(f"the generator needs {error.name}: {INSTALL}") from error


def compile_protos(roots: Sequence[Path], files: Sequence[str], work: Path) -> descriptor_pb2.FileDescriptorSet:
    """Compile proto files, and all that they import, into one descriptor set with comments.

    Args:
        roots: Folders that import paths start from.
        files: Files to compile, as they are imported (`yandex/cloud/…/x.proto`).
        work: An existing folder for the intermediate file.

    Raises:
        GenerateError: protoc refused; its message, with file, line and column, is the error's text.
    """
    compiled = work / "sources.binpb"
    include = [f"--proto_path={root}" for root in (*roots, *_common_proto_roots())]
    _protoc(
        [
            *include,
            f"--descriptor_set_out={compiled}",
            "--include_imports",
            "--include_source_info",
            *files,
        ],
        work / "arguments",
    )
    return descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes())


def run_plugins(
    descriptors: descriptor_pb2.FileDescriptorSet,
    *,
    messages: Sequence[str],
    services: Sequence[str],
    work: Path,
    out: Path,
) -> None:
    """Write the `.pyi` of messages, and stubs with their `.pyi` of services, below `out`.

    Args:
        descriptors: Every file, in an order in which imports come first.
        messages: Names of the files that get a `_pb2.pyi`.
        services: Names of the files that also get a `_pb2_grpc.py` and its `.pyi`.
        work: An existing folder for the intermediate file.
        out: An existing folder.

    Raises:
        GenerateError: A plugin is missing or failed.
    """
    stored = work / "renamed.binpb"
    stored.write_bytes(descriptors.SerializeToString(deterministic=True))
    given = f"--descriptor_set_in={stored}"
    runs = [[given, _plugin("mypy"), f"--mypy_out=quiet:{out}", *messages]]
    if services:
        grpc_outputs = [f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"]
        runs.append([given, _plugin("mypy_grpc"), *grpc_outputs, *services])
    with ThreadPoolExecutor(len(runs)) as pool:
        for _ in pool.map(_protoc, runs, (work / f"arguments-{number}" for number in range(len(runs)))):
            pass


def _common_proto_roots() -> list[Path]:
    """Where the sources of `google/protobuf`, `google/api` and `google/rpc` are installed."""
    roots = []
    for package in ("grpc_tools", "google.api"):
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise GenerateError(f"the generator needs the package {package}: {INSTALL}")
        folder = Path(next(iter(spec.submodule_search_locations)))
        roots.append(folder / "_proto" if package == "grpc_tools" else folder.parent.parent)
    return roots


def _plugin(name: str) -> str:
    """The option that names a plugin by its path: the environment need not be on PATH."""
    suffix = ".exe" if sys.platform == "win32" else ""
    program = Path(sysconfig.get_path("scripts")) / f"protoc-gen-{name}{suffix}"
    if not program.exists():
        raise GenerateError(f"the generator needs {program.name}, which mypy-protobuf holds: {INSTALL}")
    return f"--plugin=protoc-gen-{name}={program}"


def _protoc(arguments: Sequence[str], argument_file: Path) -> None:
    # A whole cloud's file names are longer than some systems' command lines.
    argument_file.write_text("\n".join(arguments), "utf-8")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"@{argument_file}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GenerateError(done.stderr.strip() or f"protoc ended with {done.returncode}")

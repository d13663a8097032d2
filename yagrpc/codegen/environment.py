"""The interpreter's environment: where the compilers' files are, and how the compilers are run.

Rules: nothing is imported, by this process for the generator or by its children, from the folder that the generator is
run in: it may be a tree of protos that somebody else wrote. So children run in a folder of ours, which Python puts in
front of their path, and relative entries of PYTHONPATH do not reach them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from yagrpc.codegen.errors import GenerateError

__all__ = ["installed_proto_roots", "run_python", "tool_versions"]

TOOLS = ("grpcio-tools", "mypy-protobuf", "googleapis-common-protos")

INSTALL = "pip install 'yagrpc[codegen]'"

_HOMES = {
    "grpcio-tools": ("grpc_tools/_proto", "google/protobuf/any.proto"),
    "googleapis-common-protos": ("", "google/api/http.proto"),
}
"""Packages with protos: the folder that their import paths start from, below the path of Python, and one of them."""


def tool_versions() -> dict[str, str]:
    """Versions of the packages that shape the output, by name.

    Raises:
        GenerateError: One of them is not installed.
    """
    if hidden := [module for module in ("grpc_tools", "mypy_protobuf") if find_spec(module) is None]:
        raise GenerateError(f"the generator needs {hidden[0]}: {INSTALL}")
    try:
        return {tool: version(tool) for tool in TOOLS}
    except PackageNotFoundError as error:
        raise GenerateError(f"the generator needs {error.name}: {INSTALL}") from error


def installed_proto_roots() -> list[Path]:
    """Where the sources of yagrpc's own protos are, and of `google/protobuf`, `google/api` and `google/rpc`.

    Raises:
        GenerateError: A package that holds them is not installed.
    """
    roots = [folder for folder in _OWN if folder.is_dir()][:1]
    for package, (below, sample) in _HOMES.items():
        found = [entry / below for entry in _search_path() if (entry / below / sample).is_file()]
        if not found:
            raise GenerateError(f"the generator needs {package}: {INSTALL}")
        roots.append(found[0])
    return roots


_OWN = (Path(__file__).parent / "protos", Path(__file__).parents[2] / "proto")
"""The folder of yagrpc's protos: in the wheel, and in a checkout."""


def run_python(arguments: Sequence[str], work: Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run this interpreter with arguments, in a folder of ours.

    Args:
        arguments: What follows the interpreter on the command line.
        work: The folder to run in; nothing in it may have a module's name.
        given: What the program reads from stdin.
    """
    entries = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    kept = [os.path.abspath(entry) for entry in entries if os.path.isabs(entry) or not _is_working_folder(entry)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(kept)}
    if not kept:
        del environment["PYTHONPATH"]
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=work, env=environment, input=given, capture_output=True, check=False)


def _search_path() -> list[Path]:
    return [Path(entry) for entry in sys.path if os.path.isabs(entry) and not _is_working_folder(entry)]


def _is_working_folder(entry: str) -> bool:
    try:
        return os.path.samefile(entry, os.curdir)
    except OSError:  # one of them is not there
        return False

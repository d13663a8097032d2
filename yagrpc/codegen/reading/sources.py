"""Finds proto files, and copies those that are needed to a folder of ours: protoc reads nothing else.

Rules: only regular files are read, so that a FIFO in the tree stops nobody, and only under names that were checked. The
caller's roots go before the installed ones. protoc judges the texts; here only their imports are found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from yagrpc.codegen.errors import GenerateError
from yagrpc.codegen.names import name_problem
from yagrpc.files import read_file

__all__ = ["LARGEST", "check_roots", "copy_sources", "protos_below", "read_regular"]

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a file at most. The largest proto of the cloud has a thousandth of it; a sparse file may claim terabytes."""

_COMMENT = rb"//[^\n]*(?:\n|\Z)|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/"
_STRING = rb"""(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
_GAP = rb"(?:\s|" + _COMMENT + rb")*"
_TOKEN = re.compile(
    rb"(?P<comment>"
    + _COMMENT
    + rb")|\bimport\b"
    + _GAP
    + rb"(?:(?:public|weak|option)\b"
    + _GAP
    + rb")?(?P<path>"
    + _STRING
    + rb"(?:"
    + _GAP
    + _STRING
    + rb")*)|"
    + _STRING,
    re.DOTALL,
)
"""What matters of a proto: its comments, the paths in its import statements, and other strings."""


def check_roots(roots: Sequence[Path]) -> None:
    """Refuse roots that are no folders.

    Raises:
        GenerateError: One is none.
    """
    if problems := [f"{root} is not a folder" for root in roots if not root.is_dir()]:
        raise GenerateError(*problems)


def protos_below(roots: Sequence[Path]) -> list[str]:
    """Import paths of all proto files below some folders; hidden files and folders (`.git`, `.venv`) are left out.

    Raises:
        GenerateError: There is none, or a folder can't be read.
    """

    def refuse(error: OSError) -> None:
        raise GenerateError(f"{error.filename} can't be read: {error.strerror}") from error

    found: set[str] = set()
    for root in roots:
        for folder, folders, files in os.walk(root, onerror=refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            protos = (name for name in files if name.endswith(".proto") and not name.startswith("."))
            found.update((Path(folder) / name).relative_to(root).as_posix() for name in protos)
    if not found:
        raise GenerateError(f"no .proto file below {', '.join(map(str, roots))}")
    return sorted(found)


def copy_sources(files: Iterable[str], roots: Sequence[Path], installed: Sequence[Path], into: Path) -> dict[str, Path]:
    """Copy proto files, and all that they import, to a folder.

    A file that is imported and is in no root is left out: protoc says where it is imported.

    Args:
        files: Their import paths.
        roots: The caller's folders that import paths start from.
        installed: Further such folders, which are searched last.
        into: The folder to copy to; it is created.

    Returns:
        Where each file was found, by its import path.

    Raises:
        GenerateError: A name can't be one, a file is missing, is no regular file or no text, or is in two of the
            caller's roots and differs.
    """
    into.mkdir()
    asked = list(dict.fromkeys(files))
    waiting, seen = list(asked), set(asked)
    problems: list[str] = []
    origins: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        try:
            source = _source(name, roots, installed)
        except GenerateError as error:
            problems += error.problems
            continue
        if source is None:
            if name in asked:
                places = f" below {', '.join(map(str, roots))}" if roots else ""
                problems.append(
                    f"{name}: No such file or directory{places}; give a file by its import path, and the folder that it"
                    " starts from by --proto"
                )
            continue
        origins[name], text = source
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        imported = set(_imports(text)) - seen
        seen |= imported
        waiting += sorted(imported)
    if problems:
        raise GenerateError(*sorted(problems))
    return origins


def read_regular(path: Path) -> bytes | None:
    """The bytes of a regular file; `None` where there is no file.

    Raises:
        GenerateError: It is something else (a FIFO, a device, a folder), is too large, or can't be read.
    """
    try:
        return read_file(path, LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise GenerateError(f"{path} is a link to nothing") from None
        return None
    except OSError as error:
        raise GenerateError(f"{path} can't be read: {error.strerror}") from error


def _source(name: str, roots: Sequence[Path], installed: Sequence[Path]) -> tuple[Path, bytes] | None:
    if problem := name_problem(name):
        raise GenerateError(problem)
    found: dict[Path, bytes] = {}
    for root in roots:
        if (text := read_regular(root / name)) is not None:
            found[root / name] = text
    if len(set(found.values())) > 1:
        raise GenerateError(f"{name} is in two roots, and differs: {' and '.join(map(str, found))}; keep one")
    for root in installed if not found else ():
        if (text := read_regular(root / name)) is not None:
            return root / name, text
    for path, text in found.items():
        return path, _readable(path, text)
    return None


def _readable(path: Path, text: bytes) -> bytes:
    """The text as UTF-8; a comment in another encoding keeps what can be read of it."""
    try:
        text.decode()
        return text
    except UnicodeDecodeError:
        mended = _TOKEN.sub(
            lambda token: token[0].decode(errors="replace").encode() if token["comment"] else token[0], text
        )
    try:
        mended.decode()
    except UnicodeDecodeError as error:
        line = mended.count(b"\n", 0, error.start) + 1
        raise GenerateError(f"{path}:{line}: the text is not UTF-8: save the file in that encoding") from None
    return mended


def _imports(text: bytes) -> Iterator[str]:
    """What the import statements of a proto name."""
    for token in _TOKEN.finditer(text):
        if path := token["path"]:
            yield b"".join(part[0][1:-1] for part in re.finditer(_STRING, path, re.DOTALL)).decode(errors="replace")

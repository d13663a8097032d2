"""Compiled protos that somebody else's compiler wrote: descriptor sets, and the requests that plugins get.

Rules: such data can hold anything. So it is checked here for what protoc makes sure of: names, texts, and that every
imported file is there, in an order in which imports come first.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError, Message

from yagrpc.codegen.errors import GenerateError
from yagrpc.codegen.names import name_problem, problems_of_identifiers
from yagrpc.codegen.reading.comments import clean_comments

__all__ = [
    "check_names_of",
    "check_texts",
    "missing_imports",
    "needed",
    "ordered",
    "read_descriptor_set",
    "without_unknown_fields",
]

_WRITE = "buf build -o FILE.binpb, or protoc --include_imports --include_source_info --descriptor_set_out=FILE"


def read_descriptor_set(data: bytes, name: str) -> descriptor_pb2.FileDescriptorSet:
    """Read what `buf build -o` or `protoc --descriptor_set_out` wrote.

    Args:
        data: The content of a file.
        name: The file's name, for errors.

    Raises:
        GenerateError: It is no descriptor set, or a text in it is not UTF-8.
    """
    try:
        read = descriptor_pb2.FileDescriptorSet.FromString(data)
    except (DecodeError, UnicodeDecodeError):
        read = None
    if read is None or not any(file.name for file in read.file):
        raise GenerateError(f"{name} is not a descriptor set in binary form; to write one: {_WRITE}")
    known = without_unknown_fields(read.file)
    check_texts(known)
    return known


def without_unknown_fields(
    files: Iterable[descriptor_pb2.FileDescriptorProto],
) -> descriptor_pb2.FileDescriptorSet:
    """Files without what a compiler has added for itself, as buf does; custom options are kept."""
    known = descriptor_pb2.FileDescriptorSet()
    for file in files:
        copy = known.file.add()
        for field, value in file.ListFields():
            if isinstance(value, Message):
                getattr(copy, field.name).CopyFrom(value)
            elif isinstance(value, (str, bytes, int)):
                setattr(copy, field.name, value)
            else:
                getattr(copy, field.name).extend(value)
    return known


def check_texts(compiled: descriptor_pb2.FileDescriptorSet) -> None:
    """Refuse names and other texts that are not UTF-8; comments are mended instead.

    Raises:
        GenerateError: There is such a text.
    """
    clean_comments(compiled)
    for number, file in enumerate(compiled.file):
        if any(isinstance(text, bytes) for text in _texts(file)):
            raise GenerateError(f"file {number + 1}, {file.name!r}: a name in it, or another text, is not UTF-8")


def check_names_of(compiled: descriptor_pb2.FileDescriptorSet) -> None:
    """Refuse names that files and what is in them can't have.

    Raises:
        GenerateError: There is such a name.
    """
    problems: list[str] = []
    for file in compiled.file:
        problem = name_problem(file.name)
        problems += [problem] if problem else problems_of_identifiers(file)
    if problems:
        raise GenerateError(*problems)


def missing_imports(files: Iterable[descriptor_pb2.FileDescriptorProto]) -> dict[str, str]:
    """The names of files that are imported and are not there, each with one that imports it."""
    files = list(files)
    held = {file.name for file in files}
    return {name: file.name for file in files for name in file.dependency if name not in held}


def ordered(files: Iterable[descriptor_pb2.FileDescriptorProto]) -> descriptor_pb2.FileDescriptorSet:
    """Put files in an order in which imports come first; of two files of one name, the first is taken.

    Raises:
        GenerateError: An imported file is missing, or files import each other.
    """
    held: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    for file in files:
        held.setdefault(file.name, file)
    if missing := missing_imports(held.values()):
        lines = (f"{by} imports {name}, which is not in the descriptor set" for name, by in sorted(missing.items()))
        raise GenerateError(*lines, f"to write one with all files: {_WRITE}")
    graph = {name: sorted(file.dependency) for name, file in held.items()}
    try:
        order = list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        raise GenerateError(f"files import each other: {', '.join(error.args[1])}") from error
    return descriptor_pb2.FileDescriptorSet(file=[held[name] for name in order])


def needed(compiled: descriptor_pb2.FileDescriptorSet, names: Iterable[str]) -> descriptor_pb2.FileDescriptorSet:
    """The files of some names, and all that they import.

    Raises:
        GenerateError: One is not there.
    """
    held = {file.name: file for file in compiled.file}
    waiting = list(names)
    if lost := [name for name in waiting if name not in held]:
        raise GenerateError(
            *(f"{name}: No such file in the descriptor set; give a file by its import path" for name in lost)
        )
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += held[name].dependency
    return descriptor_pb2.FileDescriptorSet(file=[file for file in compiled.file if file.name in found])


def _texts(message: Message) -> Iterator[str | bytes]:
    """All texts in a descriptor; protobuf gives bytes for those that are not UTF-8."""
    for field, value in message.ListFields():
        values: list[Any] = [value] if isinstance(value, (str, bytes, Message)) else value
        if field.type == field.TYPE_STRING:
            yield from values
        elif field.type == field.TYPE_MESSAGE and field.name not in ("source_code_info", "options"):
            for nested in values:
                yield from _texts(nested)

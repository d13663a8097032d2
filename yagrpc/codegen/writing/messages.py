"""Writes `_pool.py` and the `_pb2.py` modules: messages that live in the package's own descriptor pool.

protoc's own Python output registers every file in the process-wide default pool, where two packages that hold
the same proto file collide. These modules do what that output does, in a pool of their own.

Rules: the files of google.protobuf, google.api and google.rpc are not embedded but taken from their installed
packages, so that they always fit the installed protobuf runtime. A file's imports are loaded before it.
"""

from __future__ import annotations

import textwrap

from google.protobuf import descriptor_pb2

from yagrpc.codegen.writing.layout import Layout
from yagrpc.codegen.writing.options import OptionReader

__all__ = ["messages_module", "pool_module"]

_INSTALLED = ("google/protobuf/", "google/api/", "google/rpc/")

_POOL = '''\
"""The private descriptor pool that every message of this package is registered in."""

from __future__ import annotations

import sys

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal import builder

POOL = DescriptorPool()


def add(serialized: bytes, module: str) -> FileDescriptor:
    """Register a serialized file and put its messages, enums and extensions into the namespace of its module."""
    namespace = vars(sys.modules[module])
    file: FileDescriptor = POOL.AddSerializedFile(serialized)  # type: ignore[func-returns-value,unused-ignore]
    builder.BuildMessageAndEnumDescriptors(file, namespace)
    builder.BuildTopDescriptorsAndMessages(file, module, namespace)
    return file
'''


def pool_module(header: str) -> str:
    """The text of `_pool.py`."""
    return f"{header}{_POOL}"


def messages_module(
    file: descriptor_pb2.FileDescriptorProto, layout: Layout, options: OptionReader, header: str
) -> str:
    """The text of one file's `_pb2.py`."""
    lines = [f'{header}"""Messages of {file.name}."""\n']
    for dependency in file.dependency:
        lines.append(f"import {layout.module(dependency)}")
    for index in file.public_dependency:
        lines.append(f"from {layout.module(file.dependency[index])} import *")
    lines.append(f"from {layout.package} import _pool")
    if file.name.startswith(_INSTALLED):
        installed, name = _installed_module(file.name).rsplit(".", 1)
        lines.append(f"from {installed} import {name} as _installed")
        source = "_installed.DESCRIPTOR.serialized_pb"
    else:
        source = _bytes_literal(options.canonical(file))
    lines.append(f"\nDESCRIPTOR = _pool.add({source}, __name__)\n")
    return "\n".join(lines)


def _installed_module(proto: str) -> str:
    return proto.removesuffix(".proto").replace("/", ".") + "_pb2"


def _bytes_literal(data: bytes) -> str:
    """A bytes literal in parentheses, in short lines so that a diff of two versions can be read."""
    chunks = [data[start : start + 64] for start in range(0, len(data), 64)]
    return "(\n" + textwrap.indent("\n".join(repr(chunk) for chunk in chunks), "    ") + "\n)"

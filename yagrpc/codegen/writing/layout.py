"""Where a proto file's Python modules live inside the generated package.

Rules: names only, no files touched. A proto path becomes a module path below the package, so that
`google/protobuf/any.proto` is `<package>.google.protobuf.any_pb2` and never shadows the installed one. Where Python
can't import a name as it is, `-` becomes `_`, and a word of Python's own gets a `_` behind (`lambda_/x_pb2.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

from google.protobuf import descriptor_pb2

from yagrpc.codegen.errors import GenerateError
from yagrpc.codegen.names import stem

__all__ = ["Layout"]

_SUFFIXES = ("_pb2", "_pb2_grpc", "_methods")
_OF_THE_PACKAGE = ("_pool", "methods")
"""The modules that every generated package has."""

_stem = functools.cache(stem)


class Layout:
    """Maps proto files and message types to Python names.

    Args:
        package: The generated package's name; dots make a nested one.
        files: Every compiled file.

    Raises:
        GenerateError: A file's path can't be a module's, or two would be one module.
    """

    def __init__(self, package: str, files: Iterable[descriptor_pb2.FileDescriptorProto]) -> None:
        self.package = package
        self._types: dict[str, tuple[str, str]] = {}
        taken: dict[str, str] = {}
        files = list(files)
        for file in files:
            other = taken.setdefault(_stem(file.name), file.name)
            if other != file.name:
                raise GenerateError(f"{other} and {file.name} would both be the module {self.module(file.name)}")
            for nested in _nested_names(file.message_type):
                full_name = f"{file.package}.{nested}" if file.package else nested
                self._types[full_name] = (file.name, nested)
        modules = {path + suffix for path in taken for suffix in _SUFFIXES} | {*_OF_THE_PACKAGE}
        for path, name in taken.items():
            for folder in _folders(path):
                if folder in modules:
                    module = folder.replace("/", ".")
                    raise GenerateError(
                        f"{name}: its folder {folder}/ would hide the module {package}.{module}; rename it"
                    )

    def module(self, proto: str, suffix: str = "_pb2") -> str:
        """Dotted module of a proto file, e.g. `yagrpc_proto.google.rpc.status_pb2`."""
        return f"{self.package}.{_stem(proto).replace('/', '.')}{suffix}"

    def path(self, proto: str, suffix: str) -> str:
        """Path of a generated file below the output folder, e.g. `yagrpc_proto/google/rpc/status_pb2.py`."""
        return f"{self.package.replace('.', '/')}/{_stem(proto)}{suffix}"

    def renamed(self, proto: str) -> str:
        """A proto file's name with the package in front: what makes protoc's plugins write our imports."""
        return f"{self.package.replace('.', '/')}/{_stem(proto)}.proto"

    def locate(self, full_name: str) -> tuple[str, str]:
        """The module that defines a message type, and the type's dotted name within it."""
        proto, nested = self._types[full_name]
        return self.module(proto), nested

    def resolve(self, name: str, scope: str) -> str | None:
        """Full name of a type written relative to `scope`, by protobuf's rules: innermost scope first."""
        if name.startswith("."):
            return name[1:] if name[1:] in self._types else None
        scopes = scope.split(".")
        for depth in range(len(scopes), -1, -1):
            candidate = ".".join([*scopes[:depth], name])
            if candidate in self._types:
                return candidate
        return None


def _folders(path: str) -> Iterator[str]:
    parts = path.split("/")
    yield from ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _nested_names(messages: Iterable[descriptor_pb2.DescriptorProto], prefix: str = "") -> Iterator[str]:
    for message in messages:
        name = f"{prefix}{message.name}"
        yield name
        yield from _nested_names(message.nested_type, f"{name}.")

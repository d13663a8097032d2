"""Custom options: how the generator reads them, and how it writes them in one order.

protoc leaves an option that the installed descriptor.proto does not declare as unknown bytes, in an order of its own.

Rules: the compiled files' own declarations are used, in a pool of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from yagrpc.codegen.errors import GenerateError

__all__ = ["OptionReader"]


class OptionReader:
    """Reads the custom options of a set of files.

    Args:
        files: Every compiled file, in an order in which imports come first.

    Raises:
        GenerateError: protobuf does not take a file: a descriptor set can hold what protoc would refuse.
    """

    def __init__(self, files: Iterable[descriptor_pb2.FileDescriptorProto]) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for file in files:
            try:
                self._pool.AddSerializedFile(file.SerializeToString())
            except (TypeError, ValueError) as error:
                raise GenerateError(f"{file.name}: protobuf does not take this file: {error}") from error

    def of_method(self, method: descriptor_pb2.MethodDescriptorProto, name: str) -> Message | None:
        """A custom option of an rpc, or `None` where it is not set."""
        try:
            extension: Any = self._pool.FindExtensionByName(name)
        except KeyError:
            return None
        options = self._known(method.options)
        if not options.HasExtension(extension):
            return None
        value: Message = options.Extensions[extension]
        return value

    def canonical(self, file: descriptor_pb2.FileDescriptorProto) -> bytes:
        """A file without its comments, serialized to the same bytes whatever order protoc left its options in."""
        bare = descriptor_pb2.FileDescriptorProto()
        bare.CopyFrom(file)
        bare.ClearField("source_code_info")
        return self._known(bare).SerializeToString(deterministic=True)

    def _known(self, message: Message) -> Message:
        """A descriptor or options message in which the compiled files' extensions are fields, not unknown bytes."""
        try:
            descriptor = self._pool.FindMessageTypeByName(message.DESCRIPTOR.full_name)
        except KeyError:  # nothing imports descriptor.proto, so there are no custom options
            return message
        try:
            return message_factory.GetMessageClass(descriptor).FromString(message.SerializeToString())
        except (DecodeError, UnicodeDecodeError) as error:
            raise GenerateError(
                f"an option can't be read as its type, {message.DESCRIPTOR.full_name}: {error}"
            ) from error

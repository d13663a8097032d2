"""Which names of proto files, services and rpcs the generator takes.

protoc and its plugins read a file's name where they also read options (`--plugin=...`), and they put names into Python
code. So every name is checked here, before any of these programs sees it.

Rules: names only, no files touched.
"""

from __future__ import annotations

import keyword
import re
import unicodedata

from google.protobuf import descriptor_pb2

from yagrpc.codegen.errors import GenerateError

__all__ = ["is_module_name", "name_problem", "problems_of_identifiers", "stem"]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_module_name(text: str) -> bool:
    """Whether Python imports a module of this name from a file of this name: Python normalizes what it imports."""
    return text.isidentifier() and unicodedata.normalize("NFKC", text) == text


def name_problem(proto: str) -> str | None:
    """Say why a proto file can't have this import path; `None` if it can."""
    if not proto.endswith(".proto"):
        return f"{proto} is not the import path of a .proto file (a descriptor set is given with --descriptor-set)"
    if proto.startswith("-"):
        return f"{proto} can't be compiled: protoc would take a path that begins with - for an option; rename it"
    if proto.startswith(("/", "./", "../")):
        return f"{proto} is no import path: name the folder that it starts from by --proto, and the rest as FILE"
    folders, file = _parts(proto)
    if not all(map(is_module_name, (*folders, file))):
        reason = "the parts of its path have to be identifiers, in Unicode's NFKC form"
        return f"{proto} can't be a Python module: {reason}"
    if dunder := [part for part in folders if part.startswith("__") and part.endswith("__")]:
        return f"{proto} can't be a Python module: Python has a use of its own for {dunder[0]}; rename the folder"
    return None


def stem(proto: str) -> str:
    """A proto file's path as that of a module, without a suffix.

    Raises:
        GenerateError: It can't be one.
    """
    if problem := name_problem(proto):
        raise GenerateError(problem)
    folders, file = _parts(proto)
    # The last part gets a suffix, which makes it another word.
    return "/".join([*(f"{part}_" if keyword.iskeyword(part) else part for part in folders), file])


def problems_of_identifiers(file: descriptor_pb2.FileDescriptorProto) -> list[str]:
    """List the names in a file that are no names of protobuf's, or that only generated code may have.

    A descriptor set can hold any text as a name. And the helpers of generated code are named with an underscore in
    front, so that no service and no rpc can have such a name.
    """
    problems: list[str] = []

    def check(name: str, what: str) -> None:
        if _IDENTIFIER.fullmatch(name) is None:
            problems.append(f"{file.name}: {name!r} can't be the name of {what}")

    def check_enum(enum: descriptor_pb2.EnumDescriptorProto) -> None:
        check(enum.name, "an enum")
        for value in enum.value:
            check(value.name, "an enum's value")

    def check_message(message: descriptor_pb2.DescriptorProto) -> None:
        check(message.name, "a message")
        for field in (*message.field, *message.extension):
            check(field.name, "a field")
        for oneof in message.oneof_decl:
            check(oneof.name, "a oneof")
        for enum in message.enum_type:
            check_enum(enum)
        for nested in message.nested_type:
            check_message(nested)

    for part in file.package.split(".") if file.package else ():
        check(part, "a package")
    for message in file.message_type:
        check_message(message)
    for enum in file.enum_type:
        check_enum(enum)
    for extension in file.extension:
        check(extension.name, "an extension")
    for service in file.service:
        named = [(service.name, "service", service.name)]
        named += [(method.name, "rpc", f"{service.name}.{method.name}") for method in service.method]
        for name, kind, full_name in named:
            check(name, f"a service or an rpc, in {service.name!r}")
            if name.startswith("_"):
                reason = "such names are those of Python and of the generated code's own helpers; rename it"
                problems.append(f"{file.name}: {kind} {full_name} can't begin with an underscore: {reason}")
    return problems


def _parts(proto: str) -> tuple[list[str], str]:
    *folders, file = proto.removesuffix(".proto").replace("-", "_").split("/")
    return folders, file

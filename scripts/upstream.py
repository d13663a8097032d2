"""`make upstream`: compares proto/ with the newest official package: what has the service's definition changed?

An interpreter that has the official package (`yandexcloud`) runs this script. Our descriptors are those of generated/,
which `gen.sh --check` compares with proto/; both are read in one process. The list has everything that was added,
changed or removed upstream, in the files that proto/ has, and new files beside them. Exit code 0: nothing breaks on the
wire (additions are listed); 1: something breaks; 2: the comparison is not possible.

Rules: definitions are compared by full names, in whatever files they are. The parts of something new or removed are not
listed again. A difference is breaking if a client that was generated from proto/ and the service would misunderstand
each other: another number, another wire type, another message, another kind of streaming, or something that was
removed. `make official` compares options, except for those that the client uses: REST bindings, types of operations,
deprecation.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = "yandexcloud"

_SAME_ON_THE_WIRE: Final = (
    {"int32", "int64", "uint32", "uint64", "bool", "enum"},
    {"sint32", "sint64"},
    {"fixed32", "sfixed32"},
    {"fixed64", "sfixed64"},
    {"string", "bytes"},
)
"""Types that can read each other's bytes, perhaps with other values at the ends of their ranges."""

_STREAMS: Final = {
    (False, False): "neither way",
    (True, False): "of requests",
    (False, True): "of responses",
    (True, True): "both ways",
}


class Difference(NamedTuple):
    """One row of the table."""

    change: str
    """`added`, `changed` or `removed`, seen from proto/."""
    what: str
    """Such as `field yandex.cloud.operation.Operation.id`."""
    detail: str = ""
    breaking: bool = False

    def __str__(self) -> str:
        return f"| {self.change} | {self.what} | {self.detail} | {'**yes**' if self.breaking else ''} |"


class Definition(NamedTuple):
    """A named part of a definition, and its facts."""

    kind: str
    within: str
    """The full name of the message, enum or service that it is part of, or the path of the file."""
    facts: dict[str, Any]


def differences(ours: Iterable[Any], theirs: Iterable[Any]) -> list[Difference]:
    """The differences between two sets of files.

    Args:
        ours: `FileDescriptorProto`s, of any pool.
        theirs: The same, of the official package.
    """
    left, right = dict(_definitions(ours)), dict(_definitions(theirs))
    renamed = dict(_renamed(left, right))
    found = []
    for name in sorted((left.keys() | right.keys()) - set(renamed.values())):
        before, after = left.get(name), right.get(renamed.get(name, name))
        if before is None and after is not None:
            if after.within not in right.keys() - left.keys():
                found.append(Difference("added", f"{after.kind} {name}", _summary(after.facts)))
        elif after is None and before is not None:
            if before.within not in left.keys() - right.keys() or left[before.within].kind == "file":
                # The parts of a file may be in another file now; each part that was removed has a row of its own.
                found.append(Difference("removed", f"{before.kind} {name}", "", before.kind != "file"))
        elif before is not None and after is not None:
            if name in renamed:
                detail = f"name: {_last(name)} -> {_last(renamed[name])}"
                found.append(Difference("changed", f"{before.kind} {name}", detail))
            found += _changes(name, before, after)
    return found


def _renamed(left: dict[str, Definition], right: dict[str, Definition]) -> Iterator[tuple[str, str]]:
    """Fields and values that have another name upstream, and the same number: the wire has numbers only."""
    added = {
        (definition.within, definition.kind, definition.facts["number"]): name
        for name, definition in right.items()
        if name not in left and "number" in definition.facts
    }
    for name, definition in left.items():
        if name not in right and "number" in definition.facts:
            place = (definition.within, definition.kind, definition.facts["number"])
            if place in added:
                yield name, added.pop(place)


def _changes(name: str, before: Definition, after: Definition) -> Iterator[Difference]:
    what = f"{after.kind} {name}"
    if before.kind != after.kind:
        yield Difference("changed", what, f"kind: {before.kind} -> {after.kind}", breaking=True)
        return
    facts = {**before.facts, **after.facts}
    facts.pop("services", None)  # each has a row of its own
    for fact in facts:
        old, new = before.facts.get(fact, ""), after.facts.get(fact, "")
        if old != new:
            yield Difference("changed", what, f"{fact}: {old or 'none'} -> {new or 'none'}", _breaks(fact, old, new))


def _breaks(fact: str, old: Any, new: Any) -> bool:
    if fact == "type":
        return not any({old, new} <= alike for alike in _SAME_ON_THE_WIRE)
    # The position in a file or in a oneof, presence, deprecation and a REST binding change no byte on the wire.
    return fact in {"number", "label", "of", "request", "response", "streams", "result", "metadata", "extends"}


def _summary(facts: dict[str, Any]) -> str:
    shown = ("number", "type", "of", "request", "response", "services")
    return ", ".join(f"{fact} {facts[fact]}" for fact in shown if facts.get(fact))


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _definitions(files: Iterable[Any]) -> Iterator[tuple[str, Definition]]:
    for file in files:
        prefix = f"{file.package}." if file.package else ""
        services = ", ".join(service.name for service in file.service)
        yield file.name, Definition("file", "", {"services": services} if services else {})
        for message in file.message_type:
            yield from _message(message, prefix, file.name, file.name)
        for enum in file.enum_type:
            yield from _enum(enum, prefix, file.name, file.name)
        for extension in file.extension:
            yield f"{prefix}{extension.name}", Definition("extension", file.name, _field(extension, []))
        for service in file.service:
            yield from _service(service, prefix, file.name)


def _message(message: Any, prefix: str, within: str, file: str) -> Iterator[tuple[str, Definition]]:
    name = f"{prefix}{message.name}"
    yield name, Definition("message", within, {"file": file})
    oneofs = [oneof.name for oneof in message.oneof_decl]
    for field in message.field:
        yield f"{name}.{field.name}", Definition("field", name, _field(field, oneofs))
    for nested in message.nested_type:
        yield from _message(nested, f"{name}.", name, file)
    for enum in message.enum_type:
        yield from _enum(enum, f"{name}.", name, file)


def _field(field: Any, oneofs: list[str]) -> dict[str, Any]:
    kinds, labels = type(field).Type, type(field).Label
    in_oneof = field.HasField("oneof_index") and not field.proto3_optional
    return {
        "number": field.number,
        "type": kinds.Name(field.type).removeprefix("TYPE_").lower(),
        "label": "repeated" if labels.Name(field.label) == "LABEL_REPEATED" else "single",
        "of": field.type_name.removeprefix("."),
        "extends": field.extendee.removeprefix("."),
        "oneof": oneofs[field.oneof_index] if in_oneof else "",
        "optional": field.proto3_optional,
        "deprecated": field.options.deprecated,
    }


def _enum(enum: Any, prefix: str, within: str, file: str) -> Iterator[tuple[str, Definition]]:
    name = f"{prefix}{enum.name}"
    yield name, Definition("enum", within, {"file": file})
    for value in enum.value:
        facts = {"number": value.number, "deprecated": value.options.deprecated}
        yield f"{name}.{value.name}", Definition("value", name, facts)


def _service(service: Any, prefix: str, file: str) -> Iterator[tuple[str, Definition]]:
    name = f"{prefix}{service.name}"
    yield name, Definition("service", file, {"file": file})
    for method in service.method:
        facts = {
            "request": method.input_type.removeprefix("."),
            "response": method.output_type.removeprefix("."),
            "streams": _STREAMS[method.client_streaming, method.server_streaming],
            "deprecated": method.options.deprecated,
        }
        yield f"{name}.{method.name}", Definition("method", name, facts | _options(method))


def _options(method: Any) -> dict[str, Any]:
    """The REST binding and the types of the operation, read with our own declarations of the options."""
    from yagrpc_proto.google.api import annotations_pb2
    from yagrpc_proto.google.protobuf import descriptor_pb2
    from yagrpc_proto.yandex.cloud.api import operation_pb2

    options = descriptor_pb2.MethodOptions.FromString(method.options.SerializeToString())
    operation = options.Extensions[operation_pb2.operation]
    http = " ".join(str(options.Extensions[annotations_pb2.http]).split())
    return {"http": http, "result": operation.response, "metadata": operation.metadata}


def ours() -> list[Any]:
    """The descriptors of generated/, without google's."""
    modules = (ROOT / "generated/yagrpc_proto/yandex").rglob("*_pb2.py")
    return [_descriptor(".".join(path.relative_to(ROOT / "generated").with_suffix("").parts)) for path in modules]


def theirs(files: Iterable[Any]) -> list[Any]:
    """The official descriptors of some files, and of all others in their folders."""
    found = {}
    for folder in sorted({file.name.rpartition("/")[0] for file in files}):
        package = folder.replace("/", ".")
        try:
            places = importlib.import_module(package).__path__
        except ModuleNotFoundError:
            continue  # its contents are listed as removed
        for module in pkgutil.iter_modules(places, f"{package}."):
            if module.name.endswith("_pb2"):
                descriptor = _descriptor(module.name)
                found[descriptor.name] = descriptor
    return list(found.values())


def _descriptor(module: str) -> Any:
    from yagrpc_proto.google.protobuf import descriptor_pb2

    serialized = importlib.import_module(module).DESCRIPTOR.serialized_pb
    return descriptor_pb2.FileDescriptorProto.FromString(serialized)


def main() -> int:
    """Compare and print; returns the exit code."""
    sys.path.insert(0, str(ROOT / "generated"))
    try:
        number = version(PACKAGE)
    except ImportError:
        print(f"{PACKAGE} is not installed for {sys.executable}: pip install {PACKAGE}", file=sys.stderr)
        return 2
    own = ours()
    found = differences(own, theirs(own))
    print(f"proto/ against {PACKAGE} {number}: {len(own)} files, {len(found)} differences\n")
    if found:
        print("| change | what | detail | breaks the wire |\n| --- | --- | --- | --- |", *found, sep="\n")
    return 1 if any(difference.breaking for difference in found) else 0


if __name__ == "__main__":
    sys.exit(main())

"""What the tests of the generated code share: descriptors as plain data, and the comparison of such data.

`WireShape` turns a file descriptor into dictionaries of the shape that the wire facts have, so that one
comparison serves the facts and the official package alike. Rules: everything that a descriptor can say is
described, options that nobody knows included, since what is left out here can differ unseen; an empty list
and a missing one are equal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from yagrpc import _pb

Wire: TypeAlias = dict[str, Any]
"""A description: a file, or any node of one."""

FACTS = "YAGRPC_WIRE_FACTS"


class WireShape:
    """Describes file descriptors and lists the differences between descriptions."""

    def describe(self, file: _pb.descriptor_pb2.FileDescriptorProto) -> Wire:
        """Return all that the file says, without empty lists and unset options."""
        scope = file.package
        description: Wire = _clean(
            {
                "package": file.package,
                "syntax": file.syntax or "proto2",
                "edition": file.edition or None,
                "imports": list(file.dependency),
                "public_imports": list(file.public_dependency),
                "options": _options(file.options),
                "messages": [_message(message, scope) for message in file.message_type],
                "enums": [_enum(enum) for enum in file.enum_type],
                "services": [_service(service, scope) for service in file.service],
                "extensions": [_field(extension, []) for extension in file.extension],
            }
        )
        return description

    def differences(self, expected: Wire, found: Wire) -> list[str]:
        """Return one readable line for each place where the two differ, in either direction."""
        left, right = _written_out(expected), _written_out(found)
        return [
            f"{place}: expected {left.get(place, 'nothing')}, found {right.get(place, 'nothing')}"
            for place in sorted(left.keys() | right.keys())
            if left.get(place) != right.get(place)
        ]


@pytest.fixture(scope="session")
def wire_shape() -> WireShape:
    return WireShape()


@pytest.fixture(scope="session")
def our_files() -> dict[str, _pb.descriptor_pb2.FileDescriptorProto]:
    """The definitions that are loaded, by path, with the JSON names that the runtime uses."""
    paths = {
        module.removesuffix("_pb2").replace(".", "/") + ".proto"
        for module in _pb.MODULES.values()
        if module.startswith("yandex.") and module.endswith("_pb2")
    }
    return {path: _load(path) for path in sorted(paths)}


@pytest.fixture(scope="session")
def wire_facts() -> dict[str, Wire]:
    """The files of the wire facts, by path."""
    path = os.environ.get(FACTS)
    if not path:
        pytest.skip(f"{FACTS} is not set")
    files: dict[str, Wire] = json.loads(Path(path).read_text(encoding="utf-8"))["files"]
    return files


def _load(path: str) -> _pb.descriptor_pb2.FileDescriptorProto:
    module = path.removesuffix(".proto").replace("/", ".") + "_pb2"
    name = next(name for name, target in _pb.MODULES.items() if target == module)
    getattr(_pb, name)  # a file enters the pool when its module is first asked for
    live = _pb.POOL.FindFileByName(path)
    file = _pb.descriptor_pb2.FileDescriptorProto.FromString(live.serialized_pb)
    # Serialized files leave out JSON names, as they follow from the names: the runtime's own are compared.
    for message in file.message_type:
        _fill_json_names(message, file.package)
    for extension in file.extension:
        extension.json_name = _pb.POOL.FindExtensionByName(f"{file.package}.{extension.name}").json_name
    return file


def _fill_json_names(message: _pb.descriptor_pb2.DescriptorProto, scope: str) -> None:
    live = _pb.POOL.FindMessageTypeByName(f"{scope}.{message.name}")
    for field in message.field:
        field.json_name = live.fields_by_name[field.name].json_name
    for nested in message.nested_type:
        _fill_json_names(nested, live.full_name)


def _message(message: _pb.descriptor_pb2.DescriptorProto, scope: str) -> Wire:
    full_name = f"{scope}.{message.name}"
    oneofs = [oneof.name for oneof in message.oneof_decl]
    synthetic = {oneofs[field.oneof_index] for field in message.field if field.proto3_optional}
    return {
        "name": message.name,
        "full_name": full_name,
        "fields": [_field(field, oneofs) for field in message.field],
        "oneofs": [
            {"name": oneof.name, "options": _options(oneof.options)}
            for oneof in message.oneof_decl
            if oneof.name not in synthetic
        ],
        "messages": [_message(nested, full_name) for nested in message.nested_type],
        "enums": [_enum(enum) for enum in message.enum_type],
        "extensions": [_field(extension, oneofs) for extension in message.extension],
        "extension_ranges": [[span.start, span.end] for span in message.extension_range],
        "options": _options(message.options),
        "reserved_ranges": [[span.start, span.end] for span in message.reserved_range],
        "reserved_names": list(message.reserved_name),
    }


def _field(field: _pb.descriptor_pb2.FieldDescriptorProto, oneofs: list[str]) -> Wire:
    kinds, labels = type(field).Type, type(field).Label
    in_oneof = field.HasField("oneof_index") and not field.proto3_optional
    return {
        "name": field.name,
        "number": field.number,
        "type": kinds.Name(field.type).removeprefix("TYPE_").lower(),
        "label": labels.Name(field.label).removeprefix("LABEL_").lower(),
        "json_name": field.json_name or None,
        "type_name": field.type_name.removeprefix(".") or None,
        "extends": field.extendee.removeprefix(".") or None,
        "oneof": oneofs[field.oneof_index] if in_oneof else None,
        "proto3_optional": field.proto3_optional or None,
        "default_value": field.default_value if field.HasField("default_value") else None,
        "options": _options(field.options),
    }


def _enum(enum: _pb.descriptor_pb2.EnumDescriptorProto) -> Wire:
    return {
        "name": enum.name,
        "values": [_enum_value(value) for value in enum.value],
        "options": _options(enum.options),
        "reserved_ranges": [[span.start, span.end] for span in enum.reserved_range],
        "reserved_names": list(enum.reserved_name),
    }


def _enum_value(value: _pb.descriptor_pb2.EnumValueDescriptorProto) -> Wire:
    return {"name": value.name, "number": value.number, "options": _options(value.options)}


def _service(service: _pb.descriptor_pb2.ServiceDescriptorProto, scope: str) -> Wire:
    full_name = f"{scope}.{service.name}"
    return {
        "name": service.name,
        "full_name": full_name,
        "methods": [_method(method, full_name) for method in service.method],
        "options": _options(service.options),
    }


def _method(method: _pb.descriptor_pb2.MethodDescriptorProto, service: str) -> Wire:
    options = _options(method.options)
    return {
        "name": method.name,
        "path": f"/{service}/{method.name}",
        "input": method.input_type.removeprefix("."),
        "output": method.output_type.removeprefix("."),
        "client_streaming": method.client_streaming,
        "server_streaming": method.server_streaming,
        "http": _http(options.pop(_pb.annotations_pb2.http.full_name, {})),
        "operation": options.pop(_pb.api_operation_pb2.operation.full_name, None),
        "options": options,
    }


def _http(rule: Wire) -> Wire:
    rest = dict(rule)
    bindings = [_http(binding) for binding in rest.pop("additional_bindings", [])]
    if "custom" in rest:
        custom = rest.pop("custom")
        rest |= {"verb": custom["kind"], "path": custom["path"]}
    for verb in ("get", "put", "post", "delete", "patch"):
        if verb in rest:
            rest |= {"verb": verb.upper(), "path": rest.pop(verb)}
    return rest | {"additional_bindings": bindings}


def _options(message: Message) -> Wire:
    """Everything set in an options message: extensions by their full names, unknown ones by their numbers."""
    found: Wire = {}
    for field, value in message.ListFields():
        key = field.full_name if field.is_extension else field.name
        found[key] = _option(value)
    unknowns = UnknownFieldSet(message)
    for unknown in (unknowns[index] for index in range(len(unknowns))):
        found[f"unknown option {unknown.field_number}"] = repr(unknown.data)
    return found


def _option(value: Any) -> Any:
    if isinstance(value, Message):
        return _options(value)
    if isinstance(value, (bool, int, float, str, bytes)):
        return value
    return [_option(element) for element in value]


def _written_out(node: Wire) -> dict[str, str]:
    # Compared as text, since True == 1 in Python; and no value's text is the bare word `nothing`.
    return {place: repr(value) for place, value in _leaves(_clean(node), "")}


def _clean(value: Any) -> Any:
    """Leave out what is empty: one side may spell out an empty list where the other has none."""
    if isinstance(value, dict):
        cleaned = {key: _clean(element) for key, element in value.items()}
        return {key: element for key, element in cleaned.items() if element not in (None, [], {})}
    return [_clean(element) for element in value] if isinstance(value, list) else value


def _leaves(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Flatten a description to places and values; lists of named nodes go by name, their order is a leaf."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{place} {key}" if place else key)
    elif isinstance(node, list) and all(isinstance(element, dict) and "name" in element for element in node):
        names = [element["name"] for element in node]
        if len(set(names)) != len(names):
            raise ValueError(f"{place}: a name is there twice among {names}")
        yield f"{place} (order)", names
        for element in node:
            yield from _leaves(element, f"{place}[{element['name']}]")
    else:
        yield place, node

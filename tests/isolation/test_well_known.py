"""Every field of a well-known type: set, copied, pickled, compared, printed and packed, as protobuf's own would be.

Our messages live in a pool of their own, so that their well-known types are twins of google.protobuf's, and not these.
What that costs and what it does not is said here, for each field there is, and with each version of protobuf that
`make matrix` installs. Rules: nothing but pytest and the installed package is used, and no fixture of a conftest.
"""

from __future__ import annotations

import copy
import importlib
import pickle
import subprocess
import sys
from datetime import datetime, timezone
from typing import Any, NamedTuple

import pytest
from google.protobuf import any_pb2, json_format, message_factory, text_format

from yagrpc import _pb

PLAIN: dict[str, tuple[Any, Any]] = {
    "google.protobuf.Any": (
        {"type_url": "type.googleapis.com/google.protobuf.Int64Value", "value": b"\x08\x07"},
        {"@type": "type.googleapis.com/google.protobuf.Int64Value", "value": "7"},
    ),
    "google.protobuf.BoolValue": ({"value": True}, True),
    "google.protobuf.BytesValue": ({"value": b"\x00\xff"}, "AP8="),
    "google.protobuf.DoubleValue": ({"value": 0.25}, 0.25),
    "google.protobuf.Duration": ({"seconds": 90, "nanos": 500_000_000}, "90.500s"),
    "google.protobuf.Empty": ({}, {}),
    "google.protobuf.FieldMask": ({"paths": ["name", "folder_id"]}, "name,folderId"),
    "google.protobuf.FloatValue": ({"value": 0.5}, 0.5),
    "google.protobuf.Int32Value": ({"value": -3}, -3),
    "google.protobuf.Int64Value": ({"value": 2**53 + 1}, "9007199254740993"),
    "google.protobuf.ListValue": ([1, "two", None], [1.0, "two", None]),
    "google.protobuf.StringValue": ({"value": "слово"}, "слово"),
    "google.protobuf.Struct": ({"a": [1, {"b": None}], "c": True}, {"a": [1.0, {"b": None}], "c": True}),
    "google.protobuf.Timestamp": ({"seconds": 1_750_000_000, "nanos": 5_000_000}, "2025-06-15T15:06:40.005Z"),
    "google.protobuf.UInt32Value": ({"value": 3}, 3),
    "google.protobuf.UInt64Value": ({"value": 2**63}, "9223372036854775808"),
    "google.protobuf.Value": ({"number_value": 2.5}, 2.5),
    "google.rpc.Status": ({"code": 5, "message": "not there"}, {"code": 5, "message": "not there"}),
}
"""By well-known type: what a field of it can be given in Python without a class, and what that is in JSON."""

TAKEN_AS_DICTS = {"google.protobuf.Struct", "google.protobuf.ListValue"}
"""Types whose foreign objects newer protobuf reads as the dict or list that they stand for."""


class Field(NamedTuple):
    """A field of one of our messages whose type is a well-known one."""

    holder: Any
    """The class of the message that has it."""
    name: str
    type: Any
    """Our class of the well-known type."""

    @property
    def full_name(self) -> str:
        return str(self.type.DESCRIPTOR.full_name)

    @property
    def plain(self) -> Any:
        """A value without a class."""
        return PLAIN[self.full_name][0]

    @property
    def repeated(self) -> bool:
        descriptor = self.holder.DESCRIPTOR.fields_by_name[self.name]
        return isinstance(getattr(self.holder(), descriptor.name), type(_pb.struct_pb2.ListValue().values))

    def of(self, value: Any) -> Any:
        """A holder that is created with a value of the field."""
        return self.holder(**{self.name: [value] if self.repeated else value})

    def in_(self, holder: Any) -> Any:
        """The field's value in a holder."""
        value = getattr(holder, self.name)
        return value[0] if self.repeated else value

    def message(self) -> Any:
        """A value of our own class."""
        return self.in_(self.of(self.plain))


def well_known_fields() -> list[Field]:
    """All of them, in all messages of the services' own."""
    _pb.load_messages()
    found = []
    for module in _pb.MODULES.values():
        if not module.endswith("_pb2") or module.startswith("google."):
            continue
        waiting = list(importlib.import_module(f"yagrpc_proto.{module}").DESCRIPTOR.message_types_by_name.values())
        while waiting:
            descriptor = waiting.pop()
            waiting += [nested for nested in descriptor.nested_types if not nested.GetOptions().map_entry]
            for field in descriptor.fields:
                if field.message_type is not None and field.message_type.full_name.startswith("google."):
                    classes = map(message_factory.GetMessageClass, (descriptor, field.message_type))
                    found.append(Field(next(classes), field.name, next(classes)))
    return sorted(found, key=lambda field: (field.holder.DESCRIPTOR.full_name, field.name))


FIELDS = well_known_fields()
every_field = pytest.mark.parametrize(
    "field", FIELDS, ids=[f"{field.holder.DESCRIPTOR.name}.{field.name}" for field in FIELDS]
)


def foreign(field: Field) -> Any:
    """The same value as an object of google.protobuf's own, or google.rpc's."""
    file = field.type.DESCRIPTOR.file.name
    module = importlib.import_module(file.removesuffix(".proto").replace("/", ".") + "_pb2")
    theirs = getattr(module, field.type.DESCRIPTOR.name)
    assert theirs is not field.type
    return theirs.FromString(field.message().SerializeToString())


def test_the_fields_are_found() -> None:
    found = {f"{field.holder.DESCRIPTOR.name}.{field.name}": field.full_name for field in FIELDS}
    assert (
        found.items()
        >= {
            "CompletionOptions.temperature": "google.protobuf.DoubleValue",
            "CompletionOptions.max_tokens": "google.protobuf.Int64Value",
            "CompletionRequest.parallel_tool_calls": "google.protobuf.BoolValue",
            "CreateIamTokenResponse.expires_at": "google.protobuf.Timestamp",
            "FunctionCall.arguments": "google.protobuf.Struct",
            "FunctionTool.parameters": "google.protobuf.Struct",
            "JsonSchema.schema": "google.protobuf.Struct",
            "Operation.created_at": "google.protobuf.Timestamp",
            "Operation.error": "google.rpc.Status",
            "Operation.metadata": "google.protobuf.Any",
            "Operation.modified_at": "google.protobuf.Timestamp",
            "Operation.response": "google.protobuf.Any",
            "TextEmbeddingRequest.dim": "google.protobuf.Int64Value",
        }.items()
    )


@every_field
def test_it_is_set_by_our_own_type_and_by_a_plain_value(field: Field) -> None:
    plain = field.of(field.plain)
    own = field.of(field.message())
    assert own == plain
    assert type(field.in_(own)) is field.type
    assert field.type.__module__.startswith("yagrpc_proto.google.")
    assert own.SerializeToString(deterministic=True) == plain.SerializeToString(deterministic=True) != b""
    later = field.holder()
    if not field.repeated:
        assert not later.HasField(field.name)
        getattr(later, field.name).CopyFrom(field.message())
        assert later.HasField(field.name)
        assert later == own
        later.ClearField(field.name)
        assert later == field.holder()


@every_field
def test_it_is_copied_and_compared(field: Field) -> None:
    built = field.of(field.plain)
    for copied in (copy.copy(built), copy.deepcopy(built), field.holder.FromString(built.SerializeToString())):
        assert copied == built
        assert copied is not built
        copied.ClearField(field.name)
        assert copied != built
        assert copied == field.holder()
    merged = field.holder()
    merged.MergeFrom(built)
    assert merged == built


@every_field
def test_it_is_pickled_into_another_process_and_back(field: Field) -> None:
    built = field.of(field.plain)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for message in (built, field.message()):
            loaded = pickle.loads(pickle.dumps(message, protocol))
            assert loaded == message
            assert type(loaded) is type(message)
    # The other process has imported nothing yet: the pickle alone has to bring the modules along.
    code = "import pickle, sys; pickle.dump(pickle.load(sys.stdin.buffer), sys.stdout.buffer)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], input=pickle.dumps(built), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    returned = pickle.loads(done.stdout)
    assert returned == built
    assert type(field.in_(returned)) is field.type


@every_field
def test_it_has_its_json_form_and_its_text_form(field: Field) -> None:
    built = field.of(field.plain)
    as_dict = json_format.MessageToDict(built, preserving_proto_field_name=True, descriptor_pool=_pb.POOL)
    json = PLAIN[field.full_name][1]
    assert as_dict == {field.name: [json] if field.repeated else json}
    assert json_format.ParseDict(as_dict, field.holder(), descriptor_pool=_pb.POOL) == built
    assert json_format.Parse(json_format.MessageToJson(built, descriptor_pool=_pb.POOL), field.holder()) == built
    text = text_format.MessageToString(built, descriptor_pool=_pb.POOL)
    assert text_format.Parse(text, field.holder(), descriptor_pool=_pb.POOL) == built


@every_field
def test_it_travels_in_an_any(field: Field) -> None:
    built = field.of(field.plain)
    packed = _pb.any_pb2.Any()
    packed.Pack(built)
    assert packed.Is(field.holder.DESCRIPTOR)
    assert packed.TypeName() == field.holder.DESCRIPTOR.full_name
    unpacked = field.holder()
    assert packed.Unpack(unpacked)
    assert unpacked == built
    as_dict = json_format.MessageToDict(packed, descriptor_pool=_pb.POOL)
    assert as_dict["@type"] == f"type.googleapis.com/{field.holder.DESCRIPTOR.full_name}"
    read = json_format.ParseDict(as_dict, _pb.any_pb2.Any(), descriptor_pool=_pb.POOL)
    # The bytes of two equal messages may differ: a Struct's fields are a map.
    unpacked.Clear()
    assert read.Unpack(unpacked)
    assert unpacked == built
    # Another pool's `Any` is the same on the wire.
    theirs = any_pb2.Any.FromString(packed.SerializeToString())
    assert theirs.Is(field.holder.DESCRIPTOR)
    again = field.holder()
    assert theirs.Unpack(again)
    assert again == built


@every_field
def test_an_object_of_another_pool_is_refused_or_taken_whole(field: Field) -> None:
    other = foreign(field)
    try:
        built = field.of(other)
    except (TypeError, AttributeError):  # the latter of a Timestamp, by protobuf 6.33
        built = None
    if field.full_name not in TAKEN_AS_DICTS:
        assert built is None
    assert built is None or built == field.of(field.plain)
    if not field.repeated:
        holder = field.holder()
        with pytest.raises(TypeError):
            getattr(holder, field.name).CopyFrom(other)
        assert field.in_(holder) == field.type()
    # What does carry it over, whatever the type: its bytes.
    assert field.type.FromString(other.SerializeToString()) == field.message()
    assert field.message() != other


def test_a_number_is_written_into_a_wrapper() -> None:
    options = _pb.text_common_pb2.CompletionOptions()
    options.temperature.value = 0
    options.max_tokens.value = 2000
    assert options.HasField("temperature")
    assert options == _pb.text_common_pb2.CompletionOptions(temperature={"value": 0.0}, max_tokens={"value": 2000})
    with pytest.raises(TypeError):
        _pb.text_common_pb2.CompletionOptions(temperature=0.3)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        options.temperature = 0.3  # type: ignore[misc,assignment]


def test_times_and_structs_take_what_python_has_for_them() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=timezone.utc)
    operation = _pb.operation_pb2.Operation(id="op1")
    operation.created_at.FromDatetime(moment)
    assert operation.created_at.ToDatetime(tzinfo=timezone.utc) == moment
    tool = _pb.text_common_pb2.FunctionTool(name="f")
    tool.parameters.update({"type": "object", "required": ["a"]})
    assert json_format.MessageToDict(tool.parameters) == {"type": "object", "required": ["a"]}

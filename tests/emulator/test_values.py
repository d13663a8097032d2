"""`Struct` to Python and back to sense, and smallest instances of schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yagrpc import _pb
from yagrpc.emulator.values import minimal_instance, to_python

ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXT = "the text"

NODE: dict[str, Any] = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}

SCHEMAS: list[tuple[Any, Any]] = [
    ({"type": "string"}, TEXT),
    ({"type": "string", "maxLength": 3}, "the"),
    ({"type": "string", "minLength": 10}, "the text.."),
    ({"type": "string", "maxLength": -1}, ""),
    ({}, TEXT),
    ({"type": "integer"}, 0),
    ({"type": "number", "minimum": 2.5}, 2.5),
    ({"type": "integer", "minimum": -5, "maximum": -2}, -2),
    ({"type": "boolean"}, False),
    ({"type": "null"}, None),
    ({"type": ["integer", "null"]}, 0),
    ({"type": "array", "items": {"type": "integer"}}, []),
    ({"items": {"type": "integer"}, "minItems": 2}, [0, 0]),
    ({"enum": ["red", "green"]}, "red"),
    ({"const": 5}, 5),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 0),
    ({"oneOf": [{"type": "boolean"}]}, False),
    ({"anyOf": [], "type": "integer"}, 0),
    ({"allOf": [{"type": "integer"}]}, 0),
    (
        {"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"type": "object", "required": ["b"]}]},
        {"a": 1, "b": None},
    ),
    ({"properties": {"a": {}, "b": {}}, "required": ["b"]}, {"b": TEXT}),
    ({"type": "object"}, {}),
    (
        {
            "type": "object",
            "properties": {"color": {"$ref": "#/$defs/Color"}, "gone": {"$ref": "#/$defs/Gone/deep"}},
            "required": ["color", "gone"],
            "$defs": {"Color": {"enum": ["red"]}},
        },
        {"color": "red", "gone": None},
    ),
]


@pytest.mark.parametrize(("schema", "expected"), SCHEMAS, ids=lambda value: json.dumps(value)[:40])
def test_the_smallest_instance(schema: Any, expected: Any) -> None:
    assert minimal_instance(schema, TEXT) == expected


def test_a_schema_without_a_finite_instance_ends() -> None:
    schema: dict[str, Any] = {"$ref": "#/$defs/node", "$defs": {"node": NODE}}
    assert '"next": null' in json.dumps(minimal_instance(schema, TEXT))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=64) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@ANY_MACHINE
@given(said=st.dictionaries(st.text(), values, max_size=4))
def test_a_struct_comes_back_as_it_was(said: dict[str, Any]) -> None:
    struct = _pb.struct_pb2.Struct()
    struct.update(said)
    assert to_python(struct) == said
    assert list(to_python(struct)) == sorted(said)


def test_whole_numbers_come_back_whole() -> None:
    struct = _pb.struct_pb2.Struct()
    struct.update({"numbers": [5, 4.5, float("inf")]})
    assert json.dumps(to_python(struct)) == '{"numbers": [5, 4.5, Infinity]}'


keywords = st.sampled_from(
    ["type", "properties", "required", "items", "enum", "const", "anyOf", "allOf", "$ref", "minItems", "minimum"]
)


@ANY_MACHINE
@given(schema=st.dictionaries(keywords, values | st.sampled_from(["object", "array", "#", "#/x"]), max_size=5))
def test_any_schema_has_an_instance_that_is_json(schema: dict[str, Any]) -> None:
    assert json.dumps(minimal_instance(schema, TEXT))

"""`Struct` to Python and back to sense, and smallest instances of schemas."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yagrpc import _pb
from yagrpc.emulator.answers.instances import minimal_instance
from yagrpc.emulator.answers.values import to_python

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
    ({"type": "integer", "exclusiveMinimum": 2}, 3),
    ({"type": "integer", "minimum": 2.5}, 3),
    ({"type": "integer", "exclusiveMaximum": -1, "multipleOf": 3}, -3),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    ({"type": "number", "exclusiveMinimum": 0}, 1),
    ({"type": "number", "exclusiveMaximum": 0}, -1),
    ({"type": "number", "minimum": 5, "multipleOf": 2}, 6),
    ({"type": "string", "format": "date"}, "2024-01-01"),
    ({"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True}, [TEXT, f"{TEXT} 1"]),
    ({"type": "array", "items": {"enum": [7, 8]}, "minItems": 2, "uniqueItems": True}, [7, 8]),
    ({"prefixItems": [{"type": "integer"}, {"type": "boolean"}], "minItems": 2}, [0, False]),
    ({"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}}, {"a": 0}),
    ({"anyOf": [{"minimum": 3}], "type": "integer"}, 3),
    ({"allOf": [True, {"type": "integer"}, {"minimum": 2}]}, 2),
    ({"$ref": "#/$defs/a~1b", "minimum": 4, "$defs": {"a/b": {"type": "integer"}}}, 4),
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


def test_a_tree_with_a_way_out_takes_it() -> None:
    node = {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}
    schema: dict[str, Any] = {
        "$ref": "#/$defs/node",
        "$defs": {"node": {"type": "object", "properties": {"next": node}, "required": ["next"]}},
    }
    built = minimal_instance(schema, TEXT)
    jsonschema.validate(built, schema)
    assert len(json.dumps(built)) < 100


def bounds(kind: str, low: str, high: str, most: int) -> st.SearchStrategy[dict[str, Any]]:
    """A type with none, one or both of its bounds, which leave something between them."""
    lower = st.integers(0, most)
    both = st.tuples(lower, st.integers(3, most)).map(lambda pair: {low: pair[0], high: pair[0] + pair[1]})
    nothing: dict[str, int] = {}
    return st.one_of(st.just(nothing), lower.map(lambda bound: {low: bound}), both).map(
        lambda keys: {"type": kind, **keys}
    )


def negated(schema: dict[str, Any]) -> dict[str, Any]:
    """The same bounds on the other side of 0."""
    other = {"minimum": "maximum", "maximum": "minimum", "exclusiveMinimum": "exclusiveMaximum"}
    other |= {"exclusiveMaximum": "exclusiveMinimum"}
    return {other.get(key, key): -value if key in other else value for key, value in schema.items()}


numbers = st.one_of(
    *(
        bounds(kind, low, high, 9)
        for kind in ("integer", "number")
        for low in ("minimum", "exclusiveMinimum")
        for high in ("maximum", "exclusiveMaximum")
    )
)
leaves = st.one_of(
    numbers,
    numbers.map(negated),
    st.tuples(st.sampled_from(["integer", "number"]), st.integers(1, 4), st.integers(-9, 9)).map(
        lambda drawn: {"type": drawn[0], "multipleOf": drawn[1], "minimum": drawn[2]}
    ),
    bounds("string", "minLength", "maxLength", 12),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"const": "c"}, {"enum": ["x", "y"]}, {}]),
    st.sampled_from([{"type": "string", "format": name} for name in ("date", "date-time", "email", "uuid", "uri")]),
    st.just({"$ref": "#/$defs/known"}),
)


def composed(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of schemas."""
    names = st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    return st.one_of(
        names.map(
            lambda known: {
                "type": "object",
                "properties": known,
                "required": sorted(known)[:2],
                "additionalProperties": False,
            }
        ),
        st.tuples(inner, st.integers(0, 3)).map(
            lambda drawn: {"type": "array", "items": drawn[0], "minItems": drawn[1], "maxItems": drawn[1] + 1}
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda choices: {"anyOf": choices}),
        inner.map(lambda part: {"allOf": [part]}),
    )


@ANY_MACHINE
@given(schema=st.recursive(leaves, composed, max_leaves=6))
def test_the_instance_is_valid(schema: dict[str, Any]) -> None:
    schema = {**schema, "$defs": {"known": {"type": "object", "properties": {"k": {"const": 1}}, "required": ["k"]}}}
    struct = _pb.struct_pb2.Struct()
    struct.update(schema)
    built = json.loads(json.dumps(minimal_instance(to_python(struct), TEXT)))
    jsonschema.validate(built, schema, format_checker=jsonschema.FormatChecker())


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

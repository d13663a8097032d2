"""`Struct` to Python values, and a smallest instance of a JSON schema.

The schema part knows what people's models are written in, pydantic's output first of all: `type`, `properties`,
`required`, `items`, `enum`, `const`, local `$ref`, `anyOf`/`oneOf`/`allOf`, and lower bounds. It does not validate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from yagrpc import _pb

__all__ = ["Json", "minimal_instance", "to_python"]

Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | int | bool | None"

_DEEPEST = 32
"""A schema that requires itself has no finite instance; below this depth it gets null."""


def to_python(struct: _pb.struct_pb2.Struct) -> dict[str, Json]:
    """A `Struct` as a dict, keys sorted; a whole number is an `int` again, as in the JSON that it came from."""
    return {key: _value(struct.fields[key]) for key in sorted(struct.fields)}


def _value(value: _pb.struct_pb2.Value) -> Json:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = value.number_value
        return int(number) if math.isfinite(number) and number.is_integer() else number
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return to_python(value.struct_value)
    if kind == "list_value":
        return [_value(item) for item in value.list_value.values]
    return None


def minimal_instance(schema: Mapping[str, Json], text: str) -> Json:
    """A small value that the schema allows, with `text` wherever it asks for a string.

    Args:
        schema: A JSON schema.
        text: What strings say; cut or padded to the schema's length bounds.
    """
    return _instance(schema, _Maker(schema, text), 0)


class _Maker:
    """What does not change on the way down: where `$ref` points, and the text."""

    def __init__(self, root: Mapping[str, Json], text: str) -> None:
        self._root = root
        self.text = text

    def resolve(self, reference: str) -> Json:
        found: Json = dict(self._root)
        for part in reference.removeprefix("#").split("/")[1:]:
            found = found.get(part) if isinstance(found, dict) else None
        return found


def _instance(schema: Json | Mapping[str, Json], maker: _Maker, depth: int) -> Json:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    if "const" in schema:
        return schema["const"]
    for choices in (schema.get("enum"), schema.get("anyOf"), schema.get("oneOf")):
        if isinstance(choices, list) and choices:
            return choices[0] if choices is schema.get("enum") else _instance(choices[0], maker, depth + 1)
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _instance(maker.resolve(reference), maker, depth + 1)
    parts = schema.get("allOf")
    if isinstance(parts, list) and parts:
        return _all_of(parts, maker, depth)
    return _of_type(schema, maker, depth)


def _all_of(parts: Sequence[Json], maker: _Maker, depth: int) -> Json:
    """The parts' objects laid over each other; for anything else the first part's instance."""
    instances = [_instance(part, maker, depth + 1) for part in parts]
    if not all(isinstance(instance, dict) for instance in instances):
        return instances[0]
    merged: dict[str, Json] = {}
    for instance in instances:
        merged.update(cast("dict[str, Json]", instance))
    return merged


def _of_type(schema: Mapping[str, Json], maker: _Maker, depth: int) -> Json:
    kind = schema.get("type")
    if isinstance(kind, list) and kind:
        kind = kind[0]
    if kind == "object" or (kind is None and "properties" in schema):
        properties, required = schema.get("properties"), schema.get("required")
        known = properties if isinstance(properties, dict) else {}
        names = required if isinstance(required, list) else []
        return {name: _instance(known.get(name), maker, depth + 1) for name in names if isinstance(name, str)}
    if kind == "array" or (kind is None and "items" in schema):
        return [_instance(schema.get("items"), maker, depth + 1) for _ in range(_bound(schema, "minItems"))]
    if kind in ("integer", "number"):
        minimum, maximum = schema.get("minimum"), schema.get("maximum")
        if isinstance(minimum, (int, float)) and minimum > 0:
            return minimum
        return maximum if isinstance(maximum, (int, float)) and maximum < 0 else 0
    if kind == "boolean":
        return False
    if kind == "null":
        return None
    longest = _bound(schema, "maxLength", len(maker.text))
    return maker.text[:longest].ljust(_bound(schema, "minLength"), ".")


def _bound(schema: Mapping[str, Json], key: str, default: int = 0) -> int:
    """A length bound of a schema; never absurd, as it decides how much is made."""
    bound = schema.get(key)
    return max(0, min(bound, 100_000)) if isinstance(bound, int) else default

"""`Struct` to Python values."""

from __future__ import annotations

import math
from typing import TypeAlias

from yagrpc import _pb

__all__ = ["Json", "to_python"]

Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | int | bool | None"


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

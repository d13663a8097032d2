"""A small valid instance of a JSON schema, for structured answers and the arguments of tool calls.

The keywords of common generators of schemas, such as pydantic, are known: `type`, `enum`, `const`, `properties`,
`required`, `additionalProperties`, `items`, `prefixItems`, `uniqueItems`, local `$ref`, `allOf`, `anyOf`, `oneOf`,
bounds, `multipleOf` and common formats. `pattern`, `not` and `if` are not known. A schema that has no instance gets a
value nevertheless.

Rules: a schema comes from a peer, and a small one can have an instance of any size: two required properties that refer
to the schema itself double with each level. So all work for one instance has a budget, and what comes after its end is
null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from yagrpc.emulator.answers.values import Json

__all__ = ["minimal_instance"]

_Schema: TypeAlias = "Mapping[str, Json]"

_DEEPEST: Final = 32
"""A schema that requires itself has no finite instance; below this depth the value is null."""

_DEEP: Final = 3
"""From this depth on, an alternative without a reference, such as null, is preferred."""

_MOST: Final = 100_000
"""The most characters or items of a value, whatever the schema's bounds are."""

_BUDGET: Final = 500_000
"""The most work for one instance, all levels together: a unit for each value, each character, and each keyword of a
schema that is read or merged."""

_FORMATS: Final = {
    "date": "2024-01-01",
    "date-time": "2024-01-01T00:00:00Z",
    "duration": "PT1S",
    "email": "user@example.com",
    "hostname": "localhost",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "time": "00:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def minimal_instance(schema: _Schema, text: str) -> Json:
    """A small value that the schema allows, with `text` wherever it asks for a string.

    Args:
        schema: A JSON schema.
        text: The content of strings; cut or padded to the schema's length bounds.
    """
    return _Builder(schema, text).build(schema, 0)


class _Builder:
    """What all levels share: the schema that `$ref` points into, the text, and the budget."""

    def __init__(self, root: _Schema, text: str) -> None:
        self._root = root
        self._text = text
        self._left = _BUDGET

    def build(self, schema: Json | _Schema, depth: int, number: int = 0) -> Json:
        """An instance; with different numbers, equal schemas get different instances, if they allow it."""
        if not self._spend(1) or depth > _DEEPEST:
            return None
        flat = self._flatten(schema, depth)
        if flat is None:
            return None
        choices = [flat["const"]] if "const" in flat else _listed(flat, "enum")
        if choices:  # such a value costs its size: many places may refer to it
            value = choices[number % len(choices)]
            return value if self._spend(len(json.dumps(value))) else None
        kind = flat.get("type")
        if isinstance(kind, list) and kind:
            kind = kind[0]
        if kind == "object" or (kind is None and "properties" in flat):
            return self._object(flat, depth)
        if kind == "array" or (kind is None and ("items" in flat or "prefixItems" in flat)):
            return self._array(flat, depth)
        if kind in ("integer", "number"):
            return _number(flat, kind == "integer", number)
        if kind == "boolean":
            return bool(number % 2)
        return None if kind == "null" else self._string(flat, number)

    def _spend(self, units: int) -> bool:
        """Take from the budget; returns whether there was enough."""
        self._left -= units
        return self._left >= 0

    def _flatten(self, schema: Json | _Schema, depth: int) -> _Schema | None:
        """The schema with its references, parts and alternatives merged; `None` if it is no schema."""
        for _ in range(_DEEPEST):
            if not isinstance(schema, Mapping) or not self._spend(_width(schema)):
                return None
            if isinstance(schema.get("$ref"), str):
                schema, target = _without(schema, "$ref"), self._resolve(str(schema["$ref"]))
                if not isinstance(target, Mapping):
                    return None
                schema = _merge(target, schema)
            elif _listed(schema, "allOf"):
                schema, parts = _without(schema, "allOf"), _listed(schema, "allOf")
                for part in parts:
                    if isinstance(part, Mapping):
                        schema = _merge(schema, part)
                        if not self._spend(_width(schema)):
                            return None
            elif key := next((key for key in ("anyOf", "oneOf") if _listed(schema, key)), None):
                schema, choices = _without(schema, key), _listed(schema, key)
                if depth >= _DEEP:
                    choices = [one for one in choices if isinstance(one, Mapping) and "$ref" not in one] or choices
                schema = _merge(schema, choices[0]) if isinstance(choices[0], Mapping) else schema
            else:
                return schema
        return None

    def _resolve(self, reference: str) -> Json | _Schema:
        found: Json | _Schema = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def _object(self, schema: _Schema, depth: int) -> Json:
        properties, others = schema.get("properties"), schema.get("additionalProperties")
        known = properties if isinstance(properties, dict) else {}
        names = dict.fromkeys(name for name in _listed(schema, "required") if isinstance(name, str))
        instance = {}
        for name in names:
            if not self._spend(len(name)):
                break
            instance[name] = self.build(known.get(name, others), depth + 1)
        return instance

    def _array(self, schema: _Schema, depth: int) -> Json:
        first, rest, unique = _listed(schema, "prefixItems"), schema.get("items"), schema.get("uniqueItems") is True
        instance: list[Json] = []
        for index in range(_length(schema, "minItems")):
            if self._left <= 0:
                break
            kind = first[index] if index < len(first) else rest
            instance.append(self.build(kind, depth + 1, index if unique else 0))
        return instance

    def _string(self, schema: _Schema, number: int) -> str:
        known = _FORMATS.get(str(schema.get("format")))
        if known is not None:
            return known
        ending = f" {number}" if number else ""
        longest = _length(schema, "maxLength", _MOST)
        text = self._text[: max(0, longest - len(ending))] + ending
        text = text[:longest].ljust(_length(schema, "minLength"), ".")
        return text if self._spend(len(text)) else ""


def _width(schema: _Schema) -> int:
    """What it costs to read a schema, or to merge one into it: its keywords, and what merging copies."""
    parts = (schema.get(key) for key in ("properties", "required"))
    return len(schema) + sum(len(part) for part in parts if isinstance(part, (dict, list)))


def _without(schema: _Schema, key: str) -> _Schema:
    return {name: value for name, value in schema.items() if name != key}


def _listed(schema: _Schema, key: str) -> Sequence[Json]:
    value = schema.get(key)
    return value if isinstance(value, list) else []


def _merge(one: _Schema, other: _Schema) -> _Schema:
    """A schema that requires what both require; where they differ, the other wins."""
    merged = {**one, **other}
    properties = [part for part in (one.get("properties"), other.get("properties")) if isinstance(part, dict)]
    if len(properties) == 2:
        merged["properties"] = {**properties[0], **properties[1]}
    required = [*_listed(one, "required"), *_listed(other, "required")]
    if required:
        merged["required"] = required
    return merged


def _number(schema: _Schema, whole: bool, number: int) -> float | int:
    """The number nearest to 0 within the bounds, and steps from there."""
    step = _bound(schema, "multipleOf") or 0.0
    if step <= 0:
        step = 1.0 if whole else 0.0
    elif whole and not step.is_integer():
        step = float(math.lcm(1, *step.as_integer_ratio()[:1]))  # the first whole multiple
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    lowest = max((each for each in (low, above) if each is not None), default=-math.inf)
    highest = min((each for each in (high, below) if each is not None), default=math.inf)
    found = min(max(0.0, lowest), highest)
    if step and math.isfinite(found / step):
        found = step * (math.ceil(found / step) if found >= lowest and lowest > 0 else math.floor(found / step))
    if found == above:
        found += step or _half_way(found, highest)
    elif found == below:
        found -= step or -_half_way(found, lowest)
    found += number * (step or 1.0) * (-1 if highest <= 0 else 1)
    return int(found) if found.is_integer() and (whole or abs(found) < 2**53) else found


def _half_way(start: float, bound: float) -> float:
    """A step from a bound towards the other bound, or by 1 without another bound."""
    return (bound - start) / 2 if math.isfinite(bound) else math.copysign(1.0, bound)


def _bound(schema: _Schema, key: str) -> float | None:
    value = schema.get(key)
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if usable and isinstance(value, (int, float)) else None


def _length(schema: _Schema, key: str, default: int = 0) -> int:
    """A length bound of a schema, limited, because it decides the size of the value."""
    bound = schema.get(key)
    return max(0, min(bound, _MOST)) if isinstance(bound, int) else default

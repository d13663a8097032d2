"""Whether an answer follows the JSON schema that was asked for, and whether that is one.

Rules: pure. Of a schema only what most schemas consist of is checked: `type`, `enum`, `const`, `required`,
`properties`, `additionalProperties: false` and `items`; what else it asks for is taken as kept, and so is what has
another form: a journal may have answers to a schema that is refused by now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from yagrpc.errors import RequestError

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}

_SAID: Final = {name: name if name == "null" else f"{'an' if name[0] in 'aeio' else 'a'} {name}" for name in _TYPES}
"""What a value of each type is called."""


_LIST: Final = (list, tuple)

_FORMS: Final[Mapping[str, tuple[type | tuple[type, ...], str]]] = {
    "enum": (_LIST, "a list of values"),
    "required": (_LIST, "a list of names"),
    "properties": (Mapping, "an object with a schema for each name"),
}


def check_schema(schema: Any, where: str = "json_schema") -> None:
    """Check what an answer is compared with, before anything is sent: the service would refuse every row.

    Args:
        schema: The schema, or a part of one.
        where: What the part is called.

    Raises:
        RequestError: It has a type that there is not, or a keyword of another form.
    """
    if not isinstance(schema, Mapping):
        return
    for name in _listed(schema.get("type", [])):
        if not isinstance(name, str) or name not in _TYPES:
            raise RequestError(f"{where}.type", schema["type"], f"it takes {', '.join(_TYPES)}, or a list of these")
    for name, (form, said) in _FORMS.items():
        if name in schema and not isinstance(schema[name], form):
            raise RequestError(f"{where}.{name}", schema[name], f"it takes {said}")
    for name, part in schema.get("properties", {}).items():
        check_schema(part, f"{where}.properties.{name}")
    check_schema(schema.get("items"), f"{where}.items")


def mismatch(text: str, schema: Mapping[str, Any]) -> str:
    """Where a text does not follow a schema; empty where it does.

    Args:
        text: The answer.
        schema: The schema.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"it is not JSON: {error}"
    return _mismatch(value, schema, "answer")


def _mismatch(value: Any, schema: Any, where: str) -> str:
    if not isinstance(schema, Mapping):
        return ""
    types = _listed(schema.get("type", []))
    if types and not any(_is(value, name) for name in types):
        return f"{where} is not {' or '.join(_SAID.get(str(name), str(name)) for name in types)}"
    if isinstance(schema.get("enum"), _LIST) and value not in schema["enum"]:
        return f"{where} is none of the values of its enum"
    if "const" in schema and value != schema["const"]:
        return f"{where} is not its const"
    if isinstance(value, dict):
        return _object_mismatch(value, schema, where)
    if isinstance(value, list):
        for index, item in enumerate(value):
            if found := _mismatch(item, schema.get("items"), f"{where}[{index}]"):
                return found
    return ""


def _object_mismatch(value: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> str:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    for name in required if isinstance(required, _LIST) else ():
        if name not in value:
            return f"{where} has no {name!r}"
    for name, item in value.items():
        if name not in properties and schema.get("additionalProperties") is False:
            return f"{where} has {name!r}, which its schema does not"
        if found := _mismatch(item, properties.get(name), f"{where}.{name}"):
            return found
    return ""


def _listed(types: Any) -> list[Any]:
    return [*types] if isinstance(types, _LIST) else [types]


def _is(value: object, name: object) -> bool:
    kinds = _TYPES.get(str(name))
    if kinds is None:
        return True
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, kinds)

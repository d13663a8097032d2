"""An HTTP request becomes the request message of its rpc: from the path, the query and the JSON of the body.

Rules, as google.api documents them: the path's fields come first. With the body `*`, the body is the message and there
is no query; with a field's name, the body is that field; without, all comes from the query. In JSON, names may be in
camelCase or as in the proto, and numbers may be texts. Unknown names and NaN are refused. Whatever is wrong is one line
that says where.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar
from urllib.parse import parse_qsl

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from yagrpc import _pb

if TYPE_CHECKING:
    from yagrpc.rest.routing import Found

__all__ = ["BadRequest", "is_repeated", "read_message", "read_request"]

MessageT = TypeVar("MessageT", bound=Message)

_MOST_PARAMETERS: Final = 1000
"""Of a query; urllib refuses more."""

_WRAPPERS: Final = "google.protobuf."
_JSON_SCALARS: Final = frozenset(
    f"{_WRAPPERS}{name}"
    for name in (
        *("DoubleValue", "FloatValue", "Int64Value", "UInt64Value", "Int32Value", "UInt32Value", "BoolValue"),
        *("StringValue", "BytesValue", "Timestamp", "Duration", "FieldMask"),
    )
)
"""Messages that are one value in JSON, so that they can stand in a query."""

_SHOWN: Final = 200
"""Characters of a text that an error shows at most."""


class BadRequest(Exception):
    """The request is none of its rpc; the text says what is wrong."""


def read_request(found: Found, *, query: str, body: bytes) -> Message:
    """The request message.

    Args:
        found: The rpc, and what the path says.
        query: What follows the question mark, with its escapes.
        body: The body, as it was sent.

    Raises:
        BadRequest: Something does not fit the message.
    """
    descriptor: Descriptor = found.method.request_type.DESCRIPTOR
    rule = found.rule
    fields: dict[str, Any] = {}
    if rule.body == "*":
        fields = _object(descriptor.name, body)
    elif rule.body:
        fields[rule.body] = _json(body)
    elif body.strip():
        raise BadRequest(f"{rule.verb} {rule.path} takes no body: its fields are in the path and the query")
    _add_query(fields, descriptor, query, "" if rule.body == "*" else rule.body, whole=rule.body == "*")
    for path, text in found.fields.items():
        _put(fields, descriptor, path, [text], "the path", replace=True)
    kind: type[Message] = found.method.request_type
    return _message(kind, fields)


def read_message(kind: type[MessageT], body: bytes) -> MessageT:
    """A message whose JSON is a whole body.

    Args:
        kind: The class of the message.
        body: The body, as it was sent.

    Raises:
        BadRequest: The body is no JSON of such a message.
    """
    return _message(kind, _object(kind.DESCRIPTOR.name, body))


def _message(kind: type[MessageT], fields: dict[str, Any]) -> MessageT:
    message = kind()
    try:
        json_format.ParseDict(fields, message, descriptor_pool=_pb.POOL)
    except json_format.ParseError as error:
        # What follows is a list of all names, in the form of Python.
        raise BadRequest(_shortened(str(error).partition(" Available Fields")[0])) from error
    except (RecursionError, ValueError, TypeError, AttributeError, KeyError, SystemError) as error:
        # json_format raises these where a value has a shape that it does not expect, such as a list in an Any, or a
        # name half of a surrogate pair.
        raise BadRequest(_shortened(f"the body does not fit {kind.DESCRIPTOR.name}: {error}")) from error
    return message


def _object(name: str, body: bytes) -> dict[str, Any]:
    value = _json(body)
    if not isinstance(value, dict):
        raise BadRequest(f"the body is {_kind(value)}: it takes a JSON object, a {name}")
    return value


def _json(body: bytes) -> Any:
    if not body.strip():
        raise BadRequest("the body is empty: it takes a JSON object")
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is no UTF-8: byte {error.start} is 0x{body[error.start]:02x}") from error
    except json.JSONDecodeError as error:
        raise BadRequest(f"the body is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise BadRequest("the body is nested too deep") from error
    except ValueError as error:  # an integer of thousands of digits
        raise BadRequest(_shortened(f"the body is no JSON: {error}")) from error


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"the body is no JSON: {name} is no JSON value")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # In one pass: a body may have hundreds of thousands of names.
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise BadRequest(_shortened(f"the body has the field {twice!r} twice"))
    return found


def _kind(value: object) -> str:
    return {list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")


def _add_query(fields: dict[str, Any], descriptor: Descriptor, query: str, body: str, *, whole: bool) -> None:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except ValueError as error:
        raise BadRequest(_shortened(f"the query is not valid: {error}")) from error
    together: dict[str, list[str]] = {}
    for name, value in pairs:
        together.setdefault(name, []).append(value)
    for name, values in together.items():
        if whole:
            raise BadRequest(_shortened(f"the query has {name!r}: all fields of this method are in the body"))
        if body and name.split(".")[0] in (body, _json_name(descriptor, body)):
            raise BadRequest(_shortened(f"the query has {name!r}: that field is in the body"))
        _put(fields, descriptor, name, values, "the query", replace=False)


def _put(
    fields: dict[str, Any], descriptor: Descriptor, path: str, values: list[str], where: str, *, replace: bool
) -> None:
    """Put texts into a tree of JSON, at a path of fields.

    Args:
        fields: The JSON of the whole message.
        descriptor: The message.
        path: The field, such as `completion_options.maxTokens`.
        values: The texts; several for a repeated field.
        where: What has them, for errors.
        replace: Whether they come before a value that is there already.
    """
    at, names = fields, path.split(".")
    for depth, name in enumerate(names):
        field = _field(descriptor, name)
        if field is None:
            raise BadRequest(_shortened(f"{where} has {path!r}: {descriptor.name} has no field {name!r}"))
        present = next((key for key in (field.name, field.json_name) if key in at), field.name)
        if depth == len(names) - 1:
            if present in at and replace:
                del at[present]
            at[field.name] = _values(field, values, path, where)
            return
        if field.message_type is None or is_repeated(field):
            raise BadRequest(_shortened(f"{where} has {path!r}: {name!r} of {descriptor.name} is no message"))
        at = at.setdefault(present, {})
        if not isinstance(at, dict):
            raise BadRequest(_shortened(f"{where} has {path!r}, and the body has another value of {name!r}"))
        descriptor = field.message_type


def _values(field: FieldDescriptor, values: list[str], path: str, where: str) -> Any:
    kind = field.message_type
    if kind is not None and (kind.full_name not in _JSON_SCALARS or kind.GetOptions().map_entry):
        raise BadRequest(_shortened(f"{where} has {path!r}, which is a message: name a field of it, as in {path}.x"))
    if is_repeated(field):
        return [_scalar(field, value, path, where) for value in values]
    if len(values) > 1:
        raise BadRequest(_shortened(f"{where} has {path!r} {len(values)} times: it takes one value"))
    return _scalar(field, values[0], path, where)


def _scalar(field: FieldDescriptor, text: str, path: str, where: str) -> Any:
    boolean = field.type == FieldDescriptor.TYPE_BOOL or (
        field.message_type is not None and field.message_type.full_name == f"{_WRAPPERS}BoolValue"
    )
    if not boolean:
        return text
    known: Mapping[str, bool] = {"true": True, "false": False}
    if text not in known:
        raise BadRequest(_shortened(f"{where} has {path}={text!r}: it takes true or false"))
    return known[text]


def _field(descriptor: Descriptor, name: str) -> FieldDescriptor | None:
    found: FieldDescriptor | None = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
    return found or next((field for field in descriptor.fields if field.json_name == name), None)


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether a field has several values."""
    # Older versions of protobuf have only the label, newer ones do not have it.
    known: bool | None = getattr(field, "is_repeated", None)
    return bool(getattr(field, "label", None) == FieldDescriptor.LABEL_REPEATED) if known is None else known


def _json_name(descriptor: Descriptor, name: str) -> str:
    return descriptor.fields_by_name[name].json_name


def _shortened(text: str) -> str:
    """One line, without control characters, of a length that a log can bear."""
    line = "".join(character if character.isprintable() else " " for character in " ".join(text.split()))
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."

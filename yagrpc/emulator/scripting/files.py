"""Script files: faults and replies in YAML, for tests that are not written in Python.

    replies:
      "(?i)ping": pong
      boom: {status: INTERNAL, message: broken}
    faults:
      - method: OperationService/Get
        calls: [1, 2]
        fail: {status: UNAVAILABLE, message: try again}
      - method: TextGenerationAsyncService
        probability: 0.1
        lose_reply: {connection: true}

A fault is the JSON of the message `Fault` of control.proto, with the proto's field names. Four things are written
shorter than in JSON: a status is `{status: NAME, message, details}`; `calls` may be one number, or `2-5`; `operation`
is `operation_id` or `operation_number`, by its type; bytes may be a text. A reply is a text or a status.

Rules: every error names the file, the line and the key, and comes before anything is started. Fields and their types
are those of the proto: nothing here lists them. PyYAML is needed in this file only.
"""

from __future__ import annotations

import base64
import dataclasses
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator.faults import schema
from yagrpc.emulator.faults.fault import EarlyError, Fault
from yagrpc.emulator.replies import Reply
from yagrpc.emulator.scripting.reading import read_text
from yagrpc.emulator.scripting.replies import Script, replies_of

if TYPE_CHECKING:
    import yaml

__all__ = ["EmulatorScript", "ScriptError", "load_script", "parse_script"]

_STATUS: Final = ("status", "message", "details")
_EARLY_ERROR: Final = ("status", "message")

_ResultT = TypeVar("_ResultT")


class ScriptError(ValueError):
    """A script that can't be used; its text names the line and the key."""


@dataclasses.dataclass(frozen=True)
class EmulatorScript:
    """The content of a script."""

    faults: tuple[Fault, ...] = ()
    """Its faults, in their order."""
    replies: Mapping[str, Reply] | None = None
    """Its replies by their patterns; `None` if it has none."""


def load_script(path: str | Path) -> EmulatorScript:
    """Read a script file.

    Raises:
        ScriptError: The file can't be read, is not YAML, or contains something that is not understood.
        RuntimeError: PyYAML is not installed.
    """
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ScriptError(f"script {path}: it can't be read: {reason}") from error
    return parse_script(text, str(path))


def parse_script(text: str, name: str = "script") -> EmulatorScript:
    """Read a script from a text.

    Args:
        text: YAML.
        name: The script's name in errors.

    Raises:
        ScriptError: The text is not YAML, or contains something that is not understood.
        RuntimeError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise RuntimeError("scripts need PyYAML: pip install 'yagrpc[emulator]'") from error
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        return EmulatorScript() if root is None else _Reader(name, loader).script(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScriptError(f"{name}:{line}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ScriptError(f"{name}: {' '.join(str(error).split())}") from error
    except RecursionError:  # without its cause: that has a thousand lines of calls
        raise ScriptError(f"{name}: nested too deeply") from None
    finally:
        if loader is not None:
            loader.dispose()


class _Reader:
    """Turns YAML nodes into messages; `where` is the path of a node, as errors name it."""

    def __init__(self, name: str, loader: yaml.SafeLoader) -> None:
        self._name = name
        self._loader = loader

    def script(self, root: yaml.Node) -> EmulatorScript:
        parts = dict(self._keys(root, "", ("faults", "replies")))
        faults: list[Fault] = []
        replies: dict[str, Reply] | None = None
        if "faults" in parts:
            for number, node in enumerate(self._items(parts["faults"], "faults")):
                faults.append(self._fault(node, f"faults[{number}]"))
        if "replies" in parts:
            replies = dict(self._replies(parts["replies"]))
        return EmulatorScript(tuple(faults), replies)

    def _fault(self, node: yaml.Node, where: str) -> Fault:
        parts = dict(self._keys(node, where, (*schema.CONDITIONS, *schema.ACTION_FIELDS)))
        actions = [key for key in parts if key in schema.ACTION_FIELDS]
        if len(actions) != 1:
            known = ", ".join(schema.ACTION_FIELDS)
            self._fail(node, where, f"one action is required, and there are {len(actions)}: {known}")
        message = _pb.control_pb2.Fault()
        for key, part in parts.items():
            self._condition_or_action(message, key, part, f"{where}.{key}")
        try:
            return Fault.from_message(message)
        except schema.FaultError as error:
            self._fail(parts.get(error.field, node), f"{where}.{error.field}", str(error))

    def _condition_or_action(self, message: _pb.control_pb2.Fault, key: str, node: yaml.Node, where: str) -> None:
        if key == "calls":
            self._set(message, key, self._calls(node, where), node, where)
        elif key == "operation":
            value = self._value(node)
            if isinstance(value, bool) or not isinstance(value, (int, str)):
                self._fail(node, where, f"a whole number or a text is expected; got {value!r}")
            self._set(message, "operation_id" if isinstance(value, str) else "operation_number", value, node, where)
        elif key == "early_error":
            default = EarlyError().message.early_error
            message.early_error.CopyFrom(self._status(node, where, _EARLY_ERROR, default))
        else:
            self._field(message, key, node, where)

    def _field(self, message: Message, key: str, node: yaml.Node, where: str) -> None:
        """Read any field: a status, a message, or a scalar."""
        kind = message.DESCRIPTOR.fields_by_name[key].message_type
        if kind is None:
            self._set(message, key, self._value(node), node, where)
        elif kind.full_name == _pb.status_pb2.Status.DESCRIPTOR.full_name:
            getattr(message, key).CopyFrom(self._status(node, where))
        else:
            inner = getattr(message, key)
            inner.SetInParent()
            for name, part in self._keys(node, where, [field.name for field in inner.DESCRIPTOR.fields]):
                self._field(inner, name, part, f"{where}.{name}")

    def _set(self, message: Message, name: str, value: Any, node: yaml.Node, where: str) -> None:
        """Set a scalar field by proto JSON."""
        field = message.DESCRIPTOR.fields_by_name[name]
        try:
            if value is None:
                raise ValueError("null")
            json_format.ParseDict({name: _json(value, field)}, message)
        except (json_format.Error, ValueError, TypeError, AttributeError) as error:
            many = "a list of whole numbers" if name == "calls" else schema.expected(field)
            raise ScriptError(self._error(node, where, f"{many} is expected; got {value!r}")) from error

    def _calls(self, node: yaml.Node, where: str) -> Any:
        """The numbers of calls: one, a list, or a span such as `2-5`."""
        calls = self._value(node)
        if isinstance(calls, str):
            span = re.fullmatch(r"(\d+)-(\d+)", calls)
            if span is None:
                expected = "a number, a list of numbers or such as '2-5' is expected"
                self._fail(node, where, f"{expected}; got {calls!r}")
            calls = range(int(span[1]), int(span[2]) + 1)
        numbers = isinstance(calls, (int, list, range)) and not isinstance(calls, bool)
        if numbers and (isinstance(calls, int) or all(isinstance(one, int) for one in calls)):
            return self._try(node, where, schema.count_from_1, calls)
        return calls

    def _status(
        self,
        node: yaml.Node,
        where: str,
        known: Collection[str] = _STATUS,
        default: _pb.status_pb2.Status | None = None,
    ) -> _pb.status_pb2.Status:
        """A status; without a default, a name is required."""
        status = _pb.status_pb2.Status()
        if default is not None:
            status.CopyFrom(default)
        parts = dict(self._keys(node, where, known))
        if "status" in parts:
            status.code = self._code(parts["status"], f"{where}.status")
        elif default is None:
            self._fail(node, where, "a status is required")
        if "message" in parts:
            self._set(status, "message", self._text(parts["message"]), parts["message"], f"{where}.message")
        for number, part in enumerate(self._items(parts["details"], f"{where}.details") if "details" in parts else []):
            status.details.add().CopyFrom(self._detail(part, f"{where}.details[{number}]"))
        return status

    def _code(self, node: yaml.Node, where: str) -> int:
        name = self._value(node)
        if not (isinstance(name, str) and name in grpc.StatusCode.__members__ and name != "OK"):
            known = ", ".join(one for one in grpc.StatusCode.__members__ if one != "OK")
            self._fail(node, where, f"unknown status {name!r}; known are {known}")
        number: int = grpc.StatusCode[name].value[0]
        return number

    def _detail(self, node: yaml.Node, where: str) -> _pb.any_pb2.Any:
        """A message in an `Any`, as proto JSON writes it."""
        value = self._value(node)
        url = value.pop("@type", None) if isinstance(value, dict) else None
        message_type = _pb.find_message(url.rpartition("/")[2]) if isinstance(url, str) else None
        if message_type is None:
            self._fail(node, where, f"@type names no known message: {url!r}")
        packed = _pb.any_pb2.Any()
        parse: Callable[..., Message] = json_format.ParseDict
        packed.Pack(self._try(node, where, parse, value, message_type(), descriptor_pool=_pb.POOL))
        return packed

    def _replies(self, node: yaml.Node) -> Iterator[tuple[str, Reply]]:
        for pattern, part in self._keys(node, "replies", None):
            where = f"replies[{pattern!r}]"
            message = _pb.control_pb2.Reply(pattern=pattern)
            if _kind(part) == "mapping":
                message.error.CopyFrom(self._status(part, where))
            else:
                text = self._text(part)
                if _kind(part) == "sequence" or text is None:
                    self._fail(part, where, "a text or a mapping is expected")
                self._set(message, "text", text, part, where)
            replies: dict[str, Any] = self._try(part, where, replies_of, [message])
            self._try(part, where, Script, replies)
            yield from replies.items()

    def _keys(self, node: yaml.Node, where: str, known: Collection[str] | None) -> Iterator[tuple[str, yaml.Node]]:
        """The entries of a mapping; null is an empty mapping."""
        if _kind(node) == "scalar" and self._value(node) is None:
            return
        if _kind(node) != "mapping":
            self._fail(node, where or "script", "a mapping is expected")
        seen = set()
        for key_node, part in node.value:
            key = self._value(key_node)
            place = f"{where}.{key}" if where else f"{key}"
            if not isinstance(key, str) or (known is not None and key not in known):
                self._fail(key_node, place, f"unknown key; known are {', '.join(known or ())}")
            if key in seen:
                self._fail(key_node, place, "the key appears twice")
            seen.add(key)
            yield key, part

    def _items(self, node: yaml.Node, where: str) -> list[yaml.Node]:
        if _kind(node) != "sequence":
            self._fail(node, where, "a list is expected")
        items: list[yaml.Node] = node.value
        return items

    def _value(self, node: yaml.Node) -> Any:
        return self._loader.construct_object(node, deep=True)

    def _text(self, node: yaml.Node) -> str | None:
        """What a text says; numbers and the like are texts too where nothing else can be meant."""
        value = self._value(node)
        return None if value is None else str(value)

    def _try(self, node: yaml.Node, where: str, build: Callable[..., _ResultT], *args: Any, **kwargs: Any) -> _ResultT:
        try:
            return build(*args, **kwargs)
        except (ValueError, TypeError, json_format.Error) as error:
            raise ScriptError(self._error(node, where, str(error).partition("\n")[0])) from error

    def _fail(self, node: yaml.Node, where: str, reason: str) -> NoReturn:
        raise ScriptError(self._error(node, where, reason))

    def _error(self, node: yaml.Node, where: str, reason: str) -> str:
        return f"{self._name}:{node.start_mark.line + 1}: {where}: {reason}"


def _json(value: Any, field: Any) -> Any:
    """A YAML value as proto JSON has it: bytes in base64, infinity and NaN as texts."""
    if field.type == field.TYPE_BYTES:
        data = value.encode() if isinstance(value, str) else value
        return base64.b64encode(data).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _kind(node: yaml.Node) -> str:
    """`mapping`, `sequence` or `scalar`: a name that each subclass has, and the base class has not."""
    return str(getattr(node, "id", ""))

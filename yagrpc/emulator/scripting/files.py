"""Script files: faults and replies in YAML, for whoever has no Python at hand.

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

A rule has the conditions of `faults.Fault` and one action, named as in `faults.ACTIONS`.

Rules: whatever is wrong is told with its line and key, before anything is started. PyYAML is needed here only.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator.faults.fault import ACTIONS, Action, Fault
from yagrpc.emulator.replies import Failure, Reply
from yagrpc.emulator.scripting.replies import Script

if TYPE_CHECKING:
    import yaml

__all__ = ["EmulatorScript", "ScriptError", "load_script", "parse_script"]

_CONDITIONS: Final = tuple(field.name for field in dataclasses.fields(Fault) if field.name != "action")
_TYPES: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "a text"),
    "bool": ((bool,), "true or false"),
    "bytes": ((bytes,), "a text or !!binary"),
    "Collection[int]": ((list, range), "a list of whole numbers"),
}
"""The types that faults declare: what they are here, and how they are told."""
_FAILURE: Final = ("status", "message", "details")


class ScriptError(ValueError):
    """A script that can't be used; its text names the line and the key."""


@dataclasses.dataclass(frozen=True)
class EmulatorScript:
    """What a script says."""

    faults: tuple[Fault, ...] = ()
    """Its faults, in their order."""
    replies: Mapping[str, Reply] | None = None
    """Its replies by their patterns; `None` where it has none."""


def load_script(path: str | Path) -> EmulatorScript:
    """Read a script file.

    Raises:
        ScriptError: It can't be read, is no YAML, or says something that is not understood.
        RuntimeError: PyYAML is missing.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(f"script {path}: it can't be read: {error}") from error
    return parse_script(text, str(path))


def parse_script(text: str, name: str = "script") -> EmulatorScript:
    """A script from its text.

    Args:
        text: YAML.
        name: What errors call it.

    Raises:
        ScriptError: It is no YAML, or says something that is not understood.
        RuntimeError: PyYAML is missing.
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
    finally:
        if loader is not None:
            loader.dispose()


class _Reader:
    """Reads nodes; `where` is the way to a node, as errors name it."""

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
        parts = dict(self._keys(node, where, (*_CONDITIONS, *ACTIONS)))
        actions = [key for key in parts if key in ACTIONS]
        if len(actions) != 1:
            self._fail(node, where, f"one action is required, and there are {len(actions)}: {', '.join(ACTIONS)}")
        (name,) = actions
        action = self._action(name, parts.pop(name), f"{where}.{name}")
        conditions: dict[str, Any] = {key: self._value(part) for key, part in parts.items()}
        if isinstance(conditions.get("calls"), str):
            conditions["calls"] = self._span(parts["calls"], conditions["calls"], f"{where}.calls")
        for key, part in parts.items():
            self._check(Fault, key, conditions[key], part, f"{where}.{key}")
            # One by one, so that it is known which of them is wrong.
            self._make(part, f"{where}.{key}", Fault, action, **{key: conditions[key]})
        fault: Fault = self._make(node, where, Fault, action, **conditions)
        return fault

    def _action(self, name: str, node: yaml.Node, where: str) -> Action:
        if name == "fail":
            return self._failure(node, where)
        kind = ACTIONS[name]
        known = ["status", "message"] if name == "early_error" else [field.name for field in dataclasses.fields(kind)]
        parts = dict(self._keys(node, where, known))
        given: dict[str, Any] = {key: self._value(part) for key, part in parts.items() if key != "status"}
        if "status" in parts:
            given["code"] = self._status(parts["status"], f"{where}.status").value[0]
        if isinstance(given.get("data"), str):
            given["data"] = given["data"].encode()
        for key, value in given.items():
            self._check(kind, key, value, parts["status" if key == "code" else key], f"{where}.{key}")
        for field in dataclasses.fields(kind):
            if field.default is dataclasses.MISSING and field.name not in given:
                self._fail(node, where, f"{field.name} is required")
        action: Action = self._make(node, where, kind, **given)
        return action

    def _failure(self, node: yaml.Node, where: str) -> Failure:
        parts = dict(self._keys(node, where, _FAILURE))
        if "status" not in parts:
            self._fail(node, where, "a status is required")
        code = self._status(parts["status"], f"{where}.status")
        message = self._value(parts["message"]) if "message" in parts else ""
        details = self._items(parts["details"], f"{where}.details") if "details" in parts else []
        packed = tuple(self._detail(detail, f"{where}.details[{number}]") for number, detail in enumerate(details))
        failure: Failure = self._make(node, where, Failure, code, str(message), packed)
        return failure

    def _status(self, node: yaml.Node, where: str) -> grpc.StatusCode:
        name = self._value(node)
        if not (isinstance(name, str) and name in grpc.StatusCode.__members__ and name != "OK"):
            known = ", ".join(one for one in grpc.StatusCode.__members__ if one != "OK")
            self._fail(node, where, f"unknown status {name!r}; known are {known}")
        return grpc.StatusCode[name]

    def _detail(self, node: yaml.Node, where: str) -> Message:
        """A message as protobuf's JSON has it within an `Any`."""
        said = self._value(node)
        url = said.pop("@type", None) if isinstance(said, dict) else None
        kind = _pb.find_message(url.rpartition("/")[2]) if isinstance(url, str) else None
        if kind is None:
            self._fail(node, where, f"@type names no known message: {url!r}")
        message: Message = self._make(node, where, json_format.ParseDict, said, kind(), descriptor_pool=_pb.POOL)
        return message

    def _replies(self, node: yaml.Node) -> Iterator[tuple[str, Reply]]:
        for pattern, part in self._keys(node, "replies", None):
            where = f"replies[{pattern!r}]"
            value = None if _kind(part) == "mapping" else self._value(part)
            if _kind(part) == "sequence" or (_kind(part) == "scalar" and value is None):
                self._fail(part, where, "a text or a mapping is expected")
            reply: Reply = self._failure(part, where) if value is None else str(value)
            self._make(part, where, Script, {pattern: reply})
            yield pattern, reply

    def _keys(self, node: yaml.Node, where: str, known: Collection[str] | None) -> Iterator[tuple[str, yaml.Node]]:
        """The entries of a mapping; nothing at all is an empty one."""
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
                self._fail(key_node, place, "it is there twice")
            seen.add(key)
            yield key, part

    def _items(self, node: yaml.Node, where: str) -> list[yaml.Node]:
        if _kind(node) != "sequence":
            self._fail(node, where, "a list is expected")
        items: list[yaml.Node] = node.value
        return items

    def _span(self, node: yaml.Node, text: str, where: str) -> range:
        match = re.fullmatch(r"(\d+)-(\d+)", text)
        if match is None:
            self._fail(node, where, f"a number, a list of numbers or such as '2-5' is expected; got {text!r}")
        return range(int(match[1]), int(match[2]) + 1)

    def _check(self, kind: type, name: str, value: object, node: yaml.Node, where: str) -> None:
        """Compare a value with the type that a dataclass declares; what is numbers to Python may be more or less."""
        declared = next(str(field.type) for field in dataclasses.fields(kind) if field.name == name).split(" | ")
        known = [one for one in declared if one in _TYPES]
        if not any(_fits(value, one) for one in known):
            told = " or ".join(_TYPES[one][1] for one in known)
            self._fail(node, where, f"{told} is expected; got {value!r}")

    def _make(self, node: yaml.Node, where: str, make: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return make(*args, **kwargs)
        except (ValueError, TypeError, re.error, json_format.Error) as error:
            self._fail(node, where, str(error).partition("\n")[0])

    def _value(self, node: yaml.Node) -> Any:
        return self._loader.construct_object(node, deep=True)

    def _fail(self, node: yaml.Node, where: str, reason: str) -> NoReturn:
        raise ScriptError(f"{self._name}:{node.start_mark.line + 1}: {where}: {reason}")


def _fits(value: object, declared: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, _TYPES[declared][0]):
        return declared == "bool" and isinstance(value, bool)
    return declared != "Collection[int]" or all(_fits(one, "int") for one in cast("list[object]", value))


def _kind(node: yaml.Node) -> str:
    """`mapping`, `sequence` or `scalar`; a name that each subclass has, and the base class has not."""
    return str(getattr(node, "id", ""))

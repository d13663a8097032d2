"""The schema of faults: the message `Fault` of control.proto, and what its fields may say.

Script files are read as this message's JSON, the control service receives it, and the classes of `faults.fault` build
it. So each rule about a field stands here, once.

Rules: pure. What the message's types can't express is checked by `check`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.replies import Failure

__all__ = [
    "ACTION_FIELDS",
    "CONDITIONS",
    "FaultError",
    "check",
    "count_from_1",
    "expected",
    "find_paths",
    "get_field",
    "set_field",
]

_DESCRIPTOR: Final = _pb.control_pb2.Fault.DESCRIPTOR

ACTION_FIELDS: Final[tuple[str, ...]] = tuple(field.name for field in _DESCRIPTOR.oneofs_by_name["action"].fields)
"""The names of all actions, in the order of the proto."""

CONDITIONS: Final[tuple[str, ...]] = tuple(
    dict.fromkeys(
        # The oneof of a field that is only optional begins with an underscore.
        field.name if oneof is None or oneof.name.startswith("_") else oneof.name
        for field in _DESCRIPTOR.fields
        for oneof in [field.containing_oneof]
        if field.name not in ACTION_FIELDS
    )
)
"""The names of all conditions, in the order of the proto; the fields of a oneof share its name."""

_DEFAULTS: Final[Mapping[tuple[str, str], object]] = {
    ("Crash", "keep"): True,
    ("Garbage", "data"): b"\xff\xff\xff\xff",
    ("Oversize", "size"): 6 * 1024 * 1024,
    ("WrongType", "type"): "google.protobuf.Empty",
}
"""What fields of actions mean if they are not set, by message and field; as the comments of the proto say."""

_EXPECTED: Final = {
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_INT64: "a whole number",
    FieldDescriptor.CPPTYPE_UINT32: "a whole number, 0 or more",
    FieldDescriptor.CPPTYPE_UINT64: "a whole number, 0 or more",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_STRING: "a text",
}


class FaultError(ValueError):
    """A fault that no call could meet.

    Args:
        field: The condition or action that is wrong; empty if the whole fault is.
        reason: What is wrong.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def expected(field: Any) -> str:
    """What a scalar field accepts, in words."""
    return "a text or !!binary" if field.type == FieldDescriptor.TYPE_BYTES else _EXPECTED[field.cpp_type]


def set_field(message: Message, name: str, value: Any) -> None:
    """Set a scalar field; a value that the field has by default is left out, so that equal faults are equal messages.

    Raises:
        FaultError: The value is of another type, or out of the type's range.
    """
    if value == _DEFAULTS.get((message.DESCRIPTOR.name, name)):
        return
    try:
        setattr(message, name, value)
    except (TypeError, ValueError) as error:
        takes = expected(message.DESCRIPTOR.fields_by_name[name])
        raise FaultError(name, f"{name} is {takes}; got {value!r}") from error


def get_field(message: Message, name: str) -> Any:
    """The value of a scalar field that has a default."""
    return getattr(message, name) if message.HasField(name) else _DEFAULTS[message.DESCRIPTOR.name, name]


def count_from_1(calls: int | Collection[int]) -> list[int]:
    """The numbers of calls, as a list.

    Raises:
        FaultError: There is none, or one below 1.
    """
    numbers = [calls] if isinstance(calls, int) else sorted(calls)
    if not numbers or numbers[0] < 1:
        raise FaultError("calls", f"calls are numbers from 1; got {calls!r}")
    return numbers


def check(fault: _pb.control_pb2.Fault) -> None:
    """Check all that a fault says.

    Raises:
        FaultError: The fault could never apply, or its action is impossible.
    """
    name = fault.WhichOneof("action")
    if name is None:
        raise FaultError("", f"a fault has no action: one of {', '.join(ACTION_FIELDS)} is required")
    try:
        _check_action(name, getattr(fault, name))
    except ValueError as error:
        raise FaultError(name, str(error)) from error
    if fault.HasField("method") and not find_paths(fault.method):
        raise FaultError("method", f"unknown method {fault.method!r}; served are {', '.join(sorted(_served()))}")
    if fault.calls:
        count_from_1(fault.calls)
    if fault.WhichOneof("operation") == "operation_number" and fault.operation_number < 1:
        raise FaultError("operation", f"an operation is an id, or a number from 1; got {fault.operation_number}")
    if fault.HasField("probability") and not 0 <= fault.probability <= 1:
        raise FaultError("probability", f"a probability is from 0 to 1; got {fault.probability}")
    if fault.HasField("times") and fault.times < 1:
        raise FaultError("times", f"times is a number from 1; got {fault.times}")


def _check_action(name: str, action: Any) -> None:
    if name == "fail":
        Failure.from_status(action)
    elif name == "early_error":
        if action.code == 0:
            raise ValueError("code of an error is not 0")
    elif name in ("delay", "take", "expire_token"):
        if not action.HasField("seconds"):
            raise ValueError("seconds is required")
        _check_number("seconds", action.seconds, finite=name != "take")
    elif name == "crash":
        _check_number("down", action.down)
    elif name == "wrong_type" and _pb.find_message(get_field(action, "type")) is None:
        raise ValueError(f"unknown message type {action.type!r}")


def _check_number(name: str, value: float, *, finite: bool = True) -> None:
    if not (value >= 0 and (math.isfinite(value) or not finite)):
        raise ValueError(f"{name} is a {'finite ' if finite else ''}number, 0 or more; got {value!r}")


def find_paths(method: str) -> frozenset[str]:
    """The paths that a method or service means: a full path, the end of one, or the name of a service."""
    name = method.strip("/")
    return frozenset(
        path
        for path in _served()
        if path == f"/{name}" or path.endswith(f".{name}") or f"/{name}/" in path or f".{name}/" in path
    )


def _served() -> list[str]:
    values = [getattr(paths, name) for name in paths.__all__]
    return [
        value for value in values if isinstance(value, str) and value.startswith(paths.CLOUD) and value != paths.CLOUD
    ]

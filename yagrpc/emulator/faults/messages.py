"""Faults and replies as messages of the control service, there and back.

Rules: pure; what a message can't say right is refused with ValueError, by the checks of `faults` wherever it can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import grpc
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator.faults import fault as kinds
from yagrpc.emulator.faults.fault import ACTIONS, Action, Fault
from yagrpc.emulator.refusal import make_status
from yagrpc.emulator.replies import Failure

__all__ = ["failure_of", "fault_of", "message_of", "replies_of", "reply_messages"]

_NAMES = {kind: name for name, kind in ACTIONS.items()}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def fault_of(message: _pb.control_pb2.Fault) -> Fault:
    """A fault from its message.

    Raises:
        ValueError: It says nothing that could happen.
    """
    operation = message.WhichOneof("operation")
    return Fault(
        _action_of(message),
        method=message.method or None,
        calls=tuple(message.calls) or None,
        operation=None if operation is None else getattr(message, operation),
        probability=message.probability if message.HasField("probability") else 1.0,
        seed=message.seed if message.HasField("seed") else None,
        times=message.times if message.HasField("times") else None,
    )


def message_of(fault: Fault) -> _pb.control_pb2.Fault:
    """A fault's message."""
    message = _pb.control_pb2.Fault(
        method=fault.method or "",
        calls=[fault.calls] if isinstance(fault.calls, int) else sorted(fault.calls or ()),
        probability=fault.probability,
        seed=fault.seed,
        times=fault.times,
    )
    if isinstance(fault.operation, int):
        message.operation_number = fault.operation
    elif fault.operation is not None:
        message.operation_id = fault.operation
    action = fault.action
    said = getattr(message, _NAMES[type(action)])
    said.SetInParent()
    if isinstance(action, Failure):
        said.CopyFrom(make_status(action.code, action.message, *action.details))
    elif isinstance(action, kinds.Crash):
        said.lose, said.down = not action.keep, action.down
    else:
        for name in action.__dataclass_fields__:
            setattr(said, name, getattr(action, name))
    return message


def failure_of(status: _pb.status_pb2.Status) -> Failure:
    """A failure from a status.

    Raises:
        ValueError: Its code is OK or none of gRPC's, or a detail is of a type that is not known here.
    """
    if status.code not in _CODES:
        raise ValueError(f"unknown status code {status.code}")
    details = []
    for packed in status.details:
        kind = _pb.find_message(packed.TypeName())
        if kind is None:
            raise ValueError(f"unknown message type {packed.TypeName()!r}")
        details.append(kind.FromString(packed.value))
    return Failure(_CODES[status.code], status.message, tuple(details))


def replies_of(messages: Iterable[_pb.control_pb2.Reply]) -> dict[str, str | Failure]:
    """Scripted replies from their messages.

    Raises:
        ValueError: A reply says nothing.
    """
    replies: dict[str, str | Failure] = {}
    for message in messages:
        kind = message.WhichOneof("reply")
        if kind is None:
            raise ValueError(f"no reply to {message.pattern!r}: text or error is required")
        replies[message.pattern] = message.text if kind == "text" else failure_of(message.error)
    return replies


def reply_messages(replies: Mapping[str, str | Failure]) -> list[_pb.control_pb2.Reply]:
    """The messages of scripted replies."""
    return [
        _pb.control_pb2.Reply(pattern=pattern, text=reply)
        if isinstance(reply, str)
        else _pb.control_pb2.Reply(pattern=pattern, error=make_status(reply.code, reply.message, *reply.details))
        for pattern, reply in replies.items()
    ]


def _action_of(message: _pb.control_pb2.Fault) -> Action:
    name = message.WhichOneof("action")
    if name is None:
        raise ValueError(f"a fault has no action: one of {', '.join(ACTIONS)} is required")
    if name == "fail":
        return failure_of(message.fail)
    if name == "crash":
        return kinds.Crash(keep=not message.crash.lose, down=message.crash.down)
    if name == "early_error":
        return kinds.EarlyError(message.early_error.code, message.early_error.message)
    said: Message = getattr(message, name)
    if isinstance(said, _pb.control_pb2.Seconds):
        timed: Action = ACTIONS[name](said.seconds)
        return timed
    # What is not set has the action's own default.
    given = {field.name: value for field, value in said.ListFields()}
    action: Action = ACTIONS[name](**given)
    return action

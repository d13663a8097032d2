"""Faults as Python writes them: rules, each with an action.

    Fault(Failure(grpc.StatusCode.UNAVAILABLE, "try again"), method="OperationService/Get", calls=[1, 2])
    Fault(LostReply(), method=paths.COMPLETION_ASYNC, probability=0.1, seed=7)
    Fault(NoResult(), operation=3)

Rules: every class here only builds a message of control.proto, which `faults.schema` checks at once and
`faults.injection` applies. What a field means is described in the proto.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar, Final

from google.protobuf import text_format

from yagrpc import _pb
from yagrpc.emulator.faults import schema
from yagrpc.emulator.replies import Failure

__all__ = [
    "ACTIONS",
    "Action",
    "Crash",
    "Delay",
    "DropConnection",
    "EarlyError",
    "ExpireToken",
    "Fault",
    "Garbage",
    "Hang",
    "LostReply",
    "NoResult",
    "Oversize",
    "Take",
    "WrongType",
]


class _Built:
    """A value that is one message: equal messages are equal values."""

    def __init__(self, message: _pb.control_pb2.Fault) -> None:
        self.message = message
        """The message of control.proto; not to be changed."""

    def __eq__(self, other: object) -> bool:
        return self.message == other.message if isinstance(other, _Built) and type(other) is type(self) else False

    def __hash__(self) -> int:
        return hash(self.message.SerializeToString(deterministic=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({text_format.MessageToString(self.message, as_one_line=True)})"


class Action(_Built):
    """What happens to a call: the base of all actions but `Failure`."""

    field: ClassVar[str]
    """The action's name in control.proto and in script files."""

    def __init__(self, **fields: object) -> None:
        super().__init__(_pb.control_pb2.Fault())
        action = getattr(self.message, self.field)
        action.SetInParent()
        for name, value in fields.items():
            if value is not None:
                schema.set_field(action, name, value)
        schema.check(self.message)


class Delay(Action):
    """The call is processed so much later.

    Args:
        seconds: Seconds of the emulator's clock, 0 or more.
    """

    field = "delay"

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds=seconds)


class Take(Action):
    """What the call starts takes so long, whatever the emulator's durations are.

    Args:
        seconds: Seconds of the emulator's clock, 0 or more; infinity for an operation that never ends.
    """

    field = "take"

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds=seconds)


class Hang(Action):
    """The call is never answered: it ends when its caller gives up."""

    field = "hang"

    def __init__(self) -> None:
        super().__init__()


class ExpireToken(Action):
    """Every credential is refused with UNAUTHENTICATED so long after the first call with it.

    Args:
        seconds: Seconds of the emulator's clock, 0 or more.
    """

    field = "expire_token"

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds=seconds)


class LostReply(Action):
    """The work is done and the operation is started, but the caller receives UNAVAILABLE, without headers.

    Args:
        connection: Whether the whole connection is lost, with all other calls on it, or only this call.
    """

    field = "lose_reply"

    def __init__(self, connection: bool = False) -> None:
        super().__init__(connection=connection)


class DropConnection(Action):
    """The connection is lost, with all other calls on it: the socket is shut down.

    Args:
        after: After so many messages of a stream; with 0 before any work is done.
    """

    field = "drop_connection"

    def __init__(self, after: int = 0) -> None:
        super().__init__(after=after)


class Crash(Action):
    """The emulator crashes before the call is processed, all connections are lost, and it starts again.

    Args:
        keep: Whether its operations exist after the restart.
        down: Seconds of the emulator's clock before it listens again.
    """

    field = "crash"

    def __init__(self, keep: bool = True, down: float = 0.0) -> None:
        super().__init__(keep=keep, down=down)


class WrongType(Action):
    """The operation is done, and its result is an empty message of another type.

    Args:
        type: Full name of the message.
    """

    field = "wrong_type"

    def __init__(self, type: str = "google.protobuf.Empty") -> None:
        super().__init__(type=type)


class NoResult(Action):
    """The operation is done, with neither a result nor an error."""

    field = "no_result"

    def __init__(self) -> None:
        super().__init__()


class EarlyError(Action):
    """The operation has an error although it is not done.

    Args:
        code: A code of google.rpc, not 0.
        message: The text of the error.
    """

    field = "early_error"

    def __init__(self, code: int = 13, message: str = "an error before the end") -> None:
        super().__init__(code=code, message=message)


class Oversize(Action):
    """Every message of the answer is enlarged, by a field that no reader knows.

    Args:
        size: Bytes, 6 MiB by default; a message that is larger by itself stays unchanged.
    """

    field = "oversize"

    def __init__(self, size: int | None = None) -> None:
        super().__init__(size=size)


class Garbage(Action):
    """Every message of the answer is replaced with bytes that are no message.

    Args:
        data: What is sent; four bytes of 0xFF by default.
    """

    field = "garbage"

    def __init__(self, data: bytes | None = None) -> None:
        super().__init__(data=data)


ACTIONS: Final[Mapping[str, type[Failure] | type[Action]]] = {
    "fail": Failure,
    **{action.field: action for action in Action.__subclasses__()},
}
"""The classes of all actions, by their names in control.proto and in script files."""


class Fault(_Built):
    """A rule: an action, and the calls that it applies to.

    All conditions have to be met; a rule without conditions applies to every call. All rules that match a call are
    applied, in their order.

    Args:
        action: What happens. A `Failure` ends the call with that status, before any work is done.
        method: Calls of this method: a full path, its end, such as `OperationService/Get`, or a service, such as
            `OperationService`.
        calls: Only these of the calls that meet the other conditions, counted from 1 since the rule was added.
        operation: Only calls that name this operation (Get, Cancel): its id, or its number in the order of submits,
            from 1.
        probability: The probability that the rule applies to each of these calls, from 0 to 1.
        seed: For the probability; without it the emulator's own seed decides.
        times: The rule applies at most so many times; `None` for no limit.

    Raises:
        TypeError: The action is no action.
        ValueError: A condition that no call could meet, such as a method that is not served.
    """

    def __init__(
        self,
        action: Action | Failure,
        *,
        method: str | None = None,
        calls: int | Collection[int] | None = None,
        operation: int | str | None = None,
        probability: float = 1.0,
        seed: int | None = None,
        times: int | None = None,
    ) -> None:
        message = _pb.control_pb2.Fault()
        if isinstance(action, Failure):
            message.fail.CopyFrom(action.status)
        elif isinstance(action, Action):
            message.CopyFrom(action.message)
        else:
            raise TypeError(f"an action is one of {', '.join(kind.__name__ for kind in ACTIONS.values())}")
        if calls is not None:
            message.calls.extend(schema.count_from_1(calls))
        if operation is not None:
            field = "operation_id" if isinstance(operation, str) else "operation_number"
            schema.set_field(message, field, operation)
        if probability != 1:
            schema.set_field(message, "probability", probability)
        for name, value in (("method", method), ("seed", seed), ("times", times)):
            if value is not None:
                schema.set_field(message, name, value)
        schema.check(message)
        super().__init__(message)

    @classmethod
    def from_message(cls, message: _pb.control_pb2.Fault) -> Fault:
        """The fault that a message describes.

        Raises:
            ValueError: A fault that no call could meet.
        """
        schema.check(message)
        kept = _pb.control_pb2.Fault()
        kept.CopyFrom(message)
        fault = cls.__new__(cls)
        _Built.__init__(fault, kept)
        return fault

"""The errors about one operation; `yagrpc.errors` has them all, and is where they are imported from.

Rules: each has the operation's id, in an attribute and in its text: nothing else may have kept it.
"""

from __future__ import annotations

from yagrpc.errors.base import Detail, ResultError, YagrpcError
from yagrpc.errors.code import Code

__all__ = [
    "OperationCancelledError",
    "OperationError",
    "OperationExpiredError",
    "OperationFailedError",
    "OperationNotFoundError",
    "OperationResultError",
    "OperationTimeoutError",
]


class OperationError(YagrpcError):
    """Something about one operation.

    Args:
        operation_id: Its id: keep it, there is no way to find it again.
        message: What happened.
    """

    __module__ = "yagrpc.errors"

    def __init__(self, operation_id: str, message: str) -> None:
        self.operation_id = operation_id
        self.message = message
        super().__init__(operation_id, message)

    def __str__(self) -> str:
        return f"operation {self.operation_id}: {self.message}"


class OperationFailedError(OperationError):
    """The operation ended with an error of the service.

    Args:
        operation_id: Its id.
        message: What the service said.
        code: The status; a number that no code has is kept as a number.
        details: The status's details as proto JSON, each with its `@type`.
    """

    __module__ = "yagrpc.errors"

    def __init__(self, operation_id: str, message: str, *, code: Code | int, details: tuple[Detail, ...] = ()) -> None:
        super().__init__(operation_id, message)
        self.code = code
        self.details = details

    def __str__(self) -> str:
        name = self.code.name if isinstance(self.code, Code) else f"status {self.code}"
        return f"operation {self.operation_id} failed: {name}: {self.message}"


class OperationCancelledError(OperationError):
    """The operation was cancelled before it had a result."""

    __module__ = "yagrpc.errors"


class OperationTimeoutError(OperationError, TimeoutError):
    """The wait ended, the operation did not: it goes on, and can be waited for again by its id."""

    __module__ = "yagrpc.errors"

    operation_ids: tuple[str, ...] = ()  # of all that are not done in time, where several were waited for


class OperationResultError(OperationError, ResultError):
    """The operation is done but holds no result, or one of another type (both names are in the message)."""

    __module__ = "yagrpc.errors"


class OperationNotFoundError(OperationError):
    """The service knows no operation of this id."""

    __module__ = "yagrpc.errors"


class OperationExpiredError(OperationNotFoundError):
    """The service no longer knows the operation, and it was created over three days ago.

    The service keeps results for three days (its documented hard limit), so it is probably deleted.
    """

    __module__ = "yagrpc.errors"

"""The errors about one operation.

Rules: each has the operation's id, in an attribute and in its text: the caller may have kept it nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from yagrpc.errors.base import Detail, YagrpcError, code_name
from yagrpc.errors.code import Code
from yagrpc.errors.result import ResultError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc.errors.base import CallContext

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
    """An error about one operation.

    Args:
        operation_id: The operation's id: keep it, the service does not list operations.
        message: What happened.
        **context: As for any `YagrpcError`.
    """

    _summarized: ClassVar[tuple[str, ...]] = ("operation_id",)

    def __init__(self, operation_id: str, message: str, **context: Unpack[CallContext]) -> None:
        super().__init__(message, operation_id=operation_id, **context)

    def _summary(self) -> str:
        return f"operation {self.operation_id}: {self.message}"


class OperationFailedError(OperationError):
    """The operation ended with an error of the service.

    Args:
        operation_id: The operation's id.
        message: The message of the operation's status.
        details: The status's details as proto JSON, each with its `@type`.
        **context: As for any `YagrpcError`; `code` is the operation's status.
    """

    code: Code | int = Code.UNKNOWN  # pyright: ignore[reportIncompatibleVariableOverride]

    _summarized: ClassVar[tuple[str, ...]] = ("operation_id", "code")

    def __init__(
        self, operation_id: str, message: str, *, details: tuple[Detail, ...] = (), **context: Unpack[CallContext]
    ) -> None:
        self.details = details
        super().__init__(operation_id, message, **context)

    def _summary(self) -> str:
        return f"operation {self.operation_id} failed: {code_name(self.code)}: {self.message}"


class OperationCancelledError(OperationError):
    """The operation was cancelled before it had a result."""

    code: Code = Code.CANCELLED  # pyright: ignore[reportIncompatibleVariableOverride]

    _summarized: ClassVar[tuple[str, ...]] = ("operation_id", "code")


class OperationTimeoutError(OperationError, TimeoutError):
    """The wait ended before the operation: the operation is still running, and its id can be waited for again.

    Args:
        operation_id: The operation's id; the first one where several were waited for.
        message: What happened.
        operation_ids: All operations that are not done, where several were waited for.
        **context: As for any `YagrpcError`.
    """

    operation_ids: tuple[str, ...] = ()

    def __init__(
        self, operation_id: str, message: str, *, operation_ids: tuple[str, ...] = (), **context: Unpack[CallContext]
    ) -> None:
        if operation_ids:
            self.operation_ids = operation_ids
        super().__init__(operation_id, message, **context)


class OperationResultError(OperationError, ResultError):
    """The operation is done but holds no result, or one of another type (both names are in the message)."""


class OperationNotFoundError(OperationError):
    """The service knows no operation of this id."""

    code: Code = Code.NOT_FOUND  # pyright: ignore[reportIncompatibleVariableOverride]

    _summarized: ClassVar[tuple[str, ...]] = ("operation_id", "code")


class OperationExpiredError(OperationNotFoundError):
    """The service no longer knows the operation, and it was created over three days ago.

    The service keeps results for three days (its documented hard limit), so it is probably deleted.
    """

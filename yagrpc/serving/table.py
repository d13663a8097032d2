"""Which status a caller gets for an error of yagrpc: ONE table, for gRPC and for HTTP; docs/serving.md shows it.

A caller judges a status by itself: UNAUTHENTICATED means its own credential, UNAVAILABLE that it may ask again. So a
status of the model service is not passed on where it would mean something else, and what may be billed twice is never
a status that callers repeat by themselves.

Rules: the texts of the service, and those that show settings, are passed on only where `expose` allows it; what is
about this side's own credentials and settings never is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from yagrpc.errors import (
    AmbiguousSubmitError,
    CallError,
    ClientClosedError,
    Code,
    CompletionFilteredError,
    CompletionTruncatedError,
    ConfigError,
    LimiterError,
    MessageTooLargeError,
    OperationCancelledError,
    OperationExpiredError,
    OperationFailedError,
    OperationNotFoundError,
    OperationTimeoutError,
    QuotaWaitError,
    RequestError,
    ResultError,
    ServerBusyError,
    YagrpcError,
)
from yagrpc.hiding import shown

Expose: TypeAlias = bool | Iterable[Code | int]
"""Of which codes the error's own text is passed on: `True` for all, `False` for none."""


class Row(NamedTuple):
    """What a caller gets for some errors.

    Args:
        kinds: The classes of the errors.
        codes: The codes that they have; empty for any.
        status: The status of gRPC.
        http: The status of HTTP.
        reason: What went wrong, for programs: `ErrorInfo.reason`, and the end of the problem's type.
        text: What went wrong, for people, where the error's own text is not passed on.
        again: Whether it makes sense to ask again, so that the caller learns when.
        ours: Whether it is this side's own fault: logged as an error, and its text never passed on.
    """

    kinds: tuple[type[YagrpcError], ...]
    codes: tuple[Code, ...]
    status: Code
    http: int
    reason: str
    text: str
    again: bool = False
    ours: bool = False


_SERVICE: Final = (CallError, OperationFailedError)
_MAY_HAVE_STARTED: Final = "the generation may have started; a second request may be billed again"

TABLE: Final = (
    Row((RequestError,), (), Code.INVALID_ARGUMENT, 400, "INVALID_REQUEST", "the request is not valid"),
    Row((ConfigError,), (), Code.INTERNAL, 500, "MISCONFIGURED", "the service is not set up correctly", ours=True),
    Row(
        (LimiterError,), (), Code.UNAVAILABLE, 503, "NO_LIMITER", "the service can't count its calls now", again=True,
        ours=True,
    ),
    Row((ClientClosedError,), (), Code.UNAVAILABLE, 503, "SHUTTING_DOWN", "the service is shutting down", again=True),
    Row((ServerBusyError,), (), Code.RESOURCE_EXHAUSTED, 429, "BUSY", "the service is busy", again=True),
    Row(
        (QuotaWaitError,), (), Code.RESOURCE_EXHAUSTED, 429, "QUOTA_EXHAUSTED", "the quota of the model is used up",
        again=True,
    ),
    Row(
        (AmbiguousSubmitError,), (Code.DEADLINE_EXCEEDED,), Code.DEADLINE_EXCEEDED, 504, "MAY_HAVE_STARTED",
        f"the model did not answer in time; {_MAY_HAVE_STARTED}",
    ),
    Row(
        (AmbiguousSubmitError,), (Code.CANCELLED,), Code.CANCELLED, 499, "MAY_HAVE_STARTED",
        f"the call was cancelled; {_MAY_HAVE_STARTED}",
    ),
    Row((AmbiguousSubmitError,), (), Code.UNKNOWN, 502, "MAY_HAVE_STARTED", f"the model failed; {_MAY_HAVE_STARTED}"),
    Row((MessageTooLargeError,), (), Code.OUT_OF_RANGE, 413, "TOO_LARGE", "the request or its answer is too large"),
    Row(
        (CompletionFilteredError,), (), Code.FAILED_PRECONDITION, 422, "CONTENT_FILTERED",
        "the content filter of the model stopped the answer",
    ),
    Row((CompletionTruncatedError,), (), Code.OUT_OF_RANGE, 422, "TRUNCATED", "the answer was cut off at its limit"),
    Row(
        (OperationTimeoutError,), (), Code.DEADLINE_EXCEEDED, 504, "OPERATION_RUNNING",
        "the operation is not done in time; it is still running",
    ),
    Row((OperationCancelledError,), (), Code.ABORTED, 409, "OPERATION_CANCELLED", "the operation was cancelled"),
    Row((OperationExpiredError,), (), Code.NOT_FOUND, 410, "OPERATION_EXPIRED", "the operation was deleted"),
    Row((OperationNotFoundError,), (), Code.NOT_FOUND, 404, "OPERATION_NOT_FOUND", "there is no such operation"),
    Row((ResultError,), (), Code.INTERNAL, 502, "UNUSABLE_ANSWER", "the answer of the model can't be used"),
    Row(_SERVICE, (Code.CANCELLED,), Code.CANCELLED, 499, "CANCELLED", "the call was cancelled"),
    Row(
        _SERVICE, (Code.DEADLINE_EXCEEDED,), Code.DEADLINE_EXCEEDED, 504, "TIMEOUT",
        "the model did not answer in time",
    ),
    Row(
        _SERVICE, (Code.RESOURCE_EXHAUSTED,), Code.RESOURCE_EXHAUSTED, 429, "QUOTA_EXHAUSTED",
        "the quota of the model is used up", again=True,
    ),
    Row(_SERVICE, (Code.UNAVAILABLE,), Code.UNAVAILABLE, 503, "UNAVAILABLE", "the model can't be reached", again=True),
    Row(
        _SERVICE, (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED), Code.INTERNAL, 500, "NO_ACCESS",
        "the service has no access to its model", ours=True,
    ),
    Row(
        _SERVICE, (Code.UNIMPLEMENTED,), Code.INTERNAL, 500, "NOT_SERVED", "the model does not serve this method",
        ours=True,
    ),
    Row(_SERVICE, (Code.INVALID_ARGUMENT,), Code.INVALID_ARGUMENT, 400, "REFUSED", "the model refused the request"),
    Row(_SERVICE, (Code.NOT_FOUND,), Code.NOT_FOUND, 404, "NOT_FOUND", "the model found no such resource"),
    Row(_SERVICE, (Code.ALREADY_EXISTS,), Code.ALREADY_EXISTS, 409, "ALREADY_EXISTS", "the resource exists already"),
    Row(
        _SERVICE, (Code.FAILED_PRECONDITION,), Code.FAILED_PRECONDITION, 400, "REFUSED",
        "the model refused the request",
    ),
    Row(_SERVICE, (Code.OUT_OF_RANGE,), Code.OUT_OF_RANGE, 400, "REFUSED", "the model refused the request"),
    Row(_SERVICE, (Code.ABORTED,), Code.ABORTED, 409, "ABORTED", "the call collided with another"),
    Row(_SERVICE, (Code.INTERNAL,), Code.INTERNAL, 502, "MODEL_FAILED", "the model failed"),
    Row(_SERVICE, (Code.DATA_LOSS,), Code.DATA_LOSS, 502, "MODEL_FAILED", "the model failed"),
    Row((YagrpcError,), (), Code.UNKNOWN, 502, "FAILED", "the model failed"),
)  # fmt: skip
"""The rows; the first that fits an error counts."""


def row_of(error: YagrpcError) -> Row:
    """The row of an error."""
    return next(row for row in TABLE if isinstance(error, row.kinds) and (not row.codes or error.code in row.codes))


class Exposure:
    """Whose own texts are passed on to callers.

    Args:
        expose: As a user gave it.

    Raises:
        ConfigError: It is neither a flag nor codes.
    """

    def __init__(self, expose: Expose) -> None:
        wrong = ConfigError(f"expose is {shown(expose)}: it takes True, False, or some of yagrpc.Code")
        self._codes: frozenset[int] | None = None
        if not isinstance(expose, bool):
            if isinstance(expose, (str, bytes)) or not isinstance(expose, Iterable):
                raise wrong
            codes = tuple(expose)
            if not all(isinstance(code, int) for code in codes):
                raise wrong
            self._codes = frozenset(codes)
        self._all = expose is True

    def text(self, error: YagrpcError, row: Row) -> str:
        """The text that the caller gets for an error."""
        named = self._codes is not None and (
            error.code in self._codes or (error.code is None and row.status in self._codes)
        )
        if not row.ours and (self._all or named):
            return error.message or row.text
        if isinstance(error, RequestError):  # which argument, and what it takes: not its value
            return f"{error.field}: {error.allowed}"
        return row.text


def pause(error: YagrpcError, row: Row) -> float | None:
    """Seconds after which the caller may ask again; `None` where that is not known, or makes no sense."""
    if not row.again:
        return None
    found = error.seconds if isinstance(error, QuotaWaitError) else getattr(error, "retry_after", None)
    return found if found is not None and found >= 0 else None

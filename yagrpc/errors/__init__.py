"""Every exception that yagrpc raises.

    YagrpcError
    |- ConfigError (also ValueError)        settings that cannot work: credentials, folder, endpoint
    |  `- JournalInUseError                 another process writes the journal
    |- RequestError (also ValueError)       an argument of a request; nothing was sent
    |- ClientClosedError                    the client was closed
    |- JournalError                         a journal can't be written: a full disk, for example
    |- LimiterError                        the shared limiter can't be reached
    |- QuotaWaitError (also TimeoutError)   no slot under a quota in time
    |- ServerBusyError                      in a server of yours: too many handlers of its operations run
    |- CallError                            the service refused one call, or the call did not reach it
    |  |- one class per status, e.g. NotFoundError, UnavailableError
    |  |- DeadlineExceededError (also TimeoutError)
    |  `- MessageTooLargeError              a message over the client's own limit: no quota, though gRPC names it so
    |- AmbiguousSubmitError                 a generation that may or may not have started, and be billed
    |  `- SubmitTimeoutError (also TimeoutError)      no answer in time
    |- ResultError                          an answer that holds no usable result
    |  `- IncompleteCompletionError         with strict=True: the model did not finish; the answer is in `completion`
    |     |- CompletionFilteredError        the content filter stopped it
    |     `- CompletionTruncatedError       it was cut off at `max_tokens`
    `- OperationError                       an error about one operation
       |- OperationFailedError              the operation ended with an error
       |- OperationCancelledError           the operation was cancelled
       |- OperationTimeoutError (also TimeoutError)   the wait ended, the operation is still running
       |- OperationResultError (also ResultError)     done, but without the result that it should have
       `- OperationNotFoundError
          `- OperationExpiredError          probably deleted: results are kept for three days

Every error has `message`, `code`, `method`, `endpoint`, `client_request_id`, `request_id`, `server_trace_id`,
`attempts`, `operation_id` and `hint`; what is not known is empty, 0 or `None` (see `Context`). Each is a keyword
argument of every constructor.

Rules: attributes are plain data, or an answer, so every error can be pickled; a text is one line; no error shows a
credential.
"""

from __future__ import annotations

from yagrpc.errors.base import Context as Context
from yagrpc.errors.base import YagrpcError
from yagrpc.errors.call import CALL_ERRORS as CALL_ERRORS
from yagrpc.errors.call import (
    AbortedError,
    AlreadyExistsError,
    CallCancelledError,
    CallError,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    MessageTooLargeError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
)
from yagrpc.errors.client import ClientClosedError, ServerBusyError
from yagrpc.errors.code import Code
from yagrpc.errors.given import ConfigError, RequestError
from yagrpc.errors.journal import JournalError, JournalInUseError
from yagrpc.errors.operation import (
    OperationCancelledError,
    OperationError,
    OperationExpiredError,
    OperationFailedError,
    OperationNotFoundError,
    OperationResultError,
    OperationTimeoutError,
)
from yagrpc.errors.quota import LimiterError, QuotaWaitError
from yagrpc.errors.result import (
    CompletionFilteredError,
    CompletionTruncatedError,
    IncompleteCompletionError,
    ResultError,
)
from yagrpc.errors.submit import AmbiguousSubmitError, SubmitTimeoutError

__all__ = [
    "AbortedError", "AlreadyExistsError", "AmbiguousSubmitError", "CallCancelledError", "CallError",
    "ClientClosedError", "Code", "CompletionFilteredError", "CompletionTruncatedError", "ConfigError",
    "DataLossError", "DeadlineExceededError", "FailedPreconditionError", "IncompleteCompletionError",
    "InternalError", "InvalidArgumentError", "JournalError", "JournalInUseError",
    "LimiterError", "MessageTooLargeError", "NotFoundError",
    "OperationCancelledError", "OperationError", "OperationExpiredError", "OperationFailedError",
    "OperationNotFoundError", "OperationResultError", "OperationTimeoutError", "OutOfRangeError",
    "PermissionDeniedError", "QuotaWaitError", "RequestError", "ResourceExhaustedError", "ResultError",
    "ServerBusyError", "SubmitTimeoutError", "UnauthenticatedError", "UnavailableError", "UnimplementedError",
    "UnknownError", "YagrpcError",
]  # fmt: skip

for _name in __all__:
    globals()[_name].__module__ = __name__  # where a traceback and a pickle find it

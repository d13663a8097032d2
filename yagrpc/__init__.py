"""yagrpc: the typed gRPC client of Yandex Cloud Foundation Models (YandexGPT, AI Studio).

    import yagrpc

    with yagrpc.Client(folder_id="b1g...", credentials=yagrpc.ApiKey("...")) as client:
        operation = client.completion_async("To be, or not to be", system="Translate into Russian")
        print(operation.result(timeout=600).text)

The public names are those below; each is imported when it is first used, so that importing yagrpc is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from yagrpc._version import __version__ as __version__

if TYPE_CHECKING:
    from yagrpc import emulator as emulator
    from yagrpc import methods as methods
    from yagrpc._aio.operation import AsyncOperation as AsyncOperation
    from yagrpc._aio.stream import AsyncStream as AsyncStream
    from yagrpc._core.call.call import Call as Call
    from yagrpc._core.call.parameters import CallParameters as CallParameters
    from yagrpc._core.call.parameters import CompletionParameters as CompletionParameters
    from yagrpc._core.call.parameters import ModelParameters as ModelParameters
    from yagrpc._core.events import Events as Events
    from yagrpc._core.events import Outcome as Outcome
    from yagrpc._core.failure.retry import Action as Action
    from yagrpc._core.failure.retry import Verdict as Verdict
    from yagrpc._core.operation.view import OperationStatus as OperationStatus
    from yagrpc._services.embeddings import EmbeddingParameters as EmbeddingParameters
    from yagrpc._services.embeddings import Embeddings as Embeddings
    from yagrpc._sync.operation import Operation as Operation
    from yagrpc._sync.stream import Stream as Stream
    from yagrpc.bulk.asynchronous import AsyncBulk as AsyncBulk
    from yagrpc.bulk.blocking import Bulk as Bulk
    from yagrpc.bulk.decisions.outcomes import RowOutcome as RowOutcome
    from yagrpc.bulk.decisions.progress import Progress as Progress
    from yagrpc.bulk.parameters import BulkParameters as BulkParameters
    from yagrpc.bulk.results import BulkResult as BulkResult
    from yagrpc.clients import AsyncClient as AsyncClient
    from yagrpc.clients import Client as Client
    from yagrpc.config import Polling as Polling
    from yagrpc.config import Quota as Quota
    from yagrpc.credentials import AccessToken as AccessToken
    from yagrpc.credentials import ApiKey as ApiKey
    from yagrpc.credentials import Credentials as Credentials
    from yagrpc.credentials import FetchedCredentials as FetchedCredentials
    from yagrpc.credentials import IamToken as IamToken
    from yagrpc.credentials import MetadataService as MetadataService
    from yagrpc.credentials import NoCredentials as NoCredentials
    from yagrpc.credentials import OAuthToken as OAuthToken
    from yagrpc.credentials import ServiceAccountKey as ServiceAccountKey
    from yagrpc.credentials import YcCli as YcCli
    from yagrpc.diagnosis import Diagnosis as Diagnosis
    from yagrpc.diagnosis import Finding as Finding
    from yagrpc.diagnosis import doctor as doctor
    from yagrpc.errors import AbortedError as AbortedError
    from yagrpc.errors import AlreadyExistsError as AlreadyExistsError
    from yagrpc.errors import AmbiguousSubmitError as AmbiguousSubmitError
    from yagrpc.errors import CallCancelledError as CallCancelledError
    from yagrpc.errors import CallError as CallError
    from yagrpc.errors import ClientClosedError as ClientClosedError
    from yagrpc.errors import Code as Code
    from yagrpc.errors import CompletionFilteredError as CompletionFilteredError
    from yagrpc.errors import CompletionTruncatedError as CompletionTruncatedError
    from yagrpc.errors import ConfigError as ConfigError
    from yagrpc.errors import DataLossError as DataLossError
    from yagrpc.errors import DeadlineExceededError as DeadlineExceededError
    from yagrpc.errors import FailedPreconditionError as FailedPreconditionError
    from yagrpc.errors import IncompleteCompletionError as IncompleteCompletionError
    from yagrpc.errors import InternalError as InternalError
    from yagrpc.errors import InvalidArgumentError as InvalidArgumentError
    from yagrpc.errors import JournalError as JournalError
    from yagrpc.errors import JournalInUseError as JournalInUseError
    from yagrpc.errors import LimiterError as LimiterError
    from yagrpc.errors import MessageTooLargeError as MessageTooLargeError
    from yagrpc.errors import NotFoundError as NotFoundError
    from yagrpc.errors import OperationCancelledError as OperationCancelledError
    from yagrpc.errors import OperationError as OperationError
    from yagrpc.errors import OperationExpiredError as OperationExpiredError
    from yagrpc.errors import OperationFailedError as OperationFailedError
    from yagrpc.errors import OperationNotFoundError as OperationNotFoundError
    from yagrpc.errors import OperationResultError as OperationResultError
    from yagrpc.errors import OperationTimeoutError as OperationTimeoutError
    from yagrpc.errors import OutOfRangeError as OutOfRangeError
    from yagrpc.errors import PermissionDeniedError as PermissionDeniedError
    from yagrpc.errors import QuotaWaitError as QuotaWaitError
    from yagrpc.errors import RequestError as RequestError
    from yagrpc.errors import ResourceExhaustedError as ResourceExhaustedError
    from yagrpc.errors import ResultError as ResultError
    from yagrpc.errors import ServerBusyError as ServerBusyError
    from yagrpc.errors import SubmitTimeoutError as SubmitTimeoutError
    from yagrpc.errors import UnauthenticatedError as UnauthenticatedError
    from yagrpc.errors import UnavailableError as UnavailableError
    from yagrpc.errors import UnimplementedError as UnimplementedError
    from yagrpc.errors import UnknownError as UnknownError
    from yagrpc.errors import YagrpcError as YagrpcError
    from yagrpc.ids import RequestIds as RequestIds
    from yagrpc.limiter.limits import Limits as Limits
    from yagrpc.limiter.limits import quota_use as quota_use
    from yagrpc.messages import Message as Message
    from yagrpc.messages import ToolCall as ToolCall
    from yagrpc.messages import ToolResult as ToolResult
    from yagrpc.messages import convert as convert
    from yagrpc.method import BidiStreamMethod as BidiStreamMethod
    from yagrpc.method import ClientStreamMethod as ClientStreamMethod
    from yagrpc.method import HttpRule as HttpRule
    from yagrpc.method import OperationMethod as OperationMethod
    from yagrpc.method import StreamMethod as StreamMethod
    from yagrpc.method import UnaryMethod as UnaryMethod
    from yagrpc.quantities import Number as Number
    from yagrpc.quantities import Seconds as Seconds
    from yagrpc.quantities import WholeNumber as WholeNumber
    from yagrpc.quotas import Limit as Limit
    from yagrpc.quotas import QuotaUse as QuotaUse
    from yagrpc.quotas import Used as Used
    from yagrpc.results import Alternative as Alternative
    from yagrpc.results import Chunk as Chunk
    from yagrpc.results import Completion as Completion
    from yagrpc.results import CompletionStatus as CompletionStatus
    from yagrpc.results import Token as Token
    from yagrpc.results import Tokens as Tokens
    from yagrpc.results import Usage as Usage
    from yagrpc.waiting import as_completed as as_completed
    from yagrpc.waiting import gather as gather
    from yagrpc.waiting import wait as wait

_MODULES: Final = ("emulator", "methods")

_HOMES: Final = {
    "AsyncBulk": "bulk.asynchronous",
    "AsyncClient": "clients",
    "AsyncOperation": "_aio.operation",
    "AsyncStream": "_aio.stream",
    "Limit": "quotas",
    "QuotaUse": "quotas",
    "Limits": "limiter.limits",
    "quota_use": "limiter.limits",
    "Used": "quotas",
    "OperationStatus": "_core.operation.view",
    "Call": "_core.call.call",
    "CallParameters": "_core.call.parameters",
    "CompletionParameters": "_core.call.parameters",
    "ModelParameters": "_core.call.parameters",
    "Action": "_core.failure.retry",
    "Events": "_core.events",
    "Outcome": "_core.events",
    "Verdict": "_core.failure.retry",
    "EmbeddingParameters": "_services.embeddings",
    "Embeddings": "_services.embeddings",
    "Bulk": "bulk.blocking",
    "BulkParameters": "bulk.parameters",
    "BulkResult": "bulk.results",
    "Progress": "bulk.decisions.progress",
    "RowOutcome": "bulk.decisions.outcomes",
    "Client": "clients",
    "Operation": "_sync.operation",
    "Stream": "_sync.stream",
    "Polling": "config",
    "Quota": "config",
    "AccessToken": "credentials",
    "ApiKey": "credentials",
    "Credentials": "credentials",
    "FetchedCredentials": "credentials",
    "IamToken": "credentials",
    "MetadataService": "credentials",
    "NoCredentials": "credentials",
    "OAuthToken": "credentials",
    "ServiceAccountKey": "credentials",
    "YcCli": "credentials",
    "Diagnosis": "diagnosis",
    "Finding": "diagnosis",
    "doctor": "diagnosis",
    "AbortedError": "errors",
    "AlreadyExistsError": "errors",
    "AmbiguousSubmitError": "errors",
    "CallCancelledError": "errors",
    "CallError": "errors",
    "ClientClosedError": "errors",
    "Code": "errors",
    "CompletionFilteredError": "errors",
    "CompletionTruncatedError": "errors",
    "ConfigError": "errors",
    "DataLossError": "errors",
    "DeadlineExceededError": "errors",
    "FailedPreconditionError": "errors",
    "IncompleteCompletionError": "errors",
    "InternalError": "errors",
    "InvalidArgumentError": "errors",
    "JournalError": "errors",
    "JournalInUseError": "errors",
    "LimiterError": "errors",
    "MessageTooLargeError": "errors",
    "NotFoundError": "errors",
    "OperationCancelledError": "errors",
    "OperationError": "errors",
    "OperationExpiredError": "errors",
    "OperationFailedError": "errors",
    "OperationNotFoundError": "errors",
    "OperationResultError": "errors",
    "OperationTimeoutError": "errors",
    "OutOfRangeError": "errors",
    "PermissionDeniedError": "errors",
    "QuotaWaitError": "errors",
    "RequestError": "errors",
    "ResourceExhaustedError": "errors",
    "ResultError": "errors",
    "ServerBusyError": "errors",
    "SubmitTimeoutError": "errors",
    "UnauthenticatedError": "errors",
    "UnavailableError": "errors",
    "UnimplementedError": "errors",
    "UnknownError": "errors",
    "YagrpcError": "errors",
    "RequestIds": "ids",
    "Message": "messages",
    "ToolCall": "messages",
    "ToolResult": "messages",
    "convert": "messages",
    "BidiStreamMethod": "method",
    "ClientStreamMethod": "method",
    "HttpRule": "method",
    "OperationMethod": "method",
    "StreamMethod": "method",
    "UnaryMethod": "method",
    "Number": "quantities",
    "Seconds": "quantities",
    "WholeNumber": "quantities",
    "Alternative": "results",
    "Chunk": "results",
    "Completion": "results",
    "CompletionStatus": "results",
    "Token": "results",
    "Tokens": "results",
    "Usage": "results",
    "as_completed": "waiting",
    "gather": "waiting",
    "wait": "waiting",
}
"""The module that each public name is defined in."""

__all__ = ["__version__", *_HOMES, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        found: Any = importlib.import_module(f"yagrpc.{name}")
    elif name in _HOMES:
        found = getattr(importlib.import_module(f"yagrpc.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'yagrpc' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)

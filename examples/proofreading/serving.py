"""What both servers share: the instruction for the model, what they pass on, and the statuses that callers get."""

from __future__ import annotations

import logging
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

import yagrpc

__all__ = ["ABANDON_SECONDS", "INSTRUCTION", "log", "passed_on", "seconds_left", "status_of"]

INSTRUCTION: Final = "Ты корректор. Исправь все ошибки в присланном тексте и верни только исправленный текст."
"""You are a proofreader. Correct all errors in the text, and return only the corrected text."""

REQUEST_ID: Final = "x-request-id"

ABANDON_SECONDS: Final = 5.0
"""Seconds for the request to stop an operation that nobody waits for any longer."""

_NEVER: Final = 1e9
"""Seconds, about thirty years. For a caller without a deadline, a blocking server reports 9e18 seconds left."""

_OURS: Final = frozenset({yagrpc.Code.UNAUTHENTICATED, yagrpc.Code.PERMISSION_DENIED})
"""Statuses about this service's own credentials: a caller would think that its own credentials are meant."""

_STATUSES: Final = {status.value[0]: status for status in grpc.StatusCode}

Context: TypeAlias = "grpc.ServicerContext | grpc.aio.ServicerContext[Any, Any]"

log = logging.getLogger("proofreading")


def seconds_left(context: Context) -> float | None:
    """How long the caller still waits, in seconds; `None` where it set no deadline."""
    left = context.time_remaining()
    return None if left is None or left > _NEVER else left


def passed_on(context: Context) -> yagrpc.CallParameters:
    """The parameters that yagrpc's calls take from the call that they serve: its deadline and its request id."""
    parameters: yagrpc.CallParameters = {}
    left = seconds_left(context)
    if left is not None:  # otherwise yagrpc uses its default
        parameters["timeout"] = left
    metadata: Any = context.invocation_metadata()
    request_id = dict(metadata or ()).get(REQUEST_ID)
    if request_id:
        parameters["request_id"] = request_id
    return parameters


def status_of(error: yagrpc.YagrpcError) -> tuple[grpc.StatusCode, str]:
    """The status that the caller gets for an error of yagrpc."""
    if isinstance(error, (yagrpc.CallError, yagrpc.AmbiguousSubmitError, yagrpc.OperationFailedError)):
        if error.code in _OURS:
            log.error("the model service refuses this service: %s", error)
            return grpc.StatusCode.INTERNAL, "the proofreader has no access to its model"
        return _STATUSES.get(int(error.code), grpc.StatusCode.UNKNOWN), error.message
    if isinstance(error, yagrpc.RequestError):
        return grpc.StatusCode.INVALID_ARGUMENT, str(error)
    if isinstance(error, TimeoutError):
        return grpc.StatusCode.DEADLINE_EXCEEDED, str(error)
    if isinstance(error, (yagrpc.ClientClosedError, yagrpc.OperationCancelledError)):
        return grpc.StatusCode.UNAVAILABLE, str(error)
    log.error("the model's answer cannot be used: %s", error)
    return grpc.StatusCode.INTERNAL, str(error)

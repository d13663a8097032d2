"""What yagrpc logs: the subscriber of every client that writes `yagrpc.calls`, `yagrpc.quota` and `yagrpc.operations`.

Rules: sizes, ids, statuses and times are logged; texts only where they are asked for, without secrets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from yagrpc._core.events import Events, Hub, Outcome, calls_log
from yagrpc._core.failure.final import ends_wait
from yagrpc._core.failure.retry import Action
from yagrpc.errors import CallError, ConfigError, YagrpcError

if TYPE_CHECKING:
    from yagrpc import _pb
    from yagrpc._core.call.call import Call
    from yagrpc._core.failure.retry import Verdict

operations_log = logging.getLogger("yagrpc.operations")
quota_log = logging.getLogger("yagrpc.quota")


class LogEvents(Events):
    """The logs: `yagrpc.calls`, `yagrpc.quota` and `yagrpc.operations`.

    Sizes, ids, statuses and times are logged; texts only where they are asked for, without secrets (see `redaction`);
    metadata, which hold the credential, never. Every record has the ids in its `extra` as well.

    Args:
        texts: Whether requests and answers are logged whole; asked at each line.
    """

    _logs_only = True

    def __init__(self, *, texts: Callable[[], bool]) -> None:
        self._texts = texts
        self._failed_polls = 0

    def accepted(self, call: Call[Any, Any], operation: _pb.operation_pb2.Operation) -> None:
        """The record from which an id can be found again."""
        operations_log.info(
            "operation %s accepted by %s (client request id %s)",
            operation.id,
            call.method.service,
            call.client_request_id,
            extra={"operation_id": operation.id, "client_request_id": call.client_request_id},
        )

    def sending(self, call: Call[Any, Any], number: int, endpoint: str, timeout: float | None) -> None:
        """A line at DEBUG."""
        if not calls_log.isEnabledFor(logging.DEBUG):
            return  # another subscriber has asked for attempts
        limit = "no timeout" if timeout is None else f"timeout {timeout:.3g} s"
        size = _size(call.request)
        self._debug(call, f"sent to {endpoint}: attempt {number}, {size}, {limit}{self._text(call, call.request)}")

    def attempt(self, call: Call[Any, Any], outcome: Outcome, verdict: Verdict | None) -> None:
        """A line at DEBUG; at INFO where the call is sent again, or where no caller gets the failure.

        At WARNING where an operation may run whose id is not known.
        """
        if (error := outcome.error) is None and not calls_log.isEnabledFor(logging.DEBUG):
            return
        if error is None:
            ids = f"request id {call.ids.request_id or '-'}, server trace id {call.ids.server_trace_id or '-'}"
            text = self._text(call, outcome.answer)
            self._debug(call, f"answered in {outcome.seconds:.3f} s: {_size(outcome.answer)}, {ids}{text}")
            return
        self._debug(call, f"failed in {outcome.seconds:.3f} s: {error}")
        line, level = "%s (client request id %s): %s; %s", logging.INFO
        if outcome.late:
            if verdict is not None and verdict.action is Action.AMBIGUOUS:
                text = "a submit may have been accepted, its operation id is unknown and its caller had left: %s"
                operations_log.warning(text, error, extra=_extra(call))
                return
            follows = "its caller had left"
        elif verdict is not None and verdict.action is Action.RETRY:
            follows = f"sent again in {verdict.pause:.3f} s"
        elif verdict is not None and verdict.action in (Action.REQUEUE, Action.RENEW):
            follows = verdict.action.value
        else:
            return
        code = error.code.name if isinstance(error, CallError) else str(error)
        calls_log.log(level, line, call.method.path, call.client_request_id, code, follows, extra=_extra(call))

    def waiting_for_quota(self, call: Call[Any, Any], quota: str, seconds: float | None) -> None:
        """A line at INFO."""
        quota_log.info(
            "a call of %s waits %s for a slot under quota.%s (client request id %s)",
            call.method.path,
            "for a running call to end" if seconds is None else f"at least {seconds:.0f} s",
            quota,
            call.client_request_id,
            extra=_extra(call),
        )

    def polled(self, operation_id: str, outcome: _pb.operation_pb2.Operation | YagrpcError) -> None:
        """One warning when polling begins to fail, and one when it works again, for all operations together.

        Threads may disagree for a moment: then a line is doubled.
        """
        if not isinstance(outcome, YagrpcError):
            if self._failed_polls:
                operations_log.warning("polling operations works again, after %d failed Gets", self._failed_polls)
                self._failed_polls = 0
            return
        if ends_wait(outcome):
            return
        self._failed_polls += 1
        extra = {"operation_id": operation_id, "client_request_id": outcome.client_request_id}
        if self._failed_polls == 1:
            text = "polling operations fails, it is retried until it works: %s"
            operations_log.warning(text, outcome, extra=extra)
        else:
            operations_log.debug("a Get of operation %s failed: %s", operation_id, outcome, extra=extra)

    def _debug(self, call: Call[Any, Any], text: str) -> None:
        calls_log.debug(
            "%s (client request id %s) %s", call.method.path, call.client_request_id, text, extra=_extra(call)
        )

    def _text(self, call: Call[Any, Any], message: Any) -> str:
        if not self._texts() or not hasattr(message, "ByteSize"):
            return ""
        from yagrpc.redaction import loggable  # texts are logged by few

        text = loggable(message, call.method.service)
        return f": {text}" if text else ""


def hub_of(given: Events | Iterable[Events] | None, *, texts: Callable[[], bool]) -> Hub:
    """The subscribers of a client: the logs, and those that its user gave.

    Args:
        given: One subscriber, several, or none.
        texts: Whether requests and answers are logged whole; asked at each line.

    Raises:
        ConfigError: Something else is among them.
    """
    subscribers = [] if given is None else [given] if isinstance(given, Events) else given
    if not isinstance(subscribers, Iterable):
        raise ConfigError(f"events is a {type(given).__name__}: it takes a yagrpc.Events, or several")
    found = list(subscribers)
    for subscriber in found:
        if not isinstance(subscriber, Events):
            raise ConfigError(
                f"events holds a {type(subscriber).__name__}: it takes objects derived from yagrpc.Events"
            )
    return Hub([LogEvents(texts=texts), *found])


def _extra(call: Call[Any, Any]) -> dict[str, str]:
    return {"client_request_id": call.client_request_id, "operation_id": call.operation_id}


def _size(message: Any) -> str:
    return f"{message.ByteSize()} bytes" if hasattr(message, "ByteSize") else "a stream"

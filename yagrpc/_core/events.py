"""What happens to calls and operations, reported to subscribers: logs, journals, metrics, traces.

`Client(events=...)` takes objects of classes derived from `Events`, whose methods do nothing by default. What yagrpc
logs is one of them, `LogEvents`.

Rules: an exception in `submitting` stops the call, with nothing sent; one in any other method is logged and has no
other effect. The methods run in the thread, or the event loop, of what they report, so that they must not take long;
`accepted` of the blocking client in a thread of its own, which an exception in the caller's thread does not reach. All
of a call run in the context (`contextvars`) of its caller. The exception of a signal that comes while a method runs in
the main thread counts as one of that method.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yagrpc._core.failure.final import ends_wait
from yagrpc._core.failure.retry import Action
from yagrpc.errors import CallError, ConfigError, YagrpcError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc import _pb
    from yagrpc._core.call.call import Call
    from yagrpc._core.failure.retry import Verdict

log = logging.getLogger("yagrpc")
log.addHandler(logging.NullHandler())
calls_log = logging.getLogger("yagrpc.calls")
operations_log = logging.getLogger("yagrpc.operations")
quota_log = logging.getLogger("yagrpc.quota")


class Outcome(NamedTuple):
    """How one attempt of a call ended.

    Args:
        number: Which attempt; the first is 1.
        endpoint: Where it was sent, `host:port`.
        seconds: How long it took.
        answer: The response; of a stream, its first message; `None` where it failed.
        error: What went wrong; `None` where it was answered.
        late: Whether its caller had left before it ended.
    """

    number: int
    endpoint: str
    seconds: float
    answer: Message | None = None
    error: YagrpcError | None = None
    late: bool = False


class Events:
    """What happens to the calls and operations of a client; derive a class of your own, and give it as `events=`.

    An exception in `submitting` stops the call; one in any other method is logged, and has no other effect.
    """

    def submitting(self, call: Call[Any, Any]) -> None:
        """A generation is about to be sent for the first time: the moment to record the intent.

        Args:
            call: The call: its `method`, `request` and `client_request_id`.
        """

    def accepted(self, call: Call[Any, Any], operation: _pb.operation_pb2.Operation) -> None:
        """The service accepted an operation; called once for each, also where its caller has left meanwhile.

        The call returns after this. In the blocking client it is another thread than the caller's.

        Args:
            call: The call that submitted it.
            operation: The operation; its `id` is the only way to its result.
        """

    def sending(self, call: Call[Any, Any], number: int, endpoint: str, timeout: float | None) -> None:
        """An attempt is about to be sent.

        Args:
            call: The call.
            number: Which attempt; the first is 1.
            endpoint: Where it is sent, `host:port`.
            timeout: Seconds that it may take; `None` for no limit.
        """

    def attempt(self, call: Call[Any, Any], outcome: Outcome, verdict: Verdict | None) -> None:
        """An attempt has ended.

        Args:
            call: The call.
            outcome: How it ended.
            verdict: What follows a failure; `None` where it was answered. A late one is never sent again.
        """

    def waiting_for_quota(self, call: Call[Any, Any], quota: str, seconds: float | None) -> None:
        """A call waits long for a slot under a quota; called once for each wait.

        Args:
            call: The call.
            quota: The quota, as `Quota` names it.
            seconds: How long it waits at least; `None` where that is not known, since a running call has to end first.
        """

    def polled(self, operation_id: str, outcome: _pb.operation_pb2.Operation | YagrpcError) -> None:
        """A Get of an operation came back.

        Args:
            operation_id: The operation.
            outcome: The operation as the Get found it, or why the Get failed.
        """


HOOKS: Final = tuple(name for name in vars(Events) if not name.startswith("_"))


class Hub(Events):
    """All subscribers of a client as one.

    Args:
        subscribers: The objects of `Events`, in the order in which they are called.
    """

    def __init__(self, subscribers: Iterable[Events]) -> None:
        self._subscribers = tuple(subscribers)
        self._hooks: dict[str, tuple[Callable[..., None], ...]] = {
            name: tuple(
                getattr(subscriber, name)
                for subscriber in self._subscribers
                if getattr(type(subscriber), name) is not getattr(Events, name)
            )
            for name in HOOKS
        }
        # What only the log of calls needs is not created where nobody reads that log.
        self._attempts = any(
            getattr(type(subscriber), name) is not getattr(Events, name)
            for subscriber in self._subscribers
            if not isinstance(subscriber, LogEvents)
            for name in ("sending", "attempt")
        )

    def wants_attempts(self) -> bool:
        """Whether a subscriber uses `sending` or `attempt`, or the calls are logged at DEBUG."""
        return self._attempts or calls_log.isEnabledFor(logging.DEBUG)

    def submitting(self, call: Call[Any, Any]) -> None:
        """Notify all; an exception stops the call."""
        for hook in self._hooks["submitting"]:
            hook(call)

    def accepted(self, call: Call[Any, Any], operation: _pb.operation_pb2.Operation) -> None:
        """Notify all."""
        self._notify("accepted", call, operation)

    def sending(self, call: Call[Any, Any], number: int, endpoint: str, timeout: float | None) -> None:
        """Notify all."""
        self._notify("sending", call, number, endpoint, timeout)

    def attempt(self, call: Call[Any, Any], outcome: Outcome, verdict: Verdict | None) -> None:
        """Notify all."""
        self._notify("attempt", call, outcome, verdict)

    def waiting_for_quota(self, call: Call[Any, Any], quota: str, seconds: float | None) -> None:
        """Notify all."""
        self._notify("waiting_for_quota", call, quota, seconds)

    def polled(self, operation_id: str, outcome: _pb.operation_pb2.Operation | YagrpcError) -> None:
        """Notify all."""
        self._notify("polled", operation_id, outcome)

    def _notify(self, name: str, *arguments: Any) -> None:
        for hook in self._hooks[name]:
            try:
                hook(*arguments)
            except Exception:
                log.exception("Events.%s of %s failed", name, type(getattr(hook, "__self__", hook)).__name__)


class LogEvents(Events):
    """The logs: `yagrpc.calls`, `yagrpc.quota` and `yagrpc.operations`.

    Sizes, ids, statuses and times are logged; texts only where they are asked for, without secrets (see `redaction`);
    metadata, which hold the credential, never. Every record has the ids in its `extra` as well.

    Args:
        texts: Whether requests and answers are logged whole; asked at each line.
    """

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
        limit = "no timeout" if timeout is None else f"timeout {timeout:.3g} s"
        size = _size(call.request)
        self._debug(call, f"sent to {endpoint}: attempt {number}, {size}, {limit}{self._text(call, call.request)}")

    def attempt(self, call: Call[Any, Any], outcome: Outcome, verdict: Verdict | None) -> None:
        """A line at DEBUG; at INFO where the call is sent again, or where no caller gets the failure.

        At WARNING where an operation may run whose id is not known.
        """
        error = outcome.error
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

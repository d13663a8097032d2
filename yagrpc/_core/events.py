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

import functools
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from contextvars import Context

    from google.protobuf.message import Message

    from yagrpc import _pb
    from yagrpc._core.call.call import Call
    from yagrpc._core.failure.retry import Verdict
    from yagrpc._core.failure.status import Cause
    from yagrpc.context import Caller
    from yagrpc.errors import YagrpcError

log = logging.getLogger("yagrpc")
log.addHandler(logging.NullHandler())
calls_log = logging.getLogger("yagrpc.calls")


class Outcome(NamedTuple):
    """How one attempt of a call ended.

    Args:
        number: Which attempt; the first is 1.
        endpoint: Where it was sent, `host:port`.
        seconds: How long it took.
        answer: The response; of a stream, its first message; `None` where it failed.
        error: What went wrong; `None` where it was answered.
        late: Whether its caller had left before it ended.
        cause: Why it failed; `None` where it was answered.
    """

    number: int
    endpoint: str
    seconds: float
    answer: Message | None = None
    error: YagrpcError | None = None
    late: bool = False
    cause: Cause | None = None


class Wait:
    """One caller's wait for one operation or several: the same object at its start and at its end.

    Args:
        operation_ids: What it waits for.
        caller: The caller of the handler that waits, where there is one.

    Attributes:
        within: The context (`contextvars`) that the Gets run in; a subscriber may set it; `None` for the caller's own.
    """

    __slots__ = ("__weakref__", "caller", "operation_ids", "within")

    def __init__(self, operation_ids: tuple[str, ...], caller: Caller | None) -> None:
        self.operation_ids = operation_ids
        self.caller = caller
        self.within: Context | None = None


class Row:
    """One row of a bulk run: the same object at its start and at its end.

    Args:
        number: Its place in the input, from 0.
        id: The id that its user gave; `None` for none.
        caller: The caller of the handler that runs it, where there is one.
        within: The context (`contextvars`) that its requests and Gets run in; a subscriber may set another.

    Attributes:
        operation_id: Its last operation; empty where there is none, or none is known yet.
    """

    __slots__ = ("__weakref__", "caller", "id", "number", "operation_id", "within")

    def __init__(self, number: int, id: str | None, caller: Caller | None, within: Context) -> None:
        self.number = number
        self.id = id
        self.caller = caller
        self.within = within
        self.operation_id = ""


class Events:
    """What happens to the calls and operations of a client; derive a class of your own, and give it as `events=`.

    An exception in `submitting` stops the call; one in any other method is logged, and has no other effect.
    """

    _logs_only = False

    def client_opened(self, client: Any) -> None:
        """A client has this subscriber; called once for each client.

        Args:
            client: The `Client` or `AsyncClient`.
        """

    def call_started(self, call: Call[Any, Any]) -> None:
        """A call starts: it waits for its slot, connects, and is sent once or several times.

        What is added to `call.metadata` here goes with every attempt. `call.within` may be set to the context
        (`contextvars`) in which gRPC, and so each interceptor, is called.

        Args:
            call: The call; it is the same object in all methods.
        """

    def call_ended(self, call: Call[Any, Any], answer: Message | None, error: BaseException | None) -> None:
        """A call that started has ended; called once for each, with `call.attempts` as they are then.

        A call that streams its answer ends with its stream: read to its end, failed, closed or dropped.

        Args:
            call: The call.
            answer: The response; of a stream, the last message that was read, if any.
            error: What its caller gets instead; `None` where it was answered, or the stream was left by its reader.
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

    def not_started(self, call: Call[Any, Any]) -> None:
        """A generation that `submitting` announced has failed, and it is proved that nothing was started or billed.

        The moment to take the record of the intent back. It is not called where the generation may have started. Where
        `submitting` of another subscriber has stopped the call, it is called for those that were notified before.

        Args:
            call: The call.
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

    def waited_for_quota(self, call: Call[Any, Any], quota: str, seconds: float) -> None:
        """A call has waited for a slot under a quota, however long, and has it now.

        Args:
            call: The call.
            quota: The quota, as `Quota` names it.
            seconds: How long it waited.
        """

    def wait_started(self, wait: Wait) -> None:
        """A caller waits for operations: in `result()`, `as_completed`, `wait` or `gather`.

        Args:
            wait: The wait.
        """

    def wait_ended(self, wait: Wait, error: BaseException | None) -> None:
        """That caller waits no longer.

        Args:
            wait: The wait.
            error: Why it can't wait any longer, such as the end of its timeout; `None` where it has what it waited for.
        """

    def row_started(self, row: Row) -> None:
        """A bulk run takes up a row: its request is about to be sent, or its operation is waited for.

        It is not called for copies (`dedupe=True`), for which nothing is sent.

        Args:
            row: The row.
        """

    def row_ended(self, row: Row, outcome: str, attempts: int, error: str) -> None:
        """The row has ended, or the run has before it; called once for each row that `row_started` announced.

        Args:
            row: The row.
            outcome: How it ended, as `RowOutcome` has it; empty where a later run takes it up again.
            attempts: How often it was sent, earlier runs included; 0 where that is not known.
            error: What went wrong; empty where nothing did.
        """

    def polled(self, operation_id: str, outcome: _pb.operation_pb2.Operation | YagrpcError) -> None:
        """A Get of an operation came back.

        Args:
            operation_id: The operation.
            outcome: The operation as the Get found it, or why the Get failed.
        """

    def operation_ended(self, operation: _pb.operation_pb2.Operation, taken: float | None, delay: float | None) -> None:
        """A Get has found that an operation has ended; called before those who wait for it get it.

        Args:
            operation: The operation, with its result or its error.
            taken: Seconds from its creation to its end; `None` where the service gives no times.
            delay: Seconds from its end until it was found; `None` where that is not known, as of an operation that
                this client waits for by its id alone.
        """


HOOKS: Final = tuple(name for name in vars(Events) if not name.startswith("_"))


class Hub(Events):
    """All subscribers of a client as one.

    Args:
        subscribers: The objects of `Events`, in the order in which they are called.

    Attributes:
        given: Those that the user of the client gave.
        calls: Whether a subscriber uses `call_started` or `call_ended`.
        waits: Whether a subscriber uses `wait_started` or `wait_ended`.
        rows: Whether a subscriber uses `row_started` or `row_ended`.
    """

    def __init__(self, subscribers: Iterable[Events]) -> None:
        self._subscribe(tuple(subscribers))
        self.given = tuple(each for each in self._subscribers if not each._logs_only)
        # What only the log of calls needs is not created where nobody reads that log.
        self._attempts = any(_uses(each, "sending") or _uses(each, "attempt") for each in self.given)
        self.calls = bool(self._hooks["call_started"] or self._hooks["call_ended"])
        self.waits = bool(self._hooks["wait_started"] or self._hooks["wait_ended"])
        self.rows = bool(self._hooks["row_started"] or self._hooks["row_ended"])

    def add(self, subscriber: Events) -> None:
        """Notify one more, but of nothing that `calls`, `waits` or `rows` switch on; called in the client's thread."""
        self._subscribe((*self._subscribers, subscriber))

    def remove(self, subscriber: Events) -> None:
        """Notify one that was added no longer."""
        self._subscribe(tuple(each for each in self._subscribers if each is not subscriber))

    def _subscribe(self, subscribers: tuple[Events, ...]) -> None:
        self._subscribers = subscribers
        self._hooks: dict[str, tuple[Callable[..., None], ...]] = {
            name: tuple(getattr(each, name) for each in subscribers if _uses(each, name)) for name in HOOKS
        }

    def wants_attempts(self) -> bool:
        """Whether a subscriber uses `sending` or `attempt`, or the calls are logged at DEBUG."""
        return self._attempts or calls_log.isEnabledFor(logging.DEBUG)

    def submitting(self, call: Call[Any, Any]) -> None:
        """Notify all; an exception stops the call, and those that were notified before learn that nothing starts."""
        for number, subscriber in enumerate(self._subscribers):
            try:
                subscriber.submitting(call)
            except BaseException:
                Hub(self._subscribers[:number]).not_started(call)
                raise

    def _notify(self, name: str, *arguments: Any) -> None:
        for hook in self._hooks[name]:
            try:
                hook(*arguments)
            except Exception:
                log.exception("Events.%s of %s failed", name, type(getattr(hook, "__self__", hook)).__name__)


def _notifying(name: str) -> Callable[..., None]:
    """The method of a hub for an event that all subscribers are notified of."""

    def notify(hub: Hub, *arguments: Any) -> None:
        hub._notify(name, *arguments)

    return functools.update_wrapper(notify, getattr(Events, name))


for _name in HOOKS:
    if _name not in vars(Hub):
        setattr(Hub, _name, _notifying(_name))


def _uses(subscriber: Events, name: str) -> bool:
    """Whether a subscriber has a method of its own for an event."""
    return getattr(type(subscriber), name) is not getattr(Events, name)

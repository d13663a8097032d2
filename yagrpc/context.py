"""The caller for whom the code of now works: how long it waits, what ends once it has left, and what is passed on.

A handler of a server has such a caller; `yagrpc.serving` sets it. Calls of any client inside it inherit
the deadline, end with the caller, and send its trace and its request id. What a call is given itself comes first.

Rules: standard library and `errors` only. No clock, no thread and no event loop: these belong to what sets a caller.
Where there is none, a call pays for one `CURRENT.get()`. Methods may be called from any thread, without a lock: each
step is one operation of a dict, and what is registered while the caller leaves may be ended twice.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from yagrpc.errors import CallCancelledError, CallError, DeadlineExceededError, OperationTimeoutError, YagrpcError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc.errors.base import Context

__all__ = ["CURRENT", "Caller", "detached", "detached_context", "inherited", "on_leaving", "sooner"]

_AGAIN: Final = "the operation is still running as far as is known, and can be waited for again by its id"


class Caller:
    """Who waits for what a handler does.

    Args:
        left: Gives the seconds that are left of its deadline, less the margin; `None` where it has no deadline.
        request_id: Its id of the request; empty where it gave none.
        metadata: What is sent along with every call, such as `traceparent`.

    Attributes:
        gone: Whether it has left before it had its answer.
        operations: The ids of the operations that were submitted for it, without those whose outcome it has.
    """

    __slots__ = ("_ends", "_finished", "_left", "gone", "metadata", "operations", "request_id")

    def __init__(
        self,
        left: Callable[[], float] | None = None,
        *,
        request_id: str = "",
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.request_id = request_id
        self.metadata = metadata
        self.gone = False
        self.operations: dict[str, None] = {}
        self._left = left
        self._finished = False
        self._ends: dict[object, Callable[[], object]] = {}

    def left(self) -> float | None:
        """Seconds that are left, 0 or more; `None` for no limit."""
        return None if self._left is None or self._finished else max(0.0, self._left())

    @property
    def ended(self) -> bool:
        """Whether nothing may be sent for it any more: it has left, or its deadline has passed."""
        return self.gone or self.left() == 0.0

    def leave(self) -> None:
        """It has left: end all that runs for it. It does nothing once the caller has its answer."""
        if self._finished:
            return
        self.gone = True
        while self._ends:
            with contextlib.suppress(Exception):  # another thread took the last one, or one of them fails
                self._ends.popitem()[1]()

    def finish(self) -> None:
        """It has its answer: what still runs is not for it, and has neither its deadline nor its end."""
        self._finished = not self.gone
        self._ends.clear()

    def add(self, key: object, end: Callable[[], object]) -> None:
        """Register what is called once it has left; at once where it has.

        Args:
            key: By what it is forgotten again.
            end: Ends something; it may be called in any thread, and must not wait.
        """
        if not self._finished:
            self._ends[key] = end
        if self.gone:
            end()

    def forget(self, key: object) -> None:
        """Forget what was registered."""
        self._ends.pop(key, None)

    @contextlib.contextmanager
    def ends(self, end: Callable[[], object]) -> Iterator[None]:
        """A block in which something is called once it has left."""
        key = object()
        self.add(key, end)
        try:
            yield
        finally:
            self.forget(key)

    def error(self, **context: Unpack[Context]) -> CallError:
        """The error of a call that ends since the caller has left, or its deadline has passed.

        Args:
            **context: What is known of the call.
        """
        kind: type[CallError] = CallCancelledError if self.gone else DeadlineExceededError
        what = "the caller has left" if self.gone else "the caller's deadline has passed"
        attempts = context.setdefault("attempts", 0)
        return kind(what if attempts else f"{what}, nothing was sent", **context)

    def wait_error(self, operation_id: str) -> YagrpcError:
        """The error of a wait for an operation that ends since the caller has left, or its deadline has passed."""
        if self.gone:
            return CallCancelledError(f"the caller has left; {_AGAIN}", operation_id=operation_id, attempts=0)
        return OperationTimeoutError(operation_id, f"the caller's deadline has passed; {_AGAIN}")

    def detached(self) -> Caller:
        """The same caller for work that outlives it: with its trace and its request id, without deadline and end."""
        twin = Caller(request_id=self.request_id, metadata=self.metadata)
        twin.operations = self.operations
        return twin


CURRENT: Final[contextvars.ContextVar[Caller | None]] = contextvars.ContextVar("yagrpc_caller", default=None)
"""The caller of now; `None` outside a handler."""


@contextlib.contextmanager
def detached() -> Iterator[None]:
    """A block whose calls do not end with the caller, and do not have its deadline: for what has to be put in order.

    They are in its trace all the same. Outside a handler it does nothing.
    """
    caller = CURRENT.get()
    token = CURRENT.set(None if caller is None else caller.detached())
    try:
        yield
    finally:
        CURRENT.reset(token)


def detached_context() -> contextvars.Context:
    """A copy of the context (`contextvars`) of now, for work that several callers share: see `Caller.detached`."""
    context = contextvars.copy_context()
    caller = CURRENT.get()
    if caller is not None:
        context.run(CURRENT.set, caller.detached())
    return context


def inherited(timeout: float | None) -> float | None:
    """The timeout of a wait: what its caller gave, or else what is left of the deadline of the handler's caller."""
    caller = CURRENT.get()
    return timeout if timeout is not None or caller is None else caller.left()


def sooner(timeout: float | None) -> float | None:
    """A timeout, or what is left of the deadline of the handler's caller where that is less."""
    left = inherited(None)
    return timeout if left is None or (timeout is not None and timeout <= left) else left


def on_leaving(end: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
    """A block in which something is called once the caller has left; without a caller it does nothing."""
    caller = CURRENT.get()
    return contextlib.nullcontext() if caller is None else caller.ends(end)

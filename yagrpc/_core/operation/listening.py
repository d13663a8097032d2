"""Listening to many operations at once: the part that all waits for many share.

Rules: nothing is sent here, and nothing waits. Each operation is reported once, with its outcome known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from yagrpc._core.operation.view import OperationView
from yagrpc.errors import ClientClosedError, RequestError

if TYPE_CHECKING:
    from yagrpc._core.polling.watch import Listener, Watch

OperationT = TypeVar("OperationT", bound=OperationView[Any, Any])


class Listens(Protocol):
    """What the pollers of both worlds have in common."""

    def listen(self, operation: OperationView[Any, Any], listener: Listener, /) -> Watch:
        """Call `listener` with the watch, which is given, once it has ended."""
        ...

    def unlisten(self, watch: Watch, listener: Listener, /) -> None:
        """Forget a listener."""


def distinct(operations: Iterable[OperationT]) -> list[OperationT]:
    """The operations, each once.

    Raises:
        RequestError: Something else is among them.
    """
    if isinstance(operations, (OperationView, str)) or not isinstance(operations, Iterable):
        raise RequestError("operations", operations, "it takes an iterable of operations: write [operation, ...]")
    given = list(operations)
    for operation in given:
        if not isinstance(operation, OperationView):
            allowed = "it takes operations, as completion_async and operation give"
            if isinstance(operation, str):
                allowed += ": write client.operation(id) for an id"
            elif isinstance(operation, Iterable):
                allowed += ", and not a sequence of them: write gather(*operations)"
            raise RequestError("operations", operation, allowed)
    return list(dict.fromkeys(given))


class Listening(Generic[OperationT]):
    """Reports each of some operations once its outcome is known.

    Args:
        operations: Which, each once.
        notify: Called with each operation, in the thread that gets its outcome; at once where the outcome is known.
    """

    def __init__(self, operations: Iterable[OperationT], notify: Callable[[OperationT], object]) -> None:
        self._notify = notify
        self._watched: dict[OperationT, tuple[Listens, Watch, Listener]] = {}
        try:
            for operation in operations:
                self.add(operation)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the listeners."""
        for operation in list(self._watched):
            watched = self._watched.pop(operation, None)  # another thread may report it meanwhile
            if watched is not None:
                poller, watch, listener = watched
                poller.unlisten(watch, listener)

    def add(self, operation: OperationT) -> None:
        """Report one more, once its outcome is known."""
        if operation._over:
            self._notify(operation)
            return
        listener = _Ended(self, operation)
        try:
            poller: Listens = operation._client._poller
            watch = poller.listen(operation, listener)
        except ClientClosedError as error:  # its own failure; the others can be waited for
            operation._failure = error
            self._notify(operation)
            return
        if not watch.ended:  # another thread may have reported it by now
            self._watched[operation] = poller, watch, listener

    def _report(self, operation: OperationT, watch: Watch) -> None:
        self._watched.pop(operation, None)
        operation._saw(watch)
        self._notify(operation)


class _Ended(Generic[OperationT]):
    """The listener of one operation; a `functools.partial` takes five times its 48 bytes, and 20,000 may wait.

    Args:
        listening: Whose listener it is.
        operation: The operation.
    """

    __slots__ = ("_listening", "_operation")

    def __init__(self, listening: Listening[OperationT], operation: OperationT) -> None:
        self._listening = listening
        self._operation = operation

    def __call__(self, watch: Watch) -> None:
        """Report the operation; called with its watch."""
        self._listening._report(self._operation, watch)

"""Listening to many operations at once: what those who wait for many have in common.

Rules: nothing is asked here, and nothing waits. Each operation is told of once, with its outcome known.
"""

from __future__ import annotations

import functools
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
        """Forget a listener: nobody wants to know any longer."""


def distinct(operations: Iterable[OperationT]) -> list[OperationT]:
    """The operations, each once.

    Raises:
        RequestError: Something else is among them.
    """
    if isinstance(operations, OperationView) or not isinstance(operations, Iterable):
        raise RequestError("operations", operations, "it takes an iterable of operations")
    given = list(operations)
    for operation in given:
        if not isinstance(operation, OperationView):
            raise RequestError("operations", operation, "it takes operations, as completion_async and operation give")
    return list(dict.fromkeys(given))


class Listening(Generic[OperationT]):
    """Tells of each of some operations, once its outcome is known.

    Args:
        operations: Which, each once.
        tell: Called with each, by whichever thread learns of its outcome; at once where that is known.
    """

    def __init__(self, operations: Iterable[OperationT], tell: Callable[[OperationT], object]) -> None:
        self._tell = tell
        self._heard: dict[OperationT, tuple[Listens, Watch, Listener]] = {}
        try:
            for operation in operations:
                self._listen(operation)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Listen no longer."""
        for operation in list(self._heard):
            heard = self._heard.pop(operation, None)  # another thread may tell of it meanwhile
            if heard is not None:
                poller, watch, listener = heard
                poller.unlisten(watch, listener)

    def _listen(self, operation: OperationT) -> None:
        if operation._over:
            self._tell(operation)
            return
        listener = functools.partial(self._ended, operation)
        try:
            poller: Listens = operation._client._poller
            watch = poller.listen(operation, listener)
        except ClientClosedError as error:  # its own failure; the others can be waited for
            operation._failure = error
            self._tell(operation)
            return
        if not watch.ended:  # another thread may have told by now
            self._heard[operation] = poller, watch, listener

    def _ended(self, operation: OperationT, watch: Watch) -> None:
        self._heard.pop(operation, None)
        operation._saw(watch)
        self._tell(operation)

"""The waits for operations, and what their ends are known by, reported to subscribers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from yagrpc._core.events import Hub, Wait
from yagrpc._core.polling.reading import exact_time_taken
from yagrpc.context import CURRENT

if TYPE_CHECKING:
    from yagrpc import _pb
    from yagrpc._core.polling.watch import Watch

ParametersT = ParamSpec("ParametersT")
ReturnT = TypeVar("ReturnT")


class Waiting:
    """A block in which a caller waits for operations, reported to those subscribers that ask for it.

    Args:
        hubs: The subscribers of the operations' clients, those of one client as often as they come.
        operation_ids: The operations.
    """

    __slots__ = ("_hubs", "_wait")

    def __init__(self, hubs: Iterable[Hub], operation_ids: Iterable[str]) -> None:
        self._hubs = tuple(dict.fromkeys(hub for hub in hubs if hub.waits))
        self._wait = Wait(tuple(operation_ids) if self._hubs else (), CURRENT.get())

    def run(
        self, function: Callable[ParametersT, ReturnT], *args: ParametersT.args, **kwargs: ParametersT.kwargs
    ) -> ReturnT:
        """Call a function in the context that a subscriber has given the wait, if one has."""
        context = self._wait.within
        return function(*args, **kwargs) if context is None else context.run(function, *args, **kwargs)

    def __enter__(self) -> Waiting:
        try:
            for hub in self._hubs:
                hub.wait_started(self._wait)
        except BaseException as error:  # of a signal
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for hub in self._hubs:
            hub.wait_ended(self._wait, None if isinstance(error, GeneratorExit) else error)  # a loop was left


def report_end(events: Hub, watch: Watch, operation: _pb.operation_pb2.Operation, now: float) -> None:
    """Report the end of an operation, if a Get has found it.

    Args:
        events: Who is notified.
        watch: What was known of the operation before.
        operation: As the Get has found it.
        now: The time, by the clock of the watch.
    """
    if not operation.done:
        return
    taken = exact_time_taken(operation)
    delay = None if taken is None or watch.attached else max(0.0, now - watch.since - taken)
    events.operation_ended(operation, taken, delay)

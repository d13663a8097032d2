"""The waits for the operations that run: those of this run, and those that an earlier one has left.

Rules: an operation has no task; the poll scheduler finds those that have ended. Of those that run little is kept in
memory, and only so many run at once: the journal holds the rest.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from yagrpc import _pb
from yagrpc._aio.operation import AsyncOperation
from yagrpc._core.operation.listening import Listening
from yagrpc._services.text import completion_type
from yagrpc.bulk.decisions.outcomes import outcome_of_error, stops_run
from yagrpc.bulk.decisions.plan import Plan, Sent
from yagrpc.bulk.engine.budget import Budget
from yagrpc.bulk.engine.outage import Outage
from yagrpc.bulk.engine.stopping import Stopping
from yagrpc.bulk.recording.endings import Endings
from yagrpc.bulk.recording.reported import ReportedRows
from yagrpc.bulk.recording.tally import Tally
from yagrpc.errors import ClientClosedError, RequestError, YagrpcError

if TYPE_CHECKING:
    from yagrpc._aio.client import AsyncClient
    from yagrpc._core.call.call import Call
    from yagrpc.journal.changes import Entry
    from yagrpc.journal.journal import Journal

WINDOW: Final = 10_000
"""Operations that run at once, at most."""


class Operations:
    """The operations of one run.

    Args:
        client: Polls them.
        journal: The journal, for reading.
        plan: What the run is to do.
        budget: What rows may cost.
        endings: Writes how they end.
        reported: Reports that rows start, and has the Gets of each in its context.
        tally: Learns how long they take.
        outage: Learns that the service was reached.
        stopping: Ends the run where what is wrong is so with every row.
        ended: Called after each that has ended.
    """

    def __init__(
        self,
        client: AsyncClient,
        journal: Journal,
        plan: Plan,
        budget: Budget,
        endings: Endings,
        reported: ReportedRows,
        tally: Tally,
        outage: Outage,
        stopping: Stopping,
        ended: Callable[[], object],
    ) -> None:
        self._client = client
        self._journal = journal
        self._plan = plan
        self._budget = budget
        self._endings = endings
        self._reported = reported
        self._tally = tally
        self._outage = outage
        self._stopping = stopping
        self._on_end = ended
        self._left: deque[int] = deque()
        self._running: dict[AsyncOperation[Any, Any], Sent] = {}
        self._ids: set[str] = set()
        self._listening: Listening[AsyncOperation[Any, Any]] = Listening((), self._ended)

    @property
    def running(self) -> int:
        """How many are waited for."""
        return len(self._running)

    @property
    def unattached(self) -> int:
        """How many of earlier runs are not waited for yet."""
        return len(self._left)

    @property
    def full(self) -> bool:
        """Whether as many run as may."""
        return len(self._running) + len(self._left) >= WINDOW

    def waits_for(self, operation_id: str) -> bool:
        """Whether an operation is one of those that are waited for."""
        return operation_id in self._ids

    def submitted(self, proto: _pb.operation_pb2.Operation, sent: Sent, call: Call[Any, Any]) -> None:
        """Wait for an operation that was submitted.

        Args:
            proto: The operation, as the service gave it.
            sent: Its row.
            call: What submitted it.
        """
        clock = self._client._core.clock
        self._add(AsyncOperation(self._client, proto, completion_type(), clock(), call.ids), sent)

    def leave(self, number: int) -> None:
        """Keep a row whose operation may run, to wait for it once there is room, or in a later run."""
        self._left.append(number)

    def attach(self) -> None:
        """Wait for operations of earlier runs, as many as there is room for."""
        while self._left and len(self._running) < WINDOW:
            self._attach(self._left.popleft())

    def close(self) -> None:
        """Wait for none of them any longer; they continue to run."""
        self._listening.close()

    def sent_before(self, entry: Entry) -> Sent:
        """What is kept in memory of a row that an earlier run has sent; what it may cost is reserved.

        Args:
            entry: The row.
        """
        before = tuple(self._journal.attempts(entry.fixed.number))
        model, schema, reserved = self._plan.recipe.model, None, 0.0
        with contextlib.suppress(RequestError):  # an earlier version may have sent what this one refuses
            request, schema = self._plan.request(self._plan.kept(entry.fixed), before)
            model, reserved = request.model_uri, self._budget.hold(request)
        return Sent(entry.fixed.number, entry.attempt, entry.doubtful, before, model, schema, reserved)

    def _attach(self, number: int) -> None:
        entry = self._journal.entry(number)
        self._reported.start(entry.fixed)
        proto = _pb.operation_pb2.Operation(id=entry.operation_id)
        self._add(AsyncOperation(self._client, proto, completion_type()), self.sent_before(entry))

    def _add(self, operation: AsyncOperation[Any, Any], sent: Sent) -> None:
        self._running[operation] = sent
        self._ids.add(operation.id)
        self._reported.run(sent.number, operation.id, lambda: self._listening.add(operation))

    def _ended(self, operation: AsyncOperation[Any, Any]) -> None:
        """The outcome of an operation is known; called by the poll scheduler."""
        sent = self._running.pop(operation)
        self._ids.discard(operation.id)
        try:
            completion = operation._outcome()
        except ClientClosedError:
            return
        except YagrpcError as error:
            if stops_run(error):
                self.leave(sent.number)
                self._stopping.fail(error)
                return
            self._endings.finish(sent, outcome_of_error(error), error, str(error))
        else:
            self._outage.reached()
            if operation.submitted is not None:
                self._tally.took(self._client._core.clock() - operation.submitted)
            try:
                self._endings.completed(sent, completion.proto)
            except Exception as error:  # of any kind: the poll scheduler would keep it, and the run never end
                self.leave(sent.number)
                self._stopping.fail(error)
        self._on_end()

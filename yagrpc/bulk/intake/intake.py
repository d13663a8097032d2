"""Which row is next: those that are sent again, then those that an earlier run passed over, then the input's.

Rules: a row whose id another row has is invalid. Ids are kept in memory until the journal has their rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from yagrpc.bulk.decisions.plan import Job, Plan, Repeat
from yagrpc.bulk.decisions.rows import Planned, Raw, plan
from yagrpc.bulk.intake.numbered import NumberedRows

if TYPE_CHECKING:
    from yagrpc.journal.changes import Fixed
    from yagrpc.journal.journal import Journal


class Intake:
    """The rows that are still to be sent.

    Args:
        rows: The rows of the input.
        journal: The journal, for reading.
        plan: What the run is to do.
    """

    def __init__(self, rows: NumberedRows, journal: Journal, plan: Plan) -> None:
        self._rows = rows
        self._journal = journal
        self._plan = plan
        self._gaps: deque[tuple[int, Raw]] = deque()
        self._repeats: deque[Repeat] = deque()
        self._ids: set[str] = set()

    def add_gaps(self, gaps: Iterable[tuple[int, Raw]]) -> None:
        """Add rows, with their numbers, that were read and that the journal does not have."""
        self._gaps.extend(gaps)

    def add_repeat(self, repeat: Repeat) -> None:
        """Add a row that is sent again."""
        self._repeats.append(repeat)

    def repeats(self) -> Iterator[Repeat]:
        """Take the rows that would be sent again."""
        while self._repeats:
            yield self._repeats.popleft()

    def next_job(self) -> Job | None:
        """The next row; `None` where there is none now. It may raise whatever the user's rows raise."""
        if self._repeats:
            repeat = self._repeats.popleft()
            planned = self._plan.kept(self._journal.entry(repeat.number).fixed)
            return Job(planned, repeat.attempt, repeat.doubtful, repeat.before, kept=True)
        if self._gaps:
            number, raw = self._gaps.popleft()
        else:
            found = self._rows.read()
            if found is None:
                return None
            number, raw = self._rows.count - 1, found
        return Job(self._with_own_id(plan(number, raw, self._plan.recipe)))

    def forget_id(self, fixed: Fixed) -> None:
        """The journal has a row, and with it its id; or nothing has it."""
        if fixed.id is not None:
            self._ids.discard(fixed.id)

    def _with_own_id(self, planned: Planned) -> Planned:
        row_id = planned.fixed.id
        if row_id is None:
            return planned
        if not planned.problem and (row_id in self._ids or self._journal.has_id(row_id)):
            fixed = planned.fixed._replace(id=None)
            return planned._replace(fixed=fixed, problem=f"another row has its id, {row_id!r}")
        self._ids.add(row_id)
        return planned

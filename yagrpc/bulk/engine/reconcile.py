"""What the journal has: the input is compared with it, and what an earlier run has left is taken up.

Rules: the input is compared before anything is sent: a row that differs ends the run, since its result would be that of
another one. What was planned is sent, and what was submitted is waited for. Of a request that was on its way when its
process ended, nobody knows whether it was accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yagrpc.bulk.decisions.outcomes import RowOutcome
from yagrpc.bulk.decisions.plan import Repeat
from yagrpc.bulk.decisions.rows import Raw
from yagrpc.bulk.engine.operations import Operations
from yagrpc.bulk.intake.intake import Intake
from yagrpc.bulk.intake.numbered import NumberedRows
from yagrpc.bulk.recording.endings import Endings
from yagrpc.errors import ConfigError
from yagrpc.journal.changes import State

if TYPE_CHECKING:
    from yagrpc.journal.journal import Journal


async def rows_without_entry(journal: Journal, rows: NumberedRows) -> list[tuple[int, Raw]]:
    """Compare the input with the rows that the journal has, and read it so far.

    Args:
        journal: The journal.
        rows: The rows of the input.

    Returns:
        The rows that the journal does not have, with their numbers, before the last that it has.

    Raises:
        ConfigError: A row differs, or the input has fewer rows, or more than the limit were taken before.
    """
    gaps: list[tuple[int, Raw]] = []
    for number, fingerprint in journal.fingerprints():
        while rows.count < number:
            if (raw := await rows.read_of_many()) is None:
                break
            gaps.append((rows.count - 1, raw))
        raw = await rows.read_of_many()
        if raw is None and rows.count == rows.limit:
            raise ConfigError(
                f"limit is {rows.limit}, and the journal has more rows: give a greater one, or name another journal"
            )
        if raw is None:
            raise ConfigError(
                f"the input has {rows.count} rows, and the journal has had more: it is of another input; name"
                " another journal for this one"
            )
        if raw.fingerprint() != fingerprint:
            before = journal.entry(number).fixed.source
            raise ConfigError(
                f"row {number + 1} (line {raw.line}) is not the one that the journal has: it is"
                f" {_excerpt(raw.source)}, and was {_excerpt(before)}; name another journal for another input"
            )
    return gaps


def take_up(journal: Journal, intake: Intake, operations: Operations, endings: Endings) -> None:
    """Take up what an earlier run has left.

    Args:
        journal: The journal.
        intake: Takes the rows that are sent again.
        operations: Takes those whose operations may run.
        endings: Writes of those whose request was on its way that nothing is known of it.
    """
    for entry in journal.in_state(State.PLANNED, State.SUBMITTING, State.SUBMITTED):
        number = entry.fixed.number
        if entry.state is State.SUBMITTED:
            operations.leave(number)
            continue
        if entry.state is State.PLANNED:
            before = tuple(journal.attempts(number))
            intake.add_repeat(Repeat(number, entry.attempt + 1, entry.doubtful, before))
        else:
            text = "the process ended while the request was on its way"
            endings.finish(operations.sent_before(entry), RowOutcome.AMBIGUOUS, None, text)


def _excerpt(source: bytes) -> str:
    text = source.decode("utf-8", "replace")
    return f"{text[:60]}..." if len(text) > 60 else text

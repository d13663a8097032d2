"""How far a run is: what is shown of it, and how long it takes from here on under the quotas.

Rules: pure; the time is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from yagrpc.bulk.decisions.outcomes import RowOutcome

if TYPE_CHECKING:
    from yagrpc.quotas import Limit

HOUR: Final = 3600.0


class Progress(NamedTuple):
    """How far a run is, at a moment.

    Args:
        total: Rows of the input; `None` while that is not known.
        ended: Rows that have ended, in earlier runs of the same journal too.
        resumed: Those of earlier runs among them.
        running: Operations that the service works on.
        sending: Requests that are being sent, or wait for a slot under a quota.
        outcomes: How many rows have ended how.
        repeated: Attempts that were not the last of their row.
        doubtful: Attempts that may have been billed without a result: their rows may have been billed twice.
        input_tokens: Tokens of all inputs.
        output_tokens: Tokens of all answers.
        cost: Roubles so far; `None` where a price is not known.
        expected_cost: Roubles for all rows; `None` where that is not known.
        seconds: Since this run began.
        per_second: Rows that end in a second, lately.
        seconds_left: Until the end, under the quotas; `None` where that is not known.
        note: What is out of the ordinary, such as an outage; empty for nothing.
        copies: Rows that are not sent, since their requests equal those of others.
    """

    total: int | None
    ended: int
    resumed: int
    running: int
    sending: int
    outcomes: Mapping[str, int]
    repeated: int
    doubtful: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    expected_cost: float | None
    seconds: float
    per_second: float
    seconds_left: float | None
    note: str = ""
    copies: int = 0

    @property
    def failed(self) -> int:
        """Rows that have ended otherwise than done."""
        return self.ended - self.outcomes.get(RowOutcome.DONE, 0)

    def bar(self, width: int = 10) -> str:
        """The whole in one line, as tqdm has it: a bar, rows, time, speed, and how rows have ended.

        Args:
            width: Characters of the bar; 0 for none.
        """
        counts = ", ".join(f"{name}={count}" for name, count in sorted(self.outcomes.items()))
        left = "?" if self.seconds_left is None else clock(self.seconds_left)
        speed = f"{self.per_second:.2f}row/s" if self.per_second else "?row/s"
        parts = [f"{clock(self.seconds)}<{left}", speed, *filter(None, (counts, self.note))]
        if self.cost is not None:
            parts.append(f"{self.cost:,.2f} RUB")
        if self.total is None:
            return f"{self.ended}row [{', '.join([clock(self.seconds), *parts[1:]])}]"
        part = self.ended / max(1, self.total)
        filled = "#" * int(part * width)
        drawn = f"|{filled:<{width}}| " if width else " "
        return f"{part:4.0%}{drawn}{self.ended}/{self.total} [{', '.join(parts)}]"

    def line(self) -> str:
        """The whole in one line."""
        total = "" if self.total is None else f" of {self.total:,}"
        parts = [f"{self.ended:,}{total} rows", f"{self.running:,} running"]
        parts += [f"{count:,} {name}" for name, count in sorted(self.outcomes.items())]
        if self.copies:
            parts.append(f"{self.copies:,} copies")
        parts.append(f"{self.per_second:.1f}/s")
        if self.input_tokens or self.output_tokens:
            parts.append(f"{self.input_tokens + self.output_tokens:,} tokens")
        if self.cost is not None:
            expected = "" if self.expected_cost is None else f" of about {self.expected_cost:,.2f}"
            parts.append(f"{self.cost:,.2f}{expected} RUB")
        if self.doubtful:
            parts.append(f"{self.doubtful:,} may be billed twice")
        if self.seconds_left is not None and self.ended != self.total:
            parts.append(f"{span(self.seconds_left)} left")
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)


def seconds_left(
    to_send: int, running: int, per_second: float, limits: tuple[Limit, Limit] | None, typical: float
) -> float | None:
    """How long a run takes from here on.

    Args:
        to_send: Rows that are not sent yet.
        running: Operations that run.
        per_second: Rows that end in a second, lately.
        limits: The quotas of submits in a second and in an hour, as they are used; `None` where they do not apply.
        typical: Seconds that an operation takes.
    """
    if not to_send:
        return (typical / 2 or None) if running else 0.0
    if limits is None:
        return to_send / per_second if per_second else None
    second, hour = limits
    pace = to_send / second.limit if second.limit else (to_send / per_second if per_second else 0.0)
    if hour.limit is not None and hour.left is not None and to_send > hour.left:
        # What the window still holds was sent within the hour before: it is taken to leave evenly.
        pace = max(pace, (to_send - hour.left) / hour.limit * HOUR)
    return pace + typical


def clock(seconds: float) -> str:
    """A span of time as a clock shows it: `m:ss`, or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def span(seconds: float) -> str:
    """A span of time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / HOUR:.1f} h"

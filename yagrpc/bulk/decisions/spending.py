"""Whether the next row may be sent: the failures and the cost so far, and what a run may have of either.

Rules: pure. What a row may cost is reserved before it is sent, and what it has cost takes the place of that, so that
the limit is not passed by rows that run at once.
"""

from __future__ import annotations

import enum
import math
from typing import Final

LEAST_ANSWER: Final = 2000
"""Tokens that an answer without a limit of its own is taken to have, unless longer ones were seen."""

LEAST_ROWS: Final = 20
"""Rows that have to have ended before a part of them is judged."""

ROUNDING: Final = 1e-9
"""Roubles, less than a token costs: what sums of the same costs, in another order, may differ by."""


class May(enum.Enum):
    """Whether a row may be sent."""

    YES = "yes"
    LATER = "later"
    """When rows that run have ended, and have cost less than was reserved."""
    NO = "no"


class Spending:
    """What one run has spent.

    Args:
        max_cost: Roubles that it may cost; `None` for no limit.
        max_failures: Failures that it may have, and whether that is a part of the rows; `None` for no limit.
        spent: What it has cost before.
    """

    def __init__(
        self, max_cost: float | None, max_failures: tuple[float, bool] | None = None, spent: float = 0.0
    ) -> None:
        self.max_cost = max_cost
        self.spent = spent
        self.reserved = 0.0
        self._max_failures = max_failures
        self._longest = LEAST_ANSWER

    def longest_answer(self, max_tokens: int) -> int:
        """The tokens that an answer is taken to have at most.

        Args:
            max_tokens: Its limit; 0 for none.
        """
        return max_tokens or self._longest

    def may_cost(self, cost: float) -> May:
        """Whether a row may be sent that costs so much at most; if it may, that is reserved."""
        limit = math.inf if self.max_cost is None else self.max_cost + ROUNDING
        if self.spent + self.reserved + cost <= limit:
            self.reserved += cost
            return May.YES
        return May.LATER if self.reserved and self.spent + cost <= limit else May.NO

    def hold(self, cost: float) -> float:
        """Reserve what a row may cost that is on its way already; gives that."""
        self.reserved += cost
        return cost

    def cost(self, reserved: float, cost: float | None, output_tokens: int) -> None:
        """A row has ended, or was not sent.

        Args:
            reserved: What was reserved for it.
            cost: What it has cost; `None` where that is not known, and then it counts as reserved.
            output_tokens: The tokens of its answer.
        """
        left = self.reserved - reserved
        self.reserved = left if left > ROUNDING else 0.0  # a rest of rounding would be waited for, for ever
        self.spent += reserved if cost is None else cost
        self._longest = max(self._longest, output_tokens)

    def has_failed_too_often(self, failures: int, ended: int) -> bool:
        """Whether no more rows are to be sent.

        Args:
            failures: Rows that have failed.
            ended: Rows that have ended.
        """
        if self._max_failures is None:
            return False
        most, share = self._max_failures
        return failures > (most * ended if share else most) and (not share or ended >= LEAST_ROWS)

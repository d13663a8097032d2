"""When operations end, learned from those that did: which poll is likely to find one done.

The hazard is the rate at which operations of an age end, given that they have not before. A poll is worth the more
the more hazard has passed since the last one, but with diminishing returns: the best density of polls is the square
root of the hazard (Keller, Management Science 21(3), 1974), so what counts is its integral, the *reach*.

Rules: no clock and no randomness; ages in seconds. What is learned fades, so that a change of the load is followed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Final

BINS: Final = 74
EDGES: Final = (0.0, *(0.5 * 2.0 ** (number / 4) for number in range(BINS - 1)))
"""Where the bins of age begin, in seconds: each a fifth longer than the one before; the last one is at 36 hours."""

MEMORY: Final = 400
"""Operations ended until what was learned before weighs 1/e."""

FLOOR: Final = 0.1
"""The least hazard of a bin, as a part of the mean: an age at which nothing has ended yet is never quite dead."""

_PRIOR_LIVES: Final = 2.0
"""How many operations what is assumed beforehand weighs."""

_RELEARN: Final = 16
"""Operations ended between two readings of the counts, once there are many; the first ones are read at once."""

_RESCALE: Final = 1e9


def _prior(age: float) -> float:
    """The hazard assumed while nothing is known: falling with age, and high at first, where waiting is short."""
    return (1.0 + 12.0 / (1.0 + age)) / (age + 10.0)


class Hazard:
    """The hazard by age, as a histogram.

    Attributes:
        version: Counts the readings; what was computed from an earlier one is out of date.
        slopes: The square root of the hazard in each bin.
        reaches: The reach at the beginning of each bin.
    """

    __slots__ = ("_ended", "_lived", "_seen", "_unread", "_weight", "reaches", "slopes", "version")

    def __init__(self) -> None:
        widths = [min(after - edge, edge or after) for edge, after in zip(EDGES, (*EDGES[1:], math.inf), strict=True)]
        self._lived = [_PRIOR_LIVES * width for width in widths]
        self._ended = [
            lived * _prior(edge + width / 2) for edge, width, lived in zip(EDGES, widths, self._lived, strict=True)
        ]
        self._weight = 1.0
        self._seen = 0
        self._unread = 0
        self.version = 0
        self._read()

    def reach(self, age: float) -> float:
        """The integral of the hazard's square root up to an age."""
        found = bisect_right(EDGES, age) - 1
        reach: float = self.reaches[found] + self.slopes[found] * (age - EDGES[found])
        return reach

    def age_of(self, reach: float) -> float:
        """At which age a reach is reached."""
        found = bisect_right(self.reaches, reach) - 1
        age: float = EDGES[found] + (reach - self.reaches[found]) / self.slopes[found]
        return age

    def lived(self, since: float, age: float) -> None:
        """An operation was found to run at an age, for the first time after another."""
        weight = self._weight
        found = bisect_right(EDGES, since) - 1
        while found + 1 < BINS and EDGES[found + 1] < age:
            self._lived[found] += weight * (EDGES[found + 1] - since)
            found += 1
            since = EDGES[found]
        self._lived[found] += weight * (age - since)

    def ended(self, since: float, age: float) -> None:
        """An operation that ran at the age `since` ended at another."""
        self.lived(since, age)
        self._ended[bisect_right(EDGES, age) - 1] += self._weight
        self._weight *= 1.0 + 1.0 / MEMORY
        self._seen += 1
        self._unread += 1
        if self._unread >= min(_RELEARN, self._seen / 4):
            self._read()

    def _read(self) -> None:
        if self._weight > _RESCALE:
            self._lived = [each / self._weight for each in self._lived]
            self._ended = [each / self._weight for each in self._ended]
            self._weight = 1.0
        floor = FLOOR * sum(self._ended) / sum(self._lived)
        self.slopes = [
            math.sqrt(max(floor, ended / lived)) for ended, lived in zip(self._ended, self._lived, strict=True)
        ]
        self.reaches = [0.0]
        for number in range(BINS - 1):
            self.reaches.append(self.reaches[-1] + self.slopes[number] * (EDGES[number + 1] - EDGES[number]))
        self._unread = 0
        self.version += 1

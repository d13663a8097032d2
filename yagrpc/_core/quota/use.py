"""What is used of the quotas and what is left, as users see it: `client.limits`. It is loaded where somebody asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from yagrpc._core.quota.grants import Used


class Limit(NamedTuple):
    """One quota at a moment.

    Args:
        limit: The quota; `None` for no limit.
        used: Slots that are taken: of a rate those that its window still holds.
        left: Slots that are free; `None` where there is no limit.
        waiting: Calls that wait for a slot.
    """

    limit: float | None
    used: int
    left: int | None
    waiting: int


class QuotaUse(NamedTuple):
    """What a client has used of its quotas and what is left, at a moment; the fields are those of `Quota`.

    Where the quotas are shared, it is what all processes have used.
    """

    get_per_second: Limit
    submit_per_second: Limit
    submit_per_hour: Limit
    concurrent_completions: Limit
    tokenize_per_second: Limit
    embeddings_per_second: Limit
    classification_per_second: Limit
    images_per_minute: Limit
    images_per_day: Limit


def of_all(own: QuotaUse, rows: Iterable[Used]) -> QuotaUse:
    """What all processes use of shared quotas; where that is not known, what this one uses."""
    used: dict[str, Limit] = {}
    for row in rows:
        before = used[row.quota].used if row.quota in used else 0
        slots = before + row.slots
        waiting = getattr(own, row.quota).waiting
        used[row.quota] = Limit(row.limit, slots, max(0, int(row.limit) - slots), waiting)
    return own._replace(**used)

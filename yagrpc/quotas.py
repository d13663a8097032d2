"""What is used of the quotas and what is left, as users see it: `client.limits` and `quota_use`.

It is loaded where somebody asks.
"""

from __future__ import annotations

from typing import NamedTuple


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


class Used(NamedTuple):
    """One process's part of a quota.

    Args:
        quota: Which.
        participant: The process, as `host:pid`; empty where nothing of the quota is used.
        slots: How many slots of it are not free.
        limit: The quota that counts.
    """

    quota: str
    participant: str
    slots: int
    limit: float

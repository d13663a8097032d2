"""What a run is to do, and what is known of each row while it is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from yagrpc.bulk.decisions.outcomes import Retries
from yagrpc.bulk.decisions.rows import Planned, Recipe
from yagrpc.prices import Price

if TYPE_CHECKING:
    from yagrpc._core.call.parameters import CallParameters


class Plan(NamedTuple):
    """What a run is to do.

    Args:
        recipe: How rows become requests.
        mode: `async` or `sync`.
        concurrency: Requests that are sent at once.
        retries: What is tried again.
        prices: Prices that go before those that are known.
        calling: What each call gets.
        total: Rows of the input; `None` where that is not known.
        limit: Rows that are taken at most; `None` for all.
    """

    recipe: Recipe
    mode: str
    concurrency: int
    retries: Retries
    prices: Mapping[tuple[str, str], Price]
    calling: CallParameters
    total: int | None
    limit: int | None


class Job(NamedTuple):
    """One row that is to be sent.

    Args:
        planned: The row.
        attempt: Which attempt it is, from 1.
        doubtful: How many before may have been billed without a result.
        before: The outcomes of the attempts before.
    """

    planned: Planned
    attempt: int = 1
    doubtful: int = 0
    before: tuple[str, ...] = ()


class Sent(NamedTuple):
    """What is kept in memory of a row whose operation runs."""

    number: int
    attempt: int
    doubtful: int
    before: tuple[str, ...]
    model: str
    schema: Mapping[str, Any] | None
    reserved: float = 0.0

"""What a run is to do, and what is known of each row while it is on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from yagrpc.bulk.decisions.outcomes import Retries, changed_parameters
from yagrpc.bulk.decisions.rows import Planned, Raw, Recipe, changed_request, is_whole, parameters_of, plan, request_of
from yagrpc.prices import Price, cost_of, price_of

if TYPE_CHECKING:
    from yagrpc._core.call.parameters import CallParameters
    from yagrpc.journal.changes import Fixed


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
        dedupe: Whether equal requests are sent once.
    """

    recipe: Recipe
    mode: str
    concurrency: int
    retries: Retries
    prices: Mapping[tuple[str, str], Price]
    calling: CallParameters
    total: int | None
    limit: int | None
    dedupe: bool

    def kept(self, fixed: Fixed) -> Planned:
        """A row that the journal keeps, read again."""
        return plan(fixed.number, Raw(fixed.line, fixed.source, "", fixed.id), self.recipe)

    def request(self, planned: Planned, before: Sequence[str]) -> tuple[Any, Mapping[str, Any] | None]:
        """The request of a row's next attempt, and the JSON schema that its answer has to follow; `None` for none.

        Args:
            planned: The row.
            before: The outcomes of the attempts before.

        Raises:
            RequestError: The row is of another form, or the service would refuse it.
            ConfigError: A model is a short name, and no folder is known.
        """
        if self.recipe.task == "completion" and is_whole(planned.value, self.recipe):
            request: Any = request_of(planned.value, self.recipe, {})
            limit = request.completion_options.max_tokens.value
            changed = changed_parameters({"max_tokens": limit} if limit else {}, before, self.retries)
            changed_request(request, self.recipe, changed)
            return request, None
        parameters = changed_parameters(parameters_of(planned.value, self.recipe), before, self.retries)
        return request_of(planned.value, self.recipe, parameters), parameters.get("json_schema")

    def price(self, model: str) -> Price | None:
        """The price of a model in this run; `None` where it is not known."""
        return price_of(model, self.mode, self.prices)

    def cost(self, model: str, input_tokens: int, output_tokens: int) -> float | None:
        """What tokens cost, in roubles; `None` where no price is known."""
        return cost_of(input_tokens, output_tokens, self.price(model))


class Job(NamedTuple):
    """One row that is to be sent.

    Args:
        planned: The row.
        attempt: Which attempt it is, from 1.
        doubtful: How many before may have been billed without a result.
        before: The outcomes of the attempts before.
        kept: Whether the journal has it.
    """

    planned: Planned
    attempt: int = 1
    doubtful: int = 0
    before: tuple[str, ...] = ()
    kept: bool = False


class Repeat(NamedTuple):
    """A row that the journal has, and that is to be sent again; as `Job`, with the row's number alone."""

    number: int
    attempt: int
    doubtful: int
    before: tuple[str, ...]


class Sent(NamedTuple):
    """What is kept in memory of a row whose operation runs."""

    number: int
    attempt: int
    doubtful: int
    before: tuple[str, ...]
    model: str
    schema: Mapping[str, Any] | None
    reserved: float = 0.0

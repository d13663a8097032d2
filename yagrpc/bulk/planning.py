"""What a run is to do, by the arguments of `client.bulk` and the settings of its client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from yagrpc._services.embeddings import MODEL as EMBEDDING_MODEL
from yagrpc.bulk.decisions.outcomes import check_retries
from yagrpc.bulk.decisions.plan import Plan
from yagrpc.bulk.decisions.rows import Recipe, check_changes, check_recipe, check_template
from yagrpc.bulk.parameters import CONCURRENCY
from yagrpc.bulk.source import Source
from yagrpc.errors import ConfigError
from yagrpc.prices import parse_prices

if TYPE_CHECKING:
    from yagrpc._aio.client import AsyncClient
    from yagrpc._core.call.parameters import CallParameters


def plan_of(
    own: Mapping[str, Any], shaping: Mapping[str, Any], calling: CallParameters, source: Source, client: AsyncClient
) -> Plan:
    """The plan of a run.

    Args:
        own: The arguments of `bulk` that are its own.
        shaping: Those of each completion.
        calling: Those of each call.
        source: The rows.
        client: What sends the requests.

    Raises:
        ConfigError: An argument can't work.
        RequestError: An argument of the completions is wrong, or a change of one in `retry_on`.
    """
    task, mode, key = own["task"], own["mode"], own.get("key")
    default = client._core.model if task != "embed" else EMBEDDING_MODEL
    parameters = {name: value for name, value in shaping.items() if name != "model"}
    model = shaping.get("model", default)
    prices = parse_prices(own["prices"], "prices") if own.get("prices") else {}
    template = own.get("template")
    limit = None if own.get("limit") is None else int(own["limit"])  # of numpy, perhaps
    check_template(template)
    source.check_columns(own["text"], template, key)
    named = key if isinstance(key, str) else None if source.table or callable(key) else "id"
    recipe = Recipe(task, client._core.folder_id, model, parameters, source.table, own["text"], named, template)
    check_recipe(recipe)
    retries = check_retries(own["retries"], own["retry_on"], own["on_ambiguous"])
    check_changes(recipe, retries.on)
    plan = Plan(
        recipe,
        mode,
        int(own.get("concurrency") or CONCURRENCY[mode]),
        retries,
        prices,
        calling,
        source.total if limit is None or source.total is None else min(limit, source.total),
        limit,
        own.get("dedupe") or False,
    )
    if own.get("max_cost") is not None:
        changed = [str(changes["model"]) for changes in retries.on.values() if "model" in changes]
        for name in (model, *changed):
            if plan.price(name) is None:
                raise ConfigError(f"max_cost needs the price of {name}, which is not known: give prices=")
    if own.get("max_cost") is not None and task != "completion":
        raise ConfigError(f"max_cost is of completions: task {task} takes none")
    return plan

"""The keyword arguments of `client.bulk`, and the settings of a run that they become.

Rules: nothing heavy is imported here, since every client has the method. Each setting is checked before anything is
sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from yagrpc._core.call.parameters import CompletionParameters, split_parameters
from yagrpc.errors import ConfigError
from yagrpc.hiding import shown

if TYPE_CHECKING:
    from os import PathLike

    from yagrpc.bulk.decisions.progress import Progress
    from yagrpc.quantities import WholeNumber

RowsInput: TypeAlias = "Iterable[Any]"
"""Rows: texts, dicts, dialogues or whole requests of any iterable; a Series or a DataFrame of pandas or polars."""

TASKS: Final = ("completion", "embed", "tokenize")
MODES: Final = ("async", "sync")

CONCURRENCY: Final = {"async": 64, "sync": 10}
"""Requests at once, where a run does not say."""


class BulkParameters(CompletionParameters, total=False):
    """What `bulk` takes beside the rows; those of a completion are for rows without their own."""

    journal: str | PathLike[str] | None
    """The file that keeps the run (SQLite): the same call with the same file resumes it. Without one the run is kept
    until its end only, and can't be resumed."""
    key: str | Callable[[Any], Any] | None
    """What gives a row its id: the name of a column, or a function of the row. By default `id`, where a row is a dict;
    a table has none."""
    text: str
    """The column of a table that holds the texts; default `text`."""
    template: str | None
    """What is sent for a text, such as `Translate: {text}`; other columns may be named, too."""
    task: Literal["completion", "embed", "tokenize"]
    """What is done with each row; default `completion`."""
    mode: Literal["async", "sync"]
    """`async` (the default) submits operations at half the price; `sync` waits for each answer."""
    concurrency: WholeNumber | None
    """Requests that are sent at once; operations that run are not counted. Default 64, in mode `sync` 10."""
    max_cost: float | None
    """Roubles that the run may cost: no row is sent by which it could cost more. Needs the price of the model, and
    counts the tokens of each row before it is sent."""
    max_failures: int | str | None
    """Rows that may fail, as a number or as a part of those that have ended, such as `5%`, before no more are sent."""
    on_ambiguous: Literal["resubmit", "fail"]
    """What happens to a row that may have been billed without a result: it is sent again (the default; as often as
    `retries` says), or ends so."""
    retries: WholeNumber
    """How often a row is tried again, at most; default 2. One that was on its way when its process ended is sent again
    by the next run even with 0."""
    retry_on: Iterable[str] | Mapping[str, Mapping[str, Any]]
    """The outcomes that are tried again, or what each changes: `{"truncated": {"max_tokens": "x2"}}`. Default
    `failed`, of which only failures are tried again that may not come again."""
    limit: WholeNumber | None
    """Rows of the input that are taken at most."""
    dedupe: bool
    """Whether rows with equal requests are sent once, and all get the answer; default `False`."""
    prices: Mapping[str, Any] | None
    """Prices that go before those that yagrpc knows; see `Usage.cost`."""
    progress: Callable[[Progress], object] | bool | None
    """Called about once a second with how far the run is; `True` shows it, as tqdm does: in a notebook's cell, or on
    stderr."""


_OWN: Final = frozenset(BulkParameters.__annotations__) - frozenset(CompletionParameters.__annotations__)

REQUEST_SETTINGS: Final = ("task", "mode", "text", "key", "template")
"""The settings that change requests, beside the parameters of the completion."""


def split_bulk(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The arguments of `bulk`: its own, those that shape each request, and those of each call.

    Raises:
        TypeError: It does not take one of them.
        RequestError: A flag is neither `True` nor `False`.
        ConfigError: One of its own is something else.
    """
    shaping, calling = split_parameters("bulk", given, BulkParameters)
    own = {name: shaping.pop(name) for name in [*shaping] if name in _OWN}
    shaping = {name: value for name, value in shaping.items() if value is not None}
    if "strict" in shaping:
        raise ConfigError("bulk takes no strict: the outcome of each row says whether its answer is whole")
    if "resubmit" in calling or "request_id" in calling:
        raise ConfigError(
            "bulk takes no resubmit and no request_id: see on_ambiguous; each request has an id of its own"
        )
    own = {"task": "completion", "mode": "async", "text": "text", "on_ambiguous": "resubmit", "retries": 2, **own}
    own.setdefault("retry_on", ("failed",))
    check_choice("task", own["task"], TASKS)
    check_choice("mode", own["mode"], MODES)
    for name in ("concurrency", "limit"):
        value = own.get(name)
        if value is not None and (isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 1):
            raise ConfigError(f"{name} is {shown(value)}: it takes a whole number above 0")
    if not isinstance(own["text"], str) or not own["text"]:
        raise ConfigError(f"text is {shown(own['text'])}: it takes the name of a column")
    key = own.get("key")
    if key is not None and not callable(key) and not (isinstance(key, str) and key):
        raise ConfigError(f"key is {shown(key)}: it takes the name of a column, or a function of the row")
    if not isinstance(own.get("dedupe", False), bool):
        raise ConfigError(f"dedupe is {shown(own['dedupe'])}: it takes True or False")
    progress = own.get("progress")
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise ConfigError(f"progress is {shown(progress)}: it takes True, False or a function")
    cost = own.get("max_cost")
    if cost is not None and (isinstance(cost, bool) or not isinstance(cost, (int, float)) or not 0 < cost < 1e12):
        raise ConfigError(f"max_cost is {shown(cost)}: it takes roubles, above 0")
    if (own["task"] != "completion" or own["mode"] == "sync") and own["task"] != "completion":
        own["mode"] = "sync"
    if own["task"] != "completion" and (shaping.keys() - {"model"}):
        name = min(shaping.keys() - {"model"})
        raise ConfigError(f"{name} is of a completion: task {own['task']} takes the model alone")
    return own, shaping, dict(calling)


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Check that a setting is one of several words.

    Raises:
        ConfigError: It is not.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ConfigError(f"{name} is {shown(value)}: it takes {' or '.join(allowed)}")


def check_failures(value: object) -> tuple[float, bool] | None:
    """The failures that a run may have: a number, and whether that is a part of the rows; `None` for no limit.

    Raises:
        ConfigError: It is neither a number nor a percentage.
    """
    if value is None:
        return None
    text = str(value)
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    share = text.endswith("%")
    if isinstance(value, bool) or not 0 <= number < (100 if share else 1e12):
        raise ConfigError(f"max_failures is {shown(value)}: it takes a number of rows, or a part of them such as '5%'")
    return (number / 100 if share else number), share

"""What the models cost: roubles for 1,000 tokens, by model and mode, each with its date and its source.

Rules: a price that is not known is `None`, never a guess: a name such as `yandexgpt`, whose branches change their
generation, and models whose sources disagree, have none. A table of the user's own goes before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from yagrpc.errors import ConfigError

Mode: TypeAlias = Literal["async", "sync"]


class Price(NamedTuple):
    """What a model costs in one mode.

    Args:
        input: Roubles for 1,000 tokens of input.
        output: Roubles for 1,000 tokens of answer.
        date: Until when it was seen, `YYYY-MM`.
        source: Where.
    """

    input: float
    output: float
    date: str
    source: str


_RATIOS: Final = "https://yandex.cloud/en/docs/ai-studio/pricing; programs of users"

PRICES: Final[Mapping[tuple[str, str], Price]] = {
    ("yandexgpt-lite", "sync"): Price(0.2, 0.2, "2026-11", _RATIOS),
    ("yandexgpt-lite", "async"): Price(0.1, 0.1, "2026-11", _RATIOS),
    ("yandexgpt-5-lite", "sync"): Price(0.2, 0.2, "2026-11", _RATIOS),
    ("yandexgpt-5-lite", "async"): Price(0.1, 0.1, "2026-11", _RATIOS),
    ("yandexgpt-5-pro", "sync"): Price(1.2, 1.2, "2026-11", _RATIOS),
    ("yandexgpt-5-pro", "async"): Price(0.6, 0.6, "2026-11", _RATIOS),
    ("yandexgpt-5.1", "sync"): Price(0.8, 0.8, "2026-11", _RATIOS),
    ("yandexgpt-5.1", "async"): Price(0.4, 0.4, "2026-11", _RATIOS),
}
"""The prices that are known, by the name of the model and the mode."""


def price_of(model: str, mode: str, own: Mapping[tuple[str, str], Price] | None = None) -> Price | None:
    """The price of a model; `None` where it is not known.

    Args:
        model: Its name, its name and branch, or its URI; a tuned model costs what its base model does.
        mode: `async` or `sync`.
        own: Prices that go before those of yagrpc.
    """
    path = model.partition("://")[2].partition("/")[2] if "://" in model else model
    path = path.partition("@")[0].strip("/")
    name = path.partition("/")[0]
    for table in (own or {}, PRICES):
        for key in (path, name):
            if (found := table.get((key, mode))) is not None:
                return found
    return None


def cost_of(input_tokens: int, output_tokens: int, price: Price | None) -> float | None:
    """What tokens cost, in roubles; `None` where the price is not known."""
    return None if price is None else (input_tokens * price.input + output_tokens * price.output) / 1000


def parse_prices(value: Any, where: str) -> dict[tuple[str, str], Price]:
    """A table of prices as JSON has it.

    Args:
        value: `{"model": {"async": [0.4, 0.4], "sync": 0.8}}`: roubles for 1,000 tokens of input and of answer, or one
            number for both.
        where: What it was read from, for the error.

    Raises:
        ConfigError: It is something else.
    """
    found = {}
    for model, modes in value.items() if isinstance(value, Mapping) else [("", None)]:
        for mode, given in modes.items() if isinstance(modes, Mapping) else [("", None)]:
            pair = given if isinstance(given, list) else [given, given]
            numbers = [each for each in pair if isinstance(each, (int, float)) and not isinstance(each, bool)]
            if (
                mode not in ("async", "sync")
                or len(numbers) != 2
                or len(pair) != 2
                or not all(0 <= each < 1e9 for each in numbers)
            ):
                raise ConfigError(
                    f"{where}: prices are JSON such as"
                    ' {"yandexgpt": {"async": [0.4, 0.4], "sync": 0.8}}, in roubles for 1,000 tokens'
                )
            found[model, mode] = Price(float(numbers[0]), float(numbers[1]), "", where)
    return found

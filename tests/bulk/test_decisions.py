"""Whether a row is tried again, whether the next may be sent, what an answer is worth, and how long a run takes."""

from __future__ import annotations

import random
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import yagrpc
from yagrpc.bulk.decisions.outcomes import (
    RowOutcome,
    better_before,
    check_retries,
    outcome_of_error,
    stops_run,
    tried_again,
)
from yagrpc.bulk.decisions.progress import seconds_left, span
from yagrpc.bulk.decisions.schema import check_schema, mismatch
from yagrpc.bulk.decisions.spending import ROUNDING, May, Spending
from yagrpc.prices import PRICES, price_of
from yagrpc.quotas import Limit

RETRIES = check_retries(2, ("failed", "truncated"), "resubmit")


@pytest.mark.parametrize(
    ("error", "outcome", "again"),
    [
        (yagrpc.OperationFailedError("op", "m", code=yagrpc.Code.INTERNAL), "failed", True),
        (yagrpc.OperationFailedError("op", "m", code=yagrpc.Code.INVALID_ARGUMENT), "failed", False),
        (yagrpc.OperationCancelledError("op", "m"), "failed", False),
        (yagrpc.AmbiguousSubmitError("m"), "ambiguous", True),
        (yagrpc.SubmitTimeoutError("m"), "ambiguous", True),
        (yagrpc.OperationExpiredError("op", "m"), "expired", True),
        (yagrpc.OperationNotFoundError("op", "m"), "expired", True),
        (yagrpc.ResultError("no id"), "ambiguous", True),
        (yagrpc.OperationResultError("op", "no result"), "failed", False),
        (yagrpc.RequestError("f", 1, "a"), "invalid", False),
    ],
)
def test_an_error_is_an_outcome(error: Any, outcome: str, again: bool) -> None:
    found = outcome_of_error(error)
    assert found.value == outcome
    assert tried_again(found, error, 1, RETRIES) is again
    assert not stops_run(error)


@pytest.mark.parametrize(
    "error",
    [
        yagrpc.UnauthenticatedError("m"),
        yagrpc.PermissionDeniedError("m"),
        yagrpc.ConfigError("m"),
        yagrpc.JournalError("m"),
    ],
)
def test_what_is_wrong_with_every_row_ends_the_run(error: Any) -> None:
    assert stops_run(error)


def test_retries_are_counted() -> None:
    assert [tried_again(RowOutcome.TRUNCATED, None, attempt, RETRIES) for attempt in (1, 2, 3)] == [True, True, False]
    assert not tried_again(RowOutcome.FILTERED, None, 1, RETRIES)
    assert not tried_again(RowOutcome.AMBIGUOUS, None, 1, check_retries(2, (), "fail"))


def test_a_row_of_a_process_that_ended_is_sent_again_without_retries() -> None:
    never, lost = check_retries(0, (), "resubmit"), yagrpc.AmbiguousSubmitError("m")
    assert tried_again(RowOutcome.AMBIGUOUS, None, 1, never)
    assert not tried_again(RowOutcome.AMBIGUOUS, None, 5, never)
    assert not tried_again(RowOutcome.AMBIGUOUS, lost, 1, never)


def test_cost_is_reserved_until_it_is_known() -> None:
    spending = Spending(10.0)
    assert [spending.may_cost(4.0) for _ in range(3)] == [May.YES, May.YES, May.LATER]
    spending.cost(4.0, 1.0, 50)
    assert spending.may_cost(4.0) is May.YES
    spending.cost(4.0, 4.0, 50)
    spending.cost(4.0, None, 0)
    assert (spending.spent, spending.reserved) == (9.0, 0.0)
    assert spending.may_cost(4.0) is May.NO
    assert Spending(None).may_cost(1e9) is May.YES


@hypothesis_settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 1)), max_size=60), st.floats(1, 50), st.randoms())
def test_the_limit_is_never_passed_and_no_row_waits_for_none(
    rows: list[tuple[float, float]], limit: float, chance: random.Random
) -> None:
    spending = Spending(limit)
    running: list[tuple[float, float]] = []
    for cost, part in rows:
        while (may := spending.may_cost(cost)) is May.LATER:
            assert running, "nothing runs that could end"
            most, real = running.pop(chance.randrange(len(running)))
            spending.cost(most, most * real, 0)
        if may is May.YES:
            running.append((cost, part))
        assert spending.spent + spending.reserved <= limit + 2 * ROUNDING


def test_costs_that_do_not_sum_up_exactly_are_not_waited_for() -> None:
    spending = Spending(0.6)
    for cost in (0.1, 0.2, 0.3):
        assert spending.may_cost(cost) is May.YES, "0.1 + 0.2 + 0.3 is more than 0.6 by rounding"
    for cost in (0.3, 0.2, 0.1):
        spending.cost(cost, cost / 3, 0)
    assert spending.reserved == 0.0
    assert spending.may_cost(0.4) is May.YES
    spending.cost(0.4, 0.4, 0)
    assert spending.may_cost(0.1) is May.NO


def test_failures_are_judged_as_a_number_or_as_a_part() -> None:
    assert not Spending(None).has_failed_too_often(1000, 1000)
    assert [Spending(None, (3, False)).has_failed_too_often(failed, 10) for failed in (3, 4)] == [False, True]
    share = Spending(None, (0.5, True))
    assert [share.has_failed_too_often(failed, ended) for failed, ended in ((9, 10), (10, 20), (11, 20))] == [
        False,
        False,
        True,
    ]


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False},
    {"type": "array", "items": {"enum": [1, "x", None]}},
    {"type": ["string", "null"]},
    {"const": 5},
    {},
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 6) | st.sampled_from([0.5, 2.0]) | st.sampled_from(["x", "y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
)


@hypothesis_settings(deadline=None)
@given(st.sampled_from(SCHEMAS), VALUES)
def test_a_mismatch_is_what_jsonschema_finds(schema: dict[str, Any], value: Any) -> None:
    import json

    valid = jsonschema.Draft202012Validator(schema).is_valid(value)
    if not (isinstance(value, (bool, list)) and "enum" in str(schema)) and value is not True:  # Python's True is 1
        assert (mismatch(json.dumps(value), schema) == "") is valid


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"type": "strin"}, "json_schema.type is 'strin': it takes object, array, "),
    ({"type": ["string", 7]}, "json_schema.type is "),
    ({"type": None}, "json_schema.type is None"),
    ({"enum": 5}, "json_schema.enum is 5: it takes a list of values"),
    ({"required": True}, "json_schema.required is True: it takes a list of names"),
    ({"properties": ["a"]}, "json_schema.properties is ['a']: it takes an object"),
    ({"properties": {"a": {"type": "int"}}}, "json_schema.properties.a.type is 'int'"),
    ({"items": {"items": {"type": "str"}}}, "json_schema.items.items.type is 'str'"),
]


@pytest.mark.parametrize(("schema", "reason"), BROKEN, ids=[reason for _, reason in BROKEN])
def test_a_schema_of_another_form_is_refused_and_no_answer_fails_by_it(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(yagrpc.RequestError) as raised:
        check_schema(schema)
    assert str(raised.value).startswith(reason)
    for text in ('{"a": 1}', "[[1]]", "1", "null"):
        mismatch(text, schema)  # a journal may have answers to it


def test_schemas_that_are_some_are_taken() -> None:
    for schema in [*SCHEMAS, {"properties": {"a": True}, "items": False, "enum": ("a",), "type": ("null",)}]:
        check_schema(schema)


def test_what_is_no_json_is_a_mismatch() -> None:
    assert mismatch("Sure! {}", {}).startswith("it is not JSON")


def test_prices_are_known_or_none() -> None:
    assert price_of("gpt://f/yandexgpt-lite/latest", "async") == PRICES["yandexgpt-lite", "async"]
    assert price_of("gpt://f/yandexgpt-5.1/latest@tuned", "sync") == PRICES["yandexgpt-5.1", "sync"]
    for unknown in ("yandexgpt", "yandexgpt/rc", "aliceai-llm", "gpt-oss-120b"):
        assert price_of(unknown, "async") is None
    assert all(each.date and each.source for each in PRICES.values())
    assert all(PRICES[model, "sync"].input == pytest.approx(2 * PRICES[model, "async"].input) for model, _ in PRICES)


def test_usage_has_a_cost() -> None:
    usage = yagrpc.Usage(1000, 500, 1500, 0)
    assert usage.cost("yandexgpt-5-pro") == pytest.approx(0.9)
    assert usage.cost("yandexgpt-5-pro", "sync") == pytest.approx(1.8)
    assert usage.cost("yandexgpt") is None
    assert usage.cost("yandexgpt/rc", prices={"yandexgpt/rc": {"async": [1, 2]}}) == 2.0
    with pytest.raises(yagrpc.ConfigError, match="prices: prices are JSON"):
        usage.cost("a", prices={"a": {"batch": 1}})


@pytest.mark.parametrize(
    ("given", "said"),
    [((None,), "model is None"), ((5,), "model is 5"), (("yandexgpt", "batch"), "mode is 'batch': it is 'async' or")],
)
def test_a_cost_of_something_else_is_refused(given: Any, said: str) -> None:
    with pytest.raises(yagrpc.RequestError, match=said):
        yagrpc.Usage(1, 1, 2, 0).cost(*given)


SECOND = Limit(10.0, 0, 10, 0)


@pytest.mark.parametrize(
    ("to_send", "hour", "expected"),
    [
        (0, Limit(5000.0, 0, 5000, 0), 0.0),
        (1000, Limit(5000.0, 0, 5000, 0), 100 + 20),
        (1000, Limit(5000.0, 4500, 500, 0), 360 + 20),
        (10_000, Limit(5000.0, 0, 5000, 0), 3600 + 20),
        (1000, Limit(None, 0, None, 0), 100 + 20),
    ],
)
def test_the_time_left_knows_the_hours_quota(to_send: int, hour: Limit, expected: float) -> None:
    assert seconds_left(to_send, 0, 9.0, (SECOND, hour), 20.0) == pytest.approx(expected)


def test_the_time_left_without_quotas_is_that_of_the_pace() -> None:
    assert seconds_left(100, 0, 10.0, None, 0.0) == 10.0
    assert seconds_left(100, 0, 0.0, None, 0.0) is None
    assert [span(seconds) for seconds in (5, 300, 7200)] == ["5 s", "5 min", "2.0 h"]


@pytest.mark.parametrize(
    ("before", "outcome", "better"),
    [
        ([], "failed", None),
        (["failed", "ambiguous"], "failed", None),
        (["truncated", "failed"], "expired", "truncated"),
        (["filtered", "schema_mismatch"], "invalid", "schema_mismatch"),
        (["truncated"], "filtered", "truncated"),
        (["truncated"], "truncated", None),  # the later one has more
        (["truncated"], "done", None),
    ],
)
def test_an_earlier_answer_is_kept_if_it_is_worth_more(before: list[str], outcome: str, better: str | None) -> None:
    assert better_before(outcome, before) == better

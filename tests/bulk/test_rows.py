"""One row: its forms, what it becomes, and why it is invalid. Nothing is sent here."""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import json
import math
import pathlib
import sqlite3
import types
from typing import Any

import numpy
import pandas  # type: ignore[import-untyped]
import polars
import pyarrow  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import yagrpc
from yagrpc.bulk.decisions.rows import (
    Raw,
    Recipe,
    check_template,
    parameters_of,
    plan,
    request_of,
    rows_of,
    source_of,
    table_of,
)

RECIPE = Recipe("completion", "f", "yandexgpt", {"temperature": 0.5})
NO_TEXT = "these bytes are not UTF-8: decode them first"
TABLE = RECIPE._replace(table=True, text="review", key=None)


def request(row: Any, recipe: Recipe = RECIPE) -> Any:
    """The request of a row."""
    planned = plan(0, Raw(1, source_of(row)), recipe)
    assert not planned.problem
    return request_of(planned.value, recipe, parameters_of(planned.value, recipe))


def texts(row: Any, recipe: Recipe = RECIPE) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in request(row, recipe).messages]


OPENAI = {
    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "u"}]}]
}
WHOLE = {
    "modelUri": "gpt://b1g/yandexgpt-lite/rc",
    "completionOptions": {"stream": True, "temperature": 0.1, "maxTokens": "7"},
    "messages": [{"role": "user", "text": "u"}],
    "id": "x",
}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("u", [("user", "u")]),
        ({"text": "u"}, [("user", "u")]),
        ({"text": "u", "system": "s"}, [("system", "s"), ("user", "u")]),
        ([{"role": "system", "text": "s"}, {"role": "user", "text": "u"}], [("system", "s"), ("user", "u")]),
        (OPENAI, [("system", "s"), ("user", "u")]),
        (WHOLE, [("user", "u")]),
        ({"messages": [yagrpc.Message("user", "u")]}, [("user", "u")]),
    ],
)
def test_every_form_becomes_messages(row: Any, expected: list[tuple[str, str]]) -> None:
    assert texts(row) == expected


def test_a_whole_request_is_sent_as_it_is_but_for_its_stream() -> None:
    sent = request(WHOLE)
    assert (sent.model_uri, sent.completion_options.max_tokens.value) == ("gpt://b1g/yandexgpt-lite/rc", 7)
    assert sent.completion_options.temperature.value == 0.1
    assert not sent.completion_options.stream


def test_a_rows_own_parameters_go_before_the_runs() -> None:
    assert request("u").completion_options.temperature.value == 0.5
    sent = request({"text": "u", "temperature": 0, "model": "aliceai-llm", "max_tokens": 3})
    assert (sent.completion_options.temperature.value, sent.completion_options.max_tokens.value) == (0, 3)
    assert sent.model_uri == "gpt://f/aliceai-llm/latest"


def test_a_column_of_a_table_is_no_parameter() -> None:
    sent = request({"review": "u", "model": "Lada", "temperature": 30}, TABLE)
    assert (sent.model_uri, sent.completion_options.temperature.value) == ("gpt://f/yandexgpt/latest", 0.5)


def test_what_else_a_row_has_is_data() -> None:
    assert texts({"text": "u", "stars": 5, "shop": {"name": "a"}}) == [("user", "u")]


BAD = [
    (b"{", "it is not JSON"),
    (b"\xff\xfe\xff", "it is not"),
    (b'{"text": "\xff"}', "it is not UTF-8"),
    (b"17", "row is 17: it takes a text, or an object"),
    (b"null", "row is None"),
    (b"[]", "messages is []: at least one message"),
    (b'["a", "b"]', "several texts without a role"),
    (b'{"texts": "u"}', "did you mean 'text'"),
    (b'{"text": "u", "temprature": 1}', "temprature is 1: this key is not known: did you mean 'temperature'"),
    (b'{"answer": "u"}', "row is ['answer']: it takes text, or messages"),
    (b'{"text": "u", "messages": []}', "not both"),
    (b'{"text": ""}', "text is '': it takes a text that is not empty"),
    (b'{"text": "  "}', "not empty"),
    (b'{"text": NaN}', "text is nan"),
    (b'{"text": null}', "text is None"),
    (b'{"text": 5}', "text is 5"),
    (b'{"text": "\\ud800"}', "half of a surrogate pair"),
    (b'{"text": "u", "id": "\\ud800"}', "its id is '\\ud800': it holds half of a surrogate pair"),
    (b'{"modelUri": "gpt://f/x", "messages": [{"text": "u"}], "\\ud800": 1}', "can't encode character"),
    (b'{"messages": [{"role": "user", "text": "u", "\\ud800": 1}]}', "messages[0] is "),
    (b'{"text": "u", "temperature": 2}', "temperature is 2: it takes a number from 0 to 1"),
    (b'{"text": "u", "max_tokens": 0}', "max_tokens is 0"),
    (b'{"text": "u", "id": {}}', "id is {}: an id is a text or a whole number"),
    (b'{"messages": "u"}', "messages is 'u': it takes a list"),
    (b'{"messages": [{"role": "robot", "text": "u"}]}', "messages[0].role is 'robot'"),
    (b'{"modelUri": "gpt://f/x", "mesages": []}', "row is"),
    (b'{"modelUri": "gpt://f/x", "messages": []}', "messages is []"),
    (json.dumps({"text": "x" * 100_001}).encode(), "it has 100,001 characters"),
    (json.dumps({"messages": [{"role": "user", "text": "x" * 100_001}]}).encode(), "messages[0].text"),
    (b"[" * 100_000, "it is"),
]


@pytest.mark.parametrize(("source", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_a_row_that_cant_be_sent_says_why(source: bytes, reason: str) -> None:
    planned = plan(0, Raw(1, source), RECIPE)
    problem = planned.problem
    if not problem:
        with pytest.raises(yagrpc.RequestError) as raised:
            request_of(planned.value, RECIPE, parameters_of(planned.value, RECIPE))
        problem = str(raised.value)
    assert reason in problem
    assert len(problem) < 500


def test_100_000_characters_are_sent() -> None:
    assert len(texts("x" * 100_000)[0][1]) == 100_000


@pytest.mark.parametrize(
    ("template", "row", "expected"),
    [
        ("Translate: {text}", "a{b}", "Translate: a{b}"),
        ("{text}: {stars} {{x}}", {"text": "a", "stars": 5}, "a: 5 {x}"),
    ],
)
def test_a_template_is_filled(template: str, row: Any, expected: str) -> None:
    assert texts(row, RECIPE._replace(template=template)) == [("user", expected)]


def test_a_template_of_a_table_takes_its_columns() -> None:
    recipe = TABLE._replace(template="{review} in {city}", text="text")
    assert texts({"review": "a", "city": "Omsk"}, recipe) == [("user", "a in Omsk")]
    with pytest.raises(yagrpc.RequestError, match="city is None: the template needs it"):
        request({"review": "a", "city": None}, recipe)


@pytest.mark.parametrize("task", ["embed", "tokenize"])
def test_half_of_a_surrogate_pair_is_no_text_of_any_task(task: str) -> None:
    with pytest.raises(yagrpc.RequestError, match="text is .*: it holds half of a surrogate pair"):
        request({"text": "a cut emoji \ud83d"}, RECIPE._replace(task=task, parameters={}))


@pytest.mark.parametrize("template", ["no place", "{0.__class__}", "{", "a } b", "{text!r}", 5, "{text} \ud800"])
def test_a_template_that_cant_be_filled_is_refused(template: Any) -> None:
    with pytest.raises(yagrpc.ConfigError, match="template is"):
        check_template(template)


def test_an_id_is_a_text_or_a_number() -> None:
    assert plan(0, Raw(1, b'{"text": "u", "id": 7}'), RECIPE).fixed.id == "7"
    assert plan(0, Raw(1, b'{"text": "u"}'), RECIPE).fixed.id is None
    assert plan(0, Raw(1, b'{"review": "u", "n": "a"}'), TABLE._replace(key="n")).fixed.id == "a"
    assert "n is None: an id" in plan(0, Raw(1, b'{"review": "u", "n": null}'), TABLE._replace(key="n")).problem


def test_equal_rows_have_equal_fingerprints() -> None:
    one, other = ([*rows_of([{"text": "u"}, {"text": "v"}], None)] for _ in range(2))
    assert [raw.fingerprint() for raw in one] == [raw.fingerprint() for raw in other]
    assert one[0].fingerprint() != one[1].fingerprint()


@pytest.mark.parametrize("missing", [math.nan, numpy.nan, None, pandas.NA, pandas.NaT])
def test_nothing_is_sent_for_a_value_that_is_missing(missing: Any) -> None:
    frame = pandas.DataFrame({"review": pandas.Series(["a", missing], dtype=object), "n": [1, 2]})
    table = table_of(frame)
    assert table is not None
    first, second = rows_of(table, None)
    assert json.loads(first.source) == {"review": "a", "n": 1}
    planned = plan(1, second, TABLE)
    with pytest.raises(yagrpc.RequestError, match="review is (nan|None)"):
        request_of(planned.value, TABLE, {})


def test_a_frame_of_polars_is_a_table_and_a_series_is_not() -> None:
    table = table_of(polars.DataFrame({"review": ["a"], "n": [1]}))
    assert table is not None
    assert [json.loads(raw.source) for raw in rows_of(table, None)] == [{"review": "a", "n": 1}]
    for series in (polars.Series(["a", "b"]), pandas.Series(["a", "b"])):
        assert table_of(series) is None
        assert [json.loads(raw.source) for raw in rows_of(series, None)] == ["a", "b"]


class Frame(pandas.DataFrame):  # type: ignore[misc]
    """As that of geopandas: derived from that of pandas, in another module."""


def test_a_class_derived_from_a_frame_is_a_table() -> None:
    table = table_of(Frame({"review": ["a"], "n": [1]}))
    assert table is not None  # as any iterable, it gives the names of its columns
    assert [json.loads(raw.source) for raw in rows_of(table, None)] == [{"review": "a", "n": 1}]


@pytest.mark.parametrize(
    "row",
    [
        types.SimpleNamespace(text="a"),
        pathlib.Path("a"),
        decimal.Decimal(1),
        datetime.date(2026, 1, 1),
        {"a"},
        collections.deque(["a"]),
        (each for each in "a"),
        [types.SimpleNamespace(role="user", text="a")],
        {"messages": [types.SimpleNamespace(role="user", text="a")]},
    ],
    ids=lambda row: type(row).__name__,
)
def test_a_row_of_another_type_is_invalid_and_is_not_sent_as_its_repr(row: Any) -> None:
    with pytest.raises(
        yagrpc.RequestError, match=r"it takes a text, a dict, or a list of messages \(this is of the type"
    ):
        source_of(row)


def test_a_mapping_and_a_row_of_a_database_are_dicts() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        rows: list[Any] = database.execute("SELECT 'a' AS text, 7 AS id").fetchall()
    rows += [types.MappingProxyType({"text": "a", "id": 7}), pandas.Series({"text": "a", "id": numpy.int64(7)})]
    assert [json.loads(source_of(row)) for row in rows] == [{"text": "a", "id": 7}] * 3
    assert json.loads(source_of([types.MappingProxyType({"text": "a"})])) == [{"text": "a"}]


@pytest.mark.parametrize(
    "given", ["я".encode(), numpy.bytes_("я".encode()), bytearray("я".encode()), pyarrow.scalar("я")]
)
def test_bytes_are_the_text_that_they_are_in_utf8(given: Any) -> None:
    assert json.loads(source_of(given)) == "я"
    assert json.loads(source_of({"review": given})) == {"review": "я"}


def test_bytes_that_are_no_text_are_data_and_are_not_sent() -> None:
    row = {"review": b"\xff", "n": memoryview(b"\xff\x00")}
    assert json.loads(source_of(row)) == {"review": {"base64": "/w=="}, "n": {"base64": "/wA="}}
    with pytest.raises(yagrpc.RequestError, match=rf"^review is b'\\xff': {NO_TEXT}$"):
        request(row, TABLE)
    template = TABLE._replace(template="{review} of {n}")
    with pytest.raises(yagrpc.RequestError, match=rf"^n is b'\\xff\\x00': {NO_TEXT}$"):
        request({**row, "review": "u"}, template)
    assert texts({**row, "review": "u"}, TABLE) == [("user", "u")]
    assert texts({"text": "u", "photo": b"\xff"}) == [("user", "u")]


@pytest.mark.parametrize("task", ["completion", "embed", "tokenize"])
@pytest.mark.parametrize(
    ("row", "field"),
    [
        (b"\xff", "row"),
        ({"text": b"\xff"}, "text"),
        ({"text": "u", "system": b"\xff"}, "system"),
        ({"messages": [{"role": "user", "text": b"\xff"}]}, "messages[0].text"),
        ([{"role": "user", "text": "u"}, b"\xff"], "messages[1]"),
    ],
)
def test_a_text_that_is_bytes_and_not_utf8_is_to_be_decoded_first(task: str, row: Any, field: str) -> None:
    with pytest.raises(yagrpc.RequestError) as raised:
        request(row, RECIPE._replace(task=task))
    assert str(raised.value) == f"{field} is b'\\xff': {NO_TEXT}"


def test_an_id_that_is_bytes_and_not_utf8_is_to_be_decoded_first() -> None:
    planned = plan(0, Raw(1, source_of({"text": "u", "id": b"\xff"})), RECIPE)
    assert planned.problem == f"id is b'\\xff': {NO_TEXT}"


@pytest.mark.parametrize("given", [{"base64": "a"}, {"base64": 5}, {"base64": "/w==", "n": 1}, {"base64": "dQ=="}])
def test_other_dicts_than_those_of_bytes_are_shown_as_they_are(given: Any) -> None:
    with pytest.raises(yagrpc.RequestError, match="text is {'base64': .*: it takes a text that is not empty"):
        request({"text": given})


def test_the_column_of_texts_that_rows_without_a_table_do_not_have_is_named_in_the_problem() -> None:
    with pytest.raises(yagrpc.RequestError, match="it takes text, or messages; text= names a column of a table"):
        request({"review": "a"}, RECIPE._replace(text="review"))


def test_a_row_that_is_no_json_is_an_invalid_row() -> None:
    circular: list[Any] = []
    circular.append(circular)
    raws = list(rows_of([circular, {(1, 2): 3}, "a"], lambda row: "key" if row == "a" else None))
    assert [bool(raw.problem) for raw in raws] == [True, True, False]
    assert raws[2].id == "key"


@hypothesis_settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_row_is_a_request_or_invalid(row: Any) -> None:
    planned = plan(0, Raw(1, source_of(row)), RECIPE)
    if not planned.problem:
        try:
            request_of(planned.value, RECIPE, parameters_of(planned.value, RECIPE))
        except yagrpc.RequestError as error:
            assert str(error)


@hypothesis_settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_line_is_a_request_or_invalid(line: bytes) -> None:
    planned = plan(0, Raw(1, line), RECIPE)
    if not planned.problem:
        try:
            request_of(planned.value, RECIPE, parameters_of(planned.value, RECIPE))
        except yagrpc.RequestError as error:
            assert str(error)

"""Numbers, seconds and ids of the libraries that people use: what is taken, and what is refused."""

from __future__ import annotations

import math
import uuid
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy
import pytest

import yagrpc
from yagrpc import quantities
from yagrpc._core.call.metadata import given_request_id
from yagrpc._core.call.parameters import LONGEST_TIMEOUT, checked_timeout
from yagrpc.messages import checked_max_tokens, checked_temperature

WHOLE = [7, numpy.int64(7), numpy.uint8(7), numpy.array(7)]
REAL = [
    0.5,
    numpy.float32(0.5),
    numpy.float64(0.5),
    numpy.float16(0.5),
    Decimal("0.5"),
    Fraction(1, 2),
    numpy.array(0.5),
]
NONE = [
    *("7", b"7", None, object(), [7], (7,), 7j, math.nan, numpy.float32("nan"), Decimal("nan")),
    *(True, False, numpy.True_, numpy.array(True), numpy.array([7]), numpy.array([7.0]), numpy.array([1, 2])),
]


@pytest.mark.parametrize("value", WHOLE)
def test_a_whole_number_is_taken(value: Any) -> None:
    assert quantities.number(value, whole=True) == quantities.number(value) == 7
    for taken in (checked_max_tokens(value), checked_timeout(value), quantities.number(value, whole=True)):
        assert type(taken) is int
        assert taken == 7
    assert checked_temperature(type(value)(1) if isinstance(value, (int, numpy.integer)) else numpy.array(1)) == 1


@pytest.mark.parametrize("value", REAL)
def test_a_number_is_taken(value: Any) -> None:
    for taken in (checked_temperature(value), checked_timeout(value), quantities.number(value)):
        assert type(taken) is float
        assert taken == 0.5
    assert quantities.number(value, whole=True) is None
    with pytest.raises(yagrpc.RequestError, match="max_tokens"):
        checked_max_tokens(value)


@pytest.mark.parametrize("value", NONE)
def test_what_is_no_number_is_refused(value: Any) -> None:
    assert quantities.number(value) is quantities.number(value, whole=True) is quantities.seconds(value) is None
    with pytest.raises(yagrpc.RequestError, match=r"^temperature is "):
        checked_temperature(value)
    with pytest.raises(yagrpc.RequestError, match=r"^max_tokens is "):
        checked_max_tokens(value)
    if value is not None:
        with pytest.raises(
            yagrpc.RequestError, match=r"^timeout is .* it takes seconds, 0 or more, a timedelta, or No"
        ):
            checked_timeout(value)
        with pytest.raises(yagrpc.ConfigError, match="lifetime"):
            yagrpc.AccessToken("t1.a", value)


def test_a_timeout_is_a_span_of_time() -> None:
    assert checked_timeout(timedelta(minutes=1, milliseconds=500)) == 60.5
    assert checked_timeout(timedelta(0)) == 0.0
    assert checked_timeout(timedelta.max) == checked_timeout(math.inf) == checked_timeout(10**400) == LONGEST_TIMEOUT
    for value in (timedelta(seconds=-1), -1, numpy.int64(-1), numpy.float32(-0.5), -math.inf, -(10**400)):
        with pytest.raises(yagrpc.RequestError, match=r"^timeout is "):
            checked_timeout(value)


def test_a_lifetime_and_intervals_are_spans_of_time() -> None:
    assert yagrpc.AccessToken("t1.a", timedelta(hours=12)).lifetime == 12 * 3600
    assert yagrpc.AccessToken("t1.a", numpy.int64(60)).lifetime == 60
    every: Any = yagrpc.Polling
    some: Any = yagrpc.Quota
    polling = every(first=timedelta(0), shortest=numpy.float32(0.5), longest=timedelta(minutes=1))
    quota = some(submit_per_second=numpy.int64(5), concurrent_completions=numpy.uint8(3))
    with yagrpc.Client(folder_id="b1g", credentials=yagrpc.ApiKey("key"), polling=polling, quota=quota) as client:
        assert client._core.polling == yagrpc.Polling(0.0, 0.5, 60.0)
        assert client.limits.submit_per_second.limit == 5
        assert client.limits.concurrent_completions.limit == 3


def test_a_request_id_may_be_a_uuid() -> None:
    given = uuid.uuid4()
    assert given_request_id({"request_id": given}) == given_request_id({"request_id": str(given)}) == str(given)
    assert given_request_id({}) == ""
    assert given_request_id({"request_id": "a" * 200}) == "a" * 200
    # A longer one exceeds the limit of metadata somewhere on its way: a generation would be ambiguous.
    for wrong in ("", 5, b"id", ["id"], "a\nb", "a" * 201):
        with pytest.raises(
            yagrpc.RequestError, match=r"request_id is .* it takes printable ASCII text of .* or a UUID"
        ):
            given_request_id({"request_id": wrong})  # type: ignore[typeddict-item]

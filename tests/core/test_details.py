"""The details of a status: how many are kept, how large, and what is found in them."""

from __future__ import annotations

from typing import Any

import pytest

from yagrpc import _pb
from yagrpc._core.failure.details import (
    REQUEST_INFO,
    RETRY_INFO,
    parsed_details,
    request_info,
    retry_after,
    status_details,
)

URL = "type.googleapis.com/a.b.C"


def detail(size: int, url: str = URL) -> _pb.any_pb2.Any:
    """A detail of an unknown type, of so many bytes with its type's name."""
    return _pb.any_pb2.Any(type_url=url, value=bytes(size - len(url)))


def test_a_hundred_details_are_kept() -> None:
    assert len(status_details([detail(30)] * 100)) == 100
    assert len(status_details([detail(30)] * 101)) == 100


def test_64_kib_of_details_are_kept_and_of_others_the_type_and_the_size() -> None:
    limit = 64 * 1024
    (whole,) = status_details([detail(limit)])
    assert "omittedBytes" not in whole
    assert status_details([detail(limit + 1)]) == ({"@type": URL, "omittedBytes": limit + 1},)
    first, second, third = status_details([detail(limit - 100), detail(101), detail(100)])
    assert "omittedBytes" not in first
    assert second == {"@type": URL, "omittedBytes": 101}
    assert "omittedBytes" not in third


def test_a_long_name_of_a_type_is_cut_where_its_detail_is_left_out() -> None:
    (omitted,) = status_details([detail(70_000, "t" * 300)])
    assert omitted == {"@type": "t" * 200, "omittedBytes": 70_000}


def test_a_detail_without_a_type_keeps_its_bytes() -> None:
    assert status_details([_pb.any_pb2.Any(value=b"\x01")]) == ({"@type": "", "value": "AQ=="},)


@pytest.mark.parametrize("value", [None, "text", b"\xff\xff\xff"])
def test_what_is_no_status_has_no_details(value: object) -> None:
    assert parsed_details(value) == ()


def before_and_after(kind: str) -> list[dict[str, Any]]:
    """Details of other types, whose names come before and after a type's in the alphabet."""
    return [{"@type": kind[:-1], "requestId": "x", "retryDelay": "7s"}, {"@type": kind + "s", "requestId": "y"}]


def test_the_first_detail_of_a_type_counts() -> None:
    named = ({"@type": REQUEST_INFO, "requestId": "mine"}, {"@type": REQUEST_INFO, "requestId": "another"})
    assert request_info((*before_and_after(REQUEST_INFO), *named)) == "mine"
    assert request_info(tuple(before_and_after(REQUEST_INFO))) == ""
    assert request_info(({"@type": REQUEST_INFO},)) == ""
    delays = ({"@type": RETRY_INFO, "retryDelay": "1.5s"},)
    assert retry_after(None, (*before_and_after(RETRY_INFO), *delays)) == 1.5


@pytest.mark.parametrize(
    ("pushback", "seconds"),
    [
        ("0", 0.0),
        (" 1500 ", 1.5),
        (b"250", 0.25),
        ("-1", -1.0),
        ("soon", -1.0),
        ("1" * 9, 111_111.111),
        ("1" * 10, -1.0),
    ],
)
def test_a_pushback_wins_and_a_text_that_is_no_number_means_never(pushback: object, seconds: float) -> None:
    assert retry_after(pushback, ({"@type": RETRY_INFO, "retryDelay": "9s"},)) == seconds


@pytest.mark.parametrize(
    ("delay", "seconds"), [("3s", 3.0), ("0.25s", 0.25), ("3", None), ("-3s", None), ("", None), ("1" * 13 + "s", None)]
)
def test_a_delay_of_the_details_is_read(delay: str, seconds: float | None) -> None:
    assert retry_after(None, ({"@type": RETRY_INFO, "retryDelay": delay},)) == seconds

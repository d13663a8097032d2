"""Metadata, both ways: what a caller may send, and the ids that an answer brings."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from yagrpc._core.call.metadata import given_metadata, given_request_id, pairs_of, request_ids, text_of
from yagrpc.errors import RequestError
from yagrpc.hiding import SecretBytes, SecretText, revealed


@pytest.mark.parametrize("given", [None, (), {}, []])
def test_without_metadata_nothing_is_sent(given: Any) -> None:
    assert given_metadata({"metadata": given}) == ()
    assert given_metadata({}) == ()


def test_pairs_and_dicts_are_taken() -> None:
    expected = (("x-one", "1"), ("x_2.b-bin", b"\x00\xff"))
    for given in (dict(expected), expected, list(expected), [list(pair) for pair in expected]):
        found = given_metadata({"metadata": given})  # type: ignore[typeddict-item]
        assert revealed(found) == expected
        assert [type(value) for _, value in found] == [SecretText, SecretBytes]


@pytest.mark.parametrize("key", ["", "X-One", "x one", "x:one", "ключ", b"x-one", None, 7])
def test_a_key_that_grpc_refuses_is_named(key: Any) -> None:
    with pytest.raises(RequestError, match="a key has lower-case letters"):
        given_metadata({"metadata": [(key, "1")]})


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("x-bin", "text", "takes bytes"),
        ("x-one", b"bytes", "has to be printable ASCII text"),
        ("x-one", "line\nbreak", "has to be printable ASCII text"),
        ("x-one", "текст", "has to be printable ASCII text"),
        ("x-one", None, "has to be printable ASCII text"),
    ],
)
def test_a_value_that_grpc_refuses_is_not_shown(key: str, value: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        given_metadata({"metadata": [(key, value)]})
    assert str(value) not in str(caught.value) or value is None


@pytest.mark.parametrize("given", ["x-one", 7, [("x-one", "1"), 7], [("x-one",)], [("x-one", "1", "2")]])
def test_what_is_no_pair_is_refused(given: Any) -> None:
    with pytest.raises(RequestError):
        given_metadata({"metadata": given})


def test_a_request_id_is_text_or_a_uuid() -> None:
    number = uuid.UUID(int=7)
    assert given_request_id({}) == ""
    assert given_request_id({"request_id": "mine ~"}) == "mine ~"
    assert given_request_id({"request_id": number}) == str(number)


@pytest.mark.parametrize("given", ["", "line\nbreak", "мой", b"mine", object()])
def test_a_request_id_that_can_not_be_sent_is_refused(given: Any) -> None:
    with pytest.raises(RequestError, match="it takes printable ASCII text of 1 to 200 characters, or a UUID"):
        given_request_id({"request_id": given})


# Of answers


def test_ids_are_taken_from_either_metadata_and_the_last_one_counts() -> None:
    initial = (("x-request-id", "first"), ("date", "now"))
    trailing = (("x-request-id", b"second"), ("x-server-trace-id", "trace"))
    ids = request_ids("mine", initial, trailing)
    assert (ids.client_request_id, ids.request_id, ids.server_trace_id) == ("mine", "second", "trace")
    # Keys that come before and after these in the alphabet are others.
    others = request_ids("mine", (("x-request-ic", "a"), ("x-request-ie", "b"), ("x-server", "c"), ("z", "d")))
    assert (others.request_id, others.server_trace_id) == ("", "")


@pytest.mark.parametrize("metadata", [None, (), 7, [7], [("x",)]])
def test_an_answer_may_have_no_metadata(metadata: Any) -> None:
    assert request_ids("mine", metadata) == ("mine", "", "")


def test_values_are_text() -> None:
    assert text_of(b"a\xff") == "a\N{REPLACEMENT CHARACTER}"
    assert text_of("a") == "a"
    assert text_of(None) == ""


def test_metadata_is_a_dict() -> None:
    assert pairs_of(None) == {}
    assert pairs_of((("a", "1"), ("b-bin", b"2"))) == {"a": "1", "b-bin": b"2"}

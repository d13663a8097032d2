"""Texts of the other side are shown in one line, cut, without what controls a terminal or hides a text."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yagrpc.errors import OperationError, UnavailableError
from yagrpc.foreign import ID, SHOWN, UNSAFE, cleaned, for_terminal, identifier, is_id

MARK = "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        (" two  words \n", "two words"),
        ("a\r\nb\tc\x0bd\x85e\u2028f", "a b c d e f"),
        ("\x1b]0;title\x07", f"{MARK}]0;title{MARK}"),
        ("a\x9b2Jb\x7f", f"a{MARK}2Jb{MARK}"),
        ("abc\u202efed", f"abc{MARK}fed"),
        ("a\u200bb\ufeffc\U000e0041", f"a{MARK}b{MARK}c{MARK}"),
        ("half \ud800", f"half {MARK}"),
        ("привет 语 é \N{FAMILY}", "привет 语 é \N{FAMILY}"),
        ("\N{WOMAN}\u200d\N{FIRE ENGINE} \N{HEAVY BLACK HEART}\ufe0f", "\N{WOMAN}\u200d\N{FIRE ENGINE} ❤\ufe0f"),
        ("", ""),
    ],
)
def test_a_text_is_one_line_that_controls_nothing(text: str, shown: str) -> None:
    assert cleaned(text) == shown


@pytest.mark.parametrize("category", ["Cc", "Cs", "Zl", "Zp"])
def test_no_control_character_is_left(category: str) -> None:
    every = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == category]
    assert not {*every} & {*cleaned("".join(every))}
    assert {*every} & {*for_terminal("".join(every))} <= {"\n", "\t"}


@pytest.mark.parametrize("kind", ["LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "BN"])
def test_no_control_of_bidirectional_text_is_left(kind: str) -> None:
    """`BN` holds what is invisible in such a text; the soft hyphen and what joins letters are no danger."""
    harmless = {"\xad", "\u200c", "\u200d"}
    every = [chr(code) for code in range(0x110000) if unicodedata.bidirectional(chr(code)) == kind]
    left = {*every} & {*for_terminal("".join(every))} - harmless
    assert not {one for one in left if unicodedata.category(one) != "Cn"}


@given(st.text(alphabet=st.characters(categories=["L", "C", "Z", "P"])))
def test_any_text_is_cleaned_once(text: str) -> None:
    once = cleaned(text)
    assert cleaned(once) == once
    assert re.search(UNSAFE, once) is None
    assert len(once.splitlines()) <= 1
    assert re.search(UNSAFE, for_terminal(text)) is None


def test_a_long_name_is_cut() -> None:
    assert identifier("x" * 5000) == "x" * SHOWN
    assert len(identifier("\n" + "x" * 5000)) < SHOWN


@pytest.mark.parametrize("text", ["d7q", "a b", "d" * ID, "идентификатор"])
def test_what_can_be_an_id_is_one(text: str) -> None:
    assert is_id(text)
    assert identifier(text) == text


@pytest.mark.parametrize(
    "text", ["", " ", " a", "a ", "a\n", "a\x00", "a\x1b", "a\u202e", "a\u200b", "\ud800", "d" * 201]
)
def test_what_can_be_no_id_is_none(text: str) -> None:
    assert not is_id(text)


def test_an_error_shows_nothing_unsafe_whatever_it_is_given() -> None:
    hostile = "a\x1b[2J\u202e\r\nb"
    for error in (UnavailableError(hostile, request_id=hostile, hint=hostile), OperationError(hostile, hostile)):
        assert re.search(UNSAFE, str(error)) is None
        assert re.search(UNSAFE, repr(error)) is None
        assert len(str(error).splitlines()) == 1

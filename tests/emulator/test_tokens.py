"""The tokenizer: what it cuts, what it shows, and that its counts can be relied on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yagrpc import _pb
from yagrpc.emulator.answers import tokens

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Service


ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_a_text_is_tokenized_as_the_service_shows_it(service: Service) -> None:
    request = _pb.text_generation_service_pb2.TokenizeRequest(
        model_uri="gpt://b1gfolder/yandexgpt", text="Hello, hello world\nпривет"
    )
    response = service.tokenizer.Tokenize(request)
    shown = ["Hello", ",", "\u2581hello", "\u2581world", "[NL]", "привет"]
    assert [token.text for token in response.tokens] == shown
    assert [token.special for token in response.tokens] == [False] * 4 + [True, False]
    assert response.model_version == "yagrpc-emulator"
    assert service.tokenizer.Tokenize(request) == response


def test_ids_hang_on_the_text_alone(service: Service) -> None:
    request = _pb.text_generation_service_pb2.TokenizeRequest(
        model_uri="gpt://b1gfolder/yandexgpt", text="one two one one one"
    )
    one, two, *again = service.tokenizer.Tokenize(request).tokens
    assert len({token.id for token in again}) == 1
    assert len({one.id, two.id, again[0].id}) == 3


@pytest.mark.parametrize("word", ["ping", "hello"])
def test_a_word_is_fifteen_tokens_with_its_template(service: Service, ask: Ask, word: str) -> None:
    # As in recorded answers of the service.
    shown = service.tokenizer.TokenizeCompletion(ask(word)).tokens
    assert len(shown) == 15
    assert (shown[0].text, shown[-1].text) == ("<s>", "[SEP]")
    assert f"\u2581{word}" in [token.text for token in shown]


def test_special_tokens_cannot_be_typed(service: Service, ask: Ask) -> None:
    shown = service.tokenizer.TokenizeCompletion(ask("<s>[SEP]")).tokens
    assert [token.text for token in shown if token.special] == ["<s>", "[NL]", "[NL]", "[SEP]"]


@ANY_MACHINE
@given(text=st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    assert "".join(tokens.pieces(text)) == text


@ANY_MACHINE
@given(text=st.text(), end=st.integers(0, 50))
def test_a_cut_text_has_the_pieces_before_the_cut(text: str, end: int) -> None:
    cut = tokens.pieces(text)[:end]
    assert tokens.pieces("".join(cut)) == cut


@ANY_MACHINE
@given(text=st.text())
def test_tokens_are_deterministic_and_well_formed(text: str) -> None:
    shown = [tokens.to_token(piece) for piece in tokens.text_pieces(text)]
    assert shown == [tokens.to_token(piece) for piece in tokens.text_pieces(text)]
    assert len(shown) == len(tokens.pieces(text))
    assert all(token.id > 0 and token.text for token in shown)
    assert sum(token.special for token in shown) == text.count("\n")


@ANY_MACHINE
@given(texts=st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_a_message_more_is_tokens_more(texts: list[str], ask: Ask) -> None:
    counts = [len(list(tokens.prompt(ask(*texts[:end])))) for end in range(1, len(texts) + 1)]
    assert counts == sorted(set(counts))

"""Methods by their names."""

from __future__ import annotations

from typing import Any

import pytest

from yagrpc import methods
from yagrpc.errors import RequestError
from yagrpc.named import checked_method, find_method, named_methods, similar_names

TOKENIZE = methods.TokenizerService.Tokenize


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_method_is_found_by_its_short_name_and_by_its_path(slash: str) -> None:
    assert find_method(f"{slash}TokenizerService/Tokenize") is TOKENIZE
    assert find_method(f"{slash}{TOKENIZE.path.removeprefix('/')}") is TOKENIZE


@pytest.mark.parametrize("name", ["", "/", "Tokenize", "TokenizerService", f"/{TOKENIZE.path}", "x" + TOKENIZE.path])
def test_another_name_is_none(name: str) -> None:
    assert find_method(name) is None


def test_every_method_of_the_table_has_a_name() -> None:
    known = named_methods()
    assert known["OperationService/Get"] is methods.OperationService.Get
    assert {type(method).__name__ for method in known.values()} >= {"UnaryMethod", "StreamMethod", "OperationMethod"}
    assert all(method.path.endswith(f".{name}") for name, method in known.items())


def test_names_are_similar_that_are_nearly_the_same() -> None:
    assert similar_names("/TokenizerService/Tokenise")[0] == "TokenizerService/Tokenize"
    assert similar_names(TOKENIZE.path + "s")[0] == TOKENIZE.path[1:]
    assert len(similar_names("TokenizerService/Tokeniz")) <= 3
    assert similar_names("TokService") == []


def test_a_method_is_taken_as_it_is() -> None:
    assert checked_method(TOKENIZE) is TOKENIZE
    assert checked_method("TokenizerService/Tokenize") is TOKENIZE


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "it takes a method of yagrpc.methods, or its name"),
        (7, "it takes a method of yagrpc.methods, or its name"),
        ("nothing of the kind", "it takes a method of yagrpc.methods, or its name"),
        ("TokenizerService/Tokenise", "did you mean 'TokenizerService/Tokenize'"),
    ],
)
def test_what_is_no_method_is_refused(given: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        checked_method(given)

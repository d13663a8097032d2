"""Which rpc a verb and a path call."""

from __future__ import annotations

import pytest

from yagrpc import methods
from yagrpc.method import HttpRule, UnaryMethod
from yagrpc.rest import Router, WrongVerb

OPERATIONS = methods.OperationService


def method(name: str, *rules: HttpRule) -> UnaryMethod[object, object]:
    """A method with these bindings."""
    http = HttpRule(rules[0].verb, rules[0].path, rules[0].body, *rules[1:]) if rules else None
    return UnaryMethod(f"/a.B/{name}", request="a:B", response="a:B", http=http)


def test_a_verb_in_the_path_comes_before_a_variable() -> None:
    router = Router(OPERATIONS.Get, OPERATIONS.Cancel)
    for path, name in (("/operations/x", "Get"), ("/operations/x:cancel", "Cancel"), ("/operations/x:other", "Get")):
        found = router.find("GET", path)
        assert found is not None
        assert found.method.name == name


def test_a_literal_comes_before_a_variable() -> None:
    router = Router(method("Any", HttpRule("GET", "/v1/{id}")), method("One", HttpRule("GET", "/v1/one")))
    assert [router.find("GET", f"/v1/{name}").method.name for name in ("one", "two")] == ["One", "Any"]  # type: ignore[union-attr]


def test_additional_bindings_are_found_with_their_own_rule() -> None:
    second = HttpRule("POST", "/v2/x", "inner")
    router = Router(method("Both", HttpRule("GET", "/v1/x"), second))
    found = router.find("POST", "/v2/x")
    assert found is not None
    assert (found.method.name, found.rule.body) == ("Both", "inner")
    assert [rule.path for rule, _ in router] == ["/v1/x", "/v2/x"]


def test_another_verb_names_the_verbs_that_the_path_takes() -> None:
    router = Router(method("A", HttpRule("GET", "/v1/x")), method("B", HttpRule("PUT", "/v1/x")))
    with pytest.raises(WrongVerb, match="the path /v1/x takes GET, PUT") as refused:
        router.find("POST", "/v1/x")
    assert refused.value.allowed == ("GET", "PUT")


def test_an_unknown_path_and_a_method_without_a_rule_are_not_found() -> None:
    assert Router(method("A")).find("GET", "/a.B/A") is None

"""Which rpc an HTTP verb and a path call.

Rules: a template with a custom verb comes before one without, a longer literal beginning before a shorter one; among
equals the first that was added. A HEAD is no GET here: the service's form for it is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from yagrpc.rest.templates import Template

if TYPE_CHECKING:
    from yagrpc.method import AnyMethod, HttpRule

__all__ = ["Found", "Router", "WrongVerb"]


class Found(NamedTuple):
    """The rpc of a request, and what its path says."""

    method: AnyMethod
    """The rpc."""
    rule: HttpRule
    """The binding that fits: the rpc's own, or one of its additional ones."""
    fields: dict[str, str]
    """The fields of the request message that the path holds, by their paths in the message."""


class WrongVerb(Exception):
    """The path is that of an rpc, and the verb is not.

    Args:
        path: The path.
        allowed: The verbs that the path takes.
    """

    def __init__(self, path: str, allowed: Iterable[str]) -> None:
        self.allowed = tuple(sorted(set(allowed)))
        super().__init__(f"the path {path} takes {', '.join(self.allowed)}")


class _Binding(NamedTuple):
    template: Template
    rule: HttpRule
    method: AnyMethod


class Router:
    """The HTTP rules of some rpcs; rpcs without a rule are left out.

    Args:
        *methods: The rpcs.

    Raises:
        ValueError: A rule has a path that is no template.
    """

    def __init__(self, *methods: AnyMethod) -> None:
        bindings = [
            _Binding(Template(rule.path), rule, method)
            for method in methods
            if method.http is not None
            for rule in (method.http, *method.http.additional)
        ]
        # The sort keeps the order of equals.
        self._bindings = sorted(bindings, key=lambda binding: (not binding.template.verb, -_literal(binding.rule.path)))

    def __iter__(self) -> Iterator[tuple[HttpRule, AnyMethod]]:
        """All bindings, in the order in which they are tried."""
        return iter([(binding.rule, binding.method) for binding in self._bindings])

    def find(self, verb: str, path: str) -> Found | None:
        """The rpc of a request; `None` where no rule has such a path.

        Args:
            verb: The HTTP verb, in capitals.
            path: The path as it was sent, with its escapes, without a query.

        Raises:
            WrongVerb: There is such a path, for other verbs.
        """
        others = []
        for template, rule, method in self._bindings:
            fields = template.match(path)
            if fields is None:
                continue
            if rule.verb == verb:
                return Found(method, rule, fields)
            others.append(rule.verb)
        if others:
            raise WrongVerb(path, others)
        return None


def _literal(path: str) -> int:
    """How many characters of a template come before its first variable or wildcard."""
    return min((at for at in (path.find("{"), path.find("*")) if at >= 0), default=len(path))

"""The two shells offer the same: names, parameters and documentation."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import yagrpc

PAIRS = [
    (yagrpc.Client, yagrpc.AsyncClient),
    (yagrpc.Operation, yagrpc.AsyncOperation),
    (yagrpc.Stream, yagrpc.AsyncStream),
]

NATURAL = {
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
    "__iter__": "__aiter__",
    "__next__": "__anext__",
}
"""What asyncio names differently; `__await__` it has alone."""


def public(cls: type) -> dict[str, Any]:
    """Public names, and the protocols that a class speaks; all of them are in use from here on."""
    names = {name for name in dir(cls) if not name.startswith("_")} | {name for name in vars(cls) if name in NATURAL}
    for name in names:
        getattr(cls, name)  # with its first use a method becomes a plain function
    return {name: inspect.getattr_static(cls, name) for name in names}


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults of a function's parameters."""
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("blocking", "asynchronous"), PAIRS)
def test_the_names_are_the_same(blocking: type, asynchronous: type) -> None:
    expected = {NATURAL.get(name, name) for name in public(blocking)}
    found = {name for name in dir(asynchronous) if not name.startswith("_")}
    found |= {name for name in vars(asynchronous) if name in NATURAL.values()}
    assert found == expected


@pytest.mark.parametrize(("blocking", "asynchronous"), PAIRS)
def test_the_parameters_are_the_same(blocking: type, asynchronous: type) -> None:
    assert parameters(blocking) == parameters(asynchronous)
    public(asynchronous)  # in use as the other one is
    for name, member in public(blocking).items():
        other = inspect.getattr_static(asynchronous, NATURAL.get(name, name))
        assert type(other) is type(member), name
        if inspect.isfunction(member):
            assert parameters(member) == parameters(other), name


@pytest.mark.parametrize("cls", [cls for pair in PAIRS for cls in pair])
def test_everything_public_is_documented(cls: type) -> None:
    assert cls.__doc__
    for name, member in public(cls).items():
        if name.startswith("__"):
            continue
        documented = member.fget if isinstance(member, property) else member
        if not callable(documented):
            continue  # a slot, described in its class
        assert documented.__doc__, name
        for parameter in list(inspect.signature(documented).parameters)[1:]:
            assert re.search(rf"^\s+{parameter}: ", documented.__doc__, re.MULTILINE), (name, parameter)


def test_constructors_document_each_argument() -> None:
    for cls in (yagrpc.Client, yagrpc.AsyncClient):
        for parameter in inspect.signature(cls).parameters:
            assert re.search(rf"^\s+{parameter}: ", str(cls.__doc__), re.MULTILINE), parameter

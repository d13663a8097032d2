"""Methods whose `**parameters` are shown one by one, in `help()`, in Jupyter and by other tools that use `inspect`.

Type checkers read `**parameters: Unpack[CompletionParameters]` by themselves; at run time nothing does. So a method
gets a signature with the keyword arguments of that class, and their documentation in its own, in the place of
`**parameters`.

The class is one of `_core.call.parameters`, or one of its service's own that the method's module imports.

Rules: it is done when a method is used for the first time, since it takes a tenth of a millisecond for each, which an
import has to go without. From then on the class has the plain function, so that a call costs what it did. Documentation
is read from the source of the class's module; where a program is shipped without sources, the arguments are shown
without it.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from yagrpc._core.call import parameters
from yagrpc._core.call.parameters import CallParameters, ModelParameters

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_QUOTES: Final = '"""'


class _NotGiven:
    """The default of an argument that is not sent, or for which the client's own setting holds."""

    def __repr__(self) -> str:
        return "..."


NOT_GIVEN: Final = _NotGiven()


def explicit_parameters(function: FunctionT) -> FunctionT:
    """Give a method that takes `**parameters: Unpack[...]` a signature and documentation with each of them.

    In its docstring, `**parameters` is described in one line.
    """
    return cast("FunctionT", _Unused(function))


class _Unused:
    """A method that nobody has used: with its first use it becomes the function that it was declared as.

    Args:
        function: The function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, instance: object, owner: type) -> Any:
        function = _explicit(self._function)
        setattr(self._owner, self._name, function)
        return function.__get__(instance, owner)


@functools.cache
def _explicit(function: Callable[..., Any]) -> Any:
    """The function, with each parameter in its signature and its documentation; several threads may be first."""
    name = function.__annotations__["parameters"].removeprefix("Unpack[").removesuffix("]")
    kind = function.__globals__.get(name) or getattr(parameters, name)
    _show(function, _shown(kind))
    if function.__doc__ and (items := _items(kind)):
        before, _, after = function.__doc__.partition("**parameters: ")
        if after:  # another thread may have been here
            indent = before[before.rindex("\n") :]
            function.__doc__ = before + indent.join(items) + after[after.index("\n") :]
    return function


def shown_settings(function: FunctionT) -> FunctionT:
    """Give a constructor a signature without its `**unknown`, which it takes only to refuse it."""
    _show(function, [])
    return function


def _show(function: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    """Give a function a signature with these parameters in place of its `**`; again, if two threads are first."""
    written, others = inspect.signature(function), {each.name for each in parameters}
    own = [each for name, each in written.parameters.items() if name not in others and each.kind != each.VAR_KEYWORD]
    function.__signature__ = written.replace(parameters=[*own, *parameters])  # type: ignore[attr-defined]


@functools.cache
def _shown(kind: Any) -> list[inspect.Parameter]:
    """The keyword arguments of a class: first what shapes the request, last what every call takes."""
    annotations = kind.__annotations__
    names = sorted(
        annotations, key=lambda name: (name in CallParameters.__annotations__, name in ModelParameters.__annotations__)
    )
    return [_parameter(name, annotations[name]) for name in names]


@functools.cache
def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    text = getattr(annotation, "__forward_arg__", str(annotation))
    # No timeout is a choice; elsewhere None is the same as leaving the argument out.
    default = None if text.endswith("| None") and name != "timeout" else NOT_GIVEN
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=text)


@functools.cache
def _docs(module: str) -> dict[str, list[str]]:
    """The lines that describe each argument, as they stand below it; empty where the module's source is not there."""
    found = sys.modules[module]
    lines = iter(linecache.getlines(str(found.__file__), found.__dict__))
    docs: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        text = line.strip()
        if name.isidentifier() and line.startswith(f"    {_QUOTES}"):
            described = [text.removeprefix(_QUOTES)]
            while not described[-1].endswith(_QUOTES):
                described.append(next(lines).strip())
            docs[name] = [*described[:-1], described[-1].removesuffix(_QUOTES)]
        name = line[4:].partition(":")[0]  # no identifier where the line is indented deeper
    return docs


@functools.cache
def _items(kind: Any) -> list[str]:
    """The lines of a docstring's `Args` for the keyword arguments of a class; empty where the source is not there."""
    docs = {**_docs(parameters.__name__), **_docs(kind.__module__)}
    lines = []
    for shown in _shown(kind) if docs else ():
        first, *rest = docs[shown.name]
        lines += [f"{shown.name}: {first}", *(f"    {line}" for line in rest)]
    return lines

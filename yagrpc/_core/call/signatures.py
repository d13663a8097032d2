"""Methods whose `**parameters` are shown one by one, in `help()`, in Jupyter and by whatever else asks `inspect`.

Type checkers read `**parameters: Unpack[CompletionParameters]` by themselves; at run time nothing does. So a method
gets a signature with the keyword arguments of that class, and their documentation in its own, in the place of
`**parameters`.

Rules: nothing is wrapped, so that a call costs what it did; done while a client is imported, so without regular
expressions and `ast`. Documentation is read from the source of `parameters`; where a program is shipped without
sources, the arguments are shown without it.
"""

from __future__ import annotations

import functools
import inspect
import linecache
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from yagrpc._core.call import parameters
from yagrpc._core.call.parameters import CallParameters, ModelParameters

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_QUOTES: Final = '"""'
_ITEM: Final = "**parameters: "


class _NotGiven:
    """The default of an argument that is not sent, or for which the client's own setting holds."""

    def __repr__(self) -> str:
        return "..."


NOT_GIVEN: Final = _NotGiven()


def explicit_parameters(function: FunctionT) -> FunctionT:
    """Give a method that takes `**parameters: Unpack[...]` a signature and documentation with each of them."""
    shown = _shown(function.__annotations__["parameters"].removeprefix("Unpack[").removesuffix("]"))
    written = inspect.signature(function)
    own = [each for each in written.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    function.__signature__ = written.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]
    if function.__doc__ and (docs := _docs()):
        items = (line for each in shown for line in _item(each.name, docs[each.name]))
        function.__doc__ = "\n".join(_with_items(function.__doc__.splitlines(), items))
    return function


@functools.cache
def _shown(kind: str) -> list[inspect.Parameter]:
    """The keyword arguments of a class of `parameters`: first what shapes the request, last what every call takes."""
    annotations = getattr(parameters, kind).__annotations__
    names = sorted(
        annotations, key=lambda name: (name in CallParameters.__annotations__, name in ModelParameters.__annotations__)
    )
    return [_parameter(name, annotations[name]) for name in names]


@functools.cache
def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    text = getattr(annotation, "__forward_arg__", str(annotation))
    # No timeout is a choice of its own; elsewhere None is the same as leaving the argument out.
    default = None if text.endswith("| None") and name != "timeout" else NOT_GIVEN
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=text)


@functools.cache
def _docs() -> dict[str, list[str]]:
    """The lines that describe each argument, as they stand below it; empty where the source is not there."""
    lines = iter(linecache.getlines(str(parameters.__file__), parameters.__dict__))
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


def _item(name: str, described: list[str]) -> Iterator[str]:
    """The lines of one item of `Args`."""
    first, *rest = described
    yield f"{name}: {first}"
    yield from (f"    {line}" for line in rest)


def _with_items(lines: list[str], items: Iterator[str]) -> Iterator[str]:
    """The lines of a docstring, with items in the place of that of `**parameters`."""
    indent: str | None = None
    for line in lines:
        text = line.lstrip()
        if text.startswith(_ITEM):
            indent = line[: -len(text)] if text else ""
            yield from (indent + item for item in items)
        elif indent is None or not line.startswith(f"{indent} "):
            indent = None
            yield line

"""Methods by their names, for callers that have no method table at hand: `TokenizerService/Tokenize`, or a path.

Rules: only the methods of `yagrpc.methods` have names here; a method of another package is given as an object.
"""

from __future__ import annotations

import functools
from typing import Any, Final

from yagrpc import methods
from yagrpc.errors import RequestError
from yagrpc.method import (
    AnyMethod,
    BidiStreamMethod,
    ClientStreamMethod,
    OperationMethod,
    StreamMethod,
    UnaryMethod,
)

_KINDS: Final = (UnaryMethod, StreamMethod, OperationMethod, ClientStreamMethod, BidiStreamMethod)


@functools.cache
def named_methods() -> dict[str, AnyMethod]:
    """All methods, by their short names `Service/Method`."""
    return {
        f"{service}/{name}": method
        for service in dir(methods)
        for name, method in vars(getattr(methods, service)).items()
        if isinstance(method, _KINDS)
    }


def find_method(name: str) -> AnyMethod | None:
    """The method of a short name or of a path, with its first slash or without; `None` where there is none."""
    wanted, known = name.removeprefix("/"), named_methods()
    return known.get(wanted) or next((each for each in known.values() if each.path[1:] == wanted), None)


def similar_names(name: str) -> list[str]:
    """Names of methods that are nearly a name, the nearest first."""
    import difflib  # only a mistake needs it

    known = named_methods()
    return difflib.get_close_matches(
        name.removeprefix("/"), [*known, *(method.path[1:] for method in known.values())], n=3, cutoff=0.7
    )


def checked_method(method: Any) -> AnyMethod:
    """A method that was given as an object or by its name.

    Raises:
        RequestError: It is neither.
    """
    if isinstance(method, _KINDS):
        return method
    example = "it takes a method of yagrpc.methods, or its name, such as 'TokenizerService/Tokenize'"
    if not isinstance(method, str):
        raise RequestError("method", method, example)
    found = find_method(method)
    if found is None:
        close = similar_names(method)
        raise RequestError("method", method, f"did you mean {' or '.join(map(repr, close))}?" if close else example)
    return found

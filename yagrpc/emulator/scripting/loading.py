"""A function of replies, named on a command line: `module:function`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["load_function"]


def load_function(name: str) -> Callable[..., Any]:
    """Import a function; modules of the current folder are found too.

    Args:
        name: `module:function`, such as `my_package.replies:answer`.

    Raises:
        ValueError: The name has another form, its module cannot be imported, or has no such function.
    """
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name):
        raise ValueError(f"a reply function is written module:function, not {name!r}")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # any error that the user's module raises while it is imported
        raise ValueError(f"{name!r} can't be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ValueError(f"{name!r}: the module {module_name} has no function {function_name}")
    found: Callable[..., Any] = function
    return found

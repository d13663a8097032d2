"""Finds names that two things would have in one generated module: what a proto defines, and what the module imports.

Rules: the module's text is read as the plugins wrote it, with comments that were cleaned. The older name would be lost
silently, so that the proto is refused.
"""

from __future__ import annotations

import keyword
import re

from yagrpc.codegen.errors import GenerateError

__all__ = ["check_names"]

_DOCSTRING = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""', re.DOTALL)
_DEFINED = re.compile(r"^(?:class|def) (\w+)|^(\w+) ?[:=]", re.MULTILINE | re.ASCII)
_IMPORTED = re.compile(r"^(?:    )?(?:from [\w.]+ )?import (?:[\w.]+ as )?(\w+)$", re.MULTILINE)


def check_names(text: str, proto: str, file: str) -> None:
    """Refuse a module in which a name is given twice.

    Args:
        text: The module's text.
        proto: The proto file that it comes from.
        file: The module's file, for the error.

    Raises:
        GenerateError: A name is given twice.
    """
    code = _DOCSTRING.sub("...", text)
    defined = [found[1] or found[2] for found in _DEFINED.finditer(code)]
    taken = {found[1] for found in _IMPORTED.finditer(code)}
    for name in defined:
        if keyword.iskeyword(name):  # `else:`
            continue
        if name in taken:
            raise GenerateError(f"{proto}: {name} would be the name of two things in {file}: rename it in the proto")
        taken.add(name)

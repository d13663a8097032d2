"""How errors put their values into one line.

Rules: standard library only; nothing here raises, for any value.
"""

from __future__ import annotations

from collections.abc import Iterable

from yagrpc.foreign import for_terminal


def in_brackets(text: str, known: Iterable[tuple[str, object]]) -> str:
    """A text in one line, and in brackets the names and values that are known."""
    listed = ", ".join(f"{name} {value}" for name, value in known)
    return for_terminal(" ".join((f"{text} ({listed})" if listed else text).splitlines()))

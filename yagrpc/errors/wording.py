"""How errors put their values into one line.

Rules: standard library only; nothing here raises, for any value.
"""

from __future__ import annotations

from collections.abc import Iterable


def in_brackets(text: str, known: Iterable[tuple[str, object]]) -> str:
    """A text in one line, and in brackets the names and values that are known."""
    listed = ", ".join(f"{name} {value}" for name, value in known)
    return " ".join((f"{text} ({listed})" if listed else text).splitlines())


def shortened(value: object) -> str:
    """A value as an error shows it: in one line, cut where it is long."""
    try:
        text = " ".join(repr(value).splitlines())
    except Exception:  # a repr is foreign code; even an int has none where its digits are too many
        text = f"a {type(value).__name__} that can't be shown"
    return text if len(text) <= 80 else f"{text[:77]}..."

"""How errors put their values into one line.

Rules: standard library only; nothing here raises, whatever the value is.
"""

from __future__ import annotations

from collections.abc import Mapping


def with_context(text: str, known: Mapping[str, object]) -> str:
    """A message, and in brackets what else is known; what is empty is left out."""
    told = ", ".join(f"{name} {value}" for name, value in known.items() if value != "")
    return f"{text} ({told})" if told else text


def shortened(value: object) -> str:
    """A value as it is told in one line, cut where it is long."""
    try:
        text = " ".join(repr(value).splitlines())
    except Exception:  # a repr is anybody's code; even an int has none where its digits are too many
        text = f"a {type(value).__name__} that can't be shown"
    return text if len(text) <= 80 else f"{text[:77]}..."

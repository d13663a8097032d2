"""How numbers of things are said: `1 row`, `2 rows`."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, noun: str) -> str:
    """A number of things.

    Args:
        count: How many.
        noun: What they are, as one is called; its plural has an s.
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

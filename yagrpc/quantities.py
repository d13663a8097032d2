"""Numbers, seconds and ids as callers have them: of Python, of numpy, and of whatever else acts as a number.

A whole number is what has `__index__`, any other number what has `__float__`. A text is no number, and neither is a
flag: `timeout=True` is a mistake.

Rules: standard library only; nothing here raises, and what is in range is the caller's to check.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex, TypeAlias

if TYPE_CHECKING:
    from datetime import timedelta
    from uuid import UUID

__all__ = ["Number", "Seconds", "WholeNumber"]

WholeNumber: TypeAlias = SupportsIndex
"""A whole number, of any library."""

Number: TypeAlias = SupportsFloat | SupportsIndex
"""A number, of any library."""

Seconds: TypeAlias = "SupportsFloat | SupportsIndex | timedelta"
"""A span of time: a number of seconds, or a `timedelta`."""

RequestId: TypeAlias = "str | UUID"
"""An id of a request."""


def number(value: Any, *, whole: bool = False) -> int | float | None:
    """A number as `int` or `float`, perhaps infinite; `None` for everything else, and for what is not a number.

    Args:
        value: Anything.
        whole: Whether it has to be a whole number.
    """
    if isinstance(value, bool) or _is_of_numpy_and_no_number(value):
        return None
    try:  # a number's conversion is anybody's code, and may raise anything
        return operator.index(value)
    except Exception:
        if whole:
            return None
    try:
        found = float(value.__float__())
    except Exception:
        return None
    return None if math.isnan(found) else found


def seconds(value: Any) -> int | float | None:
    """A span of time in seconds, perhaps infinite; `None` for what is none."""
    found = number(value)
    if found is None:
        from datetime import timedelta  # takes 1 ms, and most callers give numbers

        return value.total_seconds() if isinstance(value, timedelta) else None
    return found


def request_id(value: Any) -> Any:
    """A request id as text, where it is a `UUID`; anything else as it is."""
    from uuid import UUID  # takes 2 ms, and most callers give a text or nothing

    return str(value) if isinstance(value, UUID) else value


def _is_of_numpy_and_no_number(value: Any) -> bool:
    """Whether it is numpy's kind of flag, or an array, which has `__float__` where it holds one number."""
    return bool(getattr(value, "ndim", 0)) or getattr(getattr(value, "dtype", None), "kind", "") == "b"

"""Which row is next: the rows of the input, and those that are sent again."""

from __future__ import annotations

"""The rows of the input, numbered from 0, up to the limit of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from yagrpc.bulk.decisions.rows import Raw

_CHUNK: Final = 500
"""Rows that are read without a break for the other tasks of the event loop."""


class NumberedRows:
    """The rows of the input, in order.

    Args:
        rows: The rows; the user's, so that the next one may raise anything.
        limit: How many are taken at most; `None` for all.
    """

    def __init__(self, rows: Iterator[Raw], limit: int | None) -> None:
        self.count = 0
        """How many were read: the number of the next one."""
        self.limit = limit
        self._rows = rows
        self._exhausted = False

    def read(self) -> Raw | None:
        """The next row; `None` after the last."""
        if self._exhausted or (self.limit is not None and self.count >= self.limit):
            return None
        raw = next(self._rows, None)
        if raw is None:
            self._exhausted = True
        else:
            self.count += 1
        return raw

    async def read_of_many(self) -> Raw | None:
        """The same, where many are read in a row: other tasks run now and then."""
        if self.count % _CHUNK == 0:
            await asyncio.sleep(0)
        return self.read()
